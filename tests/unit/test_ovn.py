"""Networks that OVN carries: what hosts.toml may say of them, their rows, and what is decided."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.core.devices import nic
from vmops.core.devices.network.logical import Logical, Share, router, rows, share
from vmops.core.devices.nic import Plugging, Wiring
from vmops.core.facts.network.central import CENTRAL, Central
from vmops.core.facts.network.following import Following, Outer, following
from vmops.core.inventory.inventory import Inventory, Part, parse
from vmops.core.inventory.model import VM, Interface, Worker
from vmops.core.inventory.written_out import as_toml
from vmops.core.plan.checks import ovn_cure
from vmops.core.plan.network import following as setting_up
from vmops.core.plan.network import logical
from vmops.core.plan.network.serving import Plan
from vmops.core.plan.upkeep import pruning
from vmops.core.plan.upkeep.pruning import Leftover
from vmops.core.script.command import Step, StepResult
from vmops.core.tools import ip, ovn, ovs
from vmops.core.tools.ovn import Found, Key, Row
from vmops.errors import InventoryError, WorkFailed

W1 = Worker("w1", address="10.0.0.1")
W2 = Worker("w2", address="10.0.0.2")
HEAD = """
[ovn]
northbound = "w1"
[workers.w1]
address = "10.0.0.1"
[workers.w2]
address = "10.0.0.2"
"""
BLUE = '[networks.blue]\nengine = "ovn"\nsubnet = "192.168.0.0/24"\n'
GREEN = '[networks.green]\nengine = "ovn"\nsubnet = "192.168.1.0/24"\n'
CHASSIS = {"10.0.0.1": "uuid-of-w1", "10.0.0.2": "uuid-of-w2"}
AT_ONE = {"activation-strategy": None}
"""Of the options of a port that is not on its way."""


def a_vm(name: str, interface: str, worker: str = "w1") -> str:
    return (
        f"[vms.{name}]\nvm_id = {sum(map(ord, name))}\nram_mb = 32\ncores = 1\n"
        f'qcow_image = "/{name}.qcow2"\nworker = "{worker}"\ninterfaces = [{{ name = "eth0",'
        f" {interface} }}]\n"
    )


WEB = a_vm("web", 'network = "blue"')
DB = a_vm("db", 'network = "green"', "w2")


def read(*parts: str, head: str = HEAD) -> Inventory:
    return parse(head + "".join(parts), source="hosts.toml")


def complaints(*parts: str, head: str = HEAD) -> str:
    with pytest.raises(InventoryError) as caught:
        read(*parts, head=head)
    return str(caught.value)


# hosts.toml


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        (
            "vlan_id = 5\ndns = true",
            "networks.blue.dns: True: must be left out, as others are in VLAN 5 too",
        ),
        ('vlan_id = 5\nreach = ["green"]', "networks.blue.reach: "),
        ("vlan_id = 9", "networks.old.vlan_id: 9: must differ from networks.blue.vlan_id"),
        ("internet = true", "networks.blue.internet: True: needs gateways, outside and next_hop"),
        ('network_node = "w1"', "networks.blue.network_node: 'w1': must be left out, as OVN"),
        (
            'dhcp = true\nrange = "192.168.0.9-192.168.0.10"',
            "networks.blue.range: '192.168.0.9-192.168.0.10': must be left out",
        ),
        ('forward = [{ port = 80, to = "web:80" }]', "networks.blue.forward: "),
        ('reach = ["old"]', "networks.blue.reach[0]: 'old': must have the same engine"),
        ('engine = "vxlan"', 'networks.blue.engine: \'vxlan\': must be one of "vlan", "ovn"'),
    ],
)
def test_what_it_cannot_do_is_refused_and_not_ignored(said: str, complaint: str) -> None:
    old = '[networks.old]\nvlan_id = 9\nsubnet = "192.168.9.0/24"\n'
    blue = BLUE.replace('engine = "ovn"\n', "") if said.startswith("engine") else BLUE
    text = complaints(blue + said + "\n", old, WEB)
    assert complaint in text


@pytest.mark.parametrize(
    ("interface", "complaint"),
    [
        (
            "trunks = [7]",
            "vms.web.interfaces[0].trunks: [7]: must be left out, as OVN knows no VLANs",
        ),
        ("vlan_id = 7", "vms.web.interfaces[0].vlan_id: 7: must be left out, as network blue says"),
        (
            'engine = "ovn"',
            "vms.web.interfaces[0].engine: 'ovn': must be left out, as network blue",
        ),
    ],
)
def test_an_interface_says_nothing_beside_its_network(interface: str, complaint: str) -> None:
    assert complaint in complaints(BLUE, a_vm("web", f'network = "blue", {interface}'))


@pytest.mark.parametrize(
    ("head", "complaint"),
    [
        (HEAD.partition("[workers")[1] + HEAD.partition("[workers")[2], "ovn.northbound: missing"),
        (HEAD.replace('"w1"', '"w3"', 1), "ovn.northbound: 'w3': is not a worker"),
        (HEAD.replace("10.0.0.1", "first.example"), "workers.w1.encap_ip: missing: must be given"),
        (HEAD.replace("10.0.0.1", "127.0.0.1"), "workers.w1.encap_ip: missing: must be given"),
        (
            HEAD.replace("[workers.w2]", 'bridge = "br-ovn"\n[workers.w2]'),
            "workers.w1.bridge: 'br-ovn'",
        ),
    ],
)
def test_what_ovn_needs_of_the_rest_of_the_file(head: str, complaint: str) -> None:
    assert complaint in complaints(BLUE, WEB, head=head)


def test_a_worker_without_a_part_in_ovn_needs_no_address_for_it() -> None:
    listed = read(BLUE, WEB, head=HEAD.replace("10.0.0.2", "second.example"))
    assert listed.workers["w2"].tunnel_ip is None
    assert listed.ovn_workers == {"w1"}
    given = HEAD.replace('"10.0.0.1"', '"first.example"\nencap_ip = "172.16.0.1"')
    assert read(BLUE, WEB, head=given).workers["w1"].tunnel_ip == "172.16.0.1"


def test_an_engine_for_all_networks_and_one_that_has_another() -> None:
    defaults = '[defaults]\nengine = "ovn"\nnetwork_node = "w1"\n'
    old = '[networks.old]\nengine = "vlan"\nvlan_id = 9\n'
    listed = read(defaults, BLUE.replace('engine = "ovn"\n', ""), old, WEB)
    assert [one.engine for one in listed.networks.values()] == ["ovn", "vlan"]
    assert listed.networks["blue"].network_node is None
    assert listed.networks["old"].network_node == "w1"
    assert listed.vms["web"].nics[0].port == "web:eth0"


def test_a_mac_of_two_vms_in_one_network_is_a_conflict_wherever_they_run() -> None:
    mac = 'network = "{}", mac = "52:54:00:00:00:09"'
    both = a_vm("web", mac.format("blue")), a_vm("db", mac.format("blue"), "w2")
    assert "both are on network blue" in complaints(BLUE, *both)
    read(BLUE, GREEN, both[0], a_vm("db", mac.format("green"), "w2"))


def test_a_vm_is_the_same_after_its_dict_and_after_its_toml() -> None:
    listed = read(BLUE, "dhcp = true\n", GREEN, 'reach = ["blue"]\n', WEB, DB)
    for vm in listed.vms.values():
        again = VM.from_dict(vm.to_dict())
        assert again.interfaces == vm.interfaces
        assert again.nics == vm.nics
    written = parse(as_toml(listed, list(listed.vms.values())), source="hosts.toml")
    assert [n.to_dict() for n in written.networks.values()] == [
        n.to_dict() for n in listed.networks.values()
    ]
    assert written.northbound == "w1"
    for name, vm in listed.vms.items():
        same = [(nic.tap, nic.mac, nic.attachment) for nic in vm.nics]
        assert [(nic.tap, nic.mac, nic.attachment) for nic in written.vms[name].nics] == same


@pytest.mark.parametrize(
    "values", [{}, {"network": "n", "vlan_id": 5}, {"network": "n", "trunks": (5,)}]
)
def test_an_interface_of_ovn_has_a_network_and_no_vlan(values: dict[str, Any]) -> None:
    with pytest.raises(InventoryError):
        Interface("eth0", engine="ovn", **values)


# Rows


def there(*wanted: Row, marks: Mapping[str, str] | None = None) -> dict[Key, Found]:
    """Rows as the database has them when they have been written."""
    uuids = {row.key: f"uuid of {row.key.network} {row.key.part}" for row in wanted}
    found = {}
    for row in wanted:
        columns: dict[str, Any] = {
            name: {k: v for k, v in value.items() if v is not None}
            if isinstance(value, Mapping)
            else value
            for name, value in row.columns.items()
        }
        columns |= {name: uuids[key] for name, key in row.refers.items()}
        for inner in wanted:
            if inner.inside is not None and inner.inside[0] == row.key:
                column = inner.inside[1]
                columns[column] = (*columns.get(column, ()), uuids[inner.key])
        found[row.key] = Found(row.key, row.table, uuids[row.key], columns)
    return found


def central(*networks: Logical) -> Central:
    wanted = [row for one in networks for row in rows(one, CHASSIS)]
    if any(one.reach for one in networks):
        wanted += router()
    return Central(there(*wanted), CHASSIS, "sum")


def wanted(*parts: str, head: str = HEAD) -> dict[str, Logical]:
    listed = read(*parts, head=head)
    return dict(share(listed, list(listed.networks)).wanted)


BOTH = (BLUE, 'dhcp = true\nreach = ["green"]\n', GREEN, WEB, DB)


def words(found: Plan) -> list[str]:
    assert found.block is not None
    return list(found.block.numbered()[0].commands[0].words())


def changes(plan: Plan) -> dict[str, tuple[str, list[str]]]:
    return {c.network: (c.action, [str(d) for d in c.drift]) for c in plan.changes}


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


def test_a_worker_of_such_a_network_maps_the_bridge_of_vlans_beside_what_is_there() -> None:
    part = read(BLUE + "vlan_id = 30\n", WEB).part_of(W1)
    assert part == Part(W1, vlans=True)
    for there, label, mapped in (
        ("", "vlans", "vmops-vlans:br-int"),
        ("theirs:br-ex", "vlans", "theirs:br-ex,vmops-vlans:br-int"),
        ("vmops-vlans:br-old,theirs:br-ex", "vlans", "theirs:br-ex,vmops-vlans:br-int"),
        ("vmops-vlans:br-int,theirs:br-ex", "vlans", "vmops-vlans:br-int,theirs:br-ex"),
    ):
        found = Following(settings={"ovn-bridge-mappings": there})
        assert setting_up.wanted(W1, part, found)[label] == {"ovn-bridge-mappings": mapped}
    both = Following(outer=Outer("br-ex", is_bridge=True))
    assert setting_up.wanted(W1, part, both)["outside"] == {
        "ovn-bridge-mappings": "vmops-outside:br-ex,vmops-vlans:br-int"
    }
    assert "vlans" not in setting_up.wanted(W1, Part(W1), Following())


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


# The port on a worker


def listed_vm() -> VM:
    return read(BLUE, WEB).vms["web"]


def plugged(**changes: Any) -> Wiring:
    vm = listed_vm()
    marks = {ovs.OWNER: "web", "iface-id": "web:eth0", "ovn-installed": "true"}
    port = ovs.Port(vm.nics[0].tap, "br-ovn", None, external_ids=marks, ofport=1)
    port = port._replace(**changes)
    switch = ovs.Switch({"br-int": "", "br-ovn": ""}, {port.name: port})
    return Wiring(switch, {port.name: ip.Tap(ip.alias("web"))})


def test_its_port_has_no_tag_and_ovns_name_and_is_waited_for() -> None:
    vm = listed_vm()
    job = Plugging(W1, vm, Wiring(ovs.Switch({"br-int": "", "br-ovn": ""})), 0)
    ((step,), _) = nic.plugging(job, vm.connected, strict=False)
    assert isinstance(step, Step)
    said = [list(entry.words()) for entry in step.commands]
    plug = next(each for each in said if "add-port" in each)
    assert plug[plug.index("add-port") : plug.index("add-port") + 4] == [
        *("add-port", "br-ovn", vm.nics[0].tap, "--"),
    ]
    assert 'external_ids:iface-id="web:eth0"' in plug
    assert said[-1] == ["holds_logical_ports", vm.nics[0].tap, "web:eth0"]
    assert nic.port_drift(W1, vm, vm.nics[0], plugged()) == []


@pytest.mark.parametrize(
    ("changes", "drift"),
    [
        ({"bridge": "br-int", "tag": 5}, "interfaces.eth0.bridge: br-int -> br-ovn"),
        (
            {"external_ids": {ovs.OWNER: "web", "iface-id": "x", "ovn-installed": "true"}},
            "interfaces.eth0.vlan_id: OVN port x -> OVN port web:eth0",
        ),
        (
            {"external_ids": {ovs.OWNER: "web", "iface-id": "web:eth0"}},
            "interfaces.eth0.ovn: not installed -> installed",
        ),
    ],
)
def test_a_port_that_is_not_as_it_should_be_gets_a_new_row(
    changes: dict[str, Any], drift: str
) -> None:
    vm, wiring = listed_vm(), plugged(**changes)
    assert drift in map(str, nic.port_drift(W1, vm, vm.nics[0], wiring))
    ((step,), _) = nic.plugging(Plugging(W1, vm, wiring, 0), vm.connected, strict=False)
    assert isinstance(step, Step)
    first = step.commands[0].words()
    assert first[1:] == ("--", "--if-exists", "del-port", vm.nics[0].tap)
    # What was there is put back where it fails, but for what OVN had said of the row that has gone.
    back = " ".join(word for entry in step.undo for word in entry.words())
    assert "ovn-installed" not in back


SWITCH = "\n".join(
    json.dumps({"headings": head, "data": []})
    for head in (
        ["name", "datapath_type", "fail_mode", "ports"],
        ["_uuid", "name", "tag", "trunks", "vlan_mode", "fake_bridge", "protected", "interfaces"],
        ["_uuid", "name", "external_ids", "ofport", "error", "type", "options"],
    )
)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("", ""),
        ("ovn gone", "ovn-controller does not run"),
        ("ovn not connected", "ovn-controller has no connection to OVN's central"),
        ("ovn deaf", "ovn-controller does not answer"),
        ("ovn untold", "ovn-controller was not told where OVN's central is"),
        ("ovn something new", "ovn-controller says 'something new'"),
    ],
)
def test_a_controller_that_follows_nobody_is_told_of_ovns_bridge_alone(said: str, why: str) -> None:
    found = ovs.parse(f"{SWITCH}\n{said}\n")
    assert found.lifeless("br-ovn") == why
    assert found.lifeless("br-int") == ""


def test_one_that_was_told_nothing_is_set_up_and_any_other_restarted() -> None:
    untold, gone = (ovs.ovn_fault(word) for word in ("untold", "gone"))
    assert ovn_cure("w1", untold) == "fab -H w1 ovn.setup"
    assert ovn_cure("w1", gone) == "there: sudo systemctl restart ovn-controller"


# What makes a worker follow


def test_a_worker_is_set_up_by_three_commands_and_then_left_alone() -> None:
    found = Following(datapath="netdev", fault="ovn-controller has no connection to OVN's central")
    setup = setting_up.set_up(W2, Part(W1), found)
    assert setup.labels == ("bridge", "tunnels", "central", "connected")
    groups = setting_up.wanted(W2, Part(W1), found)
    assert groups["central"] == {"ovn-remote": "tcp:10.0.0.1:6642"}
    assert groups["bridge"] == {
        "ovn-bridge": "br-ovn",
        "ovn-bridge-datapath-type": "netdev",
        "system-id": "w2",
    }
    settings = {key: value for group in groups.values() for key, value in group.items()}
    ready = Following(settings={**settings, "system-id": "its own"}, datapath="netdev")
    assert setting_up.set_up(W2, Part(W1), ready).block is None
    assert all(check.ok for check in setting_up.checks(W2, Part(W1), ready))


def test_the_centrals_worker_listens_too() -> None:
    assert setting_up.set_up(W1, Part(W1), Following()).labels[0] == "listen"
    elsewhere = Following(listens=("ptcp:6642:10.9.9.9", "pssl:6642:10.9.9.9"))
    assert setting_up.set_up(W1, Part(W1), elsewhere).labels[0] == "listen"
    for where in ("ptcp:6642", "ptcp:6642:0.0.0.0", "ptcp:6642:10.0.0.1"):
        assert setting_up.set_up(W1, Part(W1), Following(listens=(where,))).labels[0] == "bridge"


@pytest.mark.parametrize(
    ("found", "what", "cure"),
    [
        (
            Following(missing=("ovn-controller",)),
            "no ovn-controller",
            "external_ids:ovn-bridge=br-ovn",
        ),
        (Following(missing=("ovn-nbctl",)), "no ovn-nbctl", "apt install ovn-central"),
        (
            Following(settings={"ovn-remote": "ssl:10.7.7.7:6642"}),
            "follows another central, ssl:10.7.7.7:6642",
            "remove Open_vSwitch . external_ids ovn-remote",
        ),
    ],
)
def test_nothing_is_installed_and_nobodys_worker_taken(
    found: Following, what: str, cure: str
) -> None:
    with pytest.raises(WorkFailed) as caught:
        setting_up.set_up(W1, Part(W1), found)
    assert what in caught.value.what
    assert cure in caught.value.cure


def test_what_a_worker_says_of_its_part() -> None:
    settings = {"headings": ["external_ids"], "data": [[["map", [["ovn-remote", "tcp:x:6642"]]]]]}
    parts = {
        "missing": "ovn-nbctl\n",
        "settings": json.dumps(settings) + "\n",
        "datapath": "netdev\n",
        "state": "ovn not connected\n",
        "listens": 'read-write role="" ptcp:6642\n',
        "keys": "switch\ncentral\n",
        "outside": "eth1 device br-vmops 10.9.0.1/24 10.9.0.2/24\n",
    }
    said = StepResult(
        Step("", ()), 0, parts=tuple((name, text.encode()) for name, text in parts.items())
    )
    found = following(W1, Part(W1, "eth1")).read(said)
    assert found == Following(
        ("ovn-nbctl",),
        {"ovn-remote": "tcp:x:6642"},
        "netdev",
        "ovn-controller has no connection to OVN's central",
        ("ptcp:6642",),
        Outer("eth1", port_of="br-vmops", addresses=("10.9.0.1/24", "10.9.0.2/24")),
        keys=("switch", "central"),
    )


def test_a_share_has_what_ovn_carries_and_what_it_no_longer_does() -> None:
    listed = read(BLUE, "[networks.old]\nvlan_id = 7\n", WEB)
    found = share(listed, ["blue", "old"])
    assert isinstance(found, Share)
    assert (list(found.wanted), found.gone) == (["blue"], ("old",))
