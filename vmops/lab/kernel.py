"""The few Linux calls that Python 3.11 does not have: namespaces and mounts, by ctypes."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path

CLONE_NEWNET = 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 0x1, 0x2, 0x4, 0x8
MS_REMOUNT, MS_BIND, MS_MOVE = 0x20, 0x1000, 0x2000

SIOCETHTOOL, ETHTOOL_STXCSUM = 0x8946, 0x17

_SYS_MOUNT_SETATTR = 442  # the same on every architecture
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000

_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, *, kind: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2). Raises OSError with the target as its file name."""
    done = _libc.mount(
        source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode()
    )
    _check(done, target)


def make_read_only(target: str) -> None:
    """Make the mount at `target` and every mount below it read-only, in this mount namespace.

    Raises OSError; a kernel before 5.12 cannot do it (ENOSYS).
    """
    attributes = (ctypes.c_uint64 * 4)(MS_RDONLY, 0, 0, 0)  # set, clear, propagation, userns
    done = _libc.syscall(
        ctypes.c_long(_SYS_MOUNT_SETATTR),
        ctypes.c_int(_AT_FDCWD),
        ctypes.c_char_p(target.encode()),
        ctypes.c_uint(_AT_RECURSIVE),
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )
    _check(done, target)


def enter_network(namespace: Path) -> None:
    """Move the calling thread, and no other, into a network namespace such as /proc/1/ns/net."""
    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(descriptor, CLONE_NEWNET), str(namespace))
    finally:
        os.close(descriptor)


def _check(returned: int, subject: str) -> None:
    if returned != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), subject)


def compute_checksums(device: str) -> None:
    """Have the kernel compute checksums before this device sends. Where it would leave them to the
    hardware, and that is the other end of a veth, Open vSwitch in user space gets frames without.

    Raises OSError.
    """
    turn_off = ctypes.create_string_buffer(struct.pack("II", ETHTOOL_STXCSUM, 0))
    request = struct.pack("16sP16x", device.encode(), ctypes.addressof(turn_off))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        fcntl.ioctl(link, SIOCETHTOOL, request)
