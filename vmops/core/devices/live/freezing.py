"""Freezing the file systems of a guest for a snapshot, by its agent, and thawing them.

A guest that is frozen writes nothing, and its agent does little else than thaw it.
"""

from __future__ import annotations

from vmops.core.script.command import Command, Step
from vmops.core.tools import agent
from vmops.core.tools.agent import AgentHeard, AgentTalk, Line
from vmops.core.tools.monitor import Need

ASK, FREEZE, THAW = "ask the guest agent", "freeze", "thaw"
"""The labels of the steps."""

FREEZE_LIMIT_S = 60.0
"""A guest writes out what it has in memory before it is frozen."""

THAW_LIMIT_S = 30.0
"""Until an agent answers that is still freezing, or whose guest stood still until now."""

WAITS_S = agent.HELLO_LIMIT_S + agent.ANSWER_LIMIT_S + FREEZE_LIMIT_S + 4 * 3 * THAW_LIMIT_S
"""How long it all may take: thawing is tried again where it fails."""

_NOTHING = Need('"return": 0', absent=True)


def freezing(vm: str) -> tuple[Step, ...]:
    """Freeze all that can be frozen.

    Whether there is an agent, and the guest not frozen already, is asked first: that fails soon,
    and leaves nothing to thaw.
    """
    first = AgentTalk(vm, (agent.IS_FROZEN, agent.GRANTED, agent.THAWED))
    lines: tuple[Line, ...] = (agent.FREEZE, agent.GRANTED, _NOTHING)
    return (
        Step(ASK, (agent.talk([first]),)),
        Step(FREEZE, (_talk(vm, lines, FREEZE_LIMIT_S),), undo=(_thaw(vm),)),
    )


def thawing(vm: str, *, again: bool = False) -> Step:
    """Thaw them; fine where nothing is frozen. What came before it stays done where it fails.

    `again`: it is tried once more then.
    """
    return Step(THAW, (_thaw(vm),), undo=(_thaw(vm),) if again else (), may_fail=True)


def _thaw(vm: str) -> Command:
    return _talk(vm, (agent.THAW, agent.GRANTED, agent.IS_FROZEN, agent.THAWED), THAW_LIMIT_S)


def _talk(vm: str, lines: tuple[Line, ...], limit_s: float) -> Command:
    return agent.talk([AgentTalk(vm, lines, limit_s, THAW_LIMIT_S)])


def why(label: str, heard: AgentHeard) -> str:
    """In words, why a step did not do what it is for."""
    if heard.ended != "other" or agent.is_refused(heard):
        return agent.why(heard)
    return {
        ASK: "it is frozen already",
        FREEZE: "it has no file system that can be frozen",
        THAW: "it says that it is frozen still",
    }[label]
