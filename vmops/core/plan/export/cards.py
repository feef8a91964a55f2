"""The interfaces of a domain of libvirt's in the words of hosts.toml."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any, NamedTuple

from vmops.core.inventory import rules
from vmops.core.plan.export.libvirt import SPACE

_OURS = re.compile(r"tap_([0-9]{1,5})_(.+)")
_DEFAULT = "rtl8139"
"""What libvirt takes where a domain says no model."""


class Cards(NamedTuple):
    """The interfaces, and the VM's number where the names of their TAPs tell it."""

    interfaces: list[dict[str, Any]]
    vm_id: int | None


def read(root: ET.Element, ours: ET.Element, said: list[str]) -> Cards:
    """Each interface with its VLANs; what it is plugged into otherwise is said."""
    names = {each.get("mac"): each.get("name", "") for each in ours.iter(f"{{{SPACE}}}interface")}
    found: list[dict[str, Any]] = []
    numbers: set[int] = set()
    for place, card in enumerate(root.findall("devices/interface")):
        mac = _attribute(card, "mac", "address").lower()
        target = _OURS.fullmatch(_attribute(card, "target", "dev"))
        if target:
            numbers.add(int(target[1]))
        name = names.get(mac) or (target[2] if target else f"eth{place}")
        if rules.NAME.objection(name) is not None or name in {each["name"] for each in found}:
            name = f"eth{place}"
        entry = {"name": name, **_vlans(card, name, said)}
        if mac and rules.INTERFACE["mac"].objection(mac) is None:
            entry["mac"] = mac
        entry |= {"model": model} if (model := _model(card, name, said)) != "e1000" else {}
        found.append(entry)
    (number,) = numbers if len(numbers) == 1 else (None,)
    return Cards(found, number if number and number < 1 << 16 else None)


def _attribute(card: ET.Element, tag: str, key: str) -> str:
    found = card.find(tag)
    return "" if found is None else found.get(key, "")


def _model(card: ET.Element, name: str, said: list[str]) -> str:
    model = _attribute(card, "model", "type") or _DEFAULT
    model = "virtio" if model.startswith("virtio") else model
    if model in rules.MODELS:
        return model
    said.append(f"{name}: there is no model {model} here: e1000 is taken")
    return "e1000"


def _vlans(card: ET.Element, name: str, said: list[str]) -> dict[str, Any]:
    kind = card.get("type", "")
    source = _attribute(card, "source", "bridge") or _attribute(card, "source", "network")
    if kind not in ("bridge", "network"):
        said.append(f"{name}: it is of type {kind or 'none'}: here all are ports of Open vSwitch")
    elif _attribute(card, "virtualport", "type") != "openvswitch":
        said.append(f"{name}: {kind} {source} may be no bridge of Open vSwitch; here it has to be")
    tags = [
        (int(number), each.get("nativeMode"))
        for each in card.findall("vlan/tag")
        if (number := each.get("id", "")).isascii() and number.isdecimal() and len(number) < 5
    ]
    good = [tag for tag in tags if 1 <= tag[0] <= 4094]
    vlan = card.find("vlan")
    is_trunk = len(good) > 1 or (vlan is not None and vlan.get("trunk") == "yes")
    if not good:
        said.append(f"{name}: it is in no VLAN, and so not connected: give it a vlan_id or network")
        return {}
    if not is_trunk:
        return {"vlan_id": good[0][0]}
    native = [number for number, mode in good if mode == "untagged"]
    if any(mode == "tagged" for _, mode in good):
        said.append(f"{name}: its native VLAN has its tag, which is one of its trunks here")
    trunks = list(dict.fromkeys(number for number, mode in good if mode != "untagged"))
    found: dict[str, Any] = {"vlan_id": native[0]} if native else {}
    return found | ({"trunks": trunks} if trunks else {})
