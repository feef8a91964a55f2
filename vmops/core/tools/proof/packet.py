"""Packets into OVN, each sent at a VM's port as if its guest had, and heard where it comes out.

OVN learns no addresses, and lets a port send with its own MAC and address only. So a packet has
those, and a mark of six bytes behind its headers: two of ours, two of the run, two of its own. It
is an answer to an echo that nobody has asked for, which every guest drops without a word; to the
gateway it is an echo, which only OVN answers, and so it is on its way out; it asks for a lease, and
takes none; or for a VM's name, with the mark in an option of IP, which OVN leaves as it is.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import NamedTuple

from vmops.core.names import OVN_BRIDGE, RUN_ROOT
from vmops.core.script.command import FACT_BYTES, Command, command
from vmops.core.tools.proof import probe

EVERYBODY, ANYBODY = "ff:ff:ff:ff:ff:ff", "255.255.255.255"
LISTENS_S = 20
"""A listener ends by itself, whatever has become of who started it."""

DEAF = "deaf "

_ICMP, _UDP = 1, 17
_ECHO, _ECHO_REPLY = 8, 0
_OFFER_BYTES = 62
_DHCP_TO_GUEST = 68
_DNS = 53
_OPTION = 0x1E
"""An option of IP that is set aside for experiments."""
_NAMES_AT = 14 + 28 + 8
"""Where DNS begins in a packet with that option."""


class Packet(NamedTuple):
    """A packet that is sent at `port`, and its mark, written as a MAC."""

    port: str
    mark: str
    frame: bytes


class From(NamedTuple):
    """Who sends: the port, and the MAC and the address of its guest; `address` may be empty."""

    port: str
    mac: str
    address: str = ""


class Heard(NamedTuple):
    """A packet that came out at a TAP. `offered` is the address that it offers, where it does, and
    `named` are the addresses that it says a name has."""

    tap: str
    mark: str
    offered: str = ""
    named: str = ""


class Ear(NamedTuple):
    """What was heard at the TAPs of one worker; those that are `deaf`, and why."""

    heard: frozenset[Heard] = frozenset()
    deaf: tuple[tuple[str, str], ...] = ()


def to(source: From, mark: str, mac: str, address: str) -> Packet:
    """To one guest, or all of a network (`EVERYBODY`, `ANYBODY`); by way of a gateway where `mac`
    is its."""
    return Packet(source.port, mark, _icmp(source, mac, address, _ECHO_REPLY, mark))


def echo(source: From, mark: str, mac: str, address: str) -> Packet:
    """An echo that a gateway is to answer."""
    return Packet(source.port, mark, _icmp(source, mac, address, _ECHO, mark))


def discover(source: From, mark: str) -> Packet:
    """Who would give it a lease? Nothing is requested, so none is made."""
    # The transaction's number and the seconds, which come back in an offer, are the mark.
    body = struct.pack("!BBBB", 1, 1, 6, 0) + _bytes(mark) + struct.pack("!H", 0)
    body += bytes(16) + _bytes(source.mac).ljust(16, b"\0") + bytes(192)
    body += bytes.fromhex("638253633501013703010306ff")
    udp = struct.pack("!HHHH", 68, 67, 8 + len(body), 0) + body
    anonymous = source._replace(address="")
    return Packet(source.port, mark, _ip(anonymous, EVERYBODY, ANYBODY, _UDP, udp))


def query(source: From, mark: str, mac: str, server: str, name: str) -> Packet:
    """Which address has that name?"""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    body = struct.pack("!HHHHHH", 0x7670, 0x0100, 1, 0, 0, 0) + labels + b"\0"
    body += struct.pack("!HH", 1, 1)
    udp = struct.pack("!HHHH", 0x7670, _DNS, 8 + len(body), 0) + body
    option = bytes([_OPTION, 8]) + _bytes(mark)
    return Packet(source.port, mark, _ip(source, mac, server, _UDP, udp, option))


def _icmp(source: From, mac: str, address: str, kind: int, mark: str) -> bytes:
    run, number = struct.unpack("!HH", _bytes(mark)[2:])
    # Another one for each: behind one address outside, two of the same would not both get out.
    rest = struct.pack("!HH", run ^ number, 1) + _bytes(mark) + b"vmops".ljust(18, b"\0")
    body = struct.pack("!BBH", kind, 0, 0) + rest
    body = struct.pack("!BBH", kind, 0, _sum(body)) + rest
    return _ip(source, mac, address, _ICMP, body)


def _ip(
    source: From, mac: str, address: str, protocol: int, body: bytes, option: bytes = b""
) -> bytes:
    ends = IPv4Address(source.address or "0.0.0.0").packed + IPv4Address(address).packed
    words, length = 5 + len(option) // 4, 20 + len(option) + len(body)
    head = struct.pack("!BBHHHBBH", 0x40 | words, 0, length, 0, 0, 64, protocol, 0)
    head = head[:10] + struct.pack("!H", _sum(head + ends + option)) + ends + option
    return _bytes(mac) + _bytes(source.mac) + b"\x08\x00" + head + body


def _bytes(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def _sum(data: bytes) -> int:
    total = sum(int.from_bytes(data[at : at + 2]) for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def send(packets: Sequence[Packet]) -> Command:
    """Send the packets, one after the other; it says of each port that refuses one why."""
    pairs = (word for each in packets for word in (each.port, each.frame.hex()))
    return command("send_probes", OVN_BRIDGE, *pairs)


def file_of(run: int) -> str:
    """Where what was heard in a run is written on the worker. No VM's name begins with a dot."""
    return f"{RUN_ROOT}/.heard.{run:04x}"


