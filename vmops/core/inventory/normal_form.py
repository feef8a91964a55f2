"""The normal form of one value: each function gives it, or None for a value that is refused."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Sequence
from datetime import date

from vmops.core.inventory.guest import keys

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
BRIDGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}")
DISK = re.compile(r"(?!(root|uefi)$)[A-Za-z0-9][A-Za-z0-9_]{0,19}")
USER = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._@+\\-]{0,62}[A-Za-z0-9._@+-])?")
CPU = re.compile(
    r"(?!help$)[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
    r"(?:,[+-]?[A-Za-z0-9][A-Za-z0-9._-]*(?:=[A-Za-z0-9._:-]+)?)*"
)
_CPU_MAX = 1000
_HOST = re.compile(r"(?!-)(?=.{1,253}\Z)(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?")
_DOTTED_DIGITS = re.compile(r"[0-9.]+")
_MAC = re.compile(r"[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5}")
_HOP = re.compile(r"(?:(?P<user>.+)@)?(?P<host>\[[^\[\]]+\]|[^\[\]@:]+)(?::(?P<port>[0-9]{1,5}))?")
_PATH_MAX_BYTES = 4095
_SHA256 = re.compile(r"[0-9A-Fa-f]{64}")
_URL = re.compile(r"(https?)://([^/?#]+)([/?#].*)?", re.IGNORECASE)
_URL_MAX = 2000
_VLAN = re.compile(r"[0-9]{1,4}")
MAX_VLAN = 4094
GUEST_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+:~=_/-]{0,199}")
HOSTNAME = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    r"(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
_HOSTNAME_MAX = 190
"""With a VM's name in it, it is a host name still."""

MAX_DNS = 8
"""A resolver asks three at most; more are a mistake."""


def name(value: str) -> str | None:
    """A VM, an interface or a worker. It fits a socket path and needs no quoting anywhere."""
    return value if NAME.fullmatch(value) else None


def bridge(value: str) -> str | None:
    """A name that the kernel and Open vSwitch take: at most 15 bytes."""
    return value if BRIDGE.fullmatch(value) else None


def user(value: str) -> str | None:
    """A login name, also one of a directory service with its domain: `anna@lab`, `LAB\\anna`."""
    return value if USER.fullmatch(value) else None


DAY = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])")


def day(value: str) -> str | None:
    """A day that there is, as ISO 8601 writes it."""
    if not DAY.fullmatch(value):
        return None
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError:
        return None


def cpu(value: str) -> str | None:
    """A CPU model as `-cpu` takes it; "help" would print a list and start nothing."""
    return value if len(value) <= _CPU_MAX and CPU.fullmatch(value) else None


def disk_name(value: str) -> str | None:
    """A further disk. It fits the 20 bytes of a serial number, and has no hyphen or point: in a
    file's name those end it."""
    return value if DISK.fullmatch(value) else None


def mac(value: str) -> str | None:
    """Lower case with colons; empty stays empty. Multicast and all zero are no card's address."""
    if value == "":
        return ""
    lower = value.lower()
    if not _MAC.fullmatch(lower) or int(lower[:2], 16) & 1:
        return None
    colons = lower.replace("-", ":")
    return None if colons == "00:00:00:00:00:00" else colons


def local_path(value: str) -> str | None:
    """The path of a file: printable, not empty, not a directory's."""
    if not value or not value.isprintable() or value.endswith("/"):
        return None
    return value if len(value.encode()) <= _PATH_MAX_BYTES else None


def path_from(folder: str, path: str) -> str:
    """A local path as seen from `folder`; ssh's word "none" and what begins with `~` stay."""
    if path.startswith("~") or path.lower() == "none":
        return path
    return posixpath.normpath(posixpath.join(folder, path)) if folder else path


def image_path(value: str) -> str | None:
    """An absolute path, or one below the SSH user's home, written with a leading `~/`.

    QEMU takes what stands before a colon in a relative name (`nbd:`, `json:`) as a protocol, so
    a relative path is never left relative.
    """
    if value.startswith(("/", "~/")):
        return local_path(value)
    return local_path(f"~/{value}") if value and not value.startswith("~") else None


def ip_address(value: str) -> str | None:
    """An IPv4 or IPv6 address without a zone, IPv6 in its short form."""
    import ipaddress

    try:
        return str(ipaddress.ip_address(value)) if "%" not in value else None
    except ValueError:
        return None


