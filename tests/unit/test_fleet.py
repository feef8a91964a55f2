"""Work on many workers at once: the cap, results as they come, leaving early."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pytest

from vmops.core.inventory.model import Settings
from vmops.errors import InventoryError, WorkerUnreachable
from vmops.ops import fleet
from vmops.ops.fleet import on_each
from vmops.ops.route import Group, Route
from vmops.ops.vm.outcome import Outcome, without_absent

PATIENCE_S = 10


def group(number: int) -> Group:
    return Group(Route(Settings().worker(f"w{number}", address=f"192.0.2.{number}")))


GROUPS = [group(number) for number in range(1, 7)]


def name(of: Group) -> str:
    return of.route.worker.name


@pytest.mark.parametrize("parallel", [1, 2, 6, 50])
def test_as_many_at_once_as_allowed_and_no_more(parallel: int) -> None:
    """Each waits until the cap is reached, so fewer at once would never end."""
    busy, most = 0, 0
    changed = threading.Condition()
    expected = min(parallel, len(GROUPS))

    def work(_: Group) -> str:
        nonlocal busy, most
        with changed:
            busy += 1
            most = max(most, busy)
            changed.notify_all()
            assert changed.wait_for(lambda: most >= expected, PATIENCE_S)
            busy -= 1
        return "done"

    assert {name(g) for g, _ in on_each(GROUPS, work, parallel=parallel)} == set(map(name, GROUPS))
    assert most == expected


def test_a_result_is_there_before_the_slow_ones() -> None:
    go_on = threading.Event()

    def work(of: Group) -> str:
        if of is not GROUPS[3]:
            assert go_on.wait(PATIENCE_S)
        return name(of)

    results = on_each(GROUPS, work, parallel=6)
    assert next(results)[1] == "w4"
    go_on.set()
    assert len(list(results)) == 5


@pytest.mark.parametrize("count", [1, 4])
def test_what_the_work_raises_is_raised_here(count: int) -> None:
    def work(_: Group) -> str:
        raise KeyError("broken")

    with pytest.raises(KeyError, match="broken"):
        list(on_each(GROUPS[:count], work))


def test_nothing_begins_after_the_caller_left() -> None:
    """The first thread ends its first work, and is held with the second in its next one."""
    begun: list[threading.Thread] = []
    all_busy, left = threading.Event(), threading.Event()

    def work(_: Group) -> None:
        begun.append(threading.current_thread())
        if len(begun) == 3:
            all_busy.set()
        if len(begun) > 1:
            assert left.wait(PATIENCE_S)

    results = on_each(GROUPS, work, parallel=2)
    assert isinstance(results, Generator)
    next(results)
    assert all_busy.wait(PATIENCE_S)
    results.close()
    left.set()
    for thread in begun:
        assert thread.daemon, "it would keep the process alive"
        thread.join(PATIENCE_S)
    assert len(begun) == 3


def test_no_groups_are_no_work() -> None:
    assert list(on_each([], lambda _: None)) == []


LOST = WorkerUnreachable("no route", worker="w2")


@pytest.mark.parametrize(
    ("outcomes", "kept"),
    [
        pytest.param([("w1", "nothing"), ("w2", "nothing")], "w1", id="nowhere"),
        pytest.param([("w1", "nothing"), ("w2", "stop")], "w2", id="where-it-was"),
        pytest.param([("w1", "nothing"), ("w2", LOST)], "w2", id="unknown-is-not-absent"),
        pytest.param([("w1", "stop"), ("w2", LOST)], "w1 w2", id="done-does-not-hide-unknown"),
        pytest.param([("w1", "stop"), ("w2", "stop")], "w1 w2", id="twice"),
    ],
)
def test_a_vm_that_was_looked_for_everywhere_is_told_where_it_was(
    outcomes: list[tuple[str, str | WorkerUnreachable]], kept: str
) -> None:
    told = without_absent(
        Outcome("vm1", where, "nothing", error=what)
        if isinstance(what, WorkerUnreachable)
        else Outcome("vm1", where, what)
        for where, what in outcomes
    )
    assert [outcome.worker for outcome in told] == kept.split()


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is begun early, in order: w2 is a worker to which nothing leads."""
    done: list[str] = []

    def connect(route: Route) -> None:
        done.append(f"connect {route.worker.name}")
        if route.worker.name == "w2":
            raise InventoryError("w2: no such gateway")

    monkeypatch.setattr(Route, "ask_early", lambda route: done.append(f"ask {route.worker.name}"))
    monkeypatch.setattr(Route, "connect_early", connect)
    return done


@pytest.mark.parametrize(("parallel", "workers"), [(0, 6), (1, 1), (3, 3), (50, 6)])
def test_who_is_worked_on_first_is_connected_to_early(
    begun: list[str], parallel: int, workers: int
) -> None:
    fleet.connect_early(GROUPS, parallel=parallel)
    first = [name(of) for of in GROUPS[:workers]]
    assert begun == [*(f"ask {one}" for one in first), *(f"connect {one}" for one in first)]


def test_no_more_are_connected_to_early_than_are_worked_on(begun: list[str]) -> None:
    fleet.connect_early([group(number) for number in range(1, 100)])
    assert len(begun) == 2 * fleet.DEFAULT_PARALLEL


def test_what_one_of_several_lacks_is_for_its_own_work_to_say(begun: list[str]) -> None:
    fleet.connect_early(GROUPS[:3])
    assert "connect w3" in begun
    with pytest.raises(InventoryError, match="no such gateway"):
        fleet.connect_early(GROUPS[1:2])
