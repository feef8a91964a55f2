"""Run on a worker: hold a TAP as a QEMU does, with a namespace behind it as its guest.

Arguments: the TAP, the namespace, and the MAC that the guest has on its device, eth0. It says
"ready", and goes on until its standard input ends.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import struct
import subprocess
import sys
from pathlib import Path

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x2, 0x1000
CLONE_NEWNET = 0x40000000


def held(tap: str) -> int:
    """The TAP, opened; it is made where there is none."""
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", tap.encode(), IFF_TAP | IFF_NO_PI))
    return device


def main() -> None:
    """Carry frames between the two until nobody is there any more."""
    tap, namespace, mac = sys.argv[1:]
    outside = held(tap)
    with Path("/run/netns", namespace).open() as there:
        if ctypes.CDLL(None, use_errno=True).setns(there.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
    inside = held("eth0")
    subprocess.run(["ip", "link", "set", "eth0", "address", mac, "mtu", "1442", "up"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    other = {outside: inside, inside: outside}
    while True:
        ready = select.select([0, *other], [], [])[0]
        if 0 in ready:
            return
        for device in ready:
            os.write(other[device], os.read(device, 65536))


if __name__ == "__main__":
    main()
