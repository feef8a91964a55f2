"""Tunnels between workers: what hosts.toml may say, what is planned, and what is refused."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.core.devices.network import service
from vmops.core.devices.network.mesh import NAME, Mesh, share
from vmops.core.facts.network.underlay import Underlay, underlay
from vmops.core.inventory.complaints import InvalidValue
from vmops.core.inventory.guest.told import Seed
from vmops.core.inventory.inventory import Inventory, parse
from vmops.core.inventory.written_out import as_json, as_toml
from vmops.core.plan.network import mesh
from vmops.core.plan.network.mesh import Ground
from vmops.core.script.command import Step, StepResult
from vmops.core.tools import ovs
from vmops.core.tools.lines.tunnels import MESH, Tunnel, port_to
from vmops.core.tools.proof import trace
from vmops.core.tools.proof.trace import Output
from vmops.ops.network.mesh import agreed
from vmops.ops.vm.seeds import told

HEAD = """
[defaults]
mesh = "vxlan"
network_node = "w3"
[workers.w1]
address = "10.0.0.1"
[workers.w2]
address = "10.0.0.2"
[workers.w3]
address = "10.0.0.3"
[workers.w4]
address = "10.0.0.4"
[vm_defaults]
ram_mb = 1
cores = 1
qcow_image = "/{name}"
"""
BLUE = '[networks.blue]\nvlan_id = 100\nsubnet = "192.168.0.0/24"\n'
FREE = '[networks.free]\nvlan_id = 300\nsubnet = "192.168.3.0/24"\n'


def a_vm(name: str, worker: str, *interfaces: str) -> str:
    listed = ", ".join(f'{{ name = "eth{n}", {keys} }}' for n, keys in enumerate(interfaces))
    pin = f'worker = "{worker}"\n' if worker else ""
    return f"[vms.{name}]\n{pin}interfaces = [{listed}]\n"


VMS = (
    a_vm("a", "w1", 'network = "blue"'),
    a_vm("b", "w2", "vlan_id = 7", "vlan_id = 5, trunks = [8, 9]"),
)


def read(*parts: str, head: str = HEAD) -> Inventory:
    return parse(head + "".join(parts), source="hosts.toml")


def of(worker: str, *parts: str) -> Mesh:
    found = share(read(*parts), worker)
    assert found is not None
    return found


def test_each_worker_that_has_a_vm_or_serves_a_network_has_a_tunnel_to_each_other() -> None:
    """And it carries the VLANs in use: those of a network that nobody is in are not."""
    parts = (BLUE, "dhcp = true\n", FREE, *VMS)
    assert read(*parts).mesh_workers == ("w1", "w2", "w3")
    found = of("w1", *parts)
    vlans = (5, 7, 8, 9, 100)
    assert found.tunnels == (
        Tunnel("w2", "10.0.0.1", "10.0.0.2", vlans),
        Tunnel("w3", "10.0.0.1", "10.0.0.3", vlans),
    )
    assert of("w4", *parts).tunnels == ()
    assert read(BLUE, *VMS).mesh_workers == ("w1", "w2")


def test_both_ends_of_a_tunnel_agree() -> None:
    parts = (BLUE, *VMS)
    (there,), (back,) = of("w1", *parts).tunnels, of("w2", *parts).tunnels
    assert (there.local, there.remote, there.vlans) == (back.remote, back.local, back.vlans)


def test_a_vm_that_is_pinned_nowhere_may_be_on_any_worker() -> None:
    assert read(BLUE, a_vm("a", "", 'network = "blue"')).mesh_workers == ("w1", "w2", "w3", "w4")


def test_without_a_mesh_there_is_no_share_and_tunnels_are_left_alone() -> None:
    listed = read(BLUE, *VMS, head=HEAD.replace('mesh = "vxlan"\n', ""))
    assert share(listed, "w1") is None
    assert listed.networks["blue"].mtu is None
    assert service.shares(listed, ["blue"], ["w1"])["w1"].mesh is None


def test_what_is_understood_is_a_file_that_means_the_same() -> None:
    listed = read(BLUE, *VMS)
    text = as_toml(listed, list(listed.vms.values()))
    assert parse(text, source="hosts.toml").mesh_workers == listed.mesh_workers
    assert as_json(listed, [])["mesh"] == "vxlan"
    for again in (copy.copy(listed), pickle.loads(pickle.dumps(listed))):
        assert again == listed


@pytest.mark.parametrize(
    ("text", "head", "mtu"),
    [
        ("", HEAD, 1446),
        ("mtu = 1400\n", HEAD, 1400),
        ("", HEAD.replace("10.0.0.", "fd00::"), 1426),
    ],
)
def test_guests_are_told_how_much_a_tunnel_carries(text: str, head: str, mtu: int) -> None:
    found = share(read(BLUE, text, *VMS, head=head), "w1")
    assert found is not None
    assert found.mtu == mtu
    assert found.needs_mtu == (1500 if not text else mtu + 54)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (
            HEAD.replace('"10.0.0.2"', '"two.example"'),
            "workers.w2.encap_ip: missing: must be given, as tunnels of the mesh end there and its"
            " address is no IP address of its own",
        ),
        (
            HEAD.replace('"10.0.0.2"', '"127.0.0.2"'),
            "workers.w2.encap_ip: missing: must be given",
        ),
        (
            HEAD.replace('"10.0.0.2"', '"10.0.0.2"\nencap_ip = "10.0.0.1"'),
            "workers.w2.encap_ip: '10.0.0.1': must differ from that of workers.w1",
        ),
        (
            HEAD.replace('"10.0.0.2"', '"fd00::2"'),
            "workers.w2.encap_ip: 'fd00::2': must be of one family with that of workers.w1",
        ),
        (HEAD.replace('"vxlan"', '"gre"'), "defaults.mesh: 'gre': must be one of \"vxlan\""),
    ],
)
def test_what_a_mesh_cannot_be_made_of(head: str, said: str) -> None:
    with pytest.raises(InvalidValue) as found:
        read(BLUE, *VMS, head=head)
    assert said in str(found.value)


OF_OVN = """
[ovn]
northbound = "w1"
[networks.blue]
engine = "ovn"
subnet = "192.168.0.0/24"
"""


@pytest.mark.parametrize(
    ("networks", "head", "mtu"),
    [
        (BLUE, HEAD, 1446),
        (f"{BLUE}mtu = 8946\n", HEAD, 8946),
        (BLUE, HEAD.replace("10.0.0.", "fd00::"), 1426),
        (BLUE, HEAD.replace('mesh = "vxlan"\n', ""), None),
        (f"{BLUE}mtu = 1450\n", HEAD.replace('mesh = "vxlan"\n', ""), 1450),
        (OF_OVN, HEAD.replace('mesh = "vxlan"\n', ""), 1442),
        (f"{OF_OVN}mtu = 1400\n", HEAD.replace('mesh = "vxlan"\n', ""), 1400),
        (f"{BLUE}dhcp = true\n", HEAD, None),
        ("[networks.blue]\nvlan_id = 100\n", HEAD, None),
    ],
)
def test_a_guest_that_is_told_its_address_is_told_how_much_passes(
    networks: str, head: str, mtu: int | None
) -> None:
    """One that asks by DHCP hears it there, and one that is told nothing has no seed."""
    listed = read(networks, a_vm("a", "w1", 'network = "blue"'), head=head)
    (nic,) = listed.vms["a"].nics
    assert nic.interface.mtu == mtu
    (seeded,) = told([listed.vms["a"]])
    assert isinstance(seeded.seed, Seed) or not listed.vms["a"].is_told
    if isinstance(seeded.seed, Seed):
        assert [card.mtu for card in seeded.seed.nics] == [mtu]
    again = parse(as_toml(listed, list(listed.vms.values())), source="hosts.toml")
    assert again.vms["a"].nics[0].interface.mtu == mtu


@pytest.mark.parametrize(
    ("interface", "said"),
    [
        ('network = "blue", mtu = 1400', "mtu: 1400: must be left out, as network blue says it"),
        ("vlan_id = 7, mtu = 1400", "mtu: 1400: must be left out, as there is neither"),
        ("vlan_id = 7, dhcp = true, mtu = 100", "mtu: 100: must be 576 to 9216"),
    ],
)
def test_an_mtu_is_said_where_it_can_be_told(interface: str, said: str) -> None:
    with pytest.raises(InvalidValue) as found:
        read(BLUE, a_vm("a", "w1", interface))
    assert said in str(found.value)
    read(BLUE, a_vm("a", "w1", 'vlan_id = 7, address = "10.0.0.5/24", mtu = 1400'))


def test_a_worker_without_a_part_in_it_may_have_any_address() -> None:
    read(BLUE, *VMS, head=HEAD.replace('"10.0.0.4"', '"four.example"'))


def test_an_inventory_that_is_made_by_hand_is_held_to_the_same() -> None:
    listed = read(BLUE, *VMS)
    workers = {**listed.workers, "w2": replace(listed.workers["w2"], address="two.example")}
    with pytest.raises(InvalidValue, match=r"workers\.w2\.encap_ip: missing"):
        replace(listed, workers=workers)


LISTED = read(BLUE, *VMS)
W1 = LISTED.workers["w1"]
WANTED = of("w1", BLUE, *VMS)
(TO_W2,) = WANTED.tunnels
ROOM = Underlay("eth0", 1500)


def port_of(one: Tunnel, **changes: Any) -> ovs.Port:
    made = ovs.Port(
        name=one.port,
        bridge="br-int",
        tag=None,
        trunks=one.vlans,
        vlan_mode="trunk",
        external_ids={MESH: one.peer},
        ofport=4,
        protected=True,
        kind="vxlan",
        options=one.options,
    )
    return made._replace(**changes)


def ground(*ports: ovs.Port, found: Underlay | None = ROOM, **changes: Any) -> Ground:
    switch = ovs.Switch({"br-int": "system"}, {port.name: port for port in ports})
    return Ground(switch._replace(**changes), frozenset({"tap_1_eth0"}), found)


def words(step: Step | None) -> list[str]:
    assert step is not None
    return [" ".join(entry.words()) for entry in step.commands]


def test_tunnels_that_are_held_are_left_as_they_are_and_those_that_are_right_are_not_held() -> None:
    held = WANTED._replace(held=("w2",))
    elsewhere = port_of(TO_W2, options={**TO_W2.options, "remote_ip": "10.0.0.9"})
    for there, action in ((ground(), "held"), (ground(elsewhere), "held")):
        found = mesh.bring(W1, held, there)
        assert found is not None
        assert (found.change.action, found.step, found.refused) == (action, None, None)
        assert (found.change.held, bool(found.change.drift)) == (("w2",), True)
    found = mesh.bring(W1, held, ground(port_of(TO_W2)))
    assert found is not None
    assert (found.change.action, found.step, found.change.held) == ("nothing", None, ())
    own = mesh.bring(W1, held, ground(found=None))
    assert own is not None
    assert own.refused is not None


TO_W4 = Tunnel("w4", "10.0.0.1", "10.0.0.4", TO_W2.vlans)
THREE = WANTED._replace(tunnels=(TO_W2, TO_W4), held=("w2",))
ASTRAY = port_of(TO_W2, options={**TO_W2.options, "remote_ip": "10.0.0.9"}, trunks=(5, 7))


@pytest.mark.parametrize("to_w2", [None, ASTRAY], ids=["none yet", "another way"])
def test_the_others_are_changed_and_nothing_of_the_one_that_is_held(to_w2: ovs.Port | None) -> None:
    there = [to_w2] if to_w2 is not None else []
    old = port_of(TO_W4, trunks=(5,))
    lost = port_of(Tunnel("w9", "10.0.0.1", "10.0.0.8", (5,)))
    for ports in ([], [old], [port_of(TO_W4), lost]):
        found = mesh.bring(W1, THREE, ground(*there, *ports))
        assert found is not None
        action = "change" if [*there, *ports] else "start"
        assert (found.change.action, found.change.held) == (action, ("w2",))
        assert all("w2" not in drift.field for drift in found.change.drift)
        assert found.step is not None
        undo = " ".join(found.step.undo[0].words())
        assert not [line for line in (*words(found.step), undo) if TO_W2.port in line]
    done = mesh.bring(W1, THREE, ground(*there, port_of(TO_W4)))
    assert done is not None
    assert (done.change.action, done.change.held, done.step) == ("held", ("w2",), None)
    right = mesh.bring(W1, THREE, ground(port_of(TO_W2), old))
    assert right is not None
    assert (right.change.action, right.change.held) == ("change", ())


def test_tunnels_are_held_to_who_is_not_fit() -> None:
    shares = service.shares(LISTED, ["blue"], ["w1", "w2", "w4"])
    found = agreed(shares, ["w2"])
    assert all(share.mesh is not None and share.mesh.held == ("w2",) for share in found.values())
    assert agreed(shares, []) == shares
    bare = read(BLUE, *VMS, head=HEAD.replace('mesh = "vxlan"\n', ""))
    alone = service.shares(bare, ["blue"], ["w1"])
    assert agreed(alone, ["w1"]) == alone


def test_a_tunnel_is_made_in_one_transaction_with_all_that_keeps_it_from_harm() -> None:
    found = mesh.bring(W1, WANTED, ground())
    assert found is not None
    assert (found.change.network, found.change.action) == (NAME, "start")
    made, read_back = words(found.step)
    for word in (
        f"--may-exist add-port br-int {TO_W2.port}",
        "tag=[] trunks=[5,7,8,9,100] vlan_mode=trunk protected=true",
        "type=vxlan",
        '"10.0.0.2"',
        MESH,
    ):
        assert word in made
    assert made.count("vsctl") == 1
    assert read_back == f"holds_tunnels {TO_W2.port}"
    assert found.step is not None
    assert f"--if-exists del-port {TO_W2.port}" in " ".join(found.step.undo[0].words())


def test_what_is_laid_as_asked_is_left_alone() -> None:
    found = mesh.bring(W1, WANTED, ground(port_of(TO_W2)))
    assert found is not None
    assert (found.change.action, found.step) == ("nothing", None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trunks": (5,)}, "VLANs: trunk [5] -> trunk [5, 7, 8, 9, 100]"),
        ({"trunks": ()}, "VLANs: trunk of all VLANs ->"),
        ({"tag": 5}, "VLANs: 5 with trunk"),
        ({"protected": False}, "split horizon: off -> on"),
        ({"kind": "geneve"}, "way: geneve 10.0.0.1 to 10.0.0.2"),
        ({"options": {"remote_ip": "10.9.9.9"}}, "way: vxlan any to 10.9.9.9 ->"),
        ({"bridge": "br0"}, "bridge: br0 -> br-int"),
        ({"error": "File exists"}, "port: File exists -> plugged"),
    ],
)
def test_whatever_differs_is_changed_and_put_back_where_that_fails(
    changes: dict[str, Any], said: str
) -> None:
    seen = ground(port_of(TO_W2, **changes))
    found = mesh.bring(W1, WANTED, seen)
    assert found is not None
    assert found.change.action == "change"
    assert f"tunnel to w2, {said}" in "; ".join(map(str, found.change.drift))
    assert found.step is not None
    back = " ".join(found.step.undo[0].words())
    assert f"add-port {changes.get('bridge', 'br-int')} {TO_W2.port}" in back
    is_anew = bool({"bridge", "error"} & changes.keys())
    assert (f"del-port {TO_W2.port}" in words(found.step)[0]) is is_anew
    assert list(mesh.broken(WANTED, seen.switch)) == ["w2"]
    assert not mesh.check(W1, WANTED, seen).ok


def test_one_that_is_missing_beside_others_is_named() -> None:
    both = of("w1", BLUE, "dhcp = true\n", *VMS)
    seen = ground(port_of(both.tunnels[0]))
    found = mesh.bring(W1, both, seen)
    assert found is not None
    assert found.change.action == "change"
    assert [str(each) for each in found.change.drift] == [
        f"tunnel to w3: missing -> {port_to('w3')}"
    ]
    assert [str(each) for each in mesh.faults(W1, both, seen.switch, ())] == [
        "w1: its tunnel to w3: it is missing\n  fab net.up"
    ]


def test_one_that_leads_to_nobody_of_the_file_goes() -> None:
    old = Tunnel("gone", "10.0.0.1", "10.0.0.9", (5,))
    found = mesh.bring(W1, WANTED, ground(port_of(TO_W2), port_of(old)))
    assert found is not None
    assert f"tunnel to gone: {old.port} -> none" in map(str, found.change.drift)
    assert words(found.step) == [f"vsctl -- --if-exists del-port {old.port}"]


def test_all_go_where_none_is_wanted_and_nothing_is_said_where_none_was() -> None:
    none = Mesh("br-int")
    found = mesh.bring(W1, none, ground(port_of(TO_W2)))
    assert found is not None
    assert found.change.action == "remove"
    assert words(found.step) == [f"vsctl -- --if-exists del-port {TO_W2.port}"]
    assert mesh.bring(W1, none, ground(ovs.Port("vmxother", "br-int", None))) is None


TRUNK = ovs.Port("eth1", "br-int", None, ofport=1)


@pytest.mark.parametrize(
    ("trunks", "words_of_it"),
    [
        ((9, 11, 12), "there: sudo ovs-vsctl set Port eth1 trunks=11,12 vlan_mode=trunk"),
        (
            (),
            "there, with the VLANs that it is to carry in place of 4094:"
            " sudo ovs-vsctl set Port eth1 trunks=4094 vlan_mode=trunk",
        ),
        (
            (9,),
            "there, with the VLANs that it is to carry in place of 4094:"
            " sudo ovs-vsctl set Port eth1 trunks=4094 vlan_mode=trunk",
        ),
    ],
)
def test_the_cure_of_a_loop_can_be_typed_and_ends_it(
    trunks: tuple[int, ...], words_of_it: str
) -> None:
    port = TRUNK._replace(trunks=trunks)
    found = mesh.bring(W1, WANTED, ground(port))
    assert found is not None
    assert found.refused is not None
    assert found.refused.cure.endswith(words_of_it)
    told_to = found.refused.cure.partition("trunks=")[2].partition(" ")[0]
    mended = TRUNK._replace(trunks=tuple(map(int, told_to.split(","))), vlan_mode="trunk")
    after = mesh.bring(W1, WANTED, ground(mended))
    assert after is not None
    assert after.refused is None


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (ground(TRUNK), "port eth1 of br-int leads out too, and carries VLANs 5, 7, 8, 9, 100"),
        (
            ground(TRUNK._replace(trunks=(9, 11))),
            "eth1 of br-int leads out too, and carries VLAN 9",
        ),
        (
            ground(TRUNK._replace(tag=11, vlan_mode="native-untagged")),
            "eth1 of br-int leads out too",
        ),
        (ground(port_of(TO_W2, external_ids={})), f"a port {TO_W2.port} already, which vmops has"),
        (ground(found=None), "no device there has the address 10.0.0.1, where its tunnels begin"),
        (ground(found=Underlay("eth0", 1499)), "in one they become 1500, and the MTU of eth0 is"),
        (ground(fault="no socket"), "Open vSwitch does not answer: no socket"),
        (ground(bridges={"br0": ""}), "no bridge br-int; Open vSwitch has: br0"),
    ],
)
def test_what_would_do_harm_is_refused_before_anything_changes(seen: Ground, said: str) -> None:
    found = mesh.bring(W1, WANTED, seen)
    assert found is not None
    assert found.step is None
    assert found.refused is not None
    assert said in str(found.refused)
    assert found.refused.cure
    assert not mesh.check(W1, WANTED, seen).ok


@pytest.mark.parametrize(
    "port",
    [
        TRUNK._replace(trunks=(11, 12)),
        TRUNK._replace(bridge="br0"),
        TRUNK._replace(tag=100),
        TRUNK._replace(tag=100, vlan_mode="dot1q-tunnel"),
        TRUNK._replace(name="tap_1_eth0"),
        TRUNK._replace(name="br-int"),
        TRUNK._replace(external_ids={"vmops-vm": "a"}, tag=5, vlan_mode="native-untagged"),
    ],
)
def test_what_leads_nowhere_or_carries_other_vlans_is_no_harm(port: ovs.Port) -> None:
    found = mesh.bring(W1, WANTED, ground(port))
    assert found is not None
    assert found.refused is None


def test_that_none_is_laid_yet_is_no_fault_of_the_worker() -> None:
    found = mesh.check(W1, WANTED, ground())
    assert (found.ok, found.found) == (True, "no tunnels yet: up lays them to w2")


def test_the_device_of_tunnels() -> None:
    question = underlay("10.0.0.1")
    assert question.read(StepResult(Step("x", ()), 0, b"eth0 9000\n")) == Underlay("eth0", 9000)
    assert question.read(StepResult(Step("x", ()), 0, b"")) is None


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", fullmatch=True))
def test_names_of_tunnels_fit(peer: str) -> None:
    assert len(port_to(peer)) <= 15


def test_names_of_tunnels_differ() -> None:
    assert len({port_to(f"worker{number}") for number in range(500)}) == 500


OWN = (
    "tnl_push(tnl_port(vxlan_sys_4789),header(size=50,type=4,eth(dst=72:58:b6:3b:31:f2,"
    "src=0e:0c:05:f7:be:7e,dl_type=0x0800),ipv4(src=198.51.100.1,dst=198.51.100.2,proto=17,tos=0),"
    "udp(src=0,dst=4789,csum=0x0),vxlan(flags=0x8000000,vni=0x766d6f)),out_port(underlay)),"
    "push_vlan(vid=4094,pcp=0),trunk"
)
KERNEL = "set(tunnel(tun_id=0x766d6f,src=10.0.0.1,dst=10.0.0.2,ttl=64,tp_dst=4789,flags(df|key)))"
KERNEL_V6 = "set(tunnel(tun_id=0x766d6f,ipv6_src=fd00::1,ipv6_dst=fd00::2,ttl=64,flags(df|key)))"


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        (
            f"push_vlan(vid=101,pcp=0),br-int,clone({OWN}),{OWN}",
            [Output("br-int", 101), Output("tunnel to 198.51.100.2", 101)],
        ),
        (
            f"push_vlan(vid=101,pcp=0),{KERNEL},vxlan_sys_4789,pop_vlan,tap1",
            [Output("tunnel to 10.0.0.2", 101), Output("tap1", None)],
        ),
        (
            f"push_vlan(vid=7,pcp=0),{KERNEL_V6},vxlan_sys_4789",
            [Output("tunnel to fd00::2", 7)],
        ),
    ],
    ids=["userspace", "kernel", "kernel-v6"],
)
def test_a_tunnel_among_the_ways_out(actions: str, expected: list[Output]) -> None:
    assert list(trace.parse(f"Datapath actions: {actions}\n").outputs) == expected
