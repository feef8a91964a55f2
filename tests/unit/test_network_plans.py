"""What a network node is told, what it says, and what is decided of both."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.core.devices.network import dnsmasq, firewall, service
from vmops.core.devices.network.dnsmasq import Leased
from vmops.core.devices.network.service import Host, Lease, Peer, Service, Way, services
from vmops.core.facts.network.state import COUNTS, DEVICES, NETWORKS, Count, Node, Pictures, Served
from vmops.core.inventory.inventory import Inventory
from vmops.core.inventory.model import Worker
from vmops.core.names import NetworkNames
from vmops.core.plan.network import serving
from vmops.core.script.command import Step, StepResult
from vmops.core.tools import ovs

from .test_networks import BLUE, GREEN, a_vm, read

NODE = Worker("w1", address="10.0.0.1")
SAME = Pictures("a" * 64, "b" * 64)


def wanted(*parts: str) -> dict[str, Service]:
    listed = read(*parts)
    return of(listed)["w1"]


def of(listed: Inventory) -> dict[str, dict[str, Service]]:
    return services(listed.networks, listed.vms, listed.workers)


def switch(*served: Service) -> ovs.Switch:
    ports = {
        one.names.port: ovs.Port(one.names.port, "br-int", one.vlan_id, ofport=1) for one in served
    }
    return ovs.Switch({"br-int": "system"}, ports)


def node(*served: Service, **changes: Any) -> Node:
    found = [Served(one.name, one, SAME, SAME, pid=7 if one.talks else None) for one in served]
    return Node({one.name: one._replace(**changes) for one in found}, "sum")


def labels(plan: serving.Plan) -> list[str]:
    return [step.label for step in plan.block.numbered()] if plan.block else []


BOTH = (BLUE, 'dhcp = true\nreach = ["green"]\n', GREEN, "dns = true\n")
VMS = (a_vm("web", 'network = "blue", address = "192.168.0.9"'), a_vm("db11", 'network = "green"'))


def test_what_a_node_is_told() -> None:
    text = 'dns = true\ninternet = true\nreach = ["green"]\ndhcp = true\nmtu = 1450\n'
    ways = 'forward = [{ port = 80, to = "web:8080" }]\n'
    found = wanted(BLUE, text, ways, GREEN, *VMS)["blue"]
    db = read(BLUE, text, ways, GREEN, *VMS).networks["green"].members[0].address
    assert found == Service(
        name="blue",
        bridge="br-int",
        vlan_id=100,
        subnet="192.168.0.0/24",
        gateway="192.168.0.1",
        mtu=1450,
        internet=True,
        uplink="eth0",
        transit=found.transit,
        forward=(Way("tcp", 80, "192.168.0.9", 8080),),
        reach=(Peer("green", "192.168.2.1", "192.168.2.0/24"),),
        leases=(Lease(read(*BOTH, *VMS).vms["web"].nics[0].mac, "192.168.0.9", "web"),),
        hosts=tuple(sorted((Host("192.168.0.9", "web"), Host(db, "db11")))),
        kept=("10.0.0.1", "10.0.0.2", "169.254.0.0/16", "192.168.2.0/24"),
    )
    assert found.outer.startswith("198.1")
    assert service.from_json(found.to_json()) == found


def test_a_network_without_a_way_out_has_nothing_on_the_node_itself() -> None:
    found = wanted(*BOTH)
    assert (found["blue"].uplink, found["blue"].transit, found["blue"].kept) == ("", "", ())
    assert "masquerade" not in firewall.inside(found["blue"])


def test_each_link_to_a_node_has_addresses_of_its_own() -> None:
    names = [f"n{number}" for number in range(40)]
    text = "".join(
        f'[networks.{name}]\nvlan_id = {n}\nsubnet = "10.{n}.0.0/24"\ninternet = true\n'
        for n, name in enumerate(names, start=1)
    )
    assert len({one.transit for one in wanted(text).values()}) == 40


def test_nothing_crosses_that_is_not_asked_for() -> None:
    """The rules of a network that has nothing but DHCP: no accept in what it forwards."""
    text = firewall.inside(wanted(BLUE, "dhcp = true\n")["blue"])
    forward = text.partition("chain forward {")[2].partition("}")[0]
    assert "policy drop" in forward
    assert "accept" not in forward
    assert "udp dport 67" in text
    assert "dport 53" not in text


@pytest.mark.parametrize(
    ("text", "there", "absent"),
    [
        ("dhcp = true", ["static,255.255.255.0", "port=0", "dhcp-option=3,192.168.0.1"], ["addn"]),
        ('dhcp = true\nrange = "192.168.0.5-192.168.0.9"', ["192.168.0.5,192.168.0.9,"], []),
        ("dns = true", ["no-resolv", "addn-hosts="], ["dhcp-range", "port=0"]),
        ("dns = true\ninternet = true", ["resolv-file="], ["no-resolv"]),
        ("dhcp = true\ndns = true\nmtu = 1400", ["dhcp-option=6,192.168.0.1", "=26,1400"], []),
    ],
)
def test_the_configuration_of_dnsmasq(text: str, there: list[str], absent: list[str]) -> None:
    found = dnsmasq.files(wanted(BLUE, text + "\n")["blue"])[dnsmasq.CONFIG]
    assert [word for word in there if word not in found] == []
    assert [word for word in absent if word in found] == []


def test_a_vm_whose_name_is_no_host_name_gets_its_lease_without_one() -> None:
    vm = a_vm("a_b", 'network = "blue", address = "192.168.0.9", mac = "52:54:00:00:00:01"')
    found = dnsmasq.files(wanted(BLUE, "dhcp = true\n", vm)["blue"])
    assert found[dnsmasq.LEASES] == "52:54:00:00:00:01,192.168.0.9,1h\n"


@pytest.mark.parametrize("name", ["ignore", "infinite", "7", "120", "1h", "2d", "30m", "1w", "5s"])
def test_a_vm_whose_name_dnsmasq_takes_for_another_word_gets_its_lease(name: str) -> None:
    """`ignore` in that place is that it gets none."""
    vm = a_vm(name, 'network = "blue", address = "192.168.0.9", mac = "52:54:00:00:00:01"')
    found = dnsmasq.files(wanted(BLUE, "dhcp = true\n", vm)["blue"])
    assert found[dnsmasq.LEASES] == "52:54:00:00:00:01,192.168.0.9,1h\n"


def test_what_is_new_is_made_linked_and_noted_in_one_block() -> None:
    both = wanted(*BOTH)
    plan, refused = serving.bring(NODE, both, Node({}), switch())
    assert refused == {}
    assert labels(plan) == ["make blue", "make green", "link blue green", "note blue", "note green"]
    assert plan.block is not None
    assert plan.block.lock == "/run/vmops-net/.lock/node"
    assert [change.action for change in plan.changes] == ["start", "start"]
    assert all(step.may_fail for step in plan.block.numbered())


def test_what_is_served_as_asked_is_left_alone() -> None:
    both = wanted(*BOTH)
    plan, _ = serving.bring(NODE, both, node(*both.values()), switch(*both.values()))
    assert plan.block is None
    assert {change.action for change in plan.changes} == {"nothing"}


def test_a_change_touches_its_own_network_and_is_put_back_where_it_fails() -> None:
    old = wanted(*BOTH)
    new = wanted(BLUE, 'dhcp = true\nreach = ["green"]\nmtu = 1400\n', GREEN, "dns = true\n")
    plan, _ = serving.bring(NODE, new, node(*old.values()), switch(*old.values()))
    assert labels(plan) == ["make blue", "link blue green", "note blue", "look again"]
    assert [(c.network, c.action, str(*c.drift)) for c in plan.changes if c.drift] == [
        ("blue", "change", "mtu: none -> 1400")
    ]
    assert plan.block is not None
    make = plan.block.numbered()[0]
    assert [entry.argv[0] for entry in make.undo].count("note_network") == 1
    assert make.undo[0].argv[-1] == "192.168.0.1/24"
    assert make.commands[0].argv[-1] == "1400"


def test_a_new_network_that_fails_is_removed() -> None:
    plan, _ = serving.bring(NODE, wanted(BLUE, "dns = true\n"), Node({}), switch())
    assert plan.block is not None
    assert [entry.argv[0] for entry in plan.block.numbered()[0].undo] == ["remove_network"]


@pytest.mark.parametrize(
    ("served", "port", "said"),
    [
        ({"pid": None}, {}, "dnsmasq: not running -> running"),
        ({"now": Pictures("c", SAME.rules)}, {}, "addresses and routes: changed by somebody"),
        ({"now": Pictures(SAME.routes, "c")}, {}, "firewall: changed by somebody"),
        ({"asked": None}, {}, "network: half made -> whole"),
        ({}, {"tag": 5}, "port.vlan_id: 5 -> 100"),
        ({}, {"tag": None}, "port.vlan_id: trunk of all VLANs -> 100"),
        ({}, {"bridge": "br0"}, "port.bridge: br0 -> br-int"),
        ({}, {"error": "No such device"}, "port: No such device -> plugged"),
        ({}, {"name": "other"}, "port: missing"),
    ],
)
def test_drift(served: dict[str, Any], port: dict[str, Any], said: str) -> None:
    blue = wanted(BLUE, "dhcp = true\n")["blue"]
    there = switch(blue)
    changed = there.ports[blue.names.port]._replace(**port)
    seen = there._replace(ports={changed.name: changed})
    plan, _ = serving.bring(NODE, {"blue": blue}, node(blue, **served), seen)
    assert said in "; ".join(map(str, plan.changes[0].drift))
    assert plan.changes[0].action == "change"


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (ovs.Switch(fault="no socket"), "Open vSwitch does not answer: no socket"),
        (ovs.Switch({"br-int": ""}, dead="ovs-vswitchd does not run"), "does not run"),
        (ovs.Switch({"br0": ""}), "no bridge br-int; Open vSwitch has: br0"),
    ],
)
def test_a_network_is_refused_where_there_is_no_switch(there: ovs.Switch, said: str) -> None:
    blue = wanted(BLUE, "dhcp = true\n")
    plan, refused = serving.bring(NODE, blue, Node({}), there)
    assert plan.block is None
    assert said in str(refused["blue"])


@pytest.mark.parametrize(
    ("text", "devices", "said"),
    [
        ("internet = true", {"br-int": 1500}, "there is no device eth0 to go out by"),
        ("internet = true", {"br-int": 1500, "eth0": 1500}, ""),
        ("dhcp = true", {"br-int": 1500}, ""),
        ("dhcp = true\nmtu = 1501", {"br-int": 1500}, "1501 bytes do not pass the bridge br-int"),
        ("dhcp = true\nmtu = 1500", {"br-int": 1500}, ""),
        ("dhcp = true\nmtu = 9000", {"br-int": 9000}, ""),
        # A bridge of a datapath in user space has a device as well; without one it carries 1500.
        ("dhcp = true\nmtu = 1501", {}, "its MTU is 1500"),
        ("internet = true\nmtu = 9000", None, ""),
    ],
)
def test_a_network_for_which_the_devices_of_its_node_are_not_fit_is_refused(
    text: str, devices: dict[str, int] | None, said: str
) -> None:
    both = wanted(BLUE, f"{text}\n", GREEN, "dns = true\n")
    plan, refused = serving.bring(NODE, both, Node({}, devices=devices), switch())
    assert [name for name, why in refused.items() if said in str(why)] == ["blue"] * bool(said)
    assert all(why.cure for why in refused.values())
    assert "green" in {change.network for change in plan.changes}


def test_the_devices_of_a_node() -> None:
    found = DEVICES.read(StepResult(Step("x", ()), 0, b"lo 65536\nbr-int 1500\n"))
    assert found == {"lo": 65536, "br-int": 1500}


def test_a_vlan_that_a_network_of_another_file_has_is_refused() -> None:
    both = wanted(*BOTH)
    other = both["blue"]._replace(name="other")
    plan, refused = serving.bring(NODE, both, node(other), switch(other))
    assert "VLAN 100 is served there by network other" in str(refused["blue"])
    assert "fab -H w1 net.down --network other" in str(refused["blue"])
    assert [change.network for change in plan.changes] == ["green"]


def test_neither_a_forwarded_port_nor_a_link_to_the_node_is_shared_with_another_file() -> None:
    ways = 'forward = [{ port = 80, to = "web:8080" }]\n'
    blue = wanted(BLUE, ways, a_vm("web", 'network = "blue"'))
    other = blue["blue"]._replace(name="other", vlan_id=7, transit="198.19.0.0")
    _, refused = serving.bring(NODE, blue, node(other), switch(other))
    assert "port 80 is forwarded there by network other" in str(refused["blue"])
    other = blue["blue"]._replace(name="other", vlan_id=7, forward=())
    _, refused = serving.bring(NODE, blue, node(other), switch(other))
    assert "/30, its link to the node, is used there by network other" in str(refused["blue"])


def test_two_networks_may_change_their_vlans_with_each_other() -> None:
    old = wanted(*BOTH)
    new = {
        "blue": old["blue"]._replace(vlan_id=200),
        "green": old["green"]._replace(vlan_id=100),
    }
    _, refused = serving.bring(NODE, new, node(*old.values()), switch(*old.values()))
    assert refused == {}


def test_a_network_that_is_gone_is_removed_first() -> None:
    both = wanted(*BOTH)
    new = wanted(BLUE, "dhcp = true\n")
    plan, _ = serving.bring(
        NODE, new, node(*both.values()), switch(*both.values()), gone=("green", "x")
    )
    assert labels(plan) == ["remove green", "make blue", "note blue"]


def test_removal_looks_again_at_those_that_reached_it() -> None:
    both = wanted(*BOTH)
    plan = serving.remove(["green", "x"], node(*both.values()))
    assert labels(plan) == ["remove green", "look again"]
    assert [(c.network, c.action) for c in plan.changes] == [("green", "remove"), ("x", "nothing")]
    assert serving.remove(["x"], Node({})).block is None


def said(**parts: bytes) -> StepResult:
    step = Step("networks", ())
    named = tuple((name.replace("__", " "), raw) for name, raw in parts.items())
    return StepResult(step, 0, b"sum\n", parts=named)


def test_what_a_node_says() -> None:
    blue = wanted(BLUE, "dhcp = true\n")["blue"]
    raw = f"{blue.to_json()}\n{'a' * 64} {'b' * 64}\n{'a' * 64} {'c' * 64}\ntalks 42\n"
    found = NETWORKS.read(said(blue=raw.encode(), half=b"\n\nx y\nsilent\n", odd=b"[1]"))
    assert found.sum == "sum"
    assert found.networks["blue"] == Served(
        "blue", blue, Pictures("a" * 64, "b" * 64), Pictures("a" * 64, "c" * 64), 42
    )
    assert found.networks["half"].asked is None
    assert found.networks["half"].pid is None
    assert found.networks["odd"].asked is None


def test_leases_and_counters() -> None:
    text = b"""table inet vmops {
\tcounter dropped {
\t\tpackets 3 bytes 252
\t}
}
"""
    leases = b"1795735404 52:54:00:00:00:01 192.168.0.9 web *\nnonsense\n0 m a * *\n"
    found = COUNTS.read(said(blue__leases=leases, blue__counters=text))
    assert found["blue"].counters == {"dropped": Count(3, 252)}
    assert found["blue"].leases == (
        Leased(1795735404, "52:54:00:00:00:01", "192.168.0.9", "web"),
        Leased(0, "m", "a", ""),
    )


@given(st.text() | st.from_regex(r'\{"name": ?[^}]*\}'))
def test_what_is_kept_on_a_node_may_be_anything(text: str) -> None:
    try:
        found = service.from_json(text)
    except ValueError:
        return
    assert isinstance(found, Service)


@given(st.binary())
def test_what_a_node_says_may_be_anything(raw: bytes) -> None:
    found = NETWORKS.read(StepResult(Step("x", ()), 0, raw, parts=(("a", raw),)))
    assert isinstance(found.networks, MappingProxyType)
    COUNTS.read(StepResult(Step("x", ()), 0, raw, parts=(("a leases", raw), ("a counters", raw))))


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", fullmatch=True))
def test_names_of_devices_and_tables_fit(name: str) -> None:
    names = NetworkNames(name)
    assert max(map(len, (names.port, names.uplink, names.link))) <= 15
    assert names.table.isidentifier()


def test_only_workers_that_are_given_by_address_are_kept_from_guests() -> None:
    listed = read(BLUE, "internet = true\n")
    workers = {
        **listed.workers,
        "w3": replace(listed.workers["w1"], name="w3", address="host.example"),
        "w4": replace(listed.workers["w1"], name="w4", address="127.0.0.9"),
    }
    found = services(listed.networks, listed.vms, workers)["w1"]["blue"]
    assert found.kept == ("10.0.0.1", "10.0.0.2", "169.254.0.0/16")
