"""How a guest is asked to power off, and what follows: decided without a QEMU."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from vmops.core.facts.observed import Observed, RunningVM
from vmops.core.plan import vm as plan
from vmops.core.plan.steps import EXIT, KILL, TERM
from vmops.core.tools import qmp
from vmops.core.tools.qmp import Request
from vmops.errors import ConnectionLost, MonitorError, NotRunning
from vmops.ops.route import Route
from vmops.ops.vm import shutdown
from vmops.ops.vm.shutdown import Asked, _power_off, shut_down

from .worlds import EMPTY, VM1, WORKER, dead, running

GUEST = {"guest": True, "reason": "guest-shutdown"}
QUIT = {"guest": False, "reason": "host-qmp-quit"}
SIGNAL = {"guest": False, "reason": "host-signal"}


@dataclass
class Guest:
    """A monitor whose guest ends at the request of a number, with that farewell.

    `hears` counts power-off requests that it needs, 0 is deaf. `flushes` is that QEMU says goodbye
    and does not end in time.
    """

    status: str = "running"
    hears: int = 1
    farewell_data: dict[str, Any] | None = field(default_factory=lambda: GUEST)
    quits: bool = True
    flushes: bool = False
    asked: list[str] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    is_over: bool = False
    is_lost: bool = False
    worker: str = "w1"

    async def ask(self, *requests: Request) -> list[Any]:
        if self.is_over:
            raise MonitorError("QEMU ended")
        for request in requests:
            self.asked.append(request.command)
            if request in (qmp.RESUME, qmp.WAKE_UP):
                self.status = "running"
            if request == qmp.QUIT:
                self.is_over = self.quits
                self.farewell_data = QUIT
        reached = self.hears and self.asked.count("system_powerdown") >= self.hears
        self.is_over = self.is_over or bool(reached and self.status == "running")
        return [{"status": self.status} if r == qmp.STATUS else {} for r in requests]

    async def ended(self, time_limit: float) -> bool:
        self.waited.append(time_limit)
        return self.is_over and not self.flushes

    async def is_cut_off(self) -> bool:
        return self.is_lost

    def farewell(self) -> dict[str, Any] | None:
        return self.farewell_data if self.is_over else None


def power_off(guest: Guest, timeout_s: float = 30) -> Asked:
    return asyncio.run(_power_off(guest, timeout_s))  # type: ignore[arg-type]


GENTLE = (EXIT, TERM, KILL)

CASES = [
    pytest.param(Guest(), Asked("guest", 1, GENTLE), id="it powers off"),
    pytest.param(Guest(hears=2), Asked("guest", 2, GENTLE), id="it has to be asked twice"),
    pytest.param(
        Guest(hears=0),
        Asked("quit", 2, GENTLE, "its guest did not react within 30 s"),
        id="it is deaf",
    ),
    pytest.param(
        Guest(hears=0, quits=False),
        Asked("", 2, (TERM, KILL), "its guest did not react within 30 s"),
        id="it is deaf, and QEMU does not quit",
    ),
    pytest.param(
        Guest(flushes=True), Asked("guest", 1, GENTLE), id="QEMU still writes to its disks"
    ),
    pytest.param(
        Guest(farewell_data=None),
        Asked("", 1, (EXIT,), "its monitor hung up while its guest was asked"),
        id="QEMU is killed",
    ),
    pytest.param(
        Guest(farewell_data=SIGNAL), Asked("SIGTERM", 1, GENTLE), id="somebody sends SIGTERM"
    ),
]


@pytest.mark.parametrize(("guest", "asked"), CASES)
def test_what_comes_of_asking(guest: Guest, asked: Asked) -> None:
    assert power_off(guest) == asked


def test_a_connection_that_ends_is_no_monitor_that_hung_up() -> None:
    with pytest.raises(ConnectionLost):
        power_off(Guest(farewell_data=None, is_lost=True))


@pytest.mark.parametrize("is_lost", [True, False])
def test_a_goodbye_that_was_heard_counts_whatever_became_of_the_connection(is_lost: bool) -> None:
    assert power_off(Guest(is_lost=is_lost)).how == "guest"


@pytest.mark.parametrize(("status", "wakes"), [("paused", "cont"), ("suspended", "system_wakeup")])
def test_a_guest_that_stands_still_goes_on_to_power_off(status: str, wakes: str) -> None:
    guest = Guest(status=status)
    asked = power_off(guest)
    assert (asked.how, asked.presses) == ("guest", 1)
    assert asked.note == f"it was {status}, and goes on so that its guest can power off"
    assert guest.asked == ["query-status", "system_powerdown", wakes]


@pytest.mark.parametrize("status", ["guest-panicked", "internal-error", "prelaunch"])
def test_a_guest_that_cannot_react_is_not_waited_for(status: str) -> None:
    guest = Guest(status=status)
    asked = power_off(guest)
    assert (asked.how, asked.presses) == ("quit", 0)
    assert status in asked.note
    assert guest.waited == [5.0], "only for the quit"


def test_half_the_time_is_for_each_request() -> None:
    guest = Guest(hears=0)
    power_off(guest, 30)
    assert guest.asked == ["query-status", "system_powerdown", "system_powerdown", "quit"]
    assert guest.waited == [15.0, 15.0, 5.0]


def test_a_frozen_qemu_is_killed_without_asking() -> None:
    seen = running()
    mine = seen.vm("vm1")
    assert mine.process is not None
    frozen = mine._replace(process=mine.process._replace(state="T"))
    seen = seen._replace(vms={"vm1": frozen})
    asked = shut_down(Route(WORKER), [VM1], seen, timeout_s=30)["vm1"]
    assert isinstance(asked, Asked)
    assert asked.by == (KILL,)
    assert "SIGSTOP" in asked.note


@pytest.mark.parametrize("seen", [EMPTY, dead(pidfile=True), dead(pidfile=False)])
def test_nobody_is_asked_who_does_not_run(seen: Observed) -> None:
    assert shut_down(Route(WORKER), [VM1], seen, timeout_s=30) == {}


@pytest.mark.parametrize(
    ("by", "commands"),
    [
        ((KILL,), ["end_process 4821 5000 KILL 10"]),
        ((TERM, KILL), ["end_process 4821 5000 TERM 5", "end_process 4821 5000 KILL 10"]),
        (
            GENTLE,
            [
                "await_end 4821 5000 30",
                "end_process 4821 5000 TERM 5",
                "end_process 4821 5000 KILL 10",
            ],
        ),
        ((EXIT,), ["await_end 4821 5000 30"]),
    ],
    ids=["kill", "signals", "gently", "only wait"],
)
def test_each_way_of_ending_is_for_what_the_one_before_left(
    by: Sequence[str], commands: list[str]
) -> None:
    block = plan.stop(VM1, running(), by=by).block
    assert block is not None
    ending = [step for step in block.numbered() if step.label in by]
    assert [" ".join(c.words()) for step in ending for c in step.commands] == commands
    assert [step.may_fail for step in ending] == [True] * (len(by) - 1) + [False]


def test_a_vm_that_has_ended_meanwhile_is_nothing_to_speak_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = NotRunning("vm1 is stopped", worker="w1")
    monkeypatch.setattr(shutdown, "talk", lambda *_: {"vm1": gone})
    assert shut_down(Route(WORKER), [VM1], running(), timeout_s=30) == {"vm1": Asked()}


def test_only_ports_go_where_a_vm_powered_itself_off() -> None:
    made = plan.tidy(VM1, dead(pidfile=False))
    assert made.block is not None
    assert [step.label for step in made.block.numbered()] == ["remove ports", "remove TAPs"]
    assert [guard.argv[0] for guard in made.block.guards] == ["not_running"]
    assert made.block.lock


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(EMPTY, id="never there"),
        pytest.param(running(), id="running"),
        pytest.param(dead(pidfile=True), id="crashed"),
        pytest.param(
            EMPTY._replace(vms={"vm1": RunningVM("vm1", directory=True)}), id="tidy already"
        ),
    ],
)
def test_nothing_is_tidied_elsewhere(seen: Observed) -> None:
    assert plan.tidy(VM1, seen).action == "nothing"


def test_what_was_only_plugged_is_not_tidied() -> None:
    seen = dead(pidfile=False)._replace(vms={})
    assert plan.tidy(VM1, seen).action == "nothing"
