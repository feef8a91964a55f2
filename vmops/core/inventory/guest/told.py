"""What a guest is told at its first boot, before it is written: users, packages, interfaces."""

from __future__ import annotations

from typing import NamedTuple


class GuestUser(NamedTuple):
    """Somebody who may log in with these public keys, and use sudo. He has no password."""

    name: str
    ssh_keys: tuple[str, ...] = ()


class GuestNic(NamedTuple):
    """How the guest sets up one interface, which it finds by its MAC and calls by this name.

    `addresses` are with their prefix, as `10.0.0.5/24`. `dhcp` is that of IPv4. An interface with
    neither gets its name and no more. `mtu` is in bytes, None for what the guest takes by itself.
    """

    name: str
    mac: str
    addresses: tuple[str, ...] = ()
    gateway: str = ""
    dns: tuple[str, ...] = ()
    dhcp: bool = False
    mtu: int | None = None


class Seed(NamedTuple):
    """All that a guest is told. `user_data` is a file of the operator's own, empty for none: a
    cloud-config, or a script, as its first line says."""

    hostname: str
    users: tuple[GuestUser, ...] = ()
    packages: tuple[str, ...] = ()
    user_data: bytes = b""
    nics: tuple[GuestNic, ...] = ()


class Written(NamedTuple):
    """A seed on its CD: the bytes, and the instance-id that is on it."""

    instance: str
    cd: bytes
