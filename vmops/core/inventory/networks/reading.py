"""[networks.NAME] as plain values, and the interfaces of VMs that are in one of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from vmops.core.inventory.attachment import attachment_faults
from vmops.core.inventory.complaints import Fault, KeyPath, did_you_mean, show
from vmops.core.inventory.guest.addresses import address_faults
from vmops.core.inventory.networks import rules
from vmops.core.inventory.networks.addresses import hand_out
from vmops.core.inventory.networks.engine import MTU_IN_TUNNELS
from vmops.core.inventory.networks.faults import no_host, own_faults
from vmops.core.inventory.networks.model import Member, first_address
from vmops.core.inventory.rules import OVN, VLAN
from vmops.core.inventory.tables import Values, read_strictly
from vmops.core.names import derived_mac

_IN_NETWORK = {key: rule for key, rule in rules.NETWORK.items() if key != "name"}
_OF_NETWORK = ("vlan_id", "gateway", "dns", "dhcp", "mtu", "engine")
"""Keys of an interface that its network says."""

HANDED_OUT = "handed out by the names of VM and interface"


def read_network(raw: object, *, engine: str = VLAN) -> tuple[Values, list[Fault]]:
    """One network as far as it can be read, its gateway too; the faults are told from its table.

    `engine` is the one that it has where it does not say another.
    """
    said = raw.get("engine", engine) if isinstance(raw, Mapping) else engine
    values, faults = read_strictly(raw, _IN_NETWORK, () if said == OVN else ("vlan_id",))
    if engine != VLAN:
        values.setdefault("engine", engine)
    forwards = []
    for index, item in enumerate(values.get("forward", ())):
        read, found = read_strictly(item, rules.FORWARD, ("port", "to"))
        forwards.append(read)
        faults += [fault.below("forward", index) for fault in found]
    if forwards:
        values["forward"] = forwards
    faults = faults or own_faults(values)
    if "subnet" in values:
        values.setdefault("gateway", first_address(values["subnet"]))
    return values, faults


def both_ways(networks: Mapping[str, Values]) -> dict[str, tuple[str, ...]]:
    """For each network all that it reaches, and that reach it, by name."""
    pairs = {(a, b) for a, values in networks.items() for b in values.get("reach", ())}
    return {
        name: tuple(sorted({b for a, b in pairs if a == name} | {a for a, b in pairs if b == name}))
        for name in networks
    }


class _Seat(NamedTuple):
    """An interface of a VM in a network: the one at `place` among those in `values`."""

    vm: str
    place: int
    values: Values
    interface: Values
    mac: str

    @property
    def path(self) -> KeyPath:
        """Where it is written."""
        return ("vms", self.vm, "interfaces", self.place)

    @property
    def key(self) -> str:
        """What its address is handed out by."""
        return f"{self.vm}/{self.interface.get('name', '')}"


class Joined(NamedTuple):
    """The interfaces of each network, and the origins of what the network has given them."""

    members: dict[str, list[Member]]
    origins: dict[tuple[str, str, str], str]
    faults: list[Fault]
    name_servers: tuple[str, ...] = ()


def join(
    networks: Mapping[str, Values], vms: dict[str, Values], name_servers: tuple[str, ...] = ()
) -> Joined:
    """Give each interface in a network what the network says: `interfaces` of VMs are replaced.

    `name_servers` are those of OVN's way out.
    """
    joined = Joined({name: [] for name in networks}, {}, [], name_servers)
    seats: dict[str, list[_Seat]] = {name: [] for name in networks}
    for vm, values in vms.items():
        for index, interface in enumerate(values.get("interfaces", ())):
            if "network" in interface:
                path = ("vms", vm, "interfaces", index)
                joined.faults.extend(fault.below(*path) for fault in _of_keys(interface, networks))
                if interface["network"] in networks:
                    mac = interface.get("mac") or _derived(values, index)
                    seats[interface["network"]].append(_Seat(vm, index, values, interface, mac))
    others = _plain_addresses(vms)
    for name, network in networks.items():
        _seat(joined, name, network, seats[name], others.get(network.get("vlan_id"), set()))
    return joined


def _derived(values: Values, index: int) -> str:
    return derived_mac(values["vm_id"], index + 1) if "vm_id" in values else ""


def _plain_addresses(vms: Mapping[str, Values]) -> dict[Any, set[str]]:
    """What interfaces that name a VLAN and no network have there."""
    found: dict[Any, set[str]] = {}
    for values in vms.values():
        for interface in values.get("interfaces", ()):
            if "network" not in interface and interface.get("address"):
                address = interface["address"].partition("/")[0]
                found.setdefault(interface.get("vlan_id"), set()).add(address)
    return found


def _of_keys(interface: Values, networks: Mapping[str, Values]) -> Iterator[Fault]:
    name = interface["network"]
    if name not in networks:
        yield Fault(("network",), f"{show(name)}: is not a network{did_you_mean(name, networks)}")
        return
    bare = networks[name].get("engine") == OVN and "subnet" not in networks[name]
    for key in ("vlan_id", "engine") if bare else _OF_NETWORK:
        if interface.get(key) not in (None, (), False):
            said = f"{show(interface[key])}: must be left out, as network {name} says it"
            yield Fault((key,), said)
    address, subnet = interface.get("address"), networks[name].get("subnet")
    if not address:
        return
    if subnet is None:
        # Without a VLAN there is no other way to say where an interface with an address is.
        if bare and "/" not in address:
            yield Fault(("address",), f"{show(address)}: must have its prefix behind it")
        elif not bare and "subnet" not in networks[name]:
            yield Fault(("address",), f"{show(address)}: must be left out: {name} has no subnet")
        return
    plain, slash, prefix = address.partition("/")
    why = "must be an IPv4 address" if ":" in address else no_host(subnet, plain)
    if not why and slash and prefix != subnet.partition("/")[2]:
        why = f"must have the prefix of {subnet}, or none"
    if not why and plain == networks[name].get("gateway"):
        why = f"must not be the gateway of {name}"
    if why:
        yield Fault(("address",), f"{show(address)}: {why}")


def _seat(
    joined: Joined, name: str, network: Values, seats: Iterable[_Seat], others: Iterable[str]
) -> None:
    addresses = _addresses(joined, name, network, list(seats), others)
    for seat in seats:
        address = addresses.get(seat.key, "")
        given = bool(seat.interface.get("address"))
        joined.members[name].append(
            Member(seat.vm, seat.interface.get("name", ""), seat.mac, address, given)
        )
        told = _told(network, address, joined.name_servers)
        resolved = {**seat.interface, **told}
        resolved = {key: value for key, value in resolved.items() if value is not None}
        joined.faults.extend(
            fault.below(*seat.path) for fault in address_faults(resolved) if fault.path == ("name",)
        )
        if "engine" in told:
            joined.faults.extend(fault.below(*seat.path) for fault in attachment_faults(resolved))
        interfaces = [*seat.values["interfaces"]]
        interfaces[seat.place] = resolved
        seat.values["interfaces"] = interfaces
        where = f"interfaces.{seat.place}"
        for key in told.keys() - ({"address"} if given else set()):
            joined.origins["vms", seat.vm, f"{where}.{key}"] = f"[networks.{name}]"
        if address and not given:
            joined.origins["vms", seat.vm, f"{where}.address"] = HANDED_OUT


def asked_for_names(network: Values, name_servers: Sequence[str]) -> tuple[str, ...]:
    """Whom guests ask. OVN answers for the names that it has whoever is asked, and is silent about
    others: so where guests get out, they ask those who know the rest."""
    gets_out = network.get("engine") == OVN and network.get("internet")
    return tuple(name_servers) if gets_out and name_servers else (network["gateway"],)


def _told(network: Values, address: str, name_servers: Sequence[str]) -> Values:
    """What the network says of an interface. With DHCP the address is not the guest's to know,
    and the server tells the MTU."""
    of_ovn = network.get("engine") == OVN
    told: Values = {"engine": OVN} if of_ovn else {"vlan_id": network.get("vlan_id")}
    if network.get("subnet") is None or not address:
        return told
    if network.get("dhcp"):
        return {**told, "dhcp": True, "address": None}
    told["address"] = f"{address}/{network['subnet'].partition('/')[2]}"
    if any(network.get(key) for key in ("internet", "reach", "forward", "reached")):
        told["gateway"] = network["gateway"]
    if network.get("dns"):
        told["dns"] = asked_for_names(network, name_servers)
    by_tunnels = of_ovn and network.get("vlan_id") is None
    told["mtu"] = network.get("mtu") or (MTU_IN_TUNNELS if by_tunnels else None)
    return told


def _addresses(
    joined: Joined, name: str, network: Values, seats: list[_Seat], others: Iterable[str]
) -> dict[str, str]:
    """The address of each interface: as it was given, or handed out."""
    from ipaddress import IPv4Address, IPv4Network

    if network.get("subnet") is None:
        return {}
    subnet = IPv4Network(network["subnet"])
    held: dict[str, _Seat] = {}
    for seat in seats:
        plain = str(seat.interface.get("address") or "").partition("/")[0]
        if not plain or ":" in plain:
            continue
        holder = held.setdefault(plain, seat)
        if holder is not seat:
            said = f"{show(plain)}: must differ from that of {holder.key}: both are in {name}"
            joined.faults.append(Fault((*seat.path, "address"), said))
    first, last = int(subnet[1]), int(subnet[-2])
    taken = {int(IPv4Address(plain)) - first for plain in (*held, network["gateway"])}
    taken |= {int(IPv4Address(plain)) - first for plain in others if ":" not in plain}
    if given_range := network.get("range"):
        low, _, high = given_range.partition("-")
        taken |= set(range(int(IPv4Address(low)) - first, int(IPv4Address(high)) - first + 1))
    open_seats = [seat for seat in seats if not seat.interface.get("address")]
    found = hand_out((seat.key for seat in open_seats), last - first + 1, taken)
    for seat in open_seats:
        if seat.key not in found:
            said = f"missing: must be given, as {subnet} has no address left"
            joined.faults.append(Fault((*seat.path, "address"), said))
    handed = {key: str(IPv4Address(first + number)) for key, number in found.items()}
    return handed | {seat.key: plain for plain, seat in held.items()}
