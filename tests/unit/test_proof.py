"""The proof by frames: what a probe is, what a table says, and what is made of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.core.facts.vms import RunningVM
from vmops.core.inventory.model import VM, Interface
from vmops.core.inventory.networks.model import Network
from vmops.core.names import NetworkNames
from vmops.core.plan.proof.ends import Drawn, draw, ends
from vmops.core.plan.proof.evidence import Proof
from vmops.core.plan.proof.judge import is_complete, judge
from vmops.core.tools import ip, ovs
from vmops.core.tools.process import Process
from vmops.core.tools.proof import probe
from vmops.core.tools.proof.probe import Probe, Sighting
from vmops.errors import InventoryError

from .bridged import RUN, WORKERS, World, three, vm


def texts(proof: Proof) -> list[str]:
    return [str(fault).partition("\n")[0] for fault in proof.faults]


def test_a_probe_is_a_broadcast_with_an_address_of_its_own() -> None:
    frame = bytes.fromhex(probe.frame(Probe("tap_1", probe.address(RUN, 0x0102))))
    assert len(frame) == 60
    assert frame[:14] == bytes.fromhex("ffffffffffff0e7612340102" + "88b5")
    assert frame[6] & 3 == 2, "locally administered, of one station"
    tagged = bytes.fromhex(probe.frame(Probe("tap_1", probe.address(RUN, 1), tag=102)))
    assert tagged[12:18] == bytes.fromhex("81000066" + "88b5")


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_every_address_belongs_to_its_run(run: int, number: int) -> None:
    mac = probe.address(run, number)
    assert mac.startswith(f"{probe.prefix(run)}:")
    assert len(mac) == 17
    said = f"    1   101  {mac}    0\n"
    assert probe.parse(said) == (Sighting(1, 101, mac, 0),)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (" port  VLAN  MAC                Age\n", ()),
        ("    2   101  52:54:00:00:00:01  104\n", ()),
        ("LOCAL     0  0e:76:00:01:00:02    3\n", (Sighting(None, 0, "0e:76:00:01:00:02", 3),)),
        ("    2   101  0e:76:00:01:00:02  static\n", (Sighting(2, 101, "0e:76:00:01:00:02", 0),)),
        ("    2     x  0e:76:00:01:00:02    0\n", ()),
        ("", ()),
    ],
)
def test_the_table_of_a_bridge(text: str, wanted: tuple[Sighting, ...]) -> None:
    assert probe.parse(text) == wanted


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    probe.parse(text)
    probe.parse_refusals(text)


def test_why_a_port_took_no_frame() -> None:
    said = "refused tap_1 ovs-ofctl: unknown port\nother words\n"
    assert probe.parse_refusals(said) == {"tap_1": "ovs-ofctl: unknown port"}


def test_each_interface_has_two_addresses_and_tries_another_vlan() -> None:
    drawn = three().drawn
    macs = [p.mac for each in drawn for p in each.probes]
    assert len(set(macs)) == len(macs) == 12
    assert [(d.nic.vlan_id, d.hop.tag if d.hop else None) for d in drawn[:2]] == [
        (101, 102),
        (102, 101),
    ]
    (alone,) = draw([(WORKERS["w1"], [vm("a", 1, 101)])], run=RUN)
    assert alone.hop is None


def test_more_interfaces_than_addresses_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "MOST", 6)
    draw([(WORKERS["w1"], [vm("a", 1, 101, 102, 103)])], run=RUN)
    with pytest.raises(InventoryError, match="8 probes are more than 6"):
        draw([(WORKERS["w1"], [vm("a", 1, 101, 102, 103, 104)])], run=RUN)


def test_all_is_as_it_should_be() -> None:
    proof = three().judge()
    assert len(proof.pairs) == 30
    assert all(pair.ok for pair in proof.pairs)
    assert proof.faults == []
    assert is_complete(three().evidence())


def test_it_waits_for_what_is_still_to_come() -> None:
    assert not is_complete(three().evidence(at_once=False))


def test_a_vlan_that_the_switch_does_not_carry_at_one_worker() -> None:
    world = three()
    world.carried = {"w2": {101}}
    proof = world.judge()
    assert texts(proof) == [
        "VLAN 101 does not pass between w2 and w1, w3: the switch between does not carry it, as"
        " VLAN 102 passes"
    ]
    cut = {(p.source.name, p.target.name) for p in proof.pairs if not p.ok}
    assert cut == {
        pair
        for other in ("a1:eth0", "c1:eth0")
        for pair in (("b1:eth0", other), (other, "b1:eth0"))
    }


def test_a_worker_that_nothing_leaves() -> None:
    world = three()
    world.carried = {"w2": {101, 102}}
    assert {text.partition(": ")[2] for text in texts(world.judge())} == {
        "nothing passes between w2 and the switch"
    }


def test_a_worker_without_a_way_out() -> None:
    world = three()
    world.carried = {"w2": {101, 102}}
    del world.ports["w2"]["trunk"]
    assert all("no port of br-int leads out of w2" in text for text in texts(world.judge()))


def test_one_way_only() -> None:
    world = World(w1=[vm("a", 1, 101)], w2=[vm("b", 2, 101)])
    evidence = world.evidence()
    mac = world.drawn[0].own[0].mac
    kept = [each for each in evidence.learned["w2"] if each.mac != mac]
    proof = judge(evidence._replace(learned={**evidence.learned, "w2": kept}))
    assert texts(proof)[0].startswith("VLAN 101 does not pass from w1 to w2, the other way it does")
    assert [(p.source.name, p.found) for p in proof.pairs] == [("a:eth0", False), ("b:eth0", True)]


def test_frames_of_one_interface_that_get_lost_on_the_way() -> None:
    world = World(w1=[vm("a", 1, 101), vm("c", 3, 101)], w2=[vm("b", 2, 101)])
    evidence = world.evidence()
    mac = world.drawn[0].own[0].mac
    kept = [each for each in evidence.learned["w2"] if each.mac != mac]
    proof = judge(evidence._replace(learned={**evidence.learned, "w2": kept}))
    assert texts(proof) == ["w1: a: eth0: its frames do not come to w2, and others of VLAN 101 do"]


def test_vlans_that_a_switch_mixes_up() -> None:
    world = three()
    evidence = world.evidence()
    mac = world.drawn[0].own[0].mac
    more = [*evidence.learned["w2"], Sighting(1, 102, mac, 0)]
    proof = judge(evidence._replace(learned={**evidence.learned, "w2": more}))
    assert texts(proof) == ["w1: a1: eth0: its frames, of VLAN 101, come to w2 in VLAN 102"]
    leaks = [(p.source.name, p.target.name) for p in proof.pairs if p.found and not p.wanted]
    assert leaks == [("a1:eth0", "b2:eth0")]


def test_a_guest_that_gets_into_another_vlan_by_a_tag() -> None:
    world = three()
    evidence = world.evidence()
    hop = world.drawn[0].hop
    assert hop is not None
    more = [*evidence.learned["w3"], Sighting(1, 102, hop.mac, 0)]
    proof = judge(evidence._replace(learned={**evidence.learned, "w3": more}))
    assert texts(proof) == [
        "w1: a1: eth0: its guest gets into VLAN 102 by tagging its frames: they come to w3"
    ]


def test_a_loop() -> None:
    world = three()
    evidence = world.evidence()
    mac = world.drawn[0].own[0].mac
    moved = [e._replace(ofport=1) if e.mac == mac else e for e in evidence.learned["w1"]]
    proof = judge(evidence._replace(learned={**evidence.learned, "w1": moved}))
    assert texts(proof) == ["w1: frames of its VMs come back to it by port trunk: there is a loop"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"tag": 102}, "its port tap_1_eth0 is in VLAN 102, and hosts.toml has it in VLAN 101"),
        ({"tag": None}, "its port tap_1_eth0 is a trunk of all VLANs"),
        ({"bridge": "br-ex"}, "its port tap_1_eth0 is on bridge br-ex, not on br-int"),
        ({"ofport": -1, "error": "no device"}, "the switch cannot use its port tap_1_eth0: no de"),
        ({"ofport": None}, "the switch cannot use its port tap_1_eth0: it has not taken it"),
    ],
)
def test_a_port_that_is_not_as_it_is_wanted(values: dict[str, object], words: str) -> None:
    world = three()
    world.change("w1", "tap_1_eth0", **values)
    proof = world.judge()
    assert len(proof.faults) == 1, "each cause once"
    assert words in texts(proof)[0]
    assert any(not pair.ok for pair in proof.pairs)


@pytest.mark.parametrize(
    ("change", "taps", "what", "cure"),
    [
        ("no TAP", None, "it has no TAP tap_1_eth0", "fab plug --vm a1"),
        ("no TAP", [], "it has no TAP tap_1_eth0", "fab restart --vm a1"),
        ("TAP down", ["tap_1_eth0"], "its TAP tap_1_eth0 is down", "fab up --vm a1"),
        ("", [], "its QEMU does not have its TAP tap_1_eth0 open", "fab restart --vm a1"),
        ("later", [], "its QEMU does not have its TAP tap_1_eth0 open", "fab up --vm a1"),
        ("port", ["tap_1_eth0"], "its port tap_1_eth0 is in VLAN 102", "fab up --vm a1"),
        ("port", None, "its port tap_1_eth0 is in VLAN 102", "fab plug --vm a1"),
        ("pulled", ["tap_1_eth0"], "its link is pulled", "fab nic.up --vm a1:eth0"),
    ],
)
def test_the_cure_is_of_what_is_there(
    change: str, taps: list[str] | None, what: str, cure: str
) -> None:
    """Whether the VM runs (it has `taps` open then), and with a card at that TAP."""
    world = three()
    if change == "no TAP":
        del world.taps["w1"]["tap_1_eth0"]
    elif change == "TAP down":
        world.taps["w1"]["tap_1_eth0"] = ip.Tap(up=False)
    elif change == "port":
        world.change("w1", "tap_1_eth0", tag=102)
    elif change == "pulled":
        world.change("w1", "tap_1_eth0", external_ids={ovs.LINK: "pulled"})
    card = () if change == "later" else ("-device", "e1000,netdev=net0")
    argv = ("qemu-system-x86_64", "-netdev", "tap,id=net0,ifname=tap_1_eth0", *card)
    process = Process(1, started=1, state="S", cpu_ticks=0, rss_kib=0, argv=argv)
    evidence = world.evidence()
    sites = dict(evidence.sites)
    if taps is not None:
        running = RunningVM("a1", directory=True, pid=1, process=process, taps=frozenset(taps))
        sites["w1"] = sites["w1"]._replace(running={"a1": running})
    proof = judge(evidence._replace(ends=ends(world.drawn, sites), sites=sites))
    (fault,) = (one for one in proof.faults if one.vm == "a1")
    assert fault.what.startswith(what)
    assert fault.cure == cure


def test_a_trunk_port_gives_out_every_vlan() -> None:
    world = three()
    world.change("w1", "tap_1_eth0", tag=None)
    leaks = {p.source.name for p in world.judge().pairs if p.found and not p.wanted}
    assert leaks == {"a2:eth0", "b2:eth0", "c1:eth1"}


def trunk(name: str, number: int, *vlans: int, native: int | None = None) -> VM:
    nics = (Interface("eth0", vlan_id=native, trunks=vlans),)
    return VM(
        name, vm_id=number, ram_mb=1, cores=1, vnc_port=5900, qcow_image="/x", interfaces=nics
    )


def test_a_guest_with_several_vlans_is_to_reach_all_of_each() -> None:
    world = World(
        w1=[trunk("r1", 9, 102, 103, native=101), vm("a", 1, 104)],
        w2=[trunk("r2", 8, 101, 102), vm("b", 2, 101), vm("c", 3, 103)],
    )
    proof = world.judge()
    assert all(pair.ok for pair in proof.pairs)
    assert proof.faults == []
    assert {p.target.name for p in proof.pairs if p.source.name == "r1:eth0" and p.found} == {
        "r2:eth0",
        "b:eth0",
        "c:eth0",
    }
    world.carried = {"w2": {102}}
    wrong = {(p.source.name, p.target.name) for p in world.judge().pairs if not p.ok}
    assert wrong == {("r1:eth0", "r2:eth0"), ("r2:eth0", "r1:eth0")}, "one of two is not enough"


@pytest.mark.parametrize(
    ("port", "is_stranger"),
    [
        (ovs.Port("x", "br-int", 101), True),
        (ovs.Port("x", "br-int", 999), False),
        (ovs.Port("x", "br-ex", 101), False),
        (ovs.Port("x", "br-int", None, trunks=(101,), vlan_mode="native-tagged"), False),
        (ovs.Port("x", "br-int", 999, trunks=(101,), vlan_mode="native-untagged"), True),
        (ovs.Port("x", "br-int", 999, trunks=(103,), vlan_mode="native-untagged"), False),
        (ovs.Port("x", "br-int", 101, external_ids={"vmops-network": "blue"}), False),
        (ovs.Port("x", "br-int", 101, external_ids={"vmops-vm": "lost"}), True),
        (ovs.Port("br-int", "br-int", None), False),
    ],
)
def test_ports_in_a_vlan_that_belong_to_no_vm(port: ovs.Port, is_stranger: bool) -> None:
    world = three()
    world.ports["w2"][port.name] = port
    assert bool(world.judge().faults) is is_stranger
    assert judge(world.evidence(), known=["x", "y*"]).faults == []


def test_a_tap_without_a_vlan_hears_all_of_them() -> None:
    world = three()
    world.ports["w2"]["tap_x"] = ovs.Port("tap_x", "br-int", None)
    world.taps["w2"]["tap_x"] = ip.Tap()
    assert texts(world.judge()) == [
        "w2: port tap_x is in VLANs 101, 102, and no VM that hosts.toml has here"
    ]


def test_a_worker_that_could_not_be_asked_leaves_its_pairs_unknown() -> None:
    world = three()
    world.drawn = [d._replace(vm=_pinned(d)) for d in world.drawn]
    world.unasked = {"w2"}
    proof = world.judge()
    unknown = {p.source.worker == "w2" or p.target.worker == "w2" for p in proof.pairs if not p.ok}
    assert unknown == {True}
    assert {p.found for p in proof.pairs if "w2" in (p.source.worker, p.target.worker)} == {None}
    assert proof.faults == []


def _pinned(each: Drawn) -> VM:
    pinned = VM.from_dict(each.vm.to_dict())
    object.__setattr__(pinned, "worker", each.worker.name)
    return pinned


@given(
    st.lists(st.tuples(st.sampled_from(["w1", "w2", "w3"]), st.integers(1, 4)), max_size=8),
    st.dictionaries(st.sampled_from(["w1", "w2", "w3"]), st.sets(st.integers(1, 4)), max_size=3),
)
def test_whatever_the_switch_drops_is_told_and_nothing_else(
    placed: list[tuple[str, int]], carried: dict[str, set[int]]
) -> None:
    vms: dict[str, list[VM]] = {"w1": [], "w2": [], "w3": []}
    for number, (worker, vlan) in enumerate(placed, start=1):
        vms[worker].append(vm(f"vm{number}", number, vlan))
    world = World((), **vms)
    world.carried = carried
    proof = world.judge()
    wrong = {(p.source.worker, p.target.worker, p.source.vlans[0]) for p in proof.pairs if not p.ok}
    assert bool(wrong) is bool(proof.faults)
    for one, other, vlan in wrong:
        said = [t for t in texts(proof) if t.startswith(f"VLAN {vlan} ")]
        assert any(one in text and other in text for text in said)


BLUE = Network("blue", vlan_id=101, subnet="192.168.7.0/24", dhcp=True, network_node="w2")


def test_a_gateway_is_reached_by_its_network_and_by_no_other() -> None:
    world = World([BLUE], w1=[vm("a", 1, 101), vm("b", 2, 102)], w2=[])
    proof = world.judge()
    assert [end.name for end in proof.ends] == ["a:eth0", "b:eth0", "blue:gateway"]
    assert proof.faults == []
    found = {(p.source.name, p.target.name) for p in proof.pairs if p.found}
    assert found == {("a:eth0", "blue:gateway"), ("blue:gateway", "a:eth0")}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tag": 102}, "is in VLAN 102, and hosts.toml has it in VLAN 101"),
        (None, "the network is not served: it has no port there"),
    ],
)
def test_a_gateway_that_is_not_as_it_should_be(change: dict[str, Any] | None, words: str) -> None:
    world = World([BLUE], w1=[vm("a", 1, 101), vm("b", 2, 102)], w2=[])
    port = NetworkNames("blue").port
    if change is None:
        del world.ports["w2"][port]
    else:
        world.change("w2", port, **change)
    (fault,) = world.judge().faults
    assert words in fault.what
    assert (fault.vm, fault.interface, fault.cure) == ("blue", "gateway", "fab net.up")
