"""`ofproto/trace`: what a bridge would do with a frame, flow by flow, and where it would come out.

Nothing is sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from vmops.core.script.command import Command, command
from vmops.core.tools.qemu import whole


class Frame(NamedTuple):
    """A frame that comes in at `port`: from one address to another, with the tag of a VLAN or none.

    `flow` is more of it in the words of ovs-ofctl, such as `tcp,tp_dst=22`.
    """

    port: str
    source: str
    target: str
    vlan_id: int | None = None
    flow: str = ""


class Step(NamedTuple):
    """A flow that the frame met: its table, what it matches, its actions, and what came of them."""

    table: int
    match: str
    actions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Output(NamedTuple):
    """A port that gives the frame out, and the tag that it has there; None for none."""

    port: str
    vlan_id: int | None


class Traced(NamedTuple):
    """All of it. Without an output the frame is dropped."""

    steps: tuple[Step, ...] = ()
    outputs: tuple[Output, ...] = ()


def trace(bridge: str, frame: Frame) -> Command:
    """Ask what the bridge would do with the frame."""
    words = [f'in_port="{frame.port}"', f"dl_src={frame.source}", f"dl_dst={frame.target}"]
    words += [] if frame.vlan_id is None else [f"dl_vlan={frame.vlan_id}"]
    return command("trace_frame", bridge, ",".join([*words, *([frame.flow] if frame.flow else [])]))


_RULE = re.compile(r" *(\d+)\. (.*)")
_ACTIONS = "Datapath actions: "


def parse(text: str) -> Traced:
    """What `ovs-appctl ofproto/trace --names` printed. Raises ValueError for what is none of it."""
    lines = text.split("\n")
    found = [line.removeprefix(_ACTIONS) for line in lines if line.startswith(_ACTIONS)]
    if not found:
        raise ValueError("no datapath actions")
    outputs = [output for actions in found for output in _outputs(actions)]
    return Traced(tuple(_steps(lines)), tuple(dict.fromkeys(outputs)))


def _steps(lines: list[str]) -> Iterator[Step]:
    step: Step | None = None
    for line in lines:
        word = line.strip()
        if rule := _RULE.match(line):
            if step is not None:
                yield step
            step = Step(whole(rule[1]), rule[2])
        elif line.startswith("Final flow") and step is not None:
            yield step
            step = None
        elif step is not None and word.startswith(("-> ", ">> ", ">>>> ")):
            step = step._replace(notes=(*step.notes, word.lstrip("->").strip()))
        elif step is not None and word and not word.startswith(("bridge(", "---", "====")):
            step = step._replace(actions=(*step.actions, word))


_TUNNEL = re.compile(
    r"(?:tnl_push|set)\(.*?(?:ipv[46]|tunnel)\((?:[^()]*,)?(?:ipv6_)?dst=([0-9A-Fa-f.:]+)"
)
"""A frame goes into a tunnel: with the userspace datapath, and with the kernel's."""


def tunnel_to(address: str) -> str:
    """What stands for a tunnel's port among those that give a frame out: where it leads."""
    return f"tunnel to {address}"


def _outputs(actions: str) -> Iterator[Output]:
    """The ports among the datapath's actions, each with the tag that the frame has there."""
    vlan: int | None = None
    for action in _apart(actions.strip()):
        if action.startswith("push_vlan("):
            tag = re.search(r"vid=(\d+)", action)
            vlan = whole(tag[1]) if tag else None
        elif action == "pop_vlan":
            vlan = None
        elif end := _TUNNEL.search(action):
            yield Output(tunnel_to(end[1]), vlan)
            if action.startswith("tnl_push("):
                return  # what follows is about the packet around the frame
        elif action.startswith("vxlan_sys"):
            continue
        elif action != "drop" and "(" not in action:
            yield Output(action.strip('"'), vlan)


def _apart(actions: str) -> Iterator[str]:
    """Actions, which commas part where they stand in no brackets."""
    depth, begun = 0, ""
    for character in actions:
        depth += (character == "(") - (character == ")")
        if character == "," and depth <= 0:
            yield begun
            begun = ""
        else:
            begun += character
    if begun:
        yield begun
