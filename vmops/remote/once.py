"""One meeting of two workers, by an ssh and an sshd that are there for it alone.

The keys of both sides are made here for it, and go to the workers over their own connections
(shell/sshd.pl, shell/ssh.pl, shell/once.pl).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import fabric

from vmops.core.inventory.model import Worker

LONGEST_WHY = 200

_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


class End(NamedTuple):
    """A worker and how this process gets there."""

    worker: Worker
    config: fabric.Config | None = None


class Keys(NamedTuple):
    """Of one meeting, as lines of hexadecimal digits: the private one of who listens, the line of
    authorized_keys there; the private one of who comes, the line of known_hosts there."""

    host: str
    allowed: str
    login: str
    known: str


class Place(NamedTuple):
    """Where one listens, and as whom."""

    address: str
    port: str
    user: str


class CannotBe(Exception):
    """These two cannot do it: why."""


def place_of(words: Sequence[str]) -> Place | None:
    """From what who listens says of it; None for other words."""
    match words:
        case ["listens", address, port, user] if _is_place(address, port, user):
            return Place(address, port, user)
    return None


def _is_place(address: str, port: str, user: str) -> bool:
    with suppress(ValueError):
        ipaddress.ip_address(address)
        return port.isdecimal() and 0 < int(port) < 2**16 and _USER.fullmatch(user) is not None
    return False


def new_keys() -> Keys:
    """Keys that nobody has had before."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    def pair() -> tuple[bytes, bytes]:
        key = Ed25519PrivateKey.generate()
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        )
        form = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        return private, key.public_key().public_bytes(*form)

    (host, host_line), (login, login_line) = pair(), pair()
    lines = host, b"restrict " + login_line + b"\n", login, b"vmops " + host_line + b"\n"
    return Keys(*(line.hex() for line in lines))
