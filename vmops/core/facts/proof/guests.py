"""What guests that are none came to on a network's node, and what its firewall has counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from vmops.core.facts.network.state import COUNTS, Counts
from vmops.core.facts.question import Answers, Question, text_of
from vmops.core.script.command import StepResult
from vmops.core.tools.proof import guest
from vmops.core.tools.proof.guest import Guest, Tried, Try

_BEFORE = COUNTS._replace(name="counters before")
LIMIT_S = 30.0


class Found(NamedTuple):
    """What came of what was tried; and of each network's counters, how far each has moved."""

    tried: Tried
    moved: Mapping[str, Mapping[str, int]]


def trying(run: int, guests: Sequence[Guest], tries: Sequence[Try]) -> tuple[Question[Any], ...]:
    """The questions, in the order in which they have to be asked."""
    tried: Question[Any] = Question(
        "tried as guests", (guest.tries(run, guests, tries),), _tried, LIMIT_S
    )
    return (_BEFORE, tried, COUNTS)


def read(answers: Answers, asked: Sequence[Question[Any]]) -> Found:
    """The answers to `trying`. Raises Unanswered."""
    before, tried, after = asked
    return Found(answers[tried], _moved(answers[before], answers[after]))


def _tried(said: StepResult) -> Tried:
    return guest.parse(text_of(said))


def _moved(before: Mapping[str, Counts], after: Mapping[str, Counts]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for network, counts in after.items():
        was = before.get(network, Counts()).counters
        found[network] = {
            name: count.packets - (was[name].packets if name in was else 0)
            for name, count in counts.counters.items()
        }
    return found
