"""What is made of packets that were sent into OVN and heard, and of what its central says."""

from __future__ import annotations

from typing import Any

from vmops.core.devices.network import logical as wanted
from vmops.core.devices.nic import Wiring
from vmops.core.facts.network.central import Central
from vmops.core.facts.proof.bindings import Binding, Bindings, Middle
from vmops.core.facts.proof.probes import Site
from vmops.core.inventory.inventory import Inventory, parse
from vmops.core.plan.proof import logical
from vmops.core.plan.proof.ends import draw, ends
from vmops.core.plan.proof.evidence import Evidence, Proof
from vmops.core.plan.proof.judge import is_complete, judge
from vmops.core.plan.proof.logical import Hearing
from vmops.core.tools import ip, ovs
from vmops.core.tools.ovn import Found, Row
from vmops.core.tools.proof.packet import Ear, Heard

FILE = """
[ovn]
northbound = "w1"
[workers.w1]
address = "192.0.2.1"
[workers.w2]
address = "192.0.2.2"
[networks.blue]
engine = "ovn"
subnet = "10.1.0.0/24"
dhcp = true
[networks.red]
engine = "ovn"
subnet = "10.2.0.0/24"
[vm_defaults]
ram_mb = 1
cores = 1
qcow_image = "/x/{name}"
[vms.a1]
vm_id = 1
worker = "w1"
interfaces = [{ name = "eth0", network = "blue" }]
[vms.a2]
vm_id = 2
worker = "w2"
interfaces = [{ name = "eth0", network = "blue" }]
[vms.a3]
vm_id = 3
worker = "w2"
interfaces = [{ name = "eth0", network = "blue" }]
[vms.r2]
vm_id = 4
worker = "w2"
interfaces = [{ name = "eth0", network = "red" }]
"""


class World:
    """All plugged and bound; packets come where they should, unless a way is `cut`."""

    def __init__(self) -> None:
        self.listed: Inventory = parse(FILE, source="hosts.toml")
        placed = [
            (worker, [vm for vm in self.listed.vms.values() if vm.worker == name])
            for name, worker in self.listed.workers.items()
        ]
        self.drawn = draw(placed, run=1)
        self.ports: dict[str, dict[str, ovs.Port]] = {"w1": {}, "w2": {}}
        for number, each in enumerate(self.drawn, start=3):
            marks = {"iface-id": each.nic.port, "vmops-vm": each.vm.name, "ovn-installed": "true"}
            self.ports[each.worker.name][each.nic.tap] = ovs.Port(
                each.nic.tap, "br-ovn", None, external_ids=marks, ofport=number
            )
        self.cut: set[tuple[str, str]] = set()
        self.ovn: dict[str, str] = {}
        places = logical.places(self.listed)
        chassis = {"192.0.2.1": "c1", "192.0.2.2": "c2"}
        networks = {place.network.name: place.network for place in places.values()}
        rows = [row for one in networks.values() for row in wanted.rows(one, chassis)]
        self.north = Central({row.key: _found(row, n) for n, row in enumerate(rows)}, chassis)
        self.south = Bindings(
            {each.nic.port: Binding(f"c{each.worker.name[1]}", True) for each in self.drawn}
        )

    def evidence(self) -> Evidence:
        bridges = {"br-int": "system", "br-ovn": "system"}
        sites = {
            name: Site(
                Wiring(
                    ovs.Switch(bridges, ports, ovn=self.ovn.get(name, "")),
                    {tap: ip.Tap() for tap in ports},
                )
            )
            for name, ports in self.ports.items()
        }
        there = ends(self.drawn, sites)
        places = logical.places(self.listed)
        sent = logical.packets(there, places, run=1, first=100)
        heard: dict[str, set[Heard]] = {"w1": set(), "w2": set()}
        for each in sent:
            source = next(end for end in there if logical.whose(end) == each.source)
            if each.service == "dhcp":
                place = places[source.port]
                if place.network.dhcp:
                    mine = Heard(each.packet.port, each.packet.mark, place.seat.address)
                    heard[source.worker].add(mine)
            for other in there if not each.service else ():
                near = places[other.port].network == places[source.port].network
                meant = each.target in (None, logical.whose(other)) and other is not source
                way = (source.drawn.vm.name, other.drawn.vm.name)
                if near and meant and way not in self.cut:
                    heard[other.worker].add(Heard(other.drawn.nic.tap, each.packet.mark))
        hearing = Hearing(
            places,
            sent,
            {name: Ear(frozenset(those)) for name, those in heard.items()},
            middle=Middle(self.north, self.south),
            northbound="w1",
        )
        workers = dict(self.listed.workers)
        return Evidence(there, workers, sites, {"w1": (), "w2": ()}, hearing)

    def judge(self) -> Proof:
        return judge(self.evidence())

    def change(self, worker: str, port: str, **values: Any) -> None:
        self.ports[worker][port] = self.ports[worker][port]._replace(**values)


