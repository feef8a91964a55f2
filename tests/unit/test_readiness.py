"""Waiting for cloud-init: which words on the console count, and how each end is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from vmops.core.facts.logs import Part, Parts, Reader
from vmops.core.facts.vms import RunningVM
from vmops.core.inventory.guest.cloud_init import CloudInit
from vmops.core.tools.process import Process
from vmops.errors import InventoryError, WorkerUnreachable
from vmops.ops.route import Route
from vmops.ops.vm import readiness, waiting
from vmops.ops.vm.outcome import Outcome
from vmops.wait import wait_for

from .worlds import VM1, WORKER

TOLD = replace(VM1, cloud_init=CloudInit())
SEED = "vmops-0123456789abcdef01234567"
STOPPED = RunningVM("vm1")


def word(code: int, said: str = "", seed: str = SEED) -> bytes:
    return f"\r\nvmops: cloud-init has ended with {code} in {seed}: {said}\r\r\n".encode()


def runs(pid: int = 1, seed: str = SEED) -> RunningVM:
    process = Process(pid, started=pid, state="S", cpu_ticks=0, rss_kib=0, argv=())
    return RunningVM("vm1", directory=True, pid=pid, process=process, seed=seed)


class World:
    """What each look finds: the VM, and what its console has printed in all; the last one stays."""

    def __init__(self, looks: Sequence[tuple[RunningVM, bytes]]) -> None:
        self.looks = looks
        self.now = 0.0
        self.looked = 0
        self.marks: list[int] = []

    def ask(self, *_: Any, **__: Any) -> None:
        self.looked += 1

    @property
    def seen(self) -> tuple[RunningVM, bytes]:
        return self.looks[min(self.looked, len(self.looks)) - 1]

    def read(self, reader: Reader, _: object) -> Parts:
        self.marks.append(reader.marks.console)
        printed = self.seen[1]
        return Parts(console=Part(printed[reader.marks.console :], len(printed)))

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def wait(monkeypatch: pytest.MonkeyPatch, *looks: tuple[RunningVM, bytes]) -> tuple[World, Outcome]:
    world = World(looks)
    monkeypatch.setattr(readiness, "ask", world.ask)
    monkeypatch.setattr(readiness, "running_of", lambda *_: {"vm1": world.seen[0]})
    monkeypatch.setattr(Reader, "read", lambda self, answers: world.read(self, answers))
    patience = partial(wait_for, clock=lambda: world.now, sleep=world.sleep)
    (outcome,) = waiting.wait(Route(WORKER), [TOLD], "ready", time_limit_s=10, patience=patience)
    return world, outcome


@pytest.mark.parametrize(
    ("looks", "needed"),
    [
        ([(runs(), word(0))], 1),
        ([(runs(), b""), (runs(), b"[ 1.0] boots\n"), (runs(), b"[ 1.0] boots\n" + word(0))], 3),
        ([(STOPPED, b""), (runs(), word(0))], 2),
        ([(runs(), word(0)[:30]), (runs(), word(0))], 2),
        ([(runs(), word(1, seed="vmops-1")), (runs(), word(1, seed="vmops-1") + word(0))], 2),
        ([(runs(), b"x" * 5000), (runs(), b"x" * 5000 + word(0))], 2),
    ],
)
def test_it_ends_with_the_word_of_this_instance(
    monkeypatch: pytest.MonkeyPatch, looks: list[tuple[RunningVM, bytes]], needed: int
) -> None:
    world, outcome = wait(monkeypatch, *looks)
    assert outcome.error is None
    assert world.looked == needed


def test_what_was_read_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world, _ = wait(monkeypatch, (runs(), b"ab"), (runs(), b"abc"), (runs(), b"abc" + word(0)))
    assert world.marks == [0, 2, 3]


def test_a_vm_that_is_started_anew_has_a_new_console(monkeypatch: pytest.MonkeyPatch) -> None:
    world, outcome = wait(
        monkeypatch, (runs(), b"long before"), (runs(2), word(0)), (runs(2), word(0))
    )
    assert outcome.error is None
    assert world.marks == [0, 0]


def test_failure_and_warnings_are_told_in_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    _, failed = wait(monkeypatch, (runs(), word(1, "no \x1b[31mway")))
    assert failed.error is not None
    assert str(failed.error).startswith("w1: vm1: cloud-init failed in its guest: no \\x1b[31mway")
    assert failed.error.exit_code == 1
    _, silent = wait(monkeypatch, (runs(), word(127)))
    assert "exit code 127" in str(silent.error)
    _, warned = wait(monkeypatch, (runs(), word(2, "slow")))
    assert warned.error is None
    assert warned.notes == ("vm1 is ready, and cloud-init warns: slow",)


def test_what_does_not_come_is_told_with_a_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    world, late = wait(monkeypatch, (runs(), b"boots"))
    assert "vm1 is not ready after 10 s: its guest has not said" in str(late.error)
    assert late.error is not None
    assert "fab logs --vm vm1" in late.error.cure
    assert world.now >= 10
    _, stopped = wait(monkeypatch, (STOPPED, b""))
    assert "vm1 is not ready after 10 s: it is stopped" in str(stopped.error)


def test_a_vm_without_a_seed_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    world, outcome = wait(monkeypatch, (runs(seed=""), b"boots"))
    assert "runs without a seed" in str(outcome.error)
    assert outcome.error is not None
    assert outcome.error.cure == "fab restart --vm vm1"
    assert world.looked == 1
    with pytest.raises(InventoryError, match="nobody tells when the guest is ready"):
        waiting.check("ready", [VM1])
    with pytest.raises(InventoryError, match="must be one of running, stopped"):
        waiting.check("up", [TOLD])


def test_a_worker_that_is_not_reached_is_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(*_: Any, **__: Any) -> None:
        raise WorkerUnreachable("no route", worker="w1")

    monkeypatch.setattr(readiness, "ask", ask)
    (outcome,) = waiting.wait(Route(WORKER), [TOLD], "ready", time_limit_s=1)
    assert isinstance(outcome.error, WorkerUnreachable)
