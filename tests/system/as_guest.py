"""Run on a worker: hold TAPs as QEMUs do, send frames into one, and print what comes out of one.

Arguments: the TAP to listen to and the TAP to send into, the seconds to listen, and the frames in
hex. Each frame that arrives is a line.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import sys
import time

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x2, 0x1000


def held(tap: str) -> int:
    """The TAP, opened."""
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", tap.encode(), IFF_TAP | IFF_NO_PI))
    return device


def main() -> None:
    """Hold the TAPs until the time is up."""
    tap, other, seconds, *frames = sys.argv[1:]
    heard = held(tap)
    sender = heard if other == tap else held(other)
    time.sleep(0.3)
    for frame in frames:
        os.write(sender, bytes.fromhex(frame))
    until = time.monotonic() + float(seconds)
    while (left := until - time.monotonic()) > 0:
        if select.select([heard], [], [], left)[0]:
            sys.stdout.write(os.read(heard, 65536).hex() + "\n")


if __name__ == "__main__":
    main()
