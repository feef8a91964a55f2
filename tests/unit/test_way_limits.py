"""What a QEMU that its guest rules, or a worker that lies, may take of a live move."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from vmops.core.devices.live import mirror
from vmops.core.facts.observed import Observed
from vmops.core.plan.moving import live
from vmops.errors import MonitorError
from vmops.ops.vm.moving import going
from vmops.ops.vm.moving.acts import Move
from vmops.remote import way
from vmops.wait import wait_for

from .worlds import VM1, WORKER, running

MOST = 4


@pytest.fixture
def carried(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[socket.socket, list[str]]]:
    """The far end of the first socket of a way, and the streams that were carried."""
    here, there = socket.socketpair()
    there.settimeout(60)
    streams: list[str] = []
    monkeypatch.setattr(way, "open_socket", lambda *_, **__: here)
    monkeypatch.setattr(way.Way, "_carry", lambda _, stream: streams.append(stream))
    yield there, streams
    there.close()


@pytest.mark.parametrize("said", [b"nbd\n" * 600, b"nbd\nram\n" * 300, b"nbd\nmany\n"])
def test_few_streams_are_carried(
    carried: tuple[socket.socket, list[str]], caplog: pytest.LogCaptureFixture, said: bytes
) -> None:
    there, streams = carried
    with caplog.at_level(logging.ERROR), way.Way(WORKER, WORKER, "vm1", most=MOST) as opened:
        there.sendall(said)
        assert wait_for(lambda: opened._is_over.is_set() or None, 60)
        words = f"vm1 on {WORKER.name}: its QEMU makes more connections than a move takes"
        assert words in caplog.text
    assert len(streams) == (1 if b"many" in said else MOST)


def test_as_many_as_a_move_takes_are_no_fault() -> None:
    for disks in range(40):
        assert disks + 1 < mirror.most_streams(disks) < disks + 10
        step = mirror.opening_way("vm1", uid=1, disks=disks)
        assert step.commands[0].argv[-1] == str(mirror.most_streams(disks))


def looks(monkeypatch: pytest.MonkeyPatch, *jobs: tuple[int, int, bool]) -> None:
    """What QEMU says of its one disk, look by look, and then the same for good."""
    process = running().vm("vm1").process
    assert process is not None
    (disk,) = live.disks_of(VM1, process)
    left = list(jobs)

    def answers(*_: Any) -> tuple[Any, ...]:
        done, total, ready = left.pop(0) if len(left) > 1 else left[0]
        job = {"device": disk.job, "status": "running", "offset": done, "len": total}
        return ([{**job, "ready": ready}],)

    monkeypatch.setattr(going, "_answers", answers)
    monkeypatch.setattr(going, "_STILL_S", -1.0)


def wait(observed: Observed) -> None:
    move = cast(Move, SimpleNamespace(to=SimpleNamespace(worker=WORKER), progress=lambda *_: None))
    source = cast(Any, SimpleNamespace(worker=WORKER))
    going._await_mirrors(move, VM1, source, observed)


@pytest.mark.parametrize("total", [(100, 100), (100, 200)])
def test_a_mirror_that_stands_still_is_given_up(
    monkeypatch: pytest.MonkeyPatch, total: tuple[int, int]
) -> None:
    """Also where its guest writes on, which makes it longer."""
    looks(monkeypatch, *((1, each, False) for each in total))
    with pytest.raises(MonitorError, match="nothing more of its disks was sent"):
        wait(running())


def test_one_that_is_ready_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    looks(monkeypatch, (100, 100, True))
    wait(running())


def test_one_that_goes_on_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    looks(monkeypatch, *((each, 9, False) for each in range(1, 9)), (9, 9, True))
    monkeypatch.setattr(going, "_STILL_S", 600.0)
    wait(running())
