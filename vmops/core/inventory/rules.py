"""What every value of the inventory has to be: the one table that models and hosts.toml share."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from vmops.core.inventory import normal_form as normal
from vmops.core.inventory.machine import extra
from vmops.core.inventory.machine import rules as machine
from vmops.core.inventory.networks.impairment import WAYS
from vmops.core.inventory.placement import apart
from vmops.core.names import MAX_VM_ID

MODELS = ("e1000", "e1000e", "rtl8139", "virtio", "vmxnet3")
ACCELERATORS = ("kvm", "tcg", "auto")
DISK_MODELS = ("ide", "virtio")
DISKS = ("overlay", "clone")
DISK_FORMATS = ("qcow2", "raw")
HOST_KEYS = ("strict", "accept-new", "off")
IMAGE_FORMATS = ("qcow2", "raw")
VLAN, OVN = ENGINES = ("vlan", "ovn")

MAX_INTERFACES = 24
MAX_DISKS = 16
MAX_CARDS = 26
"""QEMU's PCI bus has 32 slots, and its own devices and the first disk need some of them: so many
are left for interfaces and further disks together."""

_KINDS: Mapping[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number with a point",
    str: "text",
    list: "a list",
    tuple: "a list",
    dict: "a table",
    type(None): "nothing",
}

_NO_SCHEMA: Mapping[str, Any] = MappingProxyType({})


class Rule(NamedTuple):
    """What one value has to be.

    `text` says it after "must be". `normal` gives the value in its one normal form, or None to
    refuse it; it sees values of type `kind` only. `optional` lets None pass: not set.
    `is_file_here` marks a path on the operator's machine, which hosts.toml may give relative to
    itself. `schema` is what JSON Schema can say of it, for editors: never stricter than `normal`.
    """

    kind: type
    text: str
    normal: Callable[[Any], Any]
    optional: bool = False
    is_file_here: bool = False
    schema: Mapping[str, Any] = _NO_SCHEMA

    def objection(self, value: object) -> str | None:
        """What is wrong with `value`, or None."""
        if value is None and self.optional:
            return None
        kinds = {list: (list, tuple), float: (int, float)}.get(self.kind, self.kind)
        if isinstance(value, bool) is not (self.kind is bool) or not isinstance(value, kinds):
            found = _KINDS.get(type(value), type(value).__name__)
            wanted = "a number" if self.kind is float else _KINDS[self.kind]
            return f"must be {wanted}, not {found}: {self.text}"
        return f"must be {self.text}" if self.normal(value) is None else None

    def normalised(self, value: Any) -> Any:
        """The normal form of a value that there is no objection to."""
        return None if value is None else self.normal(value)


def whole(low: int, high: int, text: str = "", *, optional: bool = False) -> Rule:
    """A whole number between two bounds."""
    return Rule(
        int,
        text or f"{low} to {high}",
        lambda value: value if low <= value <= high else None,
        optional,
        schema={"minimum": low, "maximum": high},
    )


def number(low: float, high: float, unit: str, *, decimals: int = 2) -> Rule:
    """A number between two bounds, kept to some decimals."""
    schema = {"minimum": low, "maximum": high}
    text = f"{low:g} to {high:g} ({unit}), or left out"
    return Rule(float, text, normal.within(low, high, decimals), optional=True, schema=schema)


def name_of(what: str, *, optional: bool = True) -> Rule:
    """The name of something else in the file."""
    schema = matching(normal.NAME)
    return Rule(str, f"the name of one of the {what}", normal.name, optional, schema=schema)


def one_of(words: Sequence[str], *, optional: bool = False) -> Rule:
    """A word out of a few."""
    text = "one of " + ", ".join(f'"{word}"' for word in words)
    return Rule(
        str,
        text,
        lambda value: value if value in words else None,
        optional,
        schema={"enum": list(words)},
    )


def file_here() -> Rule:
    """A file on the operator's machine."""
    text = "the path of a file here, in printable characters"
    schema = {"pattern": "[^/]$"}
    return Rule(str, text, normal.local_path, True, is_file_here=True, schema=schema)


def matching(pattern: re.Pattern[str]) -> dict[str, str]:
    """The whole of a text that matches, for a schema."""
    return {"pattern": f"^{pattern.pattern}$"}


_LETTERS = "letters, digits, '.', '_' and '-', the first a letter or a digit"
NAME = Rule(str, f"1 to 63 {_LETTERS}", normal.name, schema=matching(normal.NAME))
_ADDRESS_SCHEMA = {"pattern": "^[A-Za-z0-9_:][A-Za-z0-9._:%-]*$", "maxLength": 270}

