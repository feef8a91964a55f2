"""[networks] of hosts.toml: what it may say, the addresses that it hands out, and trunks."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.core.inventory.attachment import Trunk, Vlan
from vmops.core.inventory.complaints import InvalidValue
from vmops.core.inventory.inventory import Inventory, parse
from vmops.core.inventory.model import VM, Interface
from vmops.core.inventory.networks.addresses import hand_out
from vmops.core.inventory.networks.model import Forward, Network
from vmops.core.inventory.written_out import as_json, as_toml
from vmops.core.tools import ovs

from .test_inventory import complaints

HEAD = """
[defaults]
network_node = "w1"
uplink = "eth0"
[workers.w1]
address = "10.0.0.1"
[workers.w2]
address = "10.0.0.2"
[vm_defaults]
ram_mb = 1
cores = 1
qcow_image = "/{name}"
worker = "w1"
"""
BLUE = '[networks.blue]\nvlan_id = 100\nsubnet = "192.168.0.0/24"\n'
GREEN = '[networks.green]\nvlan_id = 200\nsubnet = "192.168.2.0/24"\n'


def a_vm(name: str, *interfaces: str) -> str:
    listed = ", ".join(f'{{ name = "eth{n}", {keys} }}' for n, keys in enumerate(interfaces))
    return f"[vms.{name}]\nvnc_port = {5900 + len(name)}\ninterfaces = [{listed}]\n"


def read(*parts: str) -> Inventory:
    return parse(HEAD + "".join(map(dedent, parts)), source="hosts.toml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[networks.n]", "networks.n.vlan_id: missing: must be 1 to 4094"),
        (
            '[networks.n]\nvlan_id = 1\nsubnet = "10.0.0.5/24"',
            "networks.n.subnet: '10.0.0.5/24': must be an IPv4 subnet of 8 to 30 bits by its first"
            ' address, as in "192.168.0.0/24"',
        ),
        (
            "[networks.n]\nvlan_id = 1\ndhcp = true",
            "networks.n.dhcp: True: must be left out, as there is no subnet",
        ),
        (
            BLUE + 'gateway = "192.168.1.1"',
            "networks.blue.gateway: '192.168.1.1': must be in 192.168.0.0/24",
        ),
        (
            BLUE + 'gateway = "192.168.0.255"',
            "networks.blue.gateway: '192.168.0.255': must be a host's, and this one is for"
            " broadcasts",
        ),
        (
            BLUE + 'range = "192.168.0.5-192.168.0.9"',
            "networks.blue.range: '192.168.0.5-192.168.0.9': must be left out, as there is no dhcp",
        ),
        (
            BLUE + 'dhcp = true\nrange = "192.168.0.1-192.168.0.9"',
            "networks.blue.range: '192.168.0.1-192.168.0.9': must not have the gateway,"
            " 192.168.0.1, in it",
        ),
        (
            BLUE + "[networks.n]\nvlan_id = 100",
            "networks.n.vlan_id: 100: must differ from networks.blue.vlan_id",
        ),
        (
            BLUE + '[networks.n]\nvlan_id = 1\nsubnet = "192.168.0.128/25"',
            "networks.n.subnet: '192.168.0.128/25': must have no address in common with"
            " networks.blue.subnet, 192.168.0.0/24",
        ),
        (
            BLUE + 'reach = ["gren"]\n' + GREEN,
            "networks.blue.reach[0]: 'gren': is not a network; did you mean \"green\"?",
        ),
        (BLUE + 'reach = ["blue"]', "networks.blue.reach[0]: 'blue': must be another network"),
        (
            BLUE + 'reach = ["n"]\n[networks.n]\nvlan_id = 1',
            "networks.blue.reach[0]: 'n': must be a network that has a subnet",
        ),
        (
            BLUE + 'reach = ["green"]\n' + GREEN + 'network_node = "w2"',
            "networks.blue.reach[0]: 'green': must have the same network_node: they are w1 and w2",
        ),
        (
            BLUE + 'network_node = "w3"\n',
            "networks.blue.network_node: 'w3': is not a worker; there is: w1, w2",
        ),
        (
            BLUE + 'forward = [{ port = 8022, to = "web:22" }]\n',
            "networks.blue.forward[0].to: 'web:22': must be a VM with an interface in blue",
        ),
        (
            BLUE
            + 'forward = [{ port = 22, to = "web:22" }]\n'
            + a_vm("web", 'network = "blue"'),
            "networks.blue.forward[0].port: 22: must not be the port of SSH on the network node",
        ),
        (
            BLUE
            + 'forward = [{ port = 80, to = "web:22" }, { port = 80, to = "web:23" }]\n'
            + a_vm("web", 'network = "blue"'),
            "networks.blue.forward[1].port: 80: must differ from networks.blue.forward[0].port:"
            " both are on w1",
        ),
        (
            BLUE + "forward = [{ port = 80 }]\n",
            'networks.blue.forward[0].to: missing: must be a VM and a port, as in "web1:22"',
        ),
        (
            BLUE + a_vm("web", 'network = "blu"'),
            "vms.web.interfaces[0].network: 'blu': is not a network; did you mean \"blue\"?",
        ),
        (
            BLUE + a_vm("web", 'network = "blue", vlan_id = 100'),
            "vms.web.interfaces[0].vlan_id: 100: must be left out, as network blue says it",
        ),
        (
            BLUE + a_vm("web", 'network = "blue", address = "192.168.1.5"'),
            "vms.web.interfaces[0].address: '192.168.1.5': must be in 192.168.0.0/24",
        ),
        (
            BLUE + a_vm("web", 'network = "blue", address = "192.168.0.5/16"'),
            "vms.web.interfaces[0].address: '192.168.0.5/16': must have the prefix of"
            " 192.168.0.0/24, or none",
        ),
        (
            BLUE + a_vm("web", 'network = "blue", address = "192.168.0.1"'),
            "vms.web.interfaces[0].address: '192.168.0.1': must not be the gateway of blue",
        ),
        (
            BLUE + "dhcp = true\n"
            + a_vm("a", 'network = "blue", address = "192.168.0.5"')
            + a_vm("bb", 'network = "blue", address = "192.168.0.5"'),
            "vms.bb.interfaces[0].address: '192.168.0.5': must differ from that of a/eth0: both"
            " are in blue",
        ),
        (
            '[networks.n]\nvlan_id = 1\nsubnet = "10.0.0.0/30"\n'
            + a_vm("a", 'network = "n"', 'network = "n", address = "10.0.0.2"'),
            "vms.a.interfaces[0].address: missing: must be given, as 10.0.0.0/30 has no address"
            " left",
        ),
        (
            a_vm("a", "vlan_id = 5, trunks = [5, 6]"),
            "vms.a.interfaces[0].trunks: [5, 6]: must not have 5, the VLAN whose frames have no"
            " tag",
        ),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_path_value_and_rule(text: str, expected: str) -> None:
    assert complaints(HEAD + text) == (f"hosts.toml: {expected}",)


def test_services_need_a_node_and_what_leads_out_an_uplink() -> None:
    bare = '[workers.w1]\naddress = "10.0.0.1"\n'
    assert complaints(bare + BLUE + "dns = true") == (
        "hosts.toml: networks.blue.network_node: missing: must be the name of one of the workers:"
        " dns needs one: set it here or in [defaults]",
    )
    assert complaints(bare + BLUE + 'network_node = "w1"\ninternet = true') == (
        "hosts.toml: networks.blue.internet: True: needs the way out of w1: uplink in [defaults]"
        " or workers.w1",
    )


def test_all_faults_of_networks_come_at_once() -> None:
    text = HEAD + BLUE + GREEN.replace("200", "100") + a_vm("a", 'network = "x"', 'network = "y"')
    assert len(complaints(text)) == 3


def test_what_a_network_says_of_an_interface() -> None:
    listed = read(
        BLUE,
        "internet = true\ndns = true\n",
        GREEN,
        "dhcp = true\n",
        a_vm("a", 'network = "blue", address = "192.168.0.9"', 'network = "green"', "vlan_id = 7"),
    )
    static, leased, plain = listed.vms["a"].interfaces
    assert static == Interface(
        "eth0",
        vlan_id=100,
        network="blue",
        address="192.168.0.9/24",
        gateway="192.168.0.1",
        dns=("192.168.0.1",),
    )
    assert leased == Interface("eth1", vlan_id=200, network="green", dhcp=True)
    assert plain == Interface("eth2", vlan_id=7)
    (member,) = listed.networks["green"].members
    assert IPv4Address(member.address) in IPv4Network("192.168.2.0/24")
    assert (member.vm, member.interface, member.given) == ("a", "eth1", False)
    assert member.mac == listed.vms["a"].nics[1].mac
    assert listed.networks["blue"].address_of("a") == "192.168.0.9"


def test_reach_holds_both_ways() -> None:
    listed = read(BLUE, 'reach = ["green"]\n', GREEN)
    assert listed.networks["green"].reach == ("blue",)
    assert listed.networks["green"].served


def test_a_network_without_services_needs_no_node() -> None:
    listed = parse(BLUE, source="hosts.toml")
    assert not listed.networks["blue"].served
    assert listed.networks["blue"].gateway == "192.168.0.1"


def test_what_is_printed_means_the_same() -> None:
    listed = read(
        BLUE,
        'dhcp = true\nforward = [{ port = 80, to = "a:8080", protocol = "udp" }]\nmtu = 1450\n',
        a_vm("a", 'network = "blue"', "vlan_id = 9, trunks = [7, 5]"),
    )
    again = parse(as_toml(listed, tuple(listed.vms.values())), source="hosts.toml")
    before, after = listed.vms["a"].nics, again.vms["a"].nics
    same = ("tap", "mac", "vlan_id", "model", "attachment")
    for key in same:
        assert [getattr(nic, key) for nic in after] == [getattr(nic, key) for nic in before]
    assert after[0].interface.dhcp
    there = {name: [m[:4] for m in n.members] for name, n in again.networks.items()}
    assert there == {name: [m[:4] for m in n.members] for name, n in listed.networks.items()}
    assert again.networks["blue"].forward == (Forward(80, "a", 8080, "udp"),)
    (shown,) = as_json(listed, tuple(listed.vms.values()))["networks"]
    assert shown["values"]["forward"] == [{"port": 80, "to": "a:8080", "protocol": "udp"}]
    assert shown["from"]["network_node"] == "[defaults]"


def test_a_network_that_is_built_by_hand_is_held_to_the_rules() -> None:
    assert Network("n", vlan_id=5, subnet="10.0.0.0/255.0.0.0").subnet == "10.0.0.0/8"
    with pytest.raises(InvalidValue, match="dhcp: True: must be left out"):
        Network("n", vlan_id=5, dhcp=True)


NAMES = st.lists(st.text("abcdef0123456789", min_size=1, max_size=6), unique=True, max_size=60)


@given(NAMES, st.sets(st.integers(-5, 300), max_size=200))
def test_numbers_differ_and_do_not_depend_on_the_order(names: list[str], taken: set[int]) -> None:
    found = hand_out(names, 250, taken)
    assert found == hand_out(reversed(names), 250, taken)
    assert len(set(found.values())) == len(found)
    assert not set(found.values()) & taken
    assert all(0 <= number < 250 for number in found.values())
    free = 250 - len({n for n in taken if 0 <= n < 250})
    assert len(found) == min(len(names), free)


@given(NAMES.filter(bool))
def test_another_name_moves_few(names: list[str]) -> None:
    *before, _ = names
    old, new = hand_out(before, 65000), hand_out(names, 65000)
    assert sum(old[name] != new[name] for name in before) <= 1


def test_attachments_and_their_columns() -> None:
    vm = VM.from_dict(
        {
            "vm_id": 1,
            "name": "a",
            "ram_mb": 1,
            "cores": 1,
            "vnc_port": 5900,
            "qcow_image": "/a",
            "interfaces": [
                {"name": "eth0", "vlan_id": 5},
                {"name": "eth1", "trunks": [9, 7]},
                {"name": "eth2", "vlan_id": 5, "trunks": [7]},
                {"name": "eth3"},
            ],
        }
    )
    attachments = [nic.attachment for nic in vm.nics]
    assert attachments == [Vlan(5), Trunk((7, 9)), Trunk((7,), 5), None]
    assert ovs.columns(attachments[1]) == ("tag=[]", "trunks=[7,9]", "vlan_mode=trunk")
    assert ovs.columns(attachments[2]) == ("tag=5", "trunks=[7]", "vlan_mode=native-untagged")
    assert VM.from_dict(vm.to_dict()) == vm
    ports = [
        ovs.Port("p", "br", 5),
        ovs.Port("p", "br", None, (7, 9), "trunk"),
        ovs.Port("p", "br", 5, (7,), "native-untagged"),
    ]
    assert [ovs.attached(port) for port in ports] == [str(a) for a in attachments[:3]]
    others = [
        ovs.Port("p", "br", None, (), "trunk"),
        ovs.Port("p", "br", 5, (7,), ""),
        ovs.Port("p", "br", 5, (), "native-untagged"),
        ovs.Port("p", "br", None, (7, 9), "native-untagged"),
    ]
    assert not {ovs.attached(port) for port in others} & {str(a) for a in attachments[:3]}


@pytest.mark.parametrize("address", ["192.168.0.9", "192.168.0.9/24"])
def test_an_address_that_a_vm_gives_itself_is_not_said_by_the_network(address: str) -> None:
    listed = read(BLUE, a_vm("web", f'network = "blue", address = "{address}"'))
    (line,) = [x for x in as_toml(listed, tuple(listed.vms.values())).split("\n") if "0.9" in x]
    assert "#" not in line
    assert listed.origins["vms", "web", "interfaces.0.vlan_id"] == "[networks.blue]"


@pytest.mark.parametrize(
    ("before", "after", "where"),
    [
        ('uplink = "eth0"', "uplink = 5", "defaults.uplink"),
        ('uplink = "eth0"', 'uplink = ""', "defaults.uplink"),
        ('network_node = "w1"', "network_node = 5", "defaults.network_node"),
        ('network_node = "w1"', "", "networks.blue.network_node"),
    ],
)
def test_what_cannot_be_read_is_not_told_to_be_missing(before: str, after: str, where: str) -> None:
    text = HEAD.replace(before, after) + BLUE + "internet = true\n"
    text += "" if after else "network_node = 5\n"
    (said,) = complaints(text)
    assert said.startswith(f"hosts.toml: {where}: ")
    assert "missing" not in said