def _found(row: Row, number: int) -> Found:
    refers = {name: f"u{key.network}{key.part}" for name, key in row.refers.items()}
    columns = {**row.columns, **refers}
    return Found(row.key, row.table, f"u{row.key.network}{row.key.part}", columns)


def texts(proof: Proof) -> list[str]:
    return [str(fault).partition("\n")[0] for fault in proof.faults]


def test_all_is_as_it_should_be() -> None:
    proof = World().judge()
    assert texts(proof) == []
    assert {p.found for p in proof.pairs if p.wanted} == {True}
    assert {p.found for p in proof.pairs if not p.wanted} == {False}
    assert len(proof.pairs) == 12
    assert is_complete(World().evidence())


def test_a_port_through_which_nothing_passes_though_ovn_says_that_it_is_up() -> None:
    world = World()
    world.cut = {(a, b) for a in ("a1", "a2", "a3") for b in ("a1", "a2", "a3") if "a3" in (a, b)}
    assert not is_complete(world.evidence())
    (text,) = texts(world.judge())
    assert text.startswith("w2: a3: eth0: nothing passes its port, though OVN says that it is up")


def test_a_tunnel_that_carries_nothing_is_told_once() -> None:
    world = World()
    world.cut = {("a1", "a2"), ("a1", "a3"), ("a2", "a1"), ("a3", "a1")}
    assert texts(world.judge()) == ["OVN's tunnel from w1 to w2 carries nothing"]


def test_one_way_that_is_cut() -> None:
    world = World()
    world.cut = {("a1", "a2")}
    assert texts(world.judge()) == ["w1: a1: eth0: its packets do not come to a2:eth0"]


def test_a_controller_that_has_gone_or_says_that_it_is_connected_and_follows_nothing() -> None:
    world = World()
    world.ovn = {"w2": "ovn-controller does not run"}
    assert texts(world.judge()) == ["w2: ovn-controller does not run"]
    world = World()
    world.south = world.south._replace(behind={"c1": 0, "c2": 3})
    (text,) = texts(world.judge())
    assert "has not followed OVN's last 3 changes" in text


def test_ports_that_no_worker_is_told_of() -> None:
    world = World()
    ports = {name: found for name, found in world.south.ports.items() if name != "a2:eth0"}
    world.south = world.south._replace(ports=ports)
    (text,) = texts(world.judge())
    assert text.endswith("no worker is told of: a2:eth0: does ovn-northd run?")


def test_a_port_at_another_worker_or_at_none() -> None:
    for bound, words in (
        (Binding("c1", True), "OVN has its port at w1, and it is plugged here"),
        (Binding(), "OVN has its port at no worker: nobody has taken it"),
        (Binding("c2", False), "OVN says that its port is not up"),
    ):
        world = World()
        world.south = world.south._replace(ports={**world.south.ports, "a2:eth0": bound})
        (text,) = texts(world.judge())
        assert text == f"w2: a2: eth0: {words}"


def test_two_chassis_that_fight() -> None:
    world = World()
    ids = {"iface-id": "a2:eth0"}
    world.ports["w1"]["twin"] = ovs.Port("twin", "br-ovn", None, external_ids=ids, ofport=9)
    (text,) = texts(world.judge())
    assert "port twin of w1 says that it is a2:eth0 as well" in text


