"""Waiting for descriptors, however high their numbers are."""

from __future__ import annotations

import fcntl
import os
import resource
from collections.abc import Iterator

import pytest

from vmops.tasks.frame.ready import Ready, ready

ABOVE_SELECT = 1100


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe whose ends have numbers that `select` does not take."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * ABOVE_SELECT), hard))
    low = os.pipe()
    high = (
        fcntl.fcntl(low[0], fcntl.F_DUPFD_CLOEXEC, ABOVE_SELECT),
        fcntl.fcntl(low[1], fcntl.F_DUPFD_CLOEXEC, ABOVE_SELECT),
    )
    for end in low:
        os.close(end)
    yield high
    for end in high:
        try:
            os.close(end)
        except OSError:
            continue
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_what_can_be_read_and_written(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    assert ready([reader], [writer]) == Ready(frozenset(), frozenset({writer}))
    os.write(writer, b"x")
    assert ready([reader]) == Ready(frozenset({reader}), frozenset())


def test_nothing_in_time(pipe: tuple[int, int]) -> None:
    assert ready([pipe[0]], within_s=0.01) == Ready(frozenset(), frozenset())
    assert ready([pipe[0]], within_s=-1) == Ready(frozenset(), frozenset())


def test_an_end_can_be_read(pipe: tuple[int, int]) -> None:
    os.close(pipe[1])
    assert ready([pipe[0]]).readable == {pipe[0]}


def test_a_reader_that_left_is_told_by_writing(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    assert ready([], [pipe[1]]).writable == {pipe[1]}
