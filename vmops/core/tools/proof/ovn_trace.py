"""`ovn-trace`: what OVN's switches and routers would do with a packet, stage by stage.

Nothing is sent. It is asked where OVN's central is.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from vmops.core.script.command import FACT_BYTES, Command, command


class Flow(NamedTuple):
    """A packet that comes in at a port of OVN: from one MAC and address to another. `more` is more
    of it in the words of OVN, such as `tcp.dst == 22`; without any it is an echo."""

    port: str
    macs: tuple[str, str]
    addresses: tuple[str, str] = ("", "")
    more: str = ""


class Stage(NamedTuple):
    """A flow that the packet met: in which switch or router, its stage, match and actions."""

    where: str
    name: str
    match: str
    actions: tuple[str, ...] = ()

    @property
    def drops(self) -> bool:
        """True where it goes no further."""
        return "drop" in self.actions


class Traced(NamedTuple):
    """All of it: the stages, and the ports of guests that give it out."""

    stages: tuple[Stage, ...] = ()
    outputs: tuple[str, ...] = ()


def trace(flow: Flow) -> Command:
    """Ask what OVN would do with the packet. The switch is the one that has the port."""
    words = [f'inport == "{flow.port}"']
    words += [f"eth.src == {flow.macs[0]}", f"eth.dst == {flow.macs[1]}"]
    if all(flow.addresses):
        source, target = flow.addresses
        words += ["ip4", f"ip4.src == {source}", f"ip4.dst == {target}", "ip.ttl == 64"]
        words.append(flow.more or "icmp4.type == 8")
    return command("trace_in_ovn", " && ".join(words), most_bytes=FACT_BYTES)


_PIPELINE = re.compile(r'(?:ingress|egress)\(dp="([^"]*)"')
_STAGE = re.compile(r" *\d+\. (\w+)(?: \([^)]*\))?: (.*), priority \d+(?:, uuid [0-9a-f]+)?$")
_OUTPUT = re.compile(r'/\* output to "([^"]*)", type "(\w*)"')


def parse(text: str) -> Traced:
    """What `ovn-trace` printed. Raises ValueError for what is none of it."""
    where, stages, outputs = "", list[Stage](), list[str]()
    for line in text.split("\n"):
        if found := _PIPELINE.match(line):
            where = found[1]
        elif found := _STAGE.match(line):
            stages.append(Stage(where, found[1], found[2]))
        elif found := _OUTPUT.search(line):
            outputs += [found[1]] if not found[2] else []
        elif stages and line.startswith("    ") and line.strip():
            action = line.strip().rstrip(";")
            stages[-1] = stages[-1]._replace(actions=(*stages[-1].actions, action))
    if not where:
        raise ValueError("ovn-trace printed no way")
    return Traced(tuple(stages), tuple(dict.fromkeys(outputs)))
