"""What hosts.toml may say of networks that OVN carries."""

from __future__ import annotations

from typing import Any

import pytest

from vmops.core.inventory.inventory import parse
from vmops.core.inventory.model import VM, Interface
from vmops.core.inventory.written_out import as_toml
from vmops.errors import InventoryError

from .ovn_networks import BLUE, DB, GREEN, HEAD, WEB, a_vm, complaints, read


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
