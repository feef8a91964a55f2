"""Scripts that a connection which hung brings to the worker when nobody waits for them any more."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fabric
import pytest

from vmops.errors import ConnectionLost, WorkFailed
from vmops.remote.clock import WorkerClock
from vmops.remote.exchange import exchange
from vmops.remote.ssh.connection import connection
from vmops.wait import wait_for

from .fake_worker import FakeWorker
from .test_exchange import is_alive

Start = Callable[..., FakeWorker]


def test_what_comes_too_late_is_sent_again_by_who_still_waits(
    start: Start, config: fabric.Config, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, kept = start().worker(), home / "kept"
    exchange(worker, "", time_limit=10, config=config)
    latest, heard = WorkerClock.latest, WorkerClock.heard
    said, told = iter(["1"]), list[float]()

    def note(clock: WorkerClock, uptime: float) -> None:
        told.append(uptime)
        heard(clock, uptime)

    monkeypatch.setattr(WorkerClock, "latest", lambda clock: next(said, "") or latest(clock))
    monkeypatch.setattr(WorkerClock, "heard", note)
    script = f"echo once >>{kept}; echo {'x' * 100_000} | head -c 4"
    assert exchange(worker, script, time_limit=10, config=config).stdout == b"xxxx"
    assert kept.read_text() == "once\n"
    assert len(told) == 1, "the worker did not refuse it"


def test_what_always_comes_too_late_is_not_sent_for_ever(
    start: Start, config: fabric.Config, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WorkerClock, "latest", lambda clock: "1")
    with pytest.raises(WorkFailed, match="its connection is too slow"):
        exchange(start().worker(), f"echo >{home}/kept", time_limit=10, config=config)
    assert not (home / "kept").exists()


def test_what_a_hanging_connection_held_is_not_done_any_more(
    start: Start, config: fabric.Config, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop stands still, as a link that hangs, and goes on when nobody waits any more."""
    monkeypatch.setattr("vmops.remote.clock.HELD_UP_S", 1)
    worker, kept = start().worker(), home / "kept"
    who = "ps -o ppid= -p $PPID"
    loop = int(exchange(worker, who, time_limit=10, config=config).stdout)
    os.kill(loop, signal.SIGSTOP)
    with ThreadPoolExecutor() as pool:
        sent = pool.submit(exchange, worker, f"echo >{kept}", time_limit=10, config=config)
        time.sleep(3)
        connection(worker, config=config).close()
        with pytest.raises(ConnectionLost):
            sent.result()
    os.kill(loop, signal.SIGCONT)
    assert wait_for(lambda: not is_alive(loop) or None, 5)
    assert not kept.exists()
