"""Decisions of `stop` and `unplug`."""

from __future__ import annotations

import pytest

from vmops.core.plan import stopping
from vmops.core.tools import ovs
from vmops.errors import WorkFailed

from .worlds import (
    EMPTY,
    TAP1,
    TAP2,
    VM1,
    WORKER,
    commands,
    labels,
    plugged,
    port,
    running,
    with_port,
)


def test_stop_of_what_is_not_there_is_nothing() -> None:
    assert stopping.stop(WORKER, VM1, EMPTY).action == "nothing"


def test_force_goes_straight_to_sigkill_by_pid_and_start_time() -> None:
    made = stopping.stop(WORKER, VM1, running())
    assert labels(made) == ["SIGKILL", "remove ports", "remove TAPs", "run directory"]
    assert commands(made, "SIGKILL") == ["end_process vm1 4821 5000 KILL 10"]
    assert commands(made, "remove ports")[0].count("del-port") == 2


def test_stop_removes_marked_ports_that_the_inventory_forgot() -> None:
    seen = with_port(running(), port(VM1, "tap_1001_eth9", 5))
    assert any(
        "tap_1001_eth9" in c for c in commands(stopping.stop(WORKER, VM1, seen), "remove ports")
    )


def test_unplug_is_refused_while_the_vm_runs() -> None:
    with pytest.raises(WorkFailed, match="is running"):
        stopping.unplug(WORKER, VM1, running())
    assert labels(stopping.unplug(WORKER, VM1, plugged())) == ["remove ports", "remove TAPs"]


def test_unknown_is_not_absent() -> None:
    """Where OVSDB cannot be read, the ports are removed all the same, if they are the VM's."""
    seen = running()._replace(switch=ovs.Switch(fault="down"))
    made = stopping.stop(WORKER, VM1, seen)
    assert commands(made, "remove ports") == [f"remove_own_ports vm1 {TAP1} {TAP2}"]
