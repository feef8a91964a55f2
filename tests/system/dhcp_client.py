"""Run in a namespace: ask for a lease on a device, and print what was offered as JSON.

Arguments: the device, and the seconds to wait for an answer. Prints null where nobody answers.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import time

COOKIE = b"\x63\x82\x53\x63"
DISCOVER, OFFER, REQUEST, ACK = 1, 2, 3, 5


def checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def frame(mac: bytes, xid: bytes, options: bytes) -> bytes:
    body = struct.pack("!BBBB4sHH16s", 1, 1, 6, 0, xid, 0, 0x8000, b"")
    body += mac + b"\0" * 202 + COOKIE + options + b"\xff"
    udp = struct.pack("!HHHH", 68, 67, 8 + len(body), 0) + body
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0)
    head += b"\0" * 4 + b"\xff" * 4
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return b"\xff" * 6 + mac + b"\x08\x00" + head + udp


def answer(data: bytes, xid: bytes) -> dict[int, bytes] | None:
    """The options of an answer to us, with its address as option 0."""
    if data[12:14] != b"\x08\x00" or data[23] != 17 or data[36:38] != b"\0\x44":
        return None
    payload = data[42:]
    if payload[:1] != b"\x02" or payload[4:8] != xid:
        return None
    udp = data[34:42] + payload
    pseudo = data[26:34] + struct.pack("!BBH", 0, 17, len(udp))
    if data[40:42] != b"\0\0" and checksum(pseudo + udp[: struct.unpack("!H", data[38:40])[0]]):
        raise SystemExit("an answer with a wrong checksum")
    found, rest = {0: payload[16:20]}, payload[240:]
    while rest and rest[0] != 0xFF:
        if rest[0] == 0:
            rest = rest[1:]
            continue
        found[rest[0]] = rest[2 : 2 + rest[1]]
        rest = rest[2 + rest[1] :]
    return found


def ask(
    link: socket.socket, request: bytes, xid: bytes, kind: int, until: float
) -> dict[int, bytes] | None:
    while time.monotonic() < until:
        link.send(request)
        again = time.monotonic() + 1
        while (left := min(again, until) - time.monotonic()) > 0:
            link.settimeout(left)
            try:
                found = answer(link.recv(65535), xid)
            except TimeoutError:
                break
            if found is not None and found.get(53) == bytes([kind]):
                return found
    return None


def main() -> None:
    device, seconds = sys.argv[1], float(sys.argv[2])
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
    link.bind((device, 0))
    mac, xid = link.getsockname()[4], os.urandom(4)
    until = time.monotonic() + seconds
    wants = b"\x37\x05\x01\x03\x06\x1a\x33"
    offer = ask(link, frame(mac, xid, b"\x35\x01\x01" + wants), xid, OFFER, until)
    lease = None
    if offer is not None:
        chosen = b"\x35\x01\x03\x32\x04" + offer[0] + b"\x36\x04" + offer[54]
        lease = ask(link, frame(mac, xid, chosen + wants), xid, ACK, until)
    if lease is None:
        sys.stdout.write("null\n")
        return
    addresses = {"address": 0, "mask": 1, "router": 3, "dns": 6}
    said = {key: socket.inet_ntoa(lease[n][:4]) for key, n in addresses.items() if lease.get(n)}
    mtu = struct.unpack("!H", lease[26])[0] if 26 in lease else None
    sys.stdout.write(json.dumps({**said, "mtu": mtu}) + "\n")


if __name__ == "__main__":
    main()
