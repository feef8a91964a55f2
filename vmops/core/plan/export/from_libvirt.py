"""A domain of libvirt's in the words of hosts.toml.

What has a word there is taken, and what has none is said: nothing is left out in silence. Nothing
is read but the XML: where a disk is to be converted or moved, the command for it is said.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from vmops.core.inventory import rules
from vmops.core.inventory.complaints import InvalidValue, key_path
from vmops.core.inventory.machine.extra import extra_faults
from vmops.core.inventory.machine.rules import UEFI
from vmops.core.inventory.model import VM
from vmops.core.plan.export import cards, drives, extra
from vmops.core.plan.export.drives import Notes
from vmops.core.plan.export.libvirt import QEMU_SPACE, SPACE

MOST_BYTES = 4 << 20
"""Of a domain's XML; some ten thousand are usual."""

_MIB = 1 << 20
_UNITS: Mapping[str, int] = {
    **dict.fromkeys(("b", "bytes"), 1),
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMGT", start=1)},
    **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", start=1)},
    **{letter: 1024**power for power, letter in enumerate("KMGT", start=1)},
    "k": 1024,
}
_USUAL = frozenset(
    (
        *("emulator", "disk", "interface", "controller", "input", "graphics", "video", "audio"),
        *("memballoon", "serial", "console", "channel"),
    )
)
"""Devices that are taken, or that every VM of libvirt's has."""

_PLAIN = re.compile(r"[A-Za-z0-9_-]+")


class Found(NamedTuple):
    """A VM's table of hosts.toml, and what is to be known besides: what did not go along, and what
    has to be done before it starts."""

    table: Mapping[str, Any]
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """The VM's name."""
        return str(self.table["name"])


def from_libvirt(xml: bytes, *, worker: str = "") -> Found:
    """The table of a domain. `worker` is where it is to be pinned, empty for nowhere.

    Raises ValueError for what is no domain, or one that can be no VM here.
    """
    root = _root(xml)
    kind = root.find("os/type")
    machine = {} if kind is None else kind.attrib
    if kind is None or kind.text != "hvm" or machine.get("arch", "x86_64") != "x86_64":
        what = "none" if kind is None else f"{kind.text} on {machine.get('arch', 'x86_64')}"
        raise ValueError(f"its os type is {what}, and must be hvm on x86_64")
    said: Notes = []
    ours = root.find(f"metadata/{{{SPACE}}}vm")
    ours = ET.Element("none") if ours is None else ours
    table: dict[str, Any] = {"name": (root.findtext("name") or "").strip()}
    if rules.NAME.objection(table["name"]) is not None:
        raise ValueError(f"its name {table['name']!r} cannot be a VM's: must be {rules.NAME.text}")
    found = cards.read(root, ours, said)
    values = {
        "vm_id": _number(ours.get("vm_id")) or found.vm_id,
        "worker": worker or None,
        "ram_mb": _ram_mb(root, said),
        "cores": _number(root.findtext("vcpu")) or 1,
        "vnc_port": _vnc_port(root, said),
        **drives.read(root, ours, table["name"], said),
        "cpu": _cpu(root, said),
        "machine": _machine(machine.get("machine", ""), said),
        "extra_args": _extra_args(root, said, ours=ours.tag != "none"),
        "balloon": _has_balloon(root) or None,
    }
    table |= {key: value for key, value in values.items() if value not in (None, [])}
    table |= _boot(root, table, said)
    table["interfaces"] = found.interfaces
    _rest(root, said)
    table = _good(table, said)
    _check(table)
    name = table["name"]
    return Found(table, tuple(f"{name}: {note}" for note in said))


def _check(table: Mapping[str, Any]) -> None:
    """Raise ValueError where the VM breaks a rule that is one of several keys at once."""
    try:
        VM.from_dict({"vm_id": 1, **table})
    except InvalidValue as fault:
        raise ValueError(f"it cannot be a VM here: {fault}") from fault


class _HasDoctype(Exception):
    """What begins with a DOCTYPE may say that it is far longer than it is."""


