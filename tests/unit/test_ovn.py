"""Networks that OVN carries: their rows, what is read back, and what is decided."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.core.devices.network.logical import Logical, Share, rows, share
from vmops.core.facts.network.central import CENTRAL, Central
from vmops.core.plan.network import logical
from vmops.core.plan.upkeep import pruning
from vmops.core.plan.upkeep.pruning import Leftover
from vmops.core.script.command import Step, StepResult
from vmops.core.tools import ovn
from vmops.core.tools.ovn import Found, Key
from vmops.errors import InventoryError

from .ovn_networks import (
    AT_ONE,
    BLUE,
    BOTH,
    CHASSIS,
    DB,
    HEAD,
    W1,
    WEB,
    a_vm,
    central,
    changes,
    complaints,
    read,
    wanted,
    words,
)


def test_what_ovn_has_of_a_network() -> None:
    one = wanted(*BOTH)["blue"]
    found = {row.key.part: row for row in rows(one, CHASSIS)}
    assert list(found) == [
        *("switch", "leases", "port web:eth0", "gateway", "router port"),
        *("way to blue", "way to green"),
    ]
    port = found["port web:eth0"]
    assert port.columns["port_security"] == port.columns["addresses"]
    own = str(port.columns["addresses"][0])  # type: ignore[index]
    assert own.startswith("52:54:00:")
    assert own.endswith(one.seats[0].address)
    assert port.columns["options"] == {**AT_ONE, "requested-chassis": "uuid-of-w1"}
    assert port.refers == {"dhcpv4_options": Key("blue", "leases")}
    assert found["leases"].columns["options"]["router"] == "192.168.0.1"  # type: ignore[index,call-overload]
    assert found["leases"].columns["options"]["mtu"] == "1442"  # type: ignore[index,call-overload]


MAC = 'mac = "52:54:00:00:00:99"'


@pytest.mark.parametrize(
    ("carried", "plain", "is_one"), [(30, 30, True), (30, 31, False), (None, 30, False)]
)
def test_a_mac_is_one_vms_in_a_network_and_in_the_vlan_that_it_is_in(
    carried: int | None, plain: int, is_one: bool
) -> None:
    """The switch between them learns it at one place, whatever worker the other one is on."""
    blue = BLUE + (f"vlan_id = {carried}\n" if carried else "")
    parts = (
        blue,
        a_vm("web", f'network = "blue", {MAC}'),
        a_vm("db", f"vlan_id = {plain}, {MAC}", "w2"),
    )
    if is_one:
        assert "both are on VLAN 30, which is one network: set another mac" in complaints(*parts)
        found = read(*parts[:2], a_vm("db", f"vlan_id = {plain}", "w2"))
        web, db = found.vms.values()
        twin = replace(db, interfaces=(replace(db.interfaces[0], mac=web.nics[0].mac),))
        with pytest.raises(InventoryError, match="both are on VLAN 30"):
            replace(found, vms={**found.vms, "db": twin})
    else:
        read(*parts)


def test_a_network_in_a_vlan_has_a_way_into_it_and_its_vms_none_of_their_own() -> None:
    listed = read(BLUE + "vlan_id = 30\ndhcp = true\n", WEB)
    (nic,) = listed.vms["web"].nics
    assert (nic.vlan_id, nic.port) == (None, "web:eth0")
    one = wanted(BLUE + "vlan_id = 30\ndhcp = true\n", WEB)["blue"]
    found = {row.key.part: row for row in rows(one, CHASSIS)}
    assert found["vlan"].columns["type"] == "localnet"
    assert found["vlan"].columns["tag"] == "30"
    assert found["vlan"].columns["options"] == {"network_name": "vmops-vlans"}
    options = found["leases"].columns["options"]
    assert isinstance(options, Mapping)
    assert options["mtu"] == "1500"
    # Its line goes, and with it the way; a VLAN that somebody has changed is mended.
    plan, _ = logical.bring(W1, wanted(BLUE, WEB), central(one))
    assert "vlan: there -> none" in changes(plan)["blue"][1]
    key, seen = Key("blue", "vlan"), central(one)
    odd = seen.rows[key]._replace(columns={**seen.rows[key].columns, "tag": "31"})
    plan, _ = logical.bring(W1, {"blue": one}, seen._replace(rows={**seen.rows, key: odd}))
    assert changes(plan)["blue"] == ("change", ["vlan.tag: 31 -> 30"])


@given(st.permutations(["a", "a-gateway", "a.gateway", "a-vlan", "a-gateway-gateway"]))
def test_networks_whose_names_look_like_parts_of_another_have_ports_of_their_own(
    names: list[str],
) -> None:
    def made(name: str, at: int, **more: Any) -> Logical:
        subnet = f"10.{at}.0.0/24"
        return Logical(name, subnet=subnet, gateway=f"10.{at}.0.1", **more)

    routed = [made(name, at, hosts=()) for at, name in enumerate(names)]
    joined = [made(name, at, vlan_id=at + 1) for at, name in enumerate(names)]
    for networks in (routed, joined):
        found = [row for one in networks for row in rows(one, CHASSIS)]
        ports = [row for row in found if row.table in (ovn.PORTS, ovn.ROUTER_PORTS)]
        assert len({row.columns["name"] for row in ports}) == len(ports) > 0


def test_two_ways_between_vlans_of_workers_are_refused() -> None:
    mesh = HEAD.replace("[ovn]", '[defaults]\nmesh = "vxlan"\n[ovn]')
    text = complaints(BLUE + "vlan_id = 30\n", WEB, head=mesh)
    assert "networks.blue.vlan_id: 30: must be left out, as a mesh and OVN's way into" in text


def test_a_network_that_reaches_nobody_has_no_router_and_tells_of_none() -> None:
    one = wanted(BLUE, "dhcp = true\nmtu = 1400\n", WEB)["blue"]
    found = {row.key.part: row for row in rows(one, {})}
    assert list(found) == ["switch", "leases", "port web:eth0"]
    assert found["leases"].columns["options"]["router"] is None  # type: ignore[index,call-overload]
    assert found["leases"].columns["options"]["mtu"] == "1400"  # type: ignore[index,call-overload]
    assert found["port web:eth0"].columns["options"] == {**AT_ONE, "requested-chassis": None}
    plan, _ = logical.bring(W1, {"blue": one}, Central({}, {}, "sum"))
    assert "Logical_Router" not in words(plan)


def test_all_is_made_in_one_transaction_and_then_left_alone() -> None:
    networks = wanted(*BOTH)
    plan, refused = logical.bring(W1, networks, Central({}, CHASSIS, "sum"))
    assert not refused
    assert {c.network: c.action for c in plan.changes} == {"blue": "start", "green": "start"}
    assert plan.block is not None
    assert [s.label for s in plan.block.numbered()] == ["write", "follow"]
    said = words(plan)
    assert said[0] == "ovn-nbctl"
    assert said.count("create") == 2 + 1 + 2 + 2 + 2 + 4 + 2
    # What is made by this call is made with what it has: nothing can be added to it.
    assert "add" not in said
    again, _ = logical.bring(W1, networks, central(*networks.values()))
    assert again.block is None
    assert {c.action for c in again.changes} == {"nothing"}


def test_a_port_that_moves_goes_and_comes_in_one_transaction() -> None:
    before = wanted(*BOTH)
    after = wanted(*BOTH[:-2], a_vm("web", 'network = "green"'), DB)
    plan, _ = logical.bring(W1, after, central(*before.values()))
    said = words(plan)
    assert said.index("remove") < said.index("create")
    assert said[said.index("remove") + 1 : said.index("remove") + 5] == [
        *("Logical_Switch", "uuid of blue switch", "ports", "uuid of blue port web:eth0"),
    ]
    assert ["add", "Logical_Switch", "uuid of green switch", "ports"] in [
        said[at : at + 4] for at in range(len(said))
    ]
    assert changes(plan)["blue"] == ("change", ["port web:eth0: there -> none"])


@pytest.mark.parametrize(
    ("key", "column", "value", "drift"),
    [
        (
            Key("blue", "port web:eth0"),
            "addresses",
            ("unknown",),
            "port web:eth0.addresses: unknown -> ",
        ),
        (
            Key("blue", "port web:eth0"),
            "port_security",
            (),
            "port web:eth0.port_security: none -> ",
        ),
        (
            Key("blue", "port web:eth0"),
            "options",
            {"requested-chassis": "another"},
            "port web:eth0.options.requested-chassis: another -> uuid-of-w1",
        ),
        (Key("blue", "port web:eth0"), "dhcpv4_options", (), "port web:eth0.dhcpv4_options: none"),
        (Key("blue", "leases"), "cidr", "10.0.0.0/8", "leases.cidr: 10.0.0.0/8 -> "),
        (Key("blue", "way to green"), "action", "drop", "way to green.action: drop -> allow"),
    ],
)
def test_what_somebody_has_changed_is_told_and_mended(
    key: Key, column: str, value: Any, drift: str
) -> None:
    networks = wanted(*BOTH)
    seen = central(*networks.values())
    found = seen.rows[key]
    odd = found._replace(columns={**found.columns, column: value})
    plan, _ = logical.bring(W1, networks, seen._replace(rows={**seen.rows, key: odd}))
    (said,) = changes(plan)[key.network][1]
    assert said.startswith(drift)
    assert changes(plan)["green"] == ("nothing", [])
    assert "set" in words(plan)


def test_a_key_that_is_not_wanted_is_taken_out_and_a_foreign_one_left() -> None:
    one = wanted(BLUE, WEB)["blue"]
    seen = central(one)
    key = Key("blue", "port web:eth0")
    odd = {"requested-chassis": "x", "mcast_flood": "true"}
    found = seen.rows[key]._replace(columns={**seen.rows[key].columns, "options": odd})
    free = one._replace(seats=tuple(seat._replace(tunnel_ip=None) for seat in one.seats))
    plan, _ = logical.bring(W1, {"blue": free}, seen._replace(rows={**seen.rows, key: found}))
    said = words(plan)
    at = len(said) - said[::-1].index("remove") - 1
    assert said[at : at + 5] == [
        "remove",
        "Logical_Switch_Port",
        found.uuid,
        "options",
        "requested-chassis",
    ]


def test_what_goes_goes_whole_and_the_router_with_the_last() -> None:
    networks = wanted(*BOTH)
    seen = central(*networks.values())
    first = logical.remove(["blue", "red"], seen)
    assert {c.network: c.action for c in first.changes} == {"blue": "remove", "red": "nothing"}
    said = words(first)
    gone = {said[at + 2] for at, word in enumerate(said) if word == "destroy"}
    assert gone == {"uuid of blue switch", "uuid of blue leases"}
    # Its ports go with its switch; of the router only its own part goes.
    taken = {said[at + 4] for at, word in enumerate(said) if word == "remove"}
    assert taken == {
        *("uuid of blue router port", "uuid of blue way to blue", "uuid of blue way to green"),
    }
    both = words(logical.remove(["blue", "green"], seen))
    assert "uuid of * router" in both
    assert "remove" not in both
    assert logical.remove(["red"], seen).block is None


def test_networks_that_hosts_toml_does_not_have_are_left_over_unless_a_port_is_up() -> None:
    seen = central(*wanted(*BOTH).values())
    assert pruning.carried(seen, ["blue", "green"]) == []
    assert pruning.carried(seen, ["green"]) == [Leftover("network of OVN", "blue")]
    key = Key("blue", "port web:eth0")
    port = seen.rows[key]
    up = port._replace(columns={**port.columns, "up": "true"})
    (found,) = pruning.carried(seen._replace(rows={**seen.rows, key: up}), ["green"])
    assert "web:eth0 is up" in found.kept


def test_a_subnet_that_another_file_routes_is_refused() -> None:
    mine, other = wanted(*BOTH), wanted(*BOTH)
    foreign = {k: v._replace(name="theirs") if k == "blue" else v for k, v in other.items()}
    seen = central(foreign["blue"])
    plan, refused = logical.bring(W1, mine, seen)
    assert list(refused) == ["blue"]
    assert "OVN routes 192.168.0.0/24 to network theirs" in refused["blue"].what
    assert [c.network for c in plan.changes] == ["green"]


# What the central says


def tables(found: Iterable[Found]) -> str:
    lines = []
    for table in ovn.TABLES:
        mine = [one for one in found if one.table == table]
        names = sorted({name for one in mine for name in one.columns} - {"external_ids"})
        data = [
            [
                ["uuid", one.uuid],
                ["map", [[ovn.NET, one.key.network], [ovn.PART, one.key.part]]],
                *(_as_json(one.columns.get(name, ())) for name in names),
            ]
            for one in mine
        ]
        lines.append(json.dumps({"headings": ["_uuid", "external_ids", *names], "data": data}))
    return "\n".join(lines) + "\n"


def _as_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return ["map", [[k, v] for k, v in value.items()]]
    return (
        ["set", list(value)]
        if isinstance(value, tuple) and len(value) != 1
        else (value[0] if isinstance(value, tuple) else value)
    )


def test_what_is_read_back_is_what_was_written() -> None:
    networks = wanted(*BOTH)
    seen = central(*networks.values())
    south = {"headings": ["ip", "chassis_name"], "data": [list(pair) for pair in CHASSIS.items()]}
    parts = (
        ("sum", b"abc  -\n"),
        ("north", tables(seen.rows.values()).encode()),
        ("south", json.dumps(south).encode()),
    )
    step = Step("", ())
    found = CENTRAL.read(StepResult(step, 0, parts=parts))
    assert found.sum == "abc"
    assert found.chassis == CHASSIS
    assert found.networks == ("blue", "green")
    assert logical.bring(W1, networks, found)[0].block is None


@given(st.text() | st.binary().map(lambda raw: raw.decode(errors="replace")))
def test_what_cannot_be_read_is_a_value_error_and_nothing_else(text: str) -> None:
    for one in (text, "\n".join([text] * 6), "\n".join(['{"headings": [], "data": [[1]]}'] * 6)):
        with contextlib.suppress(ValueError):
            assert ovn.parse(one) == ()


def test_a_share_has_what_ovn_carries_and_what_it_no_longer_does() -> None:
    listed = read(BLUE, "[networks.old]\nvlan_id = 7\n", WEB)
    found = share(listed, ["blue", "old"])
    assert isinstance(found, Share)
    assert (list(found.wanted), found.gone) == (["blue"], ("old",))
