"""A door into a VLAN or a network of OVN, for one caller: see shell/door.pl and seat.pl."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import NamedTuple

from vmops.core.names import OVN_BRIDGE
from vmops.core.script.command import Command, command
from vmops.core.tools.proof.attend import PATIENCE_S
from vmops.core.tools.qemu import whole


class Seat(NamedTuple):
    """A port that OVN has for a door, its address and its MAC."""

    address: str
    mac: str
    port: str


class Door(NamedTuple):
    """Where a door is, and the addresses of which it takes the first that nobody has.

    `gateway` is empty where there is none; `bits` are those of the prefix. In a network of OVN it
    has no VLAN, and a `seat` once OVN has given it one.
    """

    vlan_id: int | None
    bits: int
    choice: tuple[str, ...]
    gateway: str = ""
    mtu: int = 1500
    seat: Seat | None = None

    def seated(self, seat: Seat) -> Door:
        """The same door with the address, the MAC and the port that OVN has for it."""
        return self._replace(seat=seat, choice=(seat.address,))


class Asked(NamedTuple):
    """Where a lease is asked for, for which MAC, and for how many seconds offers are listened to;
    three times as many where the server that is `awaited` has made none yet."""

    vlan_id: int
    mac: str
    seconds: int
    awaited: str = ""


class Echo(NamedTuple):
    """What came of one echo: None where no answer did, within a second."""

    turn: int
    ms: float | None


def connect(path: str, bridge: str, door: Door, target: tuple[str, int]) -> Command:
    """Give the caller a TCP connection to a port, through the door."""
    return _through(path, bridge, door, ("tcp", target[0], str(target[1])))


def ping(path: str, bridge: str, door: Door, target: tuple[str, int]) -> Command:
    """Tell the caller what comes of so many echoes, a line each."""
    return _through(path, bridge, door, ("ping", target[0], str(target[1])))


def ask_for_lease(path: str, bridge: str, asked: Asked) -> Command:
    """Tell the caller who offers that MAC an address in the VLAN, a line each. No lease is made."""
    door = Door(asked.vlan_id, 0, ())
    what = ("dhcp", asked.mac, str(asked.seconds), asked.awaited)
    return _through(path, bridge, door, what)


def _through(path: str, bridge: str, door: Door, what: tuple[str, ...]) -> Command:
    seat = door.seat
    at = str(door.vlan_id) if seat is None else f"{seat.port},{seat.mac}"
    where = (at, str(door.mtu), str(door.bits), ",".join(door.choice), door.gateway)
    opens = "open_door" if seat is None else "open_door_in_ovn"
    on = bridge if seat is None else OVN_BRIDGE
    return command(opens, path, str(PATIENCE_S), on, *where, *what)


def take_seat(path: str, network: str, tunnel_ip: str, choice: Sequence[str]) -> Command:
    """Have OVN keep a port in a network for a door, on the worker of that end of the tunnels, with
    the first of these addresses that no other door has. To be run where its central is."""
    return command("take_seat", path, str(PATIENCE_S), network, tunnel_ip, ",".join(choice))


def parse_seat(words: str, network: str, choice: Sequence[str]) -> Seat | None:
    """What comes behind `ok` when a seat was taken; None for anything else.

    Also for a seat that was not asked for: by the name of a VM's port root on the central's worker
    would have another worker take that VM's frames.
    """
    found = words.split(" ")
    if len(found) != 3 or found[0] not in choice:
        return None
    seat = Seat(*found)
    mac = ":".join(["0a", "58", *(f"{byte:02x}" for byte in IPv4Address(seat.address).packed)])
    return seat if seat == (seat.address, mac, f"vmops.door.{network}.{seat.address}") else None


class Offer(NamedTuple):
    """An address that a DHCP server would give, and the server's own."""

    server: str
    address: str


def parse_offer(line: str) -> Offer | None:
    """One line of `ask_for_lease`; None for what is none."""
    match line.split(" "):
        case ["offer", server, address]:
            return Offer(server, address)
    return None


def parse_echo(line: str) -> Echo | None:
    """One line of `ping`; None for what is none."""
    match line.split(" "):
        case ["lost", turn] if turn.isdecimal():
            return Echo(whole(turn), None)
        case ["reply", turn, ms] if turn.isdecimal() and ms.replace(".", "", 1).isdecimal():
            return Echo(whole(turn), float(ms))
    return None
