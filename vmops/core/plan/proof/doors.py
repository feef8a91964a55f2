"""Which door leads to a guest: the VLAN or the network of OVN, and addresses there that nobody is
known to have."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from vmops.core.inventory.inventory import Inventory
from vmops.core.inventory.model import VM, Nic
from vmops.core.inventory.networks.engine import mtu_of
from vmops.core.tools.proof.door import Door
from vmops.errors import InventoryError

CHOICE = 12
"""So many addresses a door tries before it gives up."""


def address_of(listed: Inventory, vm: VM, nic: Nic) -> IPv4Interface | None:
    """The address of an interface with its prefix, as hosts.toml has it; None where it has none."""
    network = listed.networks.get(nic.interface.network or "")
    found = listed.address_of(vm.name, nic)
    if network is not None and network.subnet is not None and found:
        return IPv4Interface(f"{found}/{network.prefix}")
    written = nic.interface.address
    return IPv4Interface(written) if written and ":" not in written else None


def door_to(listed: Inventory, nic: Nic, subnet: IPv4Network) -> Door:
    """A door into the interface's VLAN, or its network of OVN, with an address of that subnet.

    Raises InventoryError for an interface whose frames all have tags, and a subnet without room.
    """
    if nic.vlan_id is None and not nic.port:
        raise InventoryError(
            f"{nic.name} has tags on all its frames: there is no VLAN for a door",
            cure="name an interface that has a vlan_id",
        )
    network = listed.networks.get(nic.interface.network or "")
    gateway = nic.interface.gateway or (network.gateway if network is not None else None) or ""
    vlan_id = network.vlan_id if network is not None else nic.vlan_id
    mtu = network.mtu if network is not None and network.mtu else mtu_of(vlan_id)
    choice = _unused(listed, nic, subnet, gateway)
    if not choice:
        raise InventoryError(f"{subnet} has no address left for a door")
    inside = bool(gateway) and IPv4Address(gateway) in subnet
    return Door(nic.vlan_id, subnet.prefixlen, choice, gateway if inside else "", mtu)


def _unused(listed: Inventory, nic: Nic, subnet: IPv4Network, gateway: str) -> tuple[str, ...]:
    """From the top of the subnet down, without what hosts.toml gives to anybody."""
    taken = {gateway}
    for network in listed.networks.values():
        is_its = network.name == nic.interface.network
        if is_its or (nic.vlan_id is not None and network.vlan_id == nic.vlan_id):
            taken |= {member.address for member in network.members}
            taken |= _range(network.range)
    for vm in listed.vms.values():
        taken |= {(nic.interface.address or "").partition("/")[0] for nic in vm.nics}
    found: list[str] = []
    number = int(subnet.broadcast_address) - (1 if subnet.prefixlen < 31 else 0)
    least = int(subnet.network_address) + (1 if subnet.prefixlen < 31 else 0)
    while number >= least and len(found) < CHOICE:
        address = str(IPv4Address(number))
        if address not in taken:
            found.append(address)
        number -= 1
    return tuple(found)


_LARGEST_RANGE = 65536


def _range(text: str | None) -> set[str]:
    """The addresses that DHCP gives to others, from `first-last`; of a huge one the last."""
    first, dash, last = (text or "").partition("-")
    if not dash:
        return set()
    end = int(IPv4Address(last.strip()))
    begin = max(int(IPv4Address(first.strip())), end - _LARGEST_RANGE)
    return {str(IPv4Address(number)) for number in range(begin, end + 1)}
