"""A VM whose guest stands still is not called fine, and what vmops has ended has not crashed."""

from __future__ import annotations

import pytest

from vmops.core.devices.drift import Drift
from vmops.core.devices.live.memory import Memory
from vmops.core.facts.observed import Observed
from vmops.core.facts.vms import RunningVM
from vmops.core.plan import starting, stopping
from vmops.core.plan.live import snapshots
from vmops.core.plan.upkeep import disks
from vmops.core.script.command import Step, StepResult
from vmops.core.tools.monitor import Heard
from vmops.errors import NotRunning, WorkFailed
from vmops.ops.act import Done
from vmops.ops.vm import outcome
from vmops.ops.vm.changes import Change
from vmops.tasks.vm import fleet, lifecycle

from .worlds import VM1, WORKER, plugged, running


def saying(status: str) -> Observed:
    heard = Heard("vm1", answers=({"status": status},))
    return running()._replace(monitors={"vm1": heard})


def held() -> Observed:
    seen = running()
    found = seen.vm("vm1")
    assert found.process is not None
    stopped = found._replace(process=found.process._replace(state="T"))
    return seen._replace(vms={"vm1": stopped})


@pytest.mark.parametrize(
    ("seen", "state", "cure"),
    [
        (saying("paused"), "paused", "fab resume --vm vm1"),
        (saying("suspended"), "suspended", "fab resume --vm vm1"),
        (saying("io-error"), "io-error", "fab resume --vm vm1"),
        (saying("guest-panicked"), "guest-panicked", "fab restart --vm vm1"),
        (held(), "held by a signal", "on w1: sudo kill -CONT 4821"),
    ],
)
def test_a_guest_that_stands_still_is_drift_and_is_left_alone(
    seen: Observed, state: str, cure: str
) -> None:
    made = starting.launch(WORKER, VM1, seen)
    assert (made.action, made.phases) == ("nothing", ())
    assert made.drift == (Drift("state", state, "running"),)
    assert cure in made.notes[0]


@pytest.mark.parametrize(
    "seen", [running(), saying("running"), running()._replace(faults={"monitors": "busy"})]
)
def test_what_is_not_known_to_stand_still_is_not_said_to(seen: Observed) -> None:
    made = starting.launch(WORKER, VM1, seen)
    assert (made.action, made.drift, made.notes) == ("nothing", (), ())


STANDING = [(saying("paused"), "paused"), (saying("io-error"), "io-error")]
STANDING += [(held(), "held by a signal")]


@pytest.mark.parametrize(("seen", "state"), STANDING)
def test_up_launch_and_plan_agree_about_it(seen: Observed, state: str) -> None:
    made = starting.launch(WORKER, VM1, seen)
    came = outcome.started(Done(VM1, WORKER, plan=made, seen=seen))
    assert fleet._row_of_up(came)[2:] == [f"is {state}", "4821"]
    assert lifecycle._launched(came) == f"is {state}, PID 4821"
    change = Change("vm1", "w1", made.action, made.drift)
    assert fleet._row_of_plan(change)[2:] == [
        "nothing",
        f"state: {state} -> running (left as it is)",
    ]
    changed = change._replace(action="replug")
    assert fleet._differs(changed) == f"state: {state} -> running (left as it is)"
    assert "(with it)" in fleet._differs(change._replace(action="restart"))


def test_what_runs_as_asked_already_runs() -> None:
    made = starting.launch(WORKER, VM1, running())
    came = outcome.started(Done(VM1, WORKER, plan=made, seen=running()))
    assert fleet._row_of_up(came)[2] == "already runs"
    assert lifecycle._launched(came) == "already runs, PID 4821"


@pytest.mark.parametrize(("seen", "state"), [*STANDING, (running(), "running")])
def test_a_disk_is_refused_with_the_state_of_its_vm(seen: Observed, state: str) -> None:
    with pytest.raises(WorkFailed, match=f"vm1 is {state}, with this disk"):
        disks.reset(WORKER, VM1, seen)


def test_a_snapshot_of_a_suspended_vm_is_refused_with_what_wakes_it() -> None:
    seen = plugged()._replace(suspended={"vm1": Memory()})
    with pytest.raises(NotRunning, match="vm1 is suspended: ") as refused:
        snapshots.save(WORKER, VM1, seen, name="one")
    assert refused.value.cure == "fab resume --vm vm1"
    with pytest.raises(NotRunning, match="vm1 is stopped: ") as refused:
        snapshots.save(WORKER, VM1, plugged(), name="one")
    assert refused.value.cure == "fab launch --vm vm1"


@pytest.mark.parametrize("pid", [None, 4821])
def test_what_vmops_has_ended_has_neither_crashed_nor_powered_itself_off(pid: int | None) -> None:
    left = RunningVM("vm1", directory=True, pid=pid, ended=True)
    seen = plugged()._replace(vms={"vm1": left})
    assert (left.state, left.powered_off) == ("stopped", False)
    assert stopping.tidy(WORKER, VM1, seen).action == "nothing"
    for made in (starting.launch(WORKER, VM1, seen), stopping.stop(WORKER, VM1, seen)):
        assert "vm1 had been stopped: st" in made.notes[0]
        assert "removes what it left behind" in made.notes[0]


def test_a_tool_that_gave_up_waiting_says_so() -> None:
    step = Step("Open vSwitch", ())
    for said in (b"Alarm clock\n", b""):
        assert StepResult(step, 142, b"", said).reason() == (
            "no answer in time: does its daemon hang?"
        )
    assert StepResult(step, 142, b"", b"the switch hangs\n").reason() == "the switch hangs"
    assert StepResult(step, 1, b"", b"Alarm clock\n").reason() == "Alarm clock"
