"""What a worker has to follow OVN's central, or lacks."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from vmops.core.facts.question import Question
from vmops.core.inventory.model import Worker
from vmops.core.script.command import StepResult, command
from vmops.core.tools import ovn, ovs

TOOLS = ("ovn-controller", "ovn-sbctl", "ovn-appctl")
TOOLS_OF_CENTRAL = ("ovn-nbctl", "ovn-northd")


class Following(NamedTuple):
    """A worker's part in OVN: programs that are `missing`, its `settings` in Open vSwitch, the
    datapath of the bridge that carries VLANs, what is wrong with its controller (empty where
    nothing is), and at which addresses its southbound database listens."""

    missing: tuple[str, ...] = ()
    settings: Mapping[str, str] = MappingProxyType({})
    datapath: str = ""
    fault: str = ""
    listens: tuple[str, ...] = ()


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
    )


def following(worker: Worker, *, is_central: bool) -> Question[Following]:
    """What is asked of a worker; of the central's more."""
    tools = (*TOOLS, *(TOOLS_OF_CENTRAL if is_central else ()))
    return Question("OVN", (command("ovn_host_facts", worker.bridge, *tools),), _following)