def listen(run: int, taps: Sequence[tuple[str, str]]) -> Command:
    """Begin to listen to the TAPs, each with the VM that it is of, in the background.

    A TAP that nobody has open drops what it is given. So it is opened, while nobody may change its
    VM; of one that somebody does change it says so. Without a VM nothing is opened.
    """
    words = (word for pair in taps for word in pair)
    mark = probe.prefix(run).replace(":", "")
    return command("listen_at_taps", file_of(run), mark, str(LISTENS_S), *words)


def heard(run: int) -> Command:
    """What was heard until now."""
    return command("heard_at_taps", file_of(run), most_bytes=FACT_BYTES)


def hang_up(run: int) -> Command:
    """End the listener; one that has ended already is fine."""
    return command("hang_up", file_of(run))


def parse(text: str) -> Ear:
    """What `heard` printed. Lines that are none of a listener's are passed over."""
    found, deaf = set(), []
    for line in text.split("\n"):
        if line.startswith(DEAF):
            tap, _, why = line.removeprefix(DEAF).partition(" ")
            deaf.append((tap, why))
        elif len(words := line.split(" ")) == 3:
            found.add(_heard(*words))
    return Ear(frozenset(each for each in found if each is not None), tuple(deaf))


def _heard(tap: str, mark: str, frame: str) -> Heard | None:
    try:
        raw, number = bytes.fromhex(frame), bytes.fromhex(mark)
    except ValueError:
        return None
    if len(number) != 6:
        return None
    return Heard(tap, ":".join(f"{each:02x}" for each in number), _offered(raw), _named(raw))


def _offered(raw: bytes) -> str:
    """The address in an answer to `discover`; empty in anything else."""
    if len(raw) < _OFFER_BYTES or raw[12:15] != b"\x08\x00\x45" or raw[23] != _UDP:
        return ""
    (port,) = struct.unpack("!H", raw[36:38])
    return str(IPv4Address(raw[58:62])) if port == _DHCP_TO_GUEST else ""


def _named(raw: bytes) -> str:
    """The addresses in an answer to `query`, in order; empty in anything else."""
    is_answer = raw[12:15] == b"\x08\x00\x47" and raw[23:24] == bytes([_UDP])
    if not is_answer or raw[42:44] != struct.pack("!H", _DNS):
        return ""
    said = raw[_NAMES_AT:]
    found = []
    try:
        (count,) = struct.unpack_from("!H", said, 6)
        at = _behind_name(said, 12) + 4
        for _ in range(count):
            at = _behind_name(said, at)
            kind, _, _, length = struct.unpack_from("!HHIH", said, at)
            data = said[at + 10 : at + 10 + length]
            if kind == 1 and len(data) == 4:
                found.append(str(IPv4Address(data)))
            at += 10 + length
    except (struct.error, IndexError):
        return ""
    return " ".join(sorted(found))


def _behind_name(said: bytes, at: int) -> int:
    """Where a name ends: after its labels, or after what refers to another."""
    while said[at]:
        if said[at] & 0xC0:
            return at + 2
        at += 1 + said[at]
    return at + 1