INTERFACE: Mapping[str, Rule] = {
    "name": NAME,
    "vlan_id": whole(
        1, 4094, "1 to 4094, or left out for an interface that is not connected", optional=True
    ),
    "mac": Rule(
        str,
        'six octets as in "52:54:00:03:e9:01", not multicast (an odd first octet) and not all zero,'
        " or left out to have it derived",
        normal.mac,
        schema={
            "pattern": "^(|(?!00([:-]00){5}$)[0-9A-Fa-f][02468ACEace]([:-][0-9A-Fa-f]{2}){5})$"
        },
    ),
    "model": one_of(MODELS),
    "address": Rule(
        str,
        'an IP address that the guest is to have, with its prefix as in "192.168.0.5/24"',
        normal.guest_address,
        optional=True,
        schema={"pattern": "^[0-9A-Fa-f:.]{2,45}(/[0-9.]{1,15})?$"},
    ),
    "gateway": Rule(
        str,
        "the IP address of a router in the address's subnet",
        normal.host_address,
        optional=True,
        schema={"pattern": "^[0-9A-Fa-f:.]{2,45}$"},
    ),
    "dns": Rule(
        list,
        f"at most {normal.MAX_DNS} different IP addresses of name servers",
        normal.addresses,
        schema={
            "maxItems": normal.MAX_DNS,
            "items": {"type": "string", "pattern": "^[0-9A-Fa-f:.]{2,45}$"},
        },
    ),
    "dhcp": Rule(bool, "true for a guest that asks for its address", lambda value: value),
    "mtu": whole(576, 9216, optional=True),
    "network": name_of("networks, instead of vlan_id"),
    "engine": Rule(
        str,
        '"ovn", which its network says',
        lambda value: value if value == OVN else None,
        optional=True,
        schema={"enum": ["ovn"]},
    ),
    "trunks": Rule(
        list,
        "VLANs of 1 to 4094, each once, which the guest has with their tags",
        normal.vlans,
        schema={
            "items": {"type": "integer", "minimum": 1, "maximum": normal.MAX_VLAN},
            "uniqueItems": True,
        },
    ),
    "delay_ms": number(0.1, 10_000, "milliseconds, each way"),
    "jitter_ms": number(0.1, 10_000, "milliseconds more or less than delay_ms"),
    "loss_pct": number(0.001, 100, "percent of the frames, each way", decimals=3),
    "rate_mbit": number(0.01, 100_000, "Mbit/s, each way", decimals=3),
    "impaired": one_of(WAYS),
}

DISK: Mapping[str, Rule] = {
    "name": Rule(
        str,
        "1 to 20 letters, digits and '_', the first a letter or a digit, and neither"
        ' "root" nor "uefi"',
        normal.disk_name,
        schema=matching(normal.DISK),
    ),
    "size_gb": whole(1, 65536, "1 to 65536 (GiB)"),
    "format": one_of(DISK_FORMATS),
}

VM: Mapping[str, Rule] = {
    "name": NAME,
    "vm_id": whole(1, MAX_VM_ID),
    "ram_mb": whole(1, 16_777_216, "1 to 16777216 (MiB)"),
    "cores": whole(1, 255),
    "vnc_port": whole(
        5900, 65535, "5900 to 65535 (the display is the port less 5900)", optional=True
    ),
    "qcow_image": Rule(
        str,
        'the path of a disk image on the worker, in printable characters: "/...", or "~/..." for'
        " the SSH user's own home",
        normal.image_path,
        schema={"pattern": "^(~/|[^~]).*[^/]$|^[^~/]$"},
    ),
    "image": name_of("images, instead of qcow_image"),
    "disk": one_of(DISKS, optional=True),
    "disk_gb": whole(1, 65536, "1 to 65536 (GiB)", optional=True),
    "disks": Rule(
        list,
        f"at most {MAX_DISKS} disks beside the first (in TOML, [[vms.NAME.disks]] above each)",
        lambda value: tuple(value) if len(value) <= MAX_DISKS else None,
        schema={"maxItems": MAX_DISKS},
    ),
    "cpu": Rule(
        str,
        'a CPU model of QEMU, features behind it allowed, as in "host" or "Nehalem,+aes,-vmx"',
        normal.cpu,
        optional=True,
        schema={**matching(normal.CPU), "maxLength": 1000},
    ),
    "disk_model": one_of(DISK_MODELS, optional=True),
    "cloud_init": Rule(
        dict, "a table of what the guest is told at its first boot", dict, optional=True
    ),
    "boot": one_of(machine.BOOTS, optional=True),
    "iso": Rule(str, machine.ISO_TEXT, machine.iso, optional=True, schema={"pattern": "^[^~]|^~/"}),
    "machine": Rule(
        str,
        'a PC of QEMU: "pc", "q35", or one of a version, as in "pc-q35-7.2"',
        machine.machine,
        optional=True,
        schema=matching(machine.MACHINE),
    ),
    "extra_args": Rule(
        list,
        machine.EXTRA_TEXT,
        extra.words,
        schema={"maxItems": extra.MOST_WORDS, "items": {"type": "string", "maxLength": 1000}},
    ),
    "interfaces": Rule(
        list,
        f"at most {MAX_INTERFACES} interfaces (in TOML, [[vms.NAME.interfaces]] above each)",
        lambda value: tuple(value) if len(value) <= MAX_INTERFACES else None,
        schema={"maxItems": MAX_INTERFACES},
    ),
    "balloon": Rule(
        bool, "true for a VM whose ram_mb can change while it runs", lambda value: value
    ),
    "expires": Rule(
        str,
        'the last day of the VM, as in "2027-01-31"',
        normal.day,
        optional=True,
        schema=matching(normal.DAY),
    ),
    "worker": name_of("workers"),
    "apart": Rule(
        list,
        apart.TEXT,
        apart.patterns,
        schema={
            "maxItems": apart.MOST,
            "items": {"type": "string", **matching(apart.PATTERN)},
            "uniqueItems": True,
        },
    ),
    "autostart": Rule(bool, "false for a VM that up starts only by its name", lambda value: value),
}