def guest_address(value: str) -> str | None:
    """An address that a host can have, with the length of its prefix behind it or without."""
    import ipaddress

    if "%" in value:
        return None
    try:
        card = ipaddress.ip_interface(value)
    except ValueError:
        return None
    if card.ip.is_multicast or card.ip.is_unspecified or card.ip.is_loopback:
        return None
    return str(card) if "/" in value else str(card.ip)


def host_address(value: str) -> str | None:
    """The same without a prefix."""
    return None if "/" in value else guest_address(value)


def addresses(value: Sequence[object]) -> tuple[str, ...] | None:
    """Addresses of other hosts, each once."""
    found = [ip_address(item) if isinstance(item, str) else None for item in value]
    known = tuple(dict.fromkeys(item for item in found if item is not None))
    return known if len(known) == len(value) <= MAX_DNS else None


def vlan_range(value: str) -> str | None:
    """The first and the last of several VLANs, with a hyphen between them."""
    first, hyphen, last = (part.strip(" ") for part in value.partition("-"))
    if not hyphen or not all(_VLAN.fullmatch(end) for end in (first, last)):
        return None
    return f"{int(first)}-{int(last)}" if 1 <= int(first) <= int(last) <= MAX_VLAN else None


def vlans(value: Sequence[object]) -> tuple[int, ...] | None:
    """Numbers of VLANs, each once, in their order."""
    known = {
        item
        for item in value
        if isinstance(item, int) and not isinstance(item, bool) and 1 <= item <= MAX_VLAN
    }
    return tuple(sorted(known)) if len(known) == len(value) else None


def ssh_keys(value: Sequence[object]) -> tuple[str, ...] | None:
    """Public keys, and paths of files that hold some."""
    found = []
    for item in value:
        text = item.strip(" ") if isinstance(item, str) else ""
        found.append(keys.key(text) if keys.is_key(text) else local_path(text))
    return tuple(one for one in found if one) if all(found) else None


def guest_user(value: str) -> str | None:
    """A login name as every Linux takes it."""
    return value if GUEST_USER.fullmatch(value) else None


def packages(value: Sequence[object]) -> tuple[str, ...] | None:
    """Names of packages; one may have its version behind it, as apt and dnf take it."""
    good = all(isinstance(item, str) and PACKAGE.fullmatch(item) for item in value)
    return tuple(map(str, value)) if good else None


def hostname(value: str) -> str | None:
    """A host name, or what becomes one when the VM's name is put into it."""
    filled = value.replace("{name}", "a")
    return value if len(value) <= _HOSTNAME_MAX and HOSTNAME.fullmatch(filled) else None


def address(value: str) -> str | None:
    """A host name or an IP address; what looks like IPv4 has to be it; IPv6 may have its zone.

    Python's look-up of a name with an empty or a longer part fails before it has begun.
    """
    base, percent, zone = value.partition("%")
    ip = ip_address(base)
    if ip is None:
        return value if _HOST.fullmatch(value) and not _DOTTED_DIGITS.fullmatch(value) else None
    if not percent:
        return ip
    return f"{ip}%{zone}" if ":" in ip and BRIDGE.fullmatch(zone) else None


def gateway(value: str) -> str | None:
    """`user@host:port` for each hop, separated by commas; user and port may be missing."""
    hops = [hop.strip(" ") for hop in value.split(",")]
    return ",".join(hops) if all(_is_hop(hop) for hop in hops) else None


def _is_hop(hop: str) -> bool:
    parts = _HOP.fullmatch(hop)
    if parts is None:
        return False
    host = parts["host"]
    return (
        (parts["user"] is None or user(parts["user"]) is not None)
        and address(host.strip("[]")) is not None
        and (":" in host) == host.startswith("[")
        and (parts["port"] is None or 1 <= int(parts["port"]) <= 65535)
    )


def sha256(value: str) -> str | None:
    """In lower case, as every tool prints it."""
    return value.lower() if _SHA256.fullmatch(value) else None


def url(value: str) -> str | None:
    """Of the web, for a program on the worker: without a secret that others could see, and without
    what would begin another line or word."""
    parts = _URL.fullmatch(value)
    if not parts or not value.isprintable() or " " in value or len(value) > _URL_MAX:
        return None
    return None if "@" in parts[2] else value


def within(low: float, high: float, decimals: int) -> Callable[[float], float | None]:
    """A number between two bounds, with so many decimals at most; a whole one has no point."""

    def normal(value: float) -> float | None:
        if not low <= value <= high:
            return None
        return int(value) if value == int(value) else round(value, decimals)

    return normal
