from __future__ import annotations

from itertools import count, repeat

import pytest

from vmops.wait import growing_pauses, wait_for


class Time:
    """A clock that only `sleep` moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_gives_the_first_answer_that_is_not_none() -> None:
    time = Time()
    answers = iter([None, None, 0])
    got = wait_for(
        lambda: next(answers), 10, pauses=repeat(1.0), clock=time.clock, sleep=time.sleep
    )
    assert got == 0
    assert time.slept == [1.0, 1.0]


def test_asks_at_least_once_even_without_time() -> None:
    time = Time()
    assert wait_for(lambda: "there", 0, clock=time.clock, sleep=time.sleep) == "there"
    assert time.slept == []


def test_stops_at_the_deadline_and_asks_once_more_then() -> None:
    time = Time()
    asked = count()
    last = [0.0]

    def never() -> None:
        next(asked)
        last[0] = time.now

    got = wait_for(never, 2.5, pauses=repeat(1.0), clock=time.clock, sleep=time.sleep)
    assert got is None
    assert time.slept == [1.0, 1.0, 0.5]
    assert last[0] == 102.5
    assert next(asked) == 4


def test_the_pauses_bound_the_tries() -> None:
    time = Time()
    tries = count()

    def never() -> None:
        next(tries)

    wait_for(never, 1000, pauses=growing_pauses(4), clock=time.clock, sleep=time.sleep)
    assert next(tries) == 4
    assert len(time.slept) == 3


def test_an_exception_goes_through() -> None:
    def fails() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        wait_for(fails, 1)


@pytest.mark.parametrize(("chance", "expected"), [(0.0, [0.05, 0.1, 0.2]), (1.0, [0.1, 0.2, 0.4])])
def test_pauses_double_and_spread_over_the_upper_half(chance: float, expected: list[float]) -> None:
    assert list(growing_pauses(4, first=0.1, chance=lambda: chance)) == pytest.approx(expected)


def test_pauses_have_a_longest() -> None:
    assert max(growing_pauses(20, longest=3.0, chance=lambda: 1.0)) == 3.0
