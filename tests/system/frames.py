"""Frames as a guest may send them, in hex."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

GUEST = bytes.fromhex("0252aa000001")
GUEST_V4 = IPv4Address("192.0.2.9")


def _checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total = sum(int(word) for word in struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def router_advertisement(prefix: str) -> str:
    """A router that offers itself for everything, and a prefix for addresses."""
    source, target = IPv6Address("fe80::52:aaff:fe00:1"), IPv6Address("ff02::1")
    option = struct.pack("!BBBBIII16s", 3, 4, 64, 0xC0, 3600, 3600, 0, IPv6Address(prefix).packed)
    body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + option
    pseudo = source.packed + target.packed + struct.pack("!I3xB", len(body), 58)
    body = body[:2] + struct.pack("!H", _checksum(pseudo + body)) + body[4:]
    head = struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + source.packed + target.packed
    return (bytes.fromhex("333300000001") + GUEST + b"\x86\xdd" + head + body).hex()


def who_has(address: str) -> str:
    """ARP: who has the address?"""
    ask = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + GUEST + GUEST_V4.packed
    asked = b"\0" * 6 + IPv4Address(address).packed
    return (b"\xff" * 6 + GUEST + b"\x08\x06" + ask + asked).hex()


def echo_request(mac: str, address: str) -> str:
    """A ping, sent to the device itself."""
    body = struct.pack("!BBHHH", 8, 0, 0, 1, 1) + b"x" * 24
    body = body[:2] + struct.pack("!H", _checksum(body)) + body[4:]
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 1, 0, 64, 1, 0)
    head += GUEST_V4.packed + IPv4Address(address).packed
    head = head[:10] + struct.pack("!H", _checksum(head)) + head[12:]
    return (bytes.fromhex(mac.replace(":", "")) + GUEST + b"\x08\x00" + head + body).hex()


def of_size(size: int, target: str = "ff:ff:ff:ff:ff:ff") -> str:
    """A frame of that many bytes after its header, of a type that is nobody's."""
    return (bytes.fromhex(target.replace(":", "")) + GUEST + b"\x88\xb5" + b"x" * size).hex()
