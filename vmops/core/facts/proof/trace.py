"""What a bridge would do with a frame, and OVN with a packet."""

from __future__ import annotations

from vmops.core.facts.question import Question, text_of
from vmops.core.script.command import StepResult
from vmops.core.tools.proof import ovn_trace, trace
from vmops.core.tools.proof.ovn_trace import Flow
from vmops.core.tools.proof.trace import Frame, Traced


def tracing(bridge: str, frame: Frame) -> Question[Traced]:
    """The flows that the frame meets there, and the ports that give it out."""
    return Question("the frame's way", (trace.trace(bridge, frame),), _read)


def tracing_in_ovn(flow: Flow) -> Question[ovn_trace.Traced]:
    """The stages that the packet meets, and the ports that give it out."""
    return Question("the packet's way", (ovn_trace.trace(flow),), _read_of_ovn)


def _read(said: StepResult) -> Traced:
    return trace.parse(text_of(said))


def _read_of_ovn(said: StepResult) -> ovn_trace.Traced:
    return ovn_trace.parse(text_of(said))
