"""A restart: two phases, checked before anything ends, and the way back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import Interface
from vmops.core.plan import restarting
from vmops.core.plan.phase import Plan
from vmops.core.plan.stopping import KILLED
from vmops.core.script.command import BlockResult, Step, StepResult
from vmops.errors import LaunchFailed
from vmops.ops.act import Done
from vmops.ops.vm.outcome import restarted

from .worlds import EMPTY, HOST, TAP1, VM1, WORKER, plugged, running

LARGER = replace(VM1, ram_mb=1024)


def plan(wanted: object = LARGER) -> Plan:
    return restarting.restart(WORKER, wanted, running(), manner=KILLED)  # type: ignore[arg-type]


def words(made: Plan, phase: int) -> str:
    steps = made.phases[phase].block.numbered()
    return "\n".join(" ".join(entry.words()) for step in steps for entry in step.commands)


def test_the_old_qemu_ends_in_one_phase_and_the_new_one_starts_in_the_next() -> None:
    made = plan()
    assert made.action == "restart"
    assert "end_process vm1 4821 5000 KILL 10" in words(made, 0)
    assert "-m 1024" in words(made, 1)
    assert [guard.argv[0] for guard in made.phases[1].block.guards] == [
        "not_running",
        "test",
        "mark_is",
        "memory_is",
    ]


def test_the_way_back_is_the_vm_as_it_ran() -> None:
    recovery = plan().phases[0].recovery
    assert recovery is not None
    line = next(step for step in recovery.numbered() if step.label == "QEMU").commands[0]
    said = " ".join(line.words())
    assert "-m 512" in said
    assert f"ifname={TAP1}" in said


def test_each_start_looks_at_its_image_again_when_the_old_qemu_has_ended() -> None:
    made = plan()
    recovery = made.phases[0].recovery
    assert recovery is not None
    for block in (made.phases[1].block, recovery):
        labels = [step.label for step in block.numbered()]
        assert labels.index("image") == labels.index("run directory") - 1


def test_there_is_no_way_back_to_what_cannot_be_told_from_a_command_line() -> None:
    made = plan(replace(VM1, interfaces=(Interface("other", vlan_id=5),)))
    assert made.phases[0].recovery is None


def test_nothing_ends_where_the_start_would_fail() -> None:
    seen = running()._replace(images={})
    with pytest.raises(LaunchFailed, match="no image"):
        restarting.restart(WORKER, VM1, seen, manner=KILLED)
    small = running()._replace(host=HOST._replace(available_mb=100))
    with pytest.raises(LaunchFailed, match="1024 MiB"):
        restarting.restart(WORKER, LARGER, small, manner=KILLED)


def test_an_image_that_only_the_vm_itself_holds_is_free_when_it_has_ended() -> None:
    """It holds its own, which a second QEMU could not have; somebody else would still hold it."""
    seen = running()
    (image,) = seen.images["~/vm1.qcow2"]

    def held_by(*pids: int) -> Observed:
        return seen._replace(images={"~/vm1.qcow2": (image._replace(held=201, holders=pids),)})

    assert restarting.restart(WORKER, VM1, held_by(4821), manner=KILLED).action == "restart"
    for pids in ((77,), (77, 4821), ()):
        with pytest.raises(LaunchFailed, match="in use"):
            restarting.restart(WORKER, VM1, held_by(*pids), manner=KILLED)


def test_what_does_not_run_is_launched() -> None:
    made = restarting.restart(WORKER, VM1, EMPTY, manner=KILLED)
    assert (made.action, len(made.phases)) == ("start", 1)


def test_the_worker_without_the_vm_is_as_if_it_had_been_stopped() -> None:
    seen = running()._replace(listening=frozenset({5901, 22}))
    after = restarting.without(VM1, seen)
    assert after.vm("vm1").process is None
    assert (after.taps, after.switch.ports, after.listening) == ({}, {}, frozenset({22}))
    assert after.host.available_mb > seen.host.available_mb - 1
    others = plugged(replace(VM1, name="vm2", vm_id=1002), seen)
    assert len(restarting.without(VM1, others).taps) == 2


STOPPED = BlockResult("vm1", "done", (StepResult(Step("SIGKILL", ()), 0, b"SIGKILL\n"),))
FAILED = BlockResult("vm1", "failed", (StepResult(Step("QEMU", ()), 1, b"", b"no room\n"),))
STARTED = BlockResult("vm1", "done", (StepResult(Step("pid", ()), 0, b"77 5000\n"),))


def done(*results: BlockResult, recovered: BlockResult | None = None) -> Done:
    return Done(VM1, WORKER, plan(), results, recovered=recovered, seen=running())


def test_what_a_restart_comes_to() -> None:
    outcome = restarted(done(STOPPED, STARTED))
    assert (outcome.action, outcome.how, outcome.pid, outcome.error) == (
        "restart",
        "SIGKILL",
        77,
        None,
    )


def test_a_restart_that_somebody_else_cut_off_is_an_error() -> None:
    """They may have launched it, or taken away what it needs: it may stand still."""
    outcome = restarted(done(STOPPED, BlockResult("vm1", "changed")))
    assert outcome.action == "stop"
    assert "changed by somebody else before it was to start again" in str(outcome.error)
    outcome = restarted(done(STOPPED, BlockResult("vm1", "changed")), runs=True)
    assert (outcome.action, outcome.error) == ("stop", None)


@pytest.mark.parametrize(
    ("recovered", "said"),
    [
        (STARTED, "it was started again as it had run"),
        (FAILED, "it could not be started again as it had run, and is stopped"),
        (None, "it could not be started again as it had run, and is stopped"),
    ],
)
def test_a_start_that_fails_says_what_became_of_the_vm(
    recovered: BlockResult | None, said: str
) -> None:
    outcome = restarted(done(STOPPED, FAILED, recovered=recovered))
    assert outcome.error is not None
    assert "QEMU failed: no room" in str(outcome.error)
    assert said in outcome.error.cure
