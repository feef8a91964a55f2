"""Which door leads to a guest: the VLAN, and addresses that nobody is known to have."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.core.inventory.inventory import Inventory, parse
from vmops.core.plan.proof.doors import CHOICE, address_of, door_to
from vmops.core.tools.proof import door as doors
from vmops.core.tools.proof.door import Door, Echo, Seat
from vmops.errors import InventoryError

HEAD = """
[workers.w1]
address = "192.0.2.1"
"""


def listed(network: str, *interfaces: str) -> Inventory:
    text = HEAD + network
    for number, interface in enumerate(interfaces, start=1):
        text += f"""
[vms.vm{number}]
vm_id = {number}
worker = "w1"
ram_mb = 32
cores = 1
vnc_port = 59{number:02}
qcow_image = "~/{number}.qcow2"
interfaces = [{{ name = "eth0", {interface} }}]
"""
    return parse(text, source="hosts.toml")


def blue(more: str = "", subnet: str = "192.168.7.0/24") -> str:
    return f'[networks.blue]\nvlan_id = 101\nsubnet = "{subnet}"\n{more}\n'


def test_the_address_of_an_interface_with_its_prefix() -> None:
    found = listed(
        blue(), 'network = "blue", address = "192.168.7.9"', "vlan_id = 5",
        'vlan_id = 5, address = "10.0.0.4/16"',
    )  # fmt: skip
    vms = list(found.vms.values())
    assert [address_of(found, vm, vm.nics[0]) for vm in vms] == [
        IPv4Interface("192.168.7.9/24"),
        None,
        IPv4Interface("10.0.0.4/16"),
    ]


def test_a_door_takes_what_nobody_has_from_the_top() -> None:
    found = listed(
        blue('gateway = "192.168.7.254"\nmtu = 1450'),
        'network = "blue", address = "192.168.7.252"',
        'vlan_id = 101, address = "192.168.7.251/24"',
    )
    vm = found.vms["vm1"]
    door = door_to(found, vm.nics[0], IPv4Network("192.168.7.0/24"))
    assert door[:2] == (101, 24)
    assert door.choice[:2] == ("192.168.7.253", "192.168.7.250")
    assert len(door.choice) == CHOICE
    assert (door.gateway, door.mtu) == ("192.168.7.254", 1450)


def test_what_dhcp_gives_to_others_is_left_to_them() -> None:
    ranged = blue('dhcp = true\nrange = "192.168.7.100-192.168.7.254"\nnetwork_node = "w1"')
    found = listed(ranged, 'network = "blue"')
    door = door_to(found, found.vms["vm1"].nics[0], IPv4Network("192.168.7.0/24"))
    assert all(int(address.rpartition(".")[2]) < 100 for address in door.choice)


def test_where_there_is_no_room_or_no_vlan() -> None:
    full = listed(
        blue(), 'vlan_id = 7, address = "10.0.0.1/30"', 'vlan_id = 7, address = "10.0.0.2/30"'
    )
    with pytest.raises(InventoryError, match="no address left"):
        door_to(full, full.vms["vm1"].nics[0], IPv4Network("10.0.0.0/30"))
    trunk = listed("", "trunks = [101, 102]")
    with pytest.raises(InventoryError, match="no VLAN for a door"):
        door_to(trunk, trunk.vms["vm1"].nics[0], IPv4Network("10.0.0.0/24"))


@given(st.integers(8, 32), st.integers(0, 2**32 - 1))
def test_every_choice_is_a_host_of_the_subnet(bits: int, number: int) -> None:
    subnet = IPv4Network((number, bits), strict=False)
    found = listed("", "vlan_id = 7")
    door = door_to(found, found.vms["vm1"].nics[0], subnet)
    hosts = subnet if bits > 30 else None
    for address in door.choice:
        assert IPv4Interface(address).ip in subnet
        if hosts is None:
            assert IPv4Interface(address).ip not in (
                subnet.network_address,
                subnet.broadcast_address,
            )


@pytest.mark.parametrize(
    ("line", "echo"),
    [
        ("reply 1 0.52", Echo(1, 0.52)),
        ("lost 2", Echo(2, None)),
        ("reply x 1", None),
        ("reply 1 1.2.3", None),
        ("", None),
    ],
)
def test_echoes(line: str, echo: Echo | None) -> None:
    assert doors.parse_echo(line) == echo


def test_the_words_of_a_door() -> None:
    door = Door(101, 24, ("192.168.7.253", "192.168.7.250"), "192.168.7.1", 1450)
    assert doors.connect("/run/x", "br-int", door, ("192.168.7.9", 22)).words() == (
        *("open_door", "/run/x", "20", "br-int", "101", "1450", "24"),
        *("192.168.7.253,192.168.7.250", "192.168.7.1", "tcp", "192.168.7.9", "22"),
    )


def test_a_door_into_a_network_of_ovn_has_a_port_there_in_place_of_a_vlan() -> None:
    head = f'[ovn]\nnorthbound = "w1"\n{HEAD}'
    text = head + (
        '[networks.blue]\nengine = "ovn"\nsubnet = "192.168.7.0/24"\n'
        '[networks.red]\nengine = "ovn"\nsubnet = "192.168.8.0/24"\n'
    )
    for number, (network, last) in enumerate((("blue", 254), ("red", 253)), start=1):
        subnet = "192.168.7" if network == "blue" else "192.168.8"
        text += (
            f'[vms.vm{number}]\nvm_id = {number}\nworker = "w1"\nram_mb = 32\ncores = 1\n'
            f'qcow_image = "/{number}"\ninterfaces = [{{ name = "eth0", network = "{network}",'
            f' address = "{subnet}.{last}" }}]\n'
        )
    found = parse(text, source="hosts.toml")
    nic = found.vms["vm1"].nics[0]
    door = door_to(found, nic, IPv4Network("192.168.7.0/24"))
    assert (door.vlan_id, door.mtu, door.gateway) == (None, 1442, "192.168.7.1")
    assert door.choice[:2] == ("192.168.7.253", "192.168.7.252")
    seat = Seat("192.168.7.252", "0a:58:c0:a8:07:fc", "vmops.door.blue.192.168.7.252")
    words = doors.ping("/run/x", "br-int", door.seated(seat), ("192.168.7.254", 3)).words()
    assert words == (
        *("open_door_in_ovn", "/run/x", "20", "br-ovn", f"{seat.port},{seat.mac}", "1442", "24"),
        *("192.168.7.252", "192.168.7.1", "ping", "192.168.7.254", "3"),
    )


SEAT = Seat("192.168.7.252", "0a:58:c0:a8:07:fc", "vmops.door.blue.192.168.7.252")


@pytest.mark.parametrize(
    ("said", "seat"),
    [
        (" ".join(SEAT), SEAT),
        (" ".join(SEAT[:2]), None),
        ("", None),
        (f"{SEAT.address} {SEAT.mac} web1:eth0", None),
        (f"{SEAT.address} {SEAT.mac} vmops.door.red.{SEAT.address}", None),
        (f"{SEAT.address} 52:54:00:00:00:01 {SEAT.port}", None),
        ("192.168.7.9 0a:58:c0:a8:07:09 vmops.door.blue.192.168.7.9", None),
        (f"{SEAT.address},1.1.1.1 {SEAT.mac} {SEAT.port}", None),
    ],
)
def test_what_is_said_of_a_seat_and_none_that_was_not_asked_for(
    said: str, seat: Seat | None
) -> None:
    assert doors.parse_seat(said, "blue", ("192.168.7.253", SEAT.address)) == seat
