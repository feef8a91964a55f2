"""A guest that an operation has left frozen is seen."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest

from .ground import Ground
from .judge import Judge, Trial
from .operations import OPERATIONS
from .outside import CAME, FROZEN, Look, Shape
from .targets import TALKING
from .wanted import is_as_wanted

(AGENT,) = TALKING
LISTENS, FROZE = (CAME,), (FROZEN, CAME)


def look(*more: str) -> Look:
    return Look({AGENT.name: Shape(1, more=more)}, {AGENT.name: ((7, 7),)}, (), 0, {}, {})


@pytest.mark.parametrize(
    ("name", "before", "seen", "blamed"),
    [
        ("freeze", LISTENS, LISTENS, False),
        ("freeze", LISTENS, FROZE, True),
        ("revert-frozen", LISTENS, FROZE, True),
        ("thaw", FROZE, FROZE, False),
        ("thaw", FROZE, LISTENS, False),
    ],
)
def test_one_that_was_not_frozen_before_is_to_be_thawed(
    name: str, before: tuple[str, ...], seen: tuple[str, ...], blamed: bool
) -> None:
    (operation,) = (each for each in OPERATIONS if each.name == name)
    trial = Trial(name, "drop:time:1")
    ground = cast(Ground, None)
    Judge(ground, operation, trial, sessions=True).thaws(look(*before), look(*seen))
    assert trial.violations == (["agent1 is left frozen"] if blamed else [])


def test_one_that_is_frozen_is_not_as_wanted_after_a_snapshot() -> None:
    saved = Shape(
        1, disk="1", further=(("disk-agent1-data.qcow2", True),), more=("1 snapshots", CAME)
    )
    assert is_as_wanted(saved, AGENT, "saved", came=True)
    left = replace(saved, more=("1 snapshots", FROZEN, CAME))
    assert not is_as_wanted(left, AGENT, "saved", came=True)
