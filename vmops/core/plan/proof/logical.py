"""Interfaces in networks of OVN: what is sent for each, who hears it, and whether that is all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import count
from types import MappingProxyType
from typing import NamedTuple

from vmops.core.devices.network.logical import Logical, Seat, share
from vmops.core.facts.proof.bindings import Middle
from vmops.core.inventory.inventory import Inventory
from vmops.core.names import network_mac
from vmops.core.plan.proof.ends import End, refuse_more
from vmops.core.plan.proof.services import CLOUDS, Passage
from vmops.core.tools.proof import packet, probe
from vmops.core.tools.proof.guest import OUTSIDE
from vmops.core.tools.proof.packet import ANYBODY, EVERYBODY, Ear, From, Packet

GATEWAY, DHCP, DNS = "gateway", "dhcp", "dns"
INTERNET, KEPT = "internet", "kept"
_LEAVES = (INTERNET, KEPT)
"""What is heard where networks get out, if anywhere."""

SERVICES = (GATEWAY, DHCP, DNS, *_LEAVES)
INSIDE = (GATEWAY, DHCP, DNS)
"""What is tried where networks have no way out."""

Whose = tuple[str, str]
"""An interface: the worker, and `VM:INTERFACE`."""


class Place(NamedTuple):
    """An interface's network and what it has there."""

    network: Logical
    seat: Seat


class Sent(NamedTuple):
    """A packet, who sends it, and for whom: an interface, or None for all of the network. With a
    `service` it is for that one, and `asked` is the name or the address."""

    packet: Packet
    source: Whose
    target: Whose | None = None
    service: str = ""
    asked: str = ""


class Hearing(NamedTuple):
    """What was sent into OVN and what was heard, by worker. `places` are those of hosts.toml by
    `VM:INTERFACE`. `refused` says by worker and port why it took no packet. `middle` is what the
    central has, None where it was not asked; `northbound` is its worker. `outer` are the devices by
    which networks get out, as far as they are listened to, and `is_all` that they all are."""

    places: Mapping[str, Place] = MappingProxyType({})
    sent: Sequence[Sent] = ()
    ears: Mapping[str, Ear] = MappingProxyType({})
    refused: Mapping[str, Mapping[str, str]] = MappingProxyType({})
    middle: Middle | None = None
    northbound: str = ""
    outer: Sequence[Whose] = ()
    is_all: bool = False


def places(listed: Inventory) -> dict[str, Place]:
    """Every interface of hosts.toml that OVN carries."""
    return {
        seat.port: Place(network, seat)
        for network in share(listed, listed.networks).wanted.values()
        for seat in network.seats
    }


def whose(end: End) -> Whose:
    """The key of an interface: a VM that is pinned nowhere may be asked for on several workers."""
    return end.worker, end.name


def packets(
    ends: Iterable[End],
    seats: Mapping[str, Place],
    *,
    run: int,
    first: int,
    services: Collection[str] = SERVICES,
) -> list[Sent]:
    """What is sent for those interfaces of OVN that are alive: to all of their network, to each of
    the others there, and by way of its gateway to each elsewhere; for one of each network also what
    these `services` are to answer. Their marks begin with number `first`. Raises InventoryError for
    too many."""
    live = [end for end in ends if end.port in seats and end.asked and not end.dead]
    more = sum(len(SERVICES) + len(seats[end.port].network.kept) for end in live)
    refuse_more(first + (len(live) + 1) * (len(live) + 2) + more)
    marks = (probe.address(run, number) for number in count(first))
    asked: set[str] = set()
    found = []
    for one in live:
        place = seats[one.port]
        name, nic = place.network.name, one.drawn.nic
        mine = From(nic.tap, nic.mac, place.seat.address)
        found.append(Sent(packet.to(mine, next(marks), EVERYBODY, ANYBODY), whose(one)))
        for other in live:
            there = seats[other.port]
            if one is not other and there.seat.address and mine.address:
                mac = there.seat.mac if there.network.name == name else network_mac(name)
                by = packet.to(mine, next(marks), mac, there.seat.address)
                found.append(Sent(by, whose(one), whose(other)))
        if name not in asked and mine.address:
            asked.add(name)
            found += [
                each._replace(source=whose(one))
                for each in _of_services(place, mine, marks)
                if each.service in services
            ]
    return found


def _of_services(place: Place, mine: From, marks: Iterator[str]) -> Iterator[Sent]:
    network, router = place.network, network_mac(place.network.name)
    nobody: Whose = ("", "")
    yield Sent(packet.discover(mine, next(marks)), nobody, service=DHCP)
    if network.is_routed:
        echo = packet.echo(mine, next(marks), router, network.gateway)
        yield Sent(echo, nobody, service=GATEWAY)
    if not network.gateway:
        return
    name = place.seat.vm.lower()
    names = packet.query(mine, next(marks), router, network.gateway, name)
    yield Sent(names, nobody, service=DNS, asked=name)
    kept = [address for address in network.kept if "/" not in address]
    for address in (OUTSIDE, *((CLOUDS, *kept) if network.internet else ())):
        echo = packet.echo(mine, next(marks), router, address)
        service = INTERNET if address == OUTSIDE else KEPT
        yield Sent(echo, nobody, service=service, asked=address)


