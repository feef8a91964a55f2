"""The way out of networks that OVN carries: what hosts.toml says, gateways, and rows."""

from __future__ import annotations

from typing import Any

import pytest

from vmops.core.devices.network import logical as rows_of
from vmops.core.devices.network.logical import Logical
from vmops.core.devices.network.outside import is_shared_part, shared_rows
from vmops.core.facts.network.central import Central
from vmops.core.facts.network.following import Following, Outer
from vmops.core.inventory.inventory import Part, parse
from vmops.core.inventory.written_out import as_toml
from vmops.core.plan.network import following as setting_up
from vmops.core.plan.network import logical
from vmops.core.tools.ovn import EVERYBODY, Key
from vmops.errors import WorkFailed

from .ovn_networks import (
    BLUE,
    CHASSIS,
    GREEN,
    W1,
    W2,
    WEB,
    a_vm,
    changes,
    complaints,
    read,
    there,
    words,
)
from .ovn_networks import wanted as wanted_of

HEAD = """
[ovn]
northbound = "w1"
gateways = ["w1:eth1", "w2:br-ex"]
outside = "203.0.113.10/24"
next_hop = "203.0.113.1"
[workers.w1]
address = "10.0.0.1"
[workers.w2]
address = "10.0.0.2"
"""
OUT = "internet = true\n"


def wanted(*parts: str, head: str = HEAD) -> dict[str, Logical]:
    return wanted_of(*parts, head=head)


def central(*networks: Logical) -> Central:
    wanted = [row for one in networks for row in rows_of.rows(one, CHASSIS)]
    wanted += rows_of.router()
    (way,) = {one.outside for one in networks if one.outside is not None}
    assert way is not None
    wanted += shared_rows(way, CHASSIS)
    return Central(there(*wanted), CHASSIS, "sum")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('next_hop = "203.0.113.1"\n', "", "ovn.next_hop: missing: must be given with gateways"),
        ('203.0.113.1"', '203.0.114.1"', "ovn.next_hop: '203.0.114.1': must be another host's"),
        ('203.0.113.1"', '203.0.113.10"', "ovn.next_hop: '203.0.113.10': must be another host's"),
        ("w2:br-ex", "w3:br-ex", "ovn.gateways[1]: 'w3': is not a worker"),
        ("w2:br-ex", "w1:br-ex", "ovn.gateways: ['w1:eth1', 'w1:br-ex']: must be 1 to 5 workers"),
        ("w2:br-ex", "w2", "ovn.gateways: ['w1:eth1', 'w2']: must be 1 to 5 workers"),
        ("113.10/24", "113.0/24", "ovn.outside: '203.0.113.0/24': must be an IPv4 address"),
        ("203.0.113.10/24", "203.0.113.10", "ovn.outside: '203.0.113.10': must be an IPv4 address"),
        (
            "203.0.113.",
            "192.168.0.",
            "networks.blue.subnet: '192.168.0.0/24': must have",
        ),
        ('"10.0.0.2"', '"second.example"', "encap_ip: missing: must be given, as it is a gateway"),
    ],
)
def test_what_a_way_out_needs(old: str, new: str, complaint: str) -> None:
    head = HEAD.replace(old, new)
    assert head != HEAD
    assert complaint in complaints(BLUE, OUT, WEB, head=head)


def test_the_way_out_is_written_out_and_read_again() -> None:
    listed = read(BLUE, OUT, WEB, head=HEAD)
    again = parse(as_toml(listed, list(listed.vms.values())), source="hosts.toml")
    assert again.way_out == listed.way_out
    assert listed.ovn_workers == {"w1", "w2"}
    part = listed.part_of(listed.workers["w2"])
    assert part is not None
    assert (part.central.name, part.device) == ("w1", "br-ex")


def test_what_a_network_has_of_it() -> None:
    one = wanted(BLUE, OUT, "dhcp = true\n", WEB)["blue"]
    assert one.outside is not None
    rows: dict[str, dict[str, Any]] = {
        row.key.part: dict(row.columns) for row in rows_of.rows(one, CHASSIS)
    }
    assert rows["translation"] == {
        "type": "snat",
        "external_ip": "203.0.113.10",
        "logical_ip": "192.168.0.0/24",
    }
    kept = rows["kept away"]
    assert "{10.0.0.1, 10.0.0.2, 169.254.0.0/16}" in kept["match"]
    assert (kept["action"], kept["priority"]) == ("drop", "200")
    assert rows["leases"]["options"]["router"] == "192.168.0.1"
    shared = {row.key.part: row for row in shared_rows(one.outside, CHASSIS)}
    gateways = [shared[f"gateway {name}"].columns for name in ("w1", "w2")]
    assert [one["chassis_name"] for one in gateways] == ["uuid-of-w1", "uuid-of-w2"]
    assert int(str(gateways[0]["priority"])) > int(str(gateways[1]["priority"]))
    assert all(is_shared_part(row.key) for row in shared.values())
    assert not any(is_shared_part(row.key) for row in rows_of.router())


