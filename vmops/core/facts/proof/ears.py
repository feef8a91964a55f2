"""What is heard of packets that were sent into OVN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vmops.core.facts.question import Question, text_of
from vmops.core.script.command import StepResult
from vmops.core.tools.proof import packet, probe
from vmops.core.tools.proof.packet import Ear, Packet

LIMIT_S = 60.0


def listening(run: int, taps: Sequence[tuple[str, str]]) -> Question[None]:
    """Begin to listen. Who asks for anything else in the same exchange does so behind it."""
    return Question("listening", (packet.listen(run, taps),), lambda said: None, LIMIT_S)


def sending(packets: Sequence[Packet]) -> Question[Mapping[str, str]]:
    """Send the packets; it says of each port that refuses one why."""
    return Question("packets", (packet.send(packets),), _refusals, LIMIT_S)


def hearing(run: int) -> Question[Ear]:
    """What was heard until now."""
    return Question("what was heard", (packet.heard(run),), _heard, LIMIT_S)


def over(run: int) -> Question[Any]:
    """End the listener."""
    return Question("the end of listening", (packet.hang_up(run),), lambda said: None, LIMIT_S)


def _refusals(said: StepResult) -> dict[str, str]:
    return probe.parse_refusals(text_of(said))


def _heard(said: StepResult) -> Ear:
    return packet.parse(text_of(said))