def is_wanted(one: End, other: End, hearing: Hearing) -> bool:
    """True where the one is to reach the other: in one network of OVN, two that are routed, or a
    VLAN that OVN gets into."""
    here, there = hearing.places.get(one.port), hearing.places.get(other.port)
    if here is None or there is None:
        return shared_vlan(one, other, hearing) is not None
    routed = {name for name, _ in here.network.reach}
    return there.network.name in {here.network.name, *routed}


def shared_vlan(one: End, other: End, hearing: Hearing) -> int | None:
    """The VLAN in which both are to be: a network of OVN is in one where it gets into it."""
    mine, others = (_vlans(end, hearing.places.get(end.port)) for end in (one, other))
    return next((vlan for vlan in mine if vlan in others), None)


def _vlans(end: End, place: Place | None) -> tuple[int, ...]:
    if place is None:
        return end.vlans
    return () if place.network.vlan_id is None else (place.network.vlan_id,)


def finder(hearing: Hearing) -> Callable[[End, End], bool | None]:
    """What tells whether that which the one sends comes out at the other; None where that cannot
    be told."""
    came: dict[Whose, set[str]] = {}
    for worker, ear in hearing.ears.items():
        for heard in ear.heard:
            came.setdefault((worker, heard.tap), set()).add(heard.mark)
    networks = {port: place.network.name for port, place in hearing.places.items()}
    deaf = {(worker, tap) for worker, ear in hearing.ears.items() for tap, _ in ear.deaf}
    marks: dict[tuple[Whose, Whose | None], str] = {
        (each.source, each.target): each.packet.mark for each in hearing.sent if not each.service
    }

    def is_near(one: End, other: End) -> bool:
        return networks.get(one.port) == networks.get(other.port)

    def reaches(one: End, other: End) -> bool | None:
        if not (one.asked and other.asked) or not {one.worker, other.worker} <= hearing.ears.keys():
            return None
        if one.dead or other.dead:
            return False
        place = other.worker, other.drawn.nic.tap
        if place in deaf:
            return None
        to_it, to_all = (marks.get((whose(one), target)) for target in (whose(other), None))
        # In its network a guest gets what is for all, even where nothing else passes its port.
        mine = [to_it] if to_it and is_near(one, other) else [to_it, to_all]
        mine += [probe.mac for probe in one.drawn.probes]
        return any(mark in came.get(place, ()) for mark in mine)

    return reaches


def is_complete(ends: Sequence[End], hearing: Hearing) -> bool:
    """True where all has come that is to come."""
    able = [end for end in ends if end.port and end.asked and not end.dead]
    reaches = finder(hearing)
    pairs = ((one, other) for one in able for other in able if one is not other)
    return all(
        reaches(one, other) is not False for one, other in pairs if is_wanted(one, other, hearing)
    ) and all(each.found is not False for each in passages(hearing) if each.wanted)


def passages(hearing: Hearing) -> list[Passage]:
    """What each network of OVN lets its guests do, as far as it was tried."""
    found: dict[tuple[str, str], Passage] = {}
    for sent, network in _tried(hearing):
        came = None if is_deaf(sent, hearing) else bool(answers(sent, hearing))
        one = Passage(network.name, sent.service, wanted=is_to_be(sent, network), found=came)
        before = found.get(one[:2])
        found[one[:2]] = one if before is None else before._replace(found=before.found or came)
    return list(found.values())


def is_to_be(sent: Sent, network: Logical) -> bool:
    """True where it is to be answered, or is to get out."""
    match sent.service:
        case "dhcp":
            return network.dhcp
        case "dns":
            return network.hosts is not None
        case "internet":
            return network.internet
    return sent.service == GATEWAY


def _tried(hearing: Hearing) -> Iterator[tuple[Sent, Logical]]:
    for sent in hearing.sent:
        if sent.service:
            yield sent, hearing.places[sent.source[1]].network


def is_deaf(sent: Sent, hearing: Hearing) -> bool:
    """True where an answer, or what gets out, could not be heard."""
    if sent.service in _LEAVES:
        return not answers(sent, hearing) and not hearing.is_all
    ear = hearing.ears.get(sent.source[0])
    return ear is None or sent.packet.port in dict(ear.deaf)


def answers(sent: Sent, hearing: Hearing) -> list[str]:
    """What came back to who asked: addresses that were offered or that a name has, or an empty word
    for an echo. For what gets out, where it did: a device and its worker."""
    if sent.service in _LEAVES:
        return [f"{at[1]} of {at[0]}" for at in hearing.outer if _left(sent, hearing, at)]
    ear = hearing.ears.get(sent.source[0], Ear())
    mine = [h for h in ear.heard if (h.tap, h.mark) == (sent.packet.port, sent.packet.mark)]
    if sent.service == DHCP:
        return sorted(heard.offered for heard in mine if heard.offered)
    if sent.service == DNS:
        return sorted({heard.named for heard in mine if heard.named})
    return [heard.offered for heard in mine if not heard.offered]


def _left(sent: Sent, hearing: Hearing, by: Whose) -> bool:
    worker, device = by
    heard = hearing.ears.get(worker, Ear()).heard
    return any((each.tap, each.mark) == (device, sent.packet.mark) for each in heard)
