"""How a guest is asked to power off, and what follows: decided without a QEMU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from vmops.core.devices.power import Asked, Asking
from vmops.core.devices.storage.moving import How, mark
from vmops.core.facts.observed import Observed
from vmops.core.facts.vms import RunningVM
from vmops.core.plan import stopping
from vmops.core.plan.stopping import Manner
from vmops.core.tools import qmp
from vmops.core.tools.monitor import Heard, Refused
from vmops.core.tools.process import Process

from .worlds import EMPTY, VM1, WORKER, commands, dead, labels, running

GENTLY = Manner(timeout_s=30)
QEMU = Process(4821, started=5000, state="S", cpu_ticks=0, rss_kib=0, argv=())


def shutdown(reason: str) -> dict[str, Any]:
    return {"event": "SHUTDOWN", "data": {"guest": reason == "guest-shutdown", "reason": reason}}


GUEST, QUIT, SIGNAL = map(shutdown, ("guest-shutdown", "host-qmp-quit", "host-signal"))


def heard(answers: int, *events: dict[str, Any], ended: Any = "whole") -> Heard:
    return Heard("vm1", ({},) * answers, events, ended)


def with_status(status: str, seen: Observed | None = None) -> Observed:
    seen = seen or running()
    return seen._replace(monitors={"vm1": Heard("vm1", ({"status": status},))})


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        pytest.param(heard(1, GUEST), Asked("guest", 1), id="it powers off"),
        pytest.param(heard(2, GUEST), Asked("guest", 2), id="it has to be asked twice"),
        pytest.param(
            heard(3, QUIT), Asked("quit", 2, "its guest did not react within 30 s"), id="deaf"
        ),
        pytest.param(
            heard(3),
            Asked("", 2, "its guest did not react within 30 s"),
            id="it is deaf, and QEMU does not quit",
        ),
        pytest.param(heard(1, GUEST, ended="hung up"), Asked("guest", 1), id="it is quick"),
        pytest.param(
            heard(1, ended="hung up"),
            Asked("", 1, "its monitor hung up while its guest was being asked"),
            id="QEMU is killed",
        ),
        pytest.param(heard(1, SIGNAL), Asked("SIGTERM", 1), id="somebody sends SIGTERM"),
        pytest.param(
            heard(0, ended="busy"),
            Asked("", 0, "the monitor is busy or does not answer; its guest is not waited for"),
            id="somebody has taken the monitor meanwhile",
        ),
        pytest.param(
            Heard("vm1", (Refused("no power button"),)),
            Asked("", 1, "its guest did not react within 30 s"),
            id="QEMU refuses",
        ),
        pytest.param(
            heard(1, {"event": "SHUTDOWN", "data": 7}), Asked("", 1, ""), id="it talks nonsense"
        ),
    ],
)
def test_what_comes_of_asking(said: Heard, asked: Asked) -> None:
    found = Asking("running", 30).read(said)
    assert found._replace(note="") == asked._replace(note="")
    assert asked.note in found.note


@pytest.mark.parametrize(("status", "wakes"), [("paused", "cont"), ("suspended", "system_wakeup")])
def test_a_guest_that_stands_still_goes_on_to_power_off(status: str, wakes: str) -> None:
    asking = Asking(status, 30)
    stdin = asking.step("vm1", QEMU).commands[-1].stdin
    assert stdin is not None
    assert str(stdin).index("system_powerdown") < str(stdin).index(wakes)
    asked = asking.read(heard(2, GUEST))
    assert (asked.how, asked.presses) == ("guest", 1)
    assert asked.note == f"it was {status}, and goes on so that its guest can power off"


@pytest.mark.parametrize("status", ["guest-panicked", "internal-error", "prelaunch"])
def test_a_guest_that_cannot_react_is_not_waited_for(status: str) -> None:
    asking = Asking(status, 30)
    assert "system_powerdown" not in str(asking.step("vm1", QEMU).commands[-1].stdin)
    asked = asking.read(heard(1, QUIT))
    assert (asked.how, asked.presses) == ("quit", 0)
    assert status in asked.note


def test_half_the_time_is_for_each_press() -> None:
    lines = str(Asking("running", 30).step("vm1", QEMU).commands[-1].stdin)
    assert lines.count("wait 15 ") == 2
    assert lines.count("wait 5 ") == 1
    assert lines.index("system_powerdown") < lines.index("wait 15") < lines.index("quit")


def test_a_qemu_that_was_started_since_is_not_asked() -> None:
    first, *_ = Asking("running", 30).step("vm1", QEMU).commands
    assert first.words() == ("still_running", "vm1", "4821", "5000")


def test_it_is_asked_before_the_lock_is_taken_and_ended_under_it() -> None:
    made = stopping.stop(WORKER, VM1, with_status("running"), manner=GENTLY)
    assert made.block is not None
    assert [step.label for step in made.block.before] == ["power button"]
    assert labels(made)[1:] == [
        "exit",
        "SIGTERM",
        "SIGKILL",
        "remove ports",
        "remove TAPs",
        "run directory",
    ]
    assert made.phases[0].time_limit_s > 30 + 5


def test_a_frozen_qemu_is_killed_without_asking() -> None:
    mine = running().vm("vm1")
    assert mine.process is not None
    frozen = mine._replace(process=mine.process._replace(state="T"))
    seen = running()._replace(vms={"vm1": frozen})
    made = stopping.stop(WORKER, VM1, seen, manner=GENTLY)
    assert labels(made)[0] == "SIGKILL"
    assert "SIGSTOP" in made.notes[0]


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (running()._replace(monitors={"vm1": heard(0, ended="busy")}), "busy"),
        (running()._replace(monitors={"vm1": Heard("vm1", ({"no": 1},))}), "cannot be read"),
        (running()._replace(faults={"monitors": "perl: not found"}), "perl: not found"),
    ],
)
def test_a_monitor_that_says_nothing_is_said_and_not_waited_for(seen: Observed, why: str) -> None:
    made = stopping.stop(WORKER, VM1, seen, manner=GENTLY)
    assert labels(made)[:2] == ["SIGTERM", "SIGKILL"]
    assert why in made.notes[0]
    assert made.notes[0].endswith("its guest is not waited for")


def test_a_vm_that_ended_while_all_were_asked_is_nothing_to_speak_of() -> None:
    made = stopping.stop(WORKER, VM1, running(), manner=GENTLY)
    assert labels(made)[:2] == ["SIGTERM", "SIGKILL"]
    assert (made.asking, made.notes) == (None, ())


@pytest.mark.parametrize("seen", [EMPTY, dead(pidfile=True), dead(pidfile=False)])
def test_nobody_is_asked_who_does_not_run(seen: Observed) -> None:
    assert stopping.stop(WORKER, VM1, seen, manner=GENTLY).asking is None


def test_a_kill_waits_for_nobody_who_is_asking() -> None:
    made = stopping.stop(WORKER, VM1, running())
    assert made.block is not None
    assert [step.label for step in made.block.before] == ["SIGKILL"]
    assert commands(made, "SIGKILL") == ["end_process vm1 4821 5000 KILL 10"]


@pytest.mark.parametrize(
    ("seen", "ways"),
    [
        (with_status("running"), ("exit", "SIGTERM", "SIGKILL")),
        (running(), ("SIGTERM", "SIGKILL")),
    ],
)
def test_each_way_of_ending_is_for_what_the_one_before_left(
    seen: Observed, ways: Sequence[str]
) -> None:
    made = stopping.stop(WORKER, VM1, seen, manner=GENTLY)
    assert made.block is not None
    ending = [step for step in made.block.numbered() if step.label in ways]
    assert [step.label for step in ending] == list(ways)
    assert [step.may_fail for step in ending] == [True] * (len(ways) - 1) + [False]


def test_only_ports_go_where_a_vm_powered_itself_off() -> None:
    made = stopping.tidy(WORKER, VM1, dead(pidfile=False))
    assert labels(made) == ["remove ports", "remove TAPs"]
    assert made.block is not None
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
    assert stopping.tidy(WORKER, VM1, seen).action == "nothing"


@pytest.mark.parametrize("how", ["receiving", "elsewhere"])
def test_a_qemu_that_waited_and_has_ended_is_no_guest_that_powered_off(how: How) -> None:
    seen = dead(pidfile=False)
    assert "vm1 has powered itself off" in stopping.tidy(WORKER, VM1, seen).notes[0]
    plan = stopping.tidy(WORKER, VM1, seen._replace(moves={"vm1": mark(how, "worker2", "")}))
    assert plan.notes == (
        "vm1: a QEMU that waited for it has ended: its ports and TAPs are removed",
    )


def test_what_was_only_plugged_is_not_tidied() -> None:
    seen = dead(pidfile=False)._replace(vms={})
    assert stopping.tidy(WORKER, VM1, seen).action == "nothing"


def test_the_words_of_the_monitor_are_those_of_qemu() -> None:
    assert (qmp.POWER_DOWN.command, qmp.QUIT.command) == ("system_powerdown", "quit")
