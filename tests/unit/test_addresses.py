"""The addresses of guests in hosts.toml: what one interface may say, counting up, and clashes."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vmops.core.inventory.complaints import InvalidValue
from vmops.core.inventory.inventory import Inventory, parse
from vmops.core.inventory.model import VM, Interface
from vmops.core.inventory.written_out import as_toml

from .test_inventory import complaints


def a_file(interface: str, *, more: str = "", name: str = "web", vnc_port: int = 5901) -> str:
    return dedent(f"""
        [vms.{name}]
        {more}
        ram_mb = 1
        cores = 1
        vnc_port = {vnc_port}
        qcow_image = "/{{name}}"
        interfaces = [{{ name = "eth0", vlan_id = 7, {interface} }}]
        """)


def read(text: str) -> Inventory:
    return parse(text, source="hosts.toml")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("192.168.0.5/24", "192.168.0.5/24"),
        ("192.168.0.5/255.255.255.0", "192.168.0.5/24"),
        ("10.0.0.0/31", "10.0.0.0/31"),
        ("10.0.0.1/32", "10.0.0.1/32"),
        ("FD00:0::5/64", "fd00::5/64"),
        ("fd00::/64", "fd00::/64"),
    ],
)
def test_an_address_is_kept_in_its_short_form(given: str, kept: str) -> None:
    assert Interface("eth0", address=given).address == kept


def test_all_that_a_guest_is_told_of_its_interface() -> None:
    listed = read(
        a_file('address = "10.0.0.5/24", gateway = "10.0.0.1", dns = ["10.0.0.2", "FD00:0::2"]')
    )
    assert listed.vms["web"].interfaces == (
        Interface(
            "eth0",
            vlan_id=7,
            address="10.0.0.5/24",
            gateway="10.0.0.1",
            dns=("10.0.0.2", "fd00::2"),
        ),
    )
    (nic,) = listed.vms["web"].nics
    assert nic.interface.gateway == "10.0.0.1"


@pytest.mark.parametrize(
    ("interface", "said"),
    [
        (
            'address = "192.168.0.5"',
            "address: '192.168.0.5': must have its prefix behind it, as in '192.168.0.5/24'",
        ),
        (
            'address = "10.0.0.0/24"',
            "address: '10.0.0.0/24': must be a host's, and this one is the subnet's own",
        ),
        (
            'address = "10.0.0.255/24"',
            "address: '10.0.0.255/24': must be a host's, and this one is for broadcasts",
        ),
        (
            'address = "10.0.0.5/24", gateway = "10.0.1.1"',
            "gateway: '10.0.1.1': must be in 10.0.0.0/24, where the address is",
        ),
        (
            'address = "10.0.0.5/24", gateway = "fd00::1"',
            "gateway: 'fd00::1': must be in 10.0.0.0/24, where the address is",
        ),
        (
            'address = "10.0.0.5/24", gateway = "fe80::1"',
            "gateway: 'fe80::1': must be in 10.0.0.0/24, where the address is",
        ),
        (
            'address = "10.0.0.5/24", gateway = "10.0.0.5"',
            "gateway: '10.0.0.5': must not be the address itself",
        ),
        (
            'gateway = "10.0.0.1"',
            "gateway: '10.0.0.1': must be left out, as there is neither an address nor dhcp",
        ),
        (
            'dns = ["10.0.0.1"], dhcp = false',
            "dns: ('10.0.0.1',): must be left out, as there is neither an address nor dhcp",
        ),
        (
            'address = "10.0.0.5/24", dhcp = true',
            "address: '10.0.0.5/24': must be left out, as dhcp is true",
        ),
        (
            'dhcp = true, gateway = "10.0.0.1"',
            "gateway: '10.0.0.1': must be left out, as dhcp is true and gives one",
        ),
        (
            "dhcp = 1",
            "dhcp: 1: must be true or false, not a whole number: true for a guest that asks for its"
            " address",
        ),
        (
            'dns = "10.0.0.1"',
            "dns: '10.0.0.1': must be a list, not text: at most 8 different IP addresses of name"
            " servers",
        ),
        (
            'dns = ["10.0.0.1", "10.0.0.1"]',
            "dns: ['10.0.0.1', '10.0.0.1']: must be at most 8 different IP addresses of name"
            " servers",
        ),
    ],
)
def test_what_does_not_go_together_is_told(interface: str, said: str) -> None:
    assert complaints(a_file(interface)) == (f"hosts.toml: vms.web.interfaces[0].{said}",)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1/8", "224.0.0.1/24", "0.0.0.0/0", "::1/128", "ff02::1/64", "fe80::1%eth0/64"),
        *("10.0.0.5/33", "10.0.0.5/", "10.0.0/24", "web1/24", "", "10.0.0.5/24\n", "10.0.0.5/-1"),
    ],
)
def test_what_no_guest_can_have_is_refused(address: str) -> None:
    with pytest.raises(InvalidValue, match="must be an IP address that the guest is to have"):
        Interface("eth0", address=address)


def test_a_link_local_router_is_good_for_ipv6() -> None:
    assert Interface("eth0", address="fd00::5/64", gateway="fe80::1").gateway == "fe80::1"


def test_the_guest_could_not_call_it_by_a_longer_name() -> None:
    assert Interface("a" * 15, dhcp=True).dhcp
    assert Interface("a" * 16).name
    with pytest.raises(InvalidValue, match="must be at most 15 letters long"):
        Interface("a" * 16, dhcp=True)


def test_an_address_counts_up_with_its_vm() -> None:
    listed = read(a_file('address = "10.0.0.254/16"', more="count = 3"))
    addresses = [vm.interfaces[0].address for vm in listed.vms.values()]
    assert addresses == ["10.0.0.254/16", "10.0.0.255/16", "10.0.1.0/16"]


@pytest.mark.parametrize(
    ("address", "count", "said"),
    [
        (
            "10.0.0.253/24",
            3,
            "3: gives web3 the interfaces[0].address 10.0.0.255/24: '10.0.0.255/24': must be a"
            " host's, and this one is for broadcasts",
        ),
        (
            "10.0.0.1/31",
            2,
            "2: gives web2 the interfaces[0].address 10.0.0.2/31: must be in 10.0.0.0/31, where the"
            " first one is",
        ),
        (
            "255.255.255.254/31",
            3,
            "3: gives web3 the interfaces[0].address 255.255.255.254 + 2: must be an IP address,"
            " and there are no more",
        ),
        (
            '10.0.0.4/24", gateway = "10.0.0.6',
            4,
            "4: gives web3 the interfaces[0].address 10.0.0.6/24: '10.0.0.6': must not be the"
            " address itself",
        ),
    ],
)
def test_counting_stays_in_the_subnet(address: str, count: int, said: str) -> None:
    told = complaints(a_file(f'address = "{address}"', more=f"count = {count}"))
    assert told == (f"hosts.toml: vms.web.count: {said}",)


@pytest.mark.parametrize("worker", ["", 'worker = "w1"'])
def test_an_address_is_on_a_vlan_once_whatever_the_worker(worker: str) -> None:
    workers = '[workers.w1]\naddress = "a"\n[workers.w2]\naddress = "b"\n'
    first = a_file('address = "10.0.0.5/24"', more=worker)
    second = a_file('address = "10.0.0.5/16"', more='worker = "w2"', name="b", vnc_port=5902)
    assert complaints(workers + first + second) == (
        "hosts.toml: vms.b.interfaces[0].address: '10.0.0.5': must differ from"
        " vms.web.interfaces[0].address: both are on VLAN 7, which is one network",
    )
    elsewhere = second.replace("vlan_id = 7", "vlan_id = 8")
    assert len(read(workers + first + elsewhere).vms) == 2
    apart = second.replace("vlan_id = 7, ", "")
    assert len(read(workers + first + apart).vms) == 2


def test_two_interfaces_of_a_vm_do_not_share_one_either() -> None:
    twice = '}, { name = "b", vlan_id = 7, address = "10.0.0.5/24"'
    (told,) = complaints(a_file(f'address = "10.0.0.5/24"{twice}'))
    assert told.endswith(
        "interfaces[1].address: '10.0.0.5': must differ from vms.web.interfaces[0].address"
    )


def test_an_address_of_the_defaults_is_told_where_it_is_taken_twice() -> None:
    shared = '[vm_defaults]\ninterfaces = [{ name = "a", vlan_id = 7, address = "10.0.0.5/24" }]\n'
    rest = "ram_mb = 1\ncores = 1\nqcow_image = '/{name}'\n"
    told = complaints(f"{shared}[vms.a]\n{rest}vnc_port = 5901\n[vms.b]\n{rest}vnc_port = 5902")
    assert [line.split(": ")[1] for line in told] == ["vms.b.interfaces[0].address"]


def test_the_defaults_are_held_to_it_once() -> None:
    shared = '[vm_defaults]\ninterfaces = [{ name = "a", vlan_id = 7, gateway = "10.0.0.5" }]\n'
    rest = "count = 2\nram_mb = 1\ncores = 1\nqcow_image = '/{name}'\nvnc_port = 5901\n"
    told = complaints(f"{shared}[vms.a]\n{rest}")
    assert [line.split(": ")[1] for line in told] == ["vm_defaults.interfaces[0].gateway"]


HOSTS = st.one_of(
    st.ip_addresses(network="10.0.0.0/8").map(str), st.ip_addresses(network="fd00::/16").map(str)
)


@given(address=HOSTS, prefix=st.integers(8, 30), others=st.lists(HOSTS, max_size=3, unique=True))
def test_what_is_accepted_survives_its_dict_and_its_print(
    address: str, prefix: int, others: list[str]
) -> None:
    card = ip_interface(f"{address}/{prefix}")
    router = next((h for h in others if ip_address(h) in card.network and h != address), None)
    told: dict[str, Any] = {"address": str(card), "gateway": router, "dns": others}
    assume(card.version == 6 or card.ip not in (card.network[0], card.network[-1]))
    interface = Interface("eth0", vlan_id=7, **told)
    vm = VM(
        "a",
        vm_id=1,
        ram_mb=1,
        cores=1,
        vnc_port=5900,
        qcow_image="/x",
        interfaces=(interface,),
    )
    assert VM.from_dict(vm.to_dict()) == vm
    listed = Inventory(read("").defaults, {}, {"a": vm}, "hosts.toml")
    again = read(as_toml(listed, [vm])).vms["a"].interfaces[0]
    assert (again.address, again.gateway, again.dns) == (str(card), router, tuple(others))
    assert ip_interface(again.address or "").network == ip_network(card.network)