SEVERAL: Mapping[str, Rule] = {
    "template": name_of("templates", optional=False),
    "count": whole(1, 1000, "1 to 1000 VMs, which get the name with a number from 1 behind it"),
}
"""What a table of hosts.toml may say beside the keys of a VM, to stand for one or several."""

SHARED: Mapping[str, Rule] = {
    key: rule for key, rule in VM.items() if key not in ("name", "vm_id", "vnc_port")
}
"""What [vm_defaults] and templates may give; the others differ from VM to VM."""


_DEVICE = Rule(str, f"1 to 15 {_LETTERS}", normal.bridge, schema=matching(normal.BRIDGE))

SETTINGS: Mapping[str, Rule] = {
    "port": whole(1, 65535, optional=True),
    "user": Rule(
        str,
        "1 to 64 letters, digits, '.', '_', '@', '+', '-' and '\\', the first a letter, digit"
        " or '_'",
        normal.user,
        optional=True,
        schema=matching(normal.USER),
    ),
    "identity_file": file_here(),
    "gateway": Rule(
        str,
        '"host" or "user@host:port", several hops separated by commas',
        normal.gateway,
        optional=True,
        schema={"minLength": 1},
    ),
    "bridge": _DEVICE,
    "accel": one_of(ACCELERATORS),
    "vnc_listen": Rule(
        str,
        "an IP address, such as 127.0.0.1",
        normal.ip_address,
        optional=True,
        schema={"pattern": "^[0-9A-Fa-f:.]{2,45}$"},
    ),
    "host_keys": one_of(HOST_KEYS),
    "known_hosts": file_here(),
    "uplink": _DEVICE._replace(optional=True),
    "shared_images": _DEVICE._replace(optional=True),
}

NETWORK_NODE = name_of("workers")

FLEET: Mapping[str, Rule] = {
    "link_vlans": Rule(
        str,
        'the first and the last VLAN for links, as in "2000-2999"',
        normal.vlan_range,
        optional=True,
        schema={"pattern": "^[0-9]{1,4} *- *[0-9]{1,4}$"},
    ),
    "network_node": NETWORK_NODE,
    "engine": one_of(ENGINES),
    "mesh": one_of(("vxlan",), optional=True),
}
"""What [defaults] says that no worker says for itself."""

WORKER: Mapping[str, Rule] = {
    "name": Rule(
        str,
        f"1 to 63 {_LETTERS}, or an address",
        lambda value: normal.name(value) or normal.address(value),
        schema=_ADDRESS_SCHEMA,
    ),
    "address": Rule(
        str,
        "a host name or an IP address, without user, port or brackets; 1 to 63 characters between"
        " dots",
        normal.address,
        schema=_ADDRESS_SCHEMA,
    ),
    "encap_ip": Rule(
        str,
        "an IP address of its own for tunnels, where that is not its address",
        normal.host_address,
        optional=True,
        schema={"pattern": "^[0-9A-Fa-f:.]{2,45}$"},
    ),
    **SETTINGS,
}

IMAGE: Mapping[str, Rule] = {
    "name": NAME,
    "file": file_here(),
    "url": Rule(
        str,
        'an address that begins with "https://" or "http://", without user, password, spaces or'
        " control characters",
        normal.url,
        optional=True,
        schema={"pattern": "^[Hh][Tt][Tt][Pp][Ss]?://[^/?#]", "maxLength": 2000},
    ),
    "sha256": Rule(
        str,
        "64 hexadecimal digits, as sha256sum prints them",
        normal.sha256,
        optional=True,
        schema={"pattern": "^[0-9A-Fa-f]{64}$"},
    ),
    "format": one_of(IMAGE_FORMATS),
}
"""What [images.NAME] says; beside it `image.contradictions` holds the values together."""