def test_it_is_made_with_the_first_and_goes_with_the_last() -> None:
    networks = wanted(BLUE, OUT, GREEN, OUT, WEB, a_vm("db", 'network = "green"', "w2"))
    plan, refused = logical.bring(W1, networks, Central({}, CHASSIS, "sum"))
    assert not refused
    assert "add" not in words(plan)
    seen = central(*networks.values())
    assert logical.bring(W1, networks, seen)[0].block is None
    one = words(logical.remove(["blue"], seen))
    assert "uuid of * outside" not in one
    assert "uuid of blue translation" in one
    both = words(logical.remove(["blue", "green"], seen))
    assert {"uuid of * outside", "uuid of * router"} <= set(both)


def test_what_others_still_use_is_left_as_it_is_by_who_has_no_way_out() -> None:
    theirs = wanted(BLUE, OUT, WEB)["blue"]
    mine = wanted_of(GREEN)
    plan, _ = logical.bring(W1, mine, central(theirs))
    assert [each for each in words(plan) if each in ("set", "remove", "destroy")] == []


@pytest.mark.parametrize(
    ("key", "column", "value"),
    [
        (Key(EVERYBODY, "default route"), "nexthop", "203.0.113.77"),
        (Key(EVERYBODY, "gateway w1"), "priority", "1"),
        (Key(EVERYBODY, "leaves"), "action", "allow"),
        (Key(EVERYBODY, "outside port"), "networks", "203.0.113.11/24"),
    ],
)
def test_what_is_shared_is_drift_of_whom_it_serves(key: Key, column: str, value: str) -> None:
    networks = wanted(BLUE, OUT, GREEN, WEB)
    seen = central(*networks.values())
    found = seen.rows[key]
    odd = found._replace(columns={**found.columns, column: value})
    plan, _ = logical.bring(W1, networks, seen._replace(rows={**seen.rows, key: odd}))
    (said,) = changes(plan)["blue"][1]
    assert said.startswith(f"{key.part}.{column}: {value} -> ")
    assert changes(plan)["green"] == ("nothing", [])
    assert "set" in words(plan)


def test_a_gateway_that_ovn_does_not_know_is_refused() -> None:
    networks = wanted(BLUE, OUT, GREEN, WEB)
    seen = Central({}, {"10.0.0.1": "uuid-of-w1"}, "sum")
    plan, refused = logical.bring(W1, networks, seen)
    assert list(refused) == ["blue"]
    assert refused["blue"].cure == "fab -H w2 ovn.setup"
    assert changes(plan)["green"][0] == "start"
    assert "Gateway_Chassis" not in words(plan)


# A gateway


def ready(outer: Outer, mapped: str) -> Following:
    settings = {
        "ovn-bridge": "br-ovn",
        "ovn-bridge-datapath-type": "netdev",
        "system-id": "x",
        "ovn-encap-type": "geneve",
        "ovn-encap-ip": "10.0.0.2",
        "ovn-remote": "tcp:10.0.0.1:6642",
        "ovn-bridge-mappings": mapped,
    }
    return Following(settings=settings, datapath="netdev", outer=outer)


@pytest.mark.parametrize(
    ("outer", "mapped", "labels", "said"),
    [
        (Outer("eth1", port_of="br-vmops"), "vmops-outside:br-vmops", (), ""),
        (Outer("br-ex", is_bridge=True), "a:b,vmops-outside:br-ex", (), ""),
        (
            Outer("eth1"),
            "a:br-a,vmops-outside:br-old",
            ("outside", "uplink", "connected"),
            "a:br-a,vmops-outside:br-vmops",
        ),
        (Outer("br-ex", is_bridge=True), "", ("outside", "connected"), "vmops-outside:br-ex"),
    ],
)
def test_a_gateway_gets_its_bridge_and_others_keep_theirs(
    outer: Outer, mapped: str, labels: tuple[str, ...], said: str
) -> None:
    setup = setting_up.set_up(W2, Part(W1), ready(outer, mapped))
    assert setup.labels == labels
    checks = {c.name: c.ok for c in setting_up.checks(W2, Part(W1), ready(outer, mapped))}
    assert checks["OVN's settings"] is (not labels)
    if setup.block is not None:
        words = [w for s in setup.block.numbered() for c in s.commands for w in c.words()]
        assert f'external_ids:ovn-bridge-mappings="{said}"' in words
        assert ("eth1" in words) is not outer.is_bridge


