"""What a worker has to follow OVN's central, or lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from vmops.core.facts.question import Question
from vmops.core.inventory.inventory import Part
from vmops.core.inventory.model import Worker
from vmops.core.script.command import StepResult, command
from vmops.core.tools import ovn, ovs

TOOLS = ("ovn-controller", "ovn-sbctl", "ovn-appctl")
TOOLS_OF_CENTRAL = ("ovn-nbctl", "ovn-northd")


class Outer(NamedTuple):
    """A gateway's way out: a bridge of Open vSwitch, or a device with the bridge that it is a port
    of (empty for none), and its own addresses. It is `missing` where it is neither."""

    name: str
    is_bridge: bool = False
    port_of: str = ""
    addresses: tuple[str, ...] = ()
    missing: bool = False


class Following(NamedTuple):
    """A worker's part in OVN: programs that are `missing`, its `settings` in Open vSwitch, the
    datapath of the bridge that carries VLANs, what is wrong with its controller (empty where
    nothing is), at which addresses its southbound database listens, and as a gateway its `outer`
    side. `keys` says what has keys for TLS, "switch" and "central"."""

    missing: tuple[str, ...] = ()
    settings: Mapping[str, str] = MappingProxyType({})
    datapath: str = ""
    fault: str = ""
    listens: tuple[str, ...] = ()
    outer: Outer | None = None
    keys: tuple[str, ...] = ()


def _following(said: StepResult) -> Following:
    parts = {name: raw.decode(errors="replace") for name, raw in said.parts}
    ((row,),) = ovn.tables(parts["settings"])
    settings = row["external_ids"]
    if not isinstance(settings, Mapping):
        raise ValueError("Open vSwitch's external_ids are no map")
    return Following(
        tuple(parts["missing"].split()),
        MappingProxyType(dict(settings)),
        parts["datapath"].strip().strip('"'),
        ovs.ovn_fault(parts["state"].strip().removeprefix(ovs.OVN_SAYS)),
        tuple(word for word in parts["listens"].split() if word.startswith(("ptcp:", "pssl:"))),
        _outer(parts["outside"].split()),
        keys=tuple(parts["keys"].split()),
    )


def _outer(words: Sequence[str]) -> Outer | None:
    if not words:
        return None
    name, kind, *rest = words
    if kind == "bridge":
        return Outer(name, is_bridge=True)
    if kind == "missing":
        return Outer(name, missing=True)
    if kind != "device":
        raise ValueError(f"a way out that is {kind!r}")
    return Outer(name, port_of=rest[0].strip("-"), addresses=tuple(rest[1:]))


def following(worker: Worker, part: Part) -> Question[Following]:
    """What is asked of a worker; of the central's, and of a gateway, more."""
    tools = (*TOOLS, *(TOOLS_OF_CENTRAL if worker == part.central else ()))
    ask = command("ovn_host_facts", worker.bridge, part.device, *tools)
    return Question("OVN", (ask,), _following)
