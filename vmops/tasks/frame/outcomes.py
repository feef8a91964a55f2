"""What tasks say of a VM that they have worked on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from vmops.tasks.frame.harmless import one_line
from vmops.tasks.frame.output import give, say

if TYPE_CHECKING:
    from vmops.core.devices.drift import Drift
    from vmops.ops.vm.outcome import Outcome

Sentence = Callable[["Outcome"], str]
"""What was done to a VM, or was so already, in the words that follow its name and worker."""


def said(sentence: Sentence) -> Callable[[Sequence[Outcome]], None]:
    """A line on standard error for each VM that did not fail."""
    return lambda outcomes: _each(outcomes, sentence, say)


def given(sentence: Sentence) -> Callable[[Sequence[Outcome]], None]:
    """The same on standard output, for sentences that are data: they tell a PID."""
    return lambda outcomes: _each(outcomes, sentence, give)


def _each(outcomes: Sequence[Outcome], sentence: Sentence, speak: Callable[[str], None]) -> None:
    for outcome in outcomes:
        if outcome.error is None:
            speak(one_line(f"{outcome.vm} on {outcome.worker}: {sentence(outcome)}"))


def standing(outcome: Outcome) -> str:
    """What is said of a VM that was left alone and whose guest stands still; empty for others."""
    return f"is {outcome.standing}" if outcome.standing and not outcome.changed else ""


def ended_by(outcome: Outcome) -> str:
    """What ended a VM, in brackets: its guest, asked once or twice, or what it took instead."""
    if outcome.how == "guest":
        return " (by its guest, asked twice)" if outcome.asked > 1 else " (by its guest)"
    return f" ({outcome.how})" if outcome.how else ""


def ended(outcome: Outcome) -> str:
    """What a stop did."""
    if outcome.how or outcome.asked:
        return f"stopped{ended_by(outcome)}"
    return "cleaned up" if outcome.changed else "was not there"


def destroyed(outcome: Outcome) -> str:
    """What the removal of a VM did."""
    if not outcome.changed:
        return "was not there"
    if outcome.action == "forget":
        return "forgotten that it was moved"
    return f"removed{ended_by(outcome)}" if outcome.action == "destroy" else ended(outcome)


def disk_removed(outcome: Outcome) -> str:
    """What the removal of a VM's disk did."""
    if outcome.action == "forget":
        return destroyed(outcome)
    return "disk removed" if outcome.changed else "had no such disk"


def changed_as_dict(outcome: Outcome) -> dict[str, Any]:
    """The JSON object of what changed a VM, or left it alone."""
    return {
        "vm": outcome.vm,
        "worker": outcome.worker,
        "changed": outcome.changed and outcome.error is None,
    }


def started_as_dict(outcome: Outcome) -> dict[str, Any]:
    """The documented JSON object of a launch."""
    return {
        "vm": outcome.vm,
        "worker": outcome.worker or None,
        "pid": outcome.pid or None,
        "changed": outcome.changed and outcome.error is None,
        "skipped_interfaces": [skip.interface for skip in outcome.skipped],
    }


def fields_as_dicts(drift: Sequence[Drift]) -> list[dict[str, Any]]:
    """What differs, field by field, and what it takes to change it."""
    return [one._asdict() for one in drift]


def ended_as_dict(outcome: Outcome) -> dict[str, Any]:
    """The JSON object of a VM that was stopped."""
    return changed_as_dict(outcome) | ending_as_dict(outcome)


def ending_as_dict(outcome: Outcome) -> dict[str, Any]:
    """The part of it that tells how: None where nothing had to be ended."""
    return {"how": outcome.how or None, "asked": outcome.asked}
