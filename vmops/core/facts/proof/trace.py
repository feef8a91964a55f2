"""What a bridge would do with a frame."""

from __future__ import annotations

from vmops.core.facts.question import Question, text_of
from vmops.core.script.command import StepResult
from vmops.core.tools.proof import trace
from vmops.core.tools.proof.trace import Frame, Traced


def tracing(bridge: str, frame: Frame) -> Question[Traced]:
    """The flows that the frame meets there, and the ports that give it out."""
    return Question("the frame's way", (trace.trace(bridge, frame),), _read)


def _read(said: StepResult) -> Traced:
    return trace.parse(text_of(said))
