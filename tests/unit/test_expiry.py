"""VMs whose time is over, by a day that is told: stopped by up, refused by launch, warned of."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.core.inventory.complaints import InvalidValue
from vmops.core.inventory.model import VM
from vmops.core.plan import group
from vmops.core.plan.group import Terms
from vmops.core.plan.phase import Plan
from vmops.core.plan.status import VMStatus
from vmops.core.plan.upkeep import expiry
from vmops.errors import LaunchFailed
from vmops.ops.vm.expiring import today, warned
from vmops.ops.vm.status import Survey

from .worlds import EMPTY, VM1, WORKER, labels, running

LAST = date(2027, 1, 31)
VM_ = replace(VM1, expires="2027-01-31")
UP = Terms(at_end="stop")


@pytest.mark.parametrize(
    "value", ["2027-02-30", "2027-1-31", "27-01-31", "2027-01-31T00:00", "", "2027-13-01", "soon"]
)
def test_a_day_that_there_is_not_is_refused(value: str) -> None:
    with pytest.raises(InvalidValue, match="expires"):
        replace(VM1, expires=value)


@given(st.dates(min_value=date(1000, 1, 1)))
def test_every_day_is_kept_as_it_is(day: date) -> None:
    vm = replace(VM1, expires=day.isoformat())
    assert VM.from_dict(vm.to_dict()).expires == day.isoformat()
    assert expiry.days_left(vm, day) == 0


@pytest.mark.parametrize(("days", "action"), [(-1, "nothing"), (0, "nothing"), (1, "stop")])
def test_it_is_stopped_after_its_last_day_and_keeps_its_disks(days: int, action: str) -> None:
    terms = UP._replace(today=LAST + timedelta(days=days))
    (made,) = group.plans(WORKER, [VM_], running(VM_), terms=terms)
    assert isinstance(made, Plan)
    assert made.action == action
    if action == "stop":
        assert made.block is not None
        assert made.block.change == "expire"
        assert "has expired, its last day was 2027-01-31" in made.notes[0]
        assert not any("disk" in label for label in labels(made))


def test_one_that_is_over_is_not_started() -> None:
    after = LAST + timedelta(days=1)
    (made,) = group.plans(WORKER, [VM_], EMPTY, terms=UP._replace(today=after))
    assert isinstance(made, Plan)
    assert (made.action, made.phases) == ("nothing", ())
    assert "not started" in made.notes[0]
    (refused,) = group.plans(WORKER, [VM_], EMPTY, terms=Terms(today=after))
    assert isinstance(refused, LaunchFailed)
    assert "set expires later" in str(refused)
    (begun,) = group.plans(WORKER, [VM_], EMPTY, terms=Terms(today=LAST))
    assert isinstance(begun, Plan)
    assert begun.action == "start"


@pytest.mark.parametrize(
    ("days", "words"),
    [
        (-8, ""),
        (-7, "expires in 7 days"),
        (-1, "expires tomorrow"),
        (0, "expires today"),
        (1, "has expired"),
    ],
)
def test_it_is_warned_of_a_week_before(days: int, words: str) -> None:
    on = LAST + timedelta(days=days)
    said = expiry.note(VM_, on)
    assert words in said
    assert bool(said) == bool(words)
    runs = VMStatus("vm1", "w1", "192.0.2.1", "running")
    assert warned(Survey((runs,)), [VM_], on).notes == ((said,) if said else ())
    gone = runs._replace(state="stopped")
    assert warned(Survey((gone,)), [VM_], on).notes == ()
    assert warned(Survey((runs,)), [VM1], today()).notes == ()