class _WithoutDoctype(ET.TreeBuilder):
    """Asks the parser, which knows in all encodings."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise _HasDoctype


def _root(xml: bytes) -> ET.Element:
    if len(xml) > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES >> 20} MiB")
    try:
        root = ET.fromstring(xml, ET.XMLParser(target=_WithoutDoctype()))
    except _HasDoctype as fault:
        raise ValueError("it has a DOCTYPE, and libvirt writes none") from fault
    except ET.ParseError as fault:
        raise ValueError(f"it is no XML, as line {fault.position[0]} shows") from fault
    except (ValueError, LookupError) as fault:
        raise ValueError("it is in an encoding that nobody knows") from fault
    if root.tag == "domainsnapshot" or root.tag != "domain":
        raise ValueError(f"it is a <{root.tag}>, and must be a <domain>")
    return root


def _number(text: str | None) -> int | None:
    """A whole number of a sensible length, or None."""
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def _ram_mb(root: ET.Element, said: Notes) -> int:
    memory = root.find("memory")
    amount = _number(None if memory is None else memory.text)
    unit = _UNITS.get("KiB" if memory is None else memory.get("unit", "KiB"))
    if amount is None or unit is None:
        raise ValueError("it does not say how much memory it has")
    if amount * unit % _MIB:
        said.append("its memory is no whole number of MiB: the next one is taken")
    return max(1, -(-amount * unit // _MIB))


def _vnc_port(root: ET.Element, said: Notes) -> int | None:
    for graphics in root.findall("devices/graphics"):
        if graphics.get("type") != "vnc":
            said.append(f"its screen by {graphics.get('type')} is not taken: vmops has VNC")
            continue
        listen = graphics.get("listen", "")
        if listen not in ("", "127.0.0.1", "::1"):
            said.append(
                f"its VNC listens on {listen}: that is vnc_listen of a worker, for all its VMs"
            )
        port = _number(graphics.get("port"))
        return port if graphics.get("autoport") != "yes" else None
    return None


def _cpu(root: ET.Element, said: Notes) -> str | None:
    cpu = root.find("cpu")
    if root.get("type") != "kvm":
        said.append('it runs without KVM: accel = "tcg" of its worker, or let it have KVM')
    if cpu is None:
        return None
    if cpu.find("topology") is not None:
        said.append("its CPU's topology is left to QEMU: one core for each socket")
    mode = cpu.get("mode", "custom")
    features = [
        f"{'-' if each.get('policy') in ('disable', 'forbid') else '+'}{each.get('name')}"
        for each in cpu.findall("feature")
    ]
    if mode == "host-model":
        said.append("its CPU is like the host's (host-model): here it is the host's own")
        return None
    best = {"host-passthrough": "host", "maximum": "max"}.get(mode)
    if best and not features and (best == "host") == (root.get("type") == "kvm"):
        return None
    model = best or (cpu.findtext("model") or "").strip()
    return ",".join([model, *features]) if model else None


def _machine(kind: str, said: Notes) -> str | None:
    if kind in ("", "pc") or rules.VM["machine"].objection(kind) is None:
        return None if kind in ("", "pc") else kind
    taken = "q35" if "q35" in kind else "pc"
    said.append(f"its machine {kind} is one of a distribution: {taken} is taken")
    return None if taken == "pc" else taken


def _boot(root: ET.Element, table: Mapping[str, Any], said: Notes) -> dict[str, Any]:
    loader, nvram = root.find("os/loader"), root.findtext("os/nvram")
    firmware = root.find("os").get("firmware")  # type: ignore[union-attr]  # it has a type
    for tag in ("kernel", "initrd", "cmdline"):
        if root.find(f"os/{tag}") is not None:
            said.append(f"its {tag} is not taken: a VM here boots from its disk")
    if firmware != "efi" and (loader is None or loader.get("type") != "pflash"):
        return {}
    if loader is not None and loader.get("secure") == "yes":
        said.append("its secure boot is not taken: there is none here")
    if "iso" in table:
        said.append('it boots a CD by UEFI, and boot is "cdrom" or "uefi": UEFI is left out')
        return {}
    where = drives.quoted_disk(str(table["name"]), UEFI, "qcow2")
    if nvram:
        convert = f"qemu-img convert -O qcow2 {drives.quoted(nvram.strip())} {where}"
        said.append(f"its UEFI variables begin anew, or on the worker, as the SSH user: {convert}")
    return {"boot": UEFI}


def _extra_args(root: ET.Element, said: Notes, *, ours: bool) -> list[str]:
    words = [
        each.get("value", "") for each in root.findall(f"{{{QEMU_SPACE}}}commandline/*[@value]")
    ]
    if words and (any(extra_faults(words)) or rules.VM["extra_args"].objection(words) is not None):
        said.append(f"its words for QEMU are not taken: {' '.join(words)}")
        words = []
    model = root.find("devices/video/model")
    return extra.from_libvirt("" if model is None else model.get("type", ""), words, ours=ours)


def _has_balloon(root: ET.Element) -> bool:
    """libvirt writes one into every domain that does not say "none"."""
    balloon = root.find("devices/memballoon")
    return balloon is not None and balloon.get("model", "").startswith("virtio")


def _rest(root: ET.Element, said: Notes) -> None:
    devices = root.find("devices")
    found = [] if devices is None else [each.tag for each in devices if each.tag not in _USUAL]
    if found:
        said.append(f"left out, as there is no word for it here: {', '.join(dict.fromkeys(found))}")


def _good(table: Mapping[str, Any], said: Notes) -> dict[str, Any]:
    """The values that the rules of hosts.toml take; what else there is, is said."""
    found = {}
    for key, value in table.items():
        rule = rules.VM[key]
        wrong = rule.objection(tuple(value) if key == "interfaces" else value)
        if wrong is None or isinstance(value, list):
            found[key] = value
        elif key in ("ram_mb", "cores", "qcow_image"):
            raise ValueError(f"its {key} {value!r}: {wrong}")
        else:
            said.append(f"{key} {value!r} is left out: {wrong}")
    return found


def in_toml(found: Found) -> str:
    """The lines to add to hosts.toml."""
    tables = {"disks": found.table.get("disks", ()), "interfaces": found.table["interfaces"]}
    path = key_path(("vms", found.name))
    lines = [f"[{path}]", *_lines(found.table)]
    for key, items in tables.items():
        for item in items:
            lines += ["", f"[[{path}.{key}]]", *_lines(item)]
    return "\n".join(lines) + "\n"


def _lines(table: Mapping[str, Any]) -> Iterator[str]:
    for key, value in table.items():
        if key not in ("name", "disks", "interfaces") or (key == "name" and "ram_mb" not in table):
            yield f"{key} = {_value(value)}"


def _value(value: int | str | Sequence[Any]) -> str:
    """Of texts, numbers and lists of them JSON is TOML too."""
    return json.dumps(value, ensure_ascii=False)