def test_two_chassis_that_hand_over_do_not_fight() -> None:
    world = World()
    ids = {"iface-id": "a2:eth0"}
    (tap,) = (
        tap
        for tap, port in world.ports["w2"].items()
        if port.external_ids["iface-id"] == ids["iface-id"]
    )
    world.ports["w1"][tap] = ovs.Port(tap, "br-ovn", None, external_ids=ids, ofport=9)
    assert len(texts(world.judge())) == 1
    rows = dict(world.north.rows)
    key = next(key for key in rows if key.part == "port a2:eth0")
    columns = {
        **rows[key].columns,
        "options": {"requested-chassis": "c2,c1", "activation-strategy": "rarp"},
        "external_ids": {"vmops-moved": "c2 c2 c1"},
    }
    rows[key] = rows[key]._replace(columns=columns)
    world.north = world.north._replace(rows=rows)
    assert texts(world.judge()) == []
    # A second port on the worker where it runs is none of the two.
    world.ports["w2"]["twin"] = ovs.Port("twin", "br-ovn", None, external_ids=ids, ofport=9)
    (text,) = texts(world.judge())
    assert "port twin of w2 says that it is a2:eth0 as well" in text


def test_rows_that_ovn_has_otherwise() -> None:
    world = World()
    rows = dict(world.north.rows)
    key = next(key for key in rows if key.part == "port a2:eth0")
    rows[key] = rows[key]._replace(columns={**rows[key].columns, "addresses": ("unknown",)})
    world.north = world.north._replace(rows=rows)
    (text,) = texts(world.judge())
    assert text == "w2: a2: eth0: OVN has its port otherwise than hosts.toml: addresses"
    del rows[key]
    (text,) = texts(world.judge())
    assert text == "w2: a2: eth0: OVN has no port a2:eth0"


def test_a_central_that_cannot_be_asked() -> None:
    world = World()
    evidence = world.evidence()
    hearing = evidence.hearing._replace(middle=Middle(fault="no such socket"))
    (text,) = texts(judge(evidence._replace(hearing=hearing)))
    assert text == "w1: OVN's central cannot be asked: no such socket"


def test_leases() -> None:
    world = World()
    evidence = world.evidence()
    sent = next(each for each in evidence.hearing.sent if each.service == "dhcp")
    ear = evidence.hearing.ears["w1"]
    for offered, words in (
        (None, "network blue: nobody offers a1:eth0 a lease"),
        ("10.1.0.99", "network blue: a1:eth0 is offered 10.1.0.99, not "),
    ):
        kept = {each for each in ear.heard if not each.offered}
        if offered:
            kept.add(Heard(sent.packet.port, sent.packet.mark, offered))
        ears = {**evidence.hearing.ears, "w1": Ear(frozenset(kept))}
        found = judge(evidence._replace(hearing=evidence.hearing._replace(ears=ears)))
        (text,) = texts(found)
        assert text.startswith(f"w1: {words}")


def test_a_tap_that_cannot_be_heard_is_unknown() -> None:
    world = World()
    evidence = world.evidence()
    tap = next(end.drawn.nic.tap for end in evidence.ends if end.drawn.vm.name == "a2")
    ears = {**evidence.hearing.ears}
    ears["w2"] = ears["w2"]._replace(deaf=((tap, "its VM is being changed"),))
    found = judge(evidence._replace(hearing=evidence.hearing._replace(ears=ears)))
    assert {p.found for p in found.pairs if p.target.drawn.vm.name == "a2"} == {None}
    assert texts(found) == [
        "w2: a2: eth0: what comes to it cannot be heard: its VM is being changed"
    ]


def test_what_leaves_is_unknown_where_a_gateway_is_not_listened_to() -> None:
    hearing = World().evidence().hearing
    (out,) = {each.found for each in logical.passages(hearing) if each.service == "internet"}
    assert out is None
    sent = next(each for each in hearing.sent if each.service == "internet")
    gateways = [("w1", "up0"), ("w2", "up0")]
    heard = {"w2": Ear(frozenset({Heard("up0", sent.packet.mark)}))}
    for outer, ears, found in (
        (gateways, {}, False),
        (gateways, heard, True),
        (gateways[1:], heard, True),
        (gateways[:1], heard, None),
    ):
        known = hearing._replace(outer=outer, ears=ears, is_all=outer == gateways)
        (one, *_) = [each for each in logical.passages(known) if each.service == "internet"]
        assert one.found is found