@pytest.mark.parametrize(
    ("outer", "why"),
    [
        (Outer("eth9", missing=True), "there is no device and no bridge eth9"),
        (Outer("eth0", addresses=("10.0.0.2/24",)), "eth0 has an address of its own, 10.0.0.2/24"),
        (Outer("eth1", port_of="br-ex"), "eth1 is a port of the bridge br-ex"),
    ],
)
def test_what_is_no_way_out_is_not_taken(outer: Outer, why: str) -> None:
    with pytest.raises(WorkFailed, match=why):
        setting_up.set_up(W2, Part(W1), ready(outer, ""))
    found = {c.name: c for c in setting_up.checks(W2, Part(W1), ready(outer, ""))}
    assert why in found["OVN's way out"].found
    assert not found["OVN's way out"].ok


# Ways in, and names


DOOR = 'forward = [{ port = 8022, to = "web:22" }]\n'


def parts_of(one: Logical) -> dict[str, dict[str, Any]]:
    return {row.key.part: dict(row.columns) for row in rows_of.rows(one, CHASSIS)}


def test_a_guest_with_a_port_outside_gets_out_with_its_answers_alone() -> None:
    one = wanted(BLUE, DOOR, WEB)["blue"]
    own = one.seats[0].address
    found = parts_of(one)
    assert found["forward tcp 8022"]["vips"] == {"203.0.113.10:8022": f"{own}:22"}
    answers = found[f"answers tcp {own} 22"]["match"]
    assert answers == f'ip4.src == {own} && tcp.src == 22 && outport == "vmops.outside"'
    assert not {"translation", "way out"} & found.keys()
    both = parts_of(wanted(BLUE, OUT, DOOR, WEB)["blue"])
    assert {"translation", "way out", "way back", "forward tcp 8022"} <= both.keys()
    assert not any(part.startswith("answers") for part in both)


def test_a_port_that_leads_elsewhere_leads_nowhere_else_and_goes_whole() -> None:
    before = wanted(BLUE, DOOR, WEB)
    after = wanted(BLUE, DOOR.replace(":22", ":23"), WEB)
    seen = central(*before.values())
    said = words(logical.bring(W1, after, seen)[0])
    own = before["blue"].seats[0].address
    assert f'vips={{"203.0.113.10:8022"="{own}:23"}}' in said
    key = Key("blue", "forward tcp 8022")
    more = {"203.0.113.10:8022": f"{own}:22", "203.0.113.10:9": "10.0.0.1:9"}
    odd = seen.rows[key]._replace(columns={**seen.rows[key].columns, "vips": more})
    plan, _ = logical.bring(W1, before, seen._replace(rows={**seen.rows, key: odd}))
    assert changes(plan)["blue"][1] == [f"{key.part}.vips.203.0.113.10:9: 10.0.0.1:9 -> none"]
    # A row that stands by itself is destroyed: to take it out of the router would leave it there.
    gone = words(logical.remove(["blue"], seen))
    assert gone[gone.index("Load_Balancer") - 1] == "destroy"


def test_one_port_outside_leads_to_one_guest_and_may_be_that_of_ssh() -> None:
    db = a_vm("db", 'network = "green"', "w2")
    second = DOOR.replace("web:22", "db:22")
    text = complaints(BLUE, DOOR, GREEN, second, WEB, db, head=HEAD)
    assert "both are on OVN's address outside" in text
    assert wanted(BLUE, DOOR.replace("8022", "22"), WEB)["blue"].doors[0].port == 22


def test_names_are_those_of_the_network_and_of_what_it_reaches() -> None:
    db = a_vm("DB", 'network = "green"', "w2")
    found = wanted(BLUE, "dns = true\ndhcp = true\nreach = ['green']\n", GREEN, WEB, db)
    records = parts_of(found["blue"])["names"]["records"]
    assert list(records) == ["db", "web"]
    assert records["db"] == found["green"].seats[0].address
    assert parts_of(found["blue"])["leases"]["options"]["dns_server"] == "192.168.0.1"
    (switch,) = (row for row in rows_of.rows(found["blue"], {}) if row.key.part == "switch")
    assert switch.refers == {"dns_records": Key("blue", "names")}


def test_who_gets_out_asks_those_who_know_the_rest() -> None:
    servers = HEAD.replace(
        "[workers.w1]", 'name_servers = ["9.9.9.9", "9.9.9.10"]\n[workers.w1]', 1
    )
    named = "dns = true\ninternet = true\n"
    leased = wanted(BLUE, named, "dhcp = true\n", WEB, head=servers)["blue"]
    assert parts_of(leased)["leases"]["options"]["dns_server"] == "{9.9.9.9, 9.9.9.10}"
    told = read(BLUE, named, WEB, head=servers).vms["web"].interfaces[0]
    assert told.dns == ("9.9.9.9", "9.9.9.10")
    alone = read(BLUE, "dns = true\n", WEB, head=servers).vms["web"].interfaces[0]
    assert alone.dns == ("192.168.0.1",)
