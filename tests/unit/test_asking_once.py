"""Within a command a worker that did not answer is not asked again; outside of one it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from invoke.context import Context
from invoke.exceptions import Exit

from vmops.core.facts.vms import RUNNING
from vmops.core.inventory.model import Worker
from vmops.errors import (
    CommandTimeout,
    ConnectionLost,
    UnexpectedOutput,
    VmopsError,
    WorkerUnreachable,
)
from vmops.ops import act
from vmops.ops.act import ask
from vmops.ops.route import Route
from vmops.tasks.frame.task import task
from vmops.wait import asking_once, check_answers, note_silence

ONE, OTHER = (Route(Worker(name, address="127.0.0.1")) for name in ("w1", "w2"))
LOST = ConnectionLost("it stopped answering", worker="w1", cure="see")
SLOW = CommandTimeout("too long", worker="w1")
ODD = UnexpectedOutput("what is that", worker="w1")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The workers that were really asked; each fails with what `failing` has."""
    found: list[str] = []

    def perform(route: Route, blocks: Sequence[Any], *, time_limit_s: float) -> Any:
        found.append(route.worker.name)
        raise failing[0]

    failing[:] = [LOST]
    monkeypatch.setattr(act, "perform", perform)
    return found


failing: list[VmopsError] = []


def look(route: Route) -> str:
    with pytest.raises(VmopsError) as ended:
        ask(route, RUNNING)
    return str(ended.value)


@pytest.mark.parametrize("error", [LOST, SLOW], ids=str)
def test_silence_costs_its_time_once_in_a_command(error: VmopsError, asked: list[str]) -> None:
    failing[:] = [error]
    with asking_once():
        assert [look(ONE) for _ in range(3)] == [str(error)] * 3
        look(OTHER)
    assert asked == ["w1", "w2"]


def test_an_answer_that_cannot_be_read_is_an_answer(asked: list[str]) -> None:
    failing[:] = [ODD]
    with asking_once():
        look(ONE)
        look(ONE)
    assert asked == ["w1", "w1"]


def test_outside_of_a_command_it_is_asked_anew(asked: list[str]) -> None:
    with asking_once():
        look(ONE)
    look(ONE)
    look(ONE)
    with asking_once():
        look(ONE)
    assert asked == ["w1"] * 4


def test_what_is_raised_again_is_the_same_kind_with_all_that_it_carries() -> None:
    with asking_once():
        check_answers("w1")
        note_silence("w1", LOST)
        note_silence("w1", SLOW)
        with pytest.raises(ConnectionLost) as again:
            check_answers("w1")
    assert again.value is not LOST
    assert (again.value.worker, again.value.cure, str(again.value)) == ("w1", "see", str(LOST))


@pytest.mark.parametrize(("asks_again", "times"), [(False, 1), (True, 3)])
def test_a_task_is_a_command(asks_again: bool, times: int, asked: list[str]) -> None:
    @task(asks_again=asks_again)
    def body(c: Context) -> None:
        for _ in range(3):
            look(ONE)

    body(Context())
    assert len(asked) == times


def test_what_a_task_has_complained_of_it_does_not_tell_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from vmops.errors import FleetFailed
    from vmops.tasks.frame.output import complain

    gone = WorkerUnreachable("no answer", worker="w2", cure="is it up?")

    @task()
    def body(c: Context) -> None:
        complain([gone])
        raise FleetFailed([gone, LOST])

    for _ in range(2):
        with pytest.raises(Exit):
            body(Context())
        said = capsys.readouterr().err
        assert said.count("error: w2: no answer") == 1
        assert said.count("error: w1: it stopped answering") == 1
