"""The addresses that a guest is to have: what one interface says of them, and how they count up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vmops.core.inventory.complaints import Fault, show

KEYS = ("address", "gateway", "dns", "dhcp", "mtu")
"""Keys of an interface that are for the guest alone."""

MAX_NAME = 15
"""Letters of an interface's name in Linux; the guest calls it as hosts.toml does."""


def is_configured(interface: Mapping[str, Any]) -> bool:
    """True where the guest is told how to set up this interface."""
    return bool(interface.get("address") or interface.get("dhcp"))


def address_faults(interface: Mapping[str, Any]) -> list[Fault]:
    """What is wrong with values of one interface that are good each by itself."""
    address, gateway = interface.get("address"), interface.get("gateway")
    if not is_configured(interface):
        why = "must be left out, as there is neither an address nor dhcp"
        return [
            Fault((key,), f"{show(interface[key])}: {why}")
            for key in ("gateway", "dns", "mtu")
            if interface.get(key)
        ]
    if address and interface.get("dhcp"):
        return [Fault(("address",), f"{show(address)}: must be left out, as dhcp is true")]
    faults = list(_of_name(interface.get("name", "")))
    if address:
        faults += _of_address(address, gateway)
    elif gateway:
        why = "must be left out, as dhcp is true and gives one"
        faults.append(Fault(("gateway",), f"{show(gateway)}: {why}"))
    return faults


def _of_name(name: str) -> Iterator[Fault]:
    if len(name) > MAX_NAME:
        rule = f"must be at most {MAX_NAME} letters long, as the guest calls the interface so"
        yield Fault(("name",), f"{show(name)}: {rule}")


def _of_address(address: str, gateway: str | None) -> Iterator[Fault]:
    from ipaddress import ip_address, ip_interface

    if "/" not in address:
        what = f"must have its prefix behind it, as in {show(f'{address}/24')}"
        yield Fault(("address",), f"{show(address)}: {what}")
        return
    card = ip_interface(address)
    subnet = card.network
    is_small = subnet.max_prefixlen - subnet.prefixlen < 2
    if card.version == 4 and not is_small and card.ip in (subnet[0], subnet[-1]):
        word = "the subnet's own" if card.ip == subnet[0] else "for broadcasts"
        yield Fault(("address",), f"{show(address)}: must be a host's, and this one is {word}")
    if gateway is None:
        return
    other = ip_address(gateway)
    if other == card.ip:
        yield Fault(("gateway",), f"{show(gateway)}: must not be the address itself")
    elif other.version != card.version or not (other in subnet or other.is_link_local):
        rule = f"must be in {subnet}, where the address is"
        yield Fault(("gateway",), f"{show(gateway)}: {rule}")


def counted_up(address: str, number: int) -> tuple[str, str | None]:
    """The address of the VM that is `number` further on, and what is wrong with it or None.

    It stays in the first one's subnet.
    """
    from ipaddress import ip_address, ip_interface

    plain, slash, prefix = address.partition("/")
    try:
        moved = ip_address(plain) + number
    except ValueError:
        return f"{plain} + {number}", "must be an IP address, and there are no more"
    counted = f"{moved}{slash}{prefix}"
    subnet = ip_interface(address).network
    if slash and moved not in subnet:
        return counted, f"must be in {subnet}, where the first one is"
    return counted, None
