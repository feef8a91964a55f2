"""Waiting for a state: when it ends, and with which words, on a clock of the test's own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from vmops.core.facts.question import Answers, Question
from vmops.core.facts.vms import RunningVM
from vmops.core.script.command import BlockResult
from vmops.core.tools.monitor import Heard
from vmops.errors import NotRunning, VmopsError, WorkerUnreachable, WorkFailed
from vmops.ops.route import Route
from vmops.ops.vm import waiting
from vmops.ops.vm.outcome import Outcome
from vmops.ops.vm.waiting import Sight
from vmops.wait import wait_for

from .worlds import EMPTY, VM1, WORKER, running

ROUTE = Route(WORKER)
RUNS = Sight("it is running", ("running",))
STANDS = Sight("it is paused")
OFF = Sight("it is stopped", ("stopped", "guest-off"), "fab launch")
CRASHED = Sight("it has crashed", ("stopped",), "fab launch", NotRunning("vm1 has crashed"))
SILENT = Sight("the monitor does not answer", cure="see who has it")


@dataclass
class World:
    """A VM that is seen so, one look after the other; the last sight stays."""

    sights: Sequence[Sight]
    now: float = 0.0
    looked: int = 0

    def look(self, *_: Any) -> dict[str, Sight]:
        self.looked += 1
        return {"vm1": self.sights[min(self.looked, len(self.sights)) - 1]}

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def wait(self, state: str, time_limit_s: float = 10) -> Outcome:
        (outcome,) = waiting.wait(
            ROUTE,
            [VM1],
            state,
            time_limit_s=time_limit_s,
            patience=partial(wait_for, clock=lambda: self.now, sleep=self.sleep),
        )
        return outcome


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World([RUNS])
    monkeypatch.setattr(waiting, "_look", made.look)
    monkeypatch.setattr(waiting, "_observe", lambda *_: EMPTY)
    return made


@pytest.mark.parametrize(
    ("state", "sights", "looks"),
    [
        ("running", [RUNS], 1),
        ("running", [OFF, CRASHED, STANDS, SILENT, RUNS], 5),
        ("stopped", [OFF], 1),
        ("stopped", [RUNS, CRASHED], 2),
        ("guest-off", [RUNS, STANDS, OFF], 3),
        ("guest-off", [Sight("shutdown", ("guest-off",))], 1),
    ],
)
def test_it_ends_as_soon_as_the_state_is_there(
    world: World, state: str, sights: list[Sight], looks: int
) -> None:
    world.sights = sights
    assert world.wait(state).error is None
    assert world.looked == looks


@pytest.mark.parametrize(
    ("state", "sight", "words"),
    [
        ("running", STANDS, "vm1 is not running after 10 s: it is paused"),
        ("running", OFF, "vm1 is not running after 10 s: it is stopped\n  fab launch"),
        ("running", SILENT, "after 10 s: the monitor does not answer\n  see who has it"),
        ("running", CRASHED, "vm1 is not running after 10 s: it has crashed\n  fab launch"),
        ("stopped", RUNS, "vm1 is not stopped after 10 s: it is running"),
        ("guest-off", RUNS, "vm1 is not guest-off after 10 s: it is running"),
    ],
)
def test_it_ends_with_its_time_and_says_what_is_there_instead(
    world: World, state: str, sight: Sight, words: str
) -> None:
    world.sights = [sight]
    outcome = world.wait(state)
    assert isinstance(outcome.error, WorkFailed)
    assert words in str(outcome.error)
    assert world.now == 10.0


def test_a_crashed_vms_guest_will_never_power_off(world: World) -> None:
    world.sights = [CRASHED]
    assert "has crashed" in str(world.wait("guest-off").error)
    assert world.now == 0.0


def test_looks_grow_rarer_up_to_one_a_second(world: World) -> None:
    world.wait("stopped", time_limit_s=60)
    assert 60 <= world.looked <= 66


def test_a_worker_that_goes_away_ends_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = WorkerUnreachable("no answer", worker="w1")

    def look(*_: Any) -> dict[str, Sight]:
        raise gone

    monkeypatch.setattr(waiting, "_look", look)
    assert world.wait("running").error is gone


MINE = running().vm("vm1")


def answers(status: str) -> Heard:
    return Heard("vm1", ({"status": status},))


@pytest.mark.parametrize(
    ("vm", "heard", "meets"),
    [
        (MINE, answers("running"), {"running"}),
        (MINE, answers("paused"), set()),
        (MINE, answers("guest-panicked"), set()),
        (MINE, answers("shutdown"), {"guest-off"}),
        (MINE, Heard("vm1", ended="busy"), set()),
        (MINE, Heard("vm1", ("nonsense",)), set()),
        (MINE, None, set()),
        (RunningVM("vm1"), None, {"stopped", "guest-off"}),
        (RunningVM("vm1", directory=True), None, {"stopped", "guest-off"}),
        (RunningVM("vm1", directory=True, pid=5), None, {"stopped"}),
    ],
)
def test_what_each_vm_meets(vm: RunningVM, heard: Heard | None, meets: set[str]) -> None:
    assert set(waiting._sight(ROUTE, vm, "running", heard).meets) == meets


def test_a_vm_held_by_a_signal_meets_nothing() -> None:
    assert MINE.process is not None
    held = MINE._replace(process=MINE.process._replace(state="T"))
    sight = waiting._sight(ROUTE, held, "running", None)
    assert (sight.meets, "SIGSTOP" in sight.words) == ((), True)


@pytest.mark.parametrize(
    ("state", "asked"), [("running", True), ("guest-off", True), ("stopped", False)]
)
def test_monitors_are_left_alone_where_only_the_process_counts(
    monkeypatch: pytest.MonkeyPatch, state: str, asked: bool
) -> None:
    names: list[str] = []

    def ask(_: Route, *questions: Question[Any]) -> Answers:
        names.extend(question.name for question in questions)
        return Answers(BlockResult("", "done"))

    monkeypatch.setattr(waiting, "ask", ask)
    monkeypatch.setattr(waiting, "running_of", lambda *_: {})
    with suppress(VmopsError):
        waiting._look(ROUTE, [VM1], state)
    assert ("monitors" in names) is asked
