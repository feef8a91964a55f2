"""A worker that lacks perl-base: each task names it, with the cure, and starts nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .operator import Operator, small_vm

WHY = "no perl there: without it VMs can be neither seen nor controlled"
CURE = "  there: sudo apt install perl-base"


@pytest.fixture
def without_perl(operator: Operator) -> Iterator[Operator]:
    """vm1 runs on worker1, vm2 is stopped on worker2, and then perl is gone from both."""
    operator.add(small_vm("vm1", 1, 101))
    operator.add(small_vm("vm2", 2, 102), "worker2")
    operator.ok("launch", "--vm", "vm1")
    for worker in ("worker1", "worker2"):
        operator.on(worker, "mount", "--bind", "/dev/null", "/usr/bin/perl")
    yield operator
    for worker in ("worker1", "worker2"):
        operator.on(worker, "umount", "/usr/bin/perl")


def test_doctor_names_it(without_perl: Operator) -> None:
    said = without_perl.fab("doctor", "--format", "json")
    assert said.code == 1
    for worker in said.json:
        checks = {check["name"]: check for check in worker["checks"]}
        assert checks["sudo"]["ok"]
        assert checks["perl"] == {
            "name": "perl",
            "ok": False,
            "found": WHY,
            "cure": "there: sudo apt install perl-base",
        }
        assert [c["name"] for c in checks.values() if c["cure"]] == ["perl"]


@pytest.mark.parametrize("task", ["launch", "stop", "pause", "status", "logs", "plan"])
def test_each_task_names_it(without_perl: Operator, task: str) -> None:
    words = ("--vm", "vm1") if task != "plan" else ()
    said = without_perl.fab(task, *words)
    assert said.code == 1
    assert f"error: worker1: {WHY}\n{CURE}\n" in said.err
    assert set(without_perl.qemus("worker1")) == {"vm1"}


def test_nothing_starts_that_could_not_be_stopped(without_perl: Operator) -> None:
    said = without_perl.fab("launch", "--vm", "vm2")
    assert (said.code, said.err) == (1, f"error: worker2: vm2: {WHY}\n{CURE}\n")
    assert (without_perl.qemus("worker2"), without_perl.taps("worker2")) == ({}, set())
