"""What could not be asked is not absent: in a proof, and in a picture."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from vmops.core.inventory.model import VM
from vmops.core.plan.status import VMStatus
from vmops.errors import WorkerUnreachable
from vmops.ops.proof.prove import Proven
from vmops.ops.route import Group, Route
from vmops.ops.vm.status import Survey
from vmops.tasks.proof.graph import _seen
from vmops.tasks.proof.verify import left_out

from .bridged import WORKERS, World, vm

LOST = WorkerUnreachable("no answer", worker="w2")


def groups(**vms: Sequence[VM]) -> list[Group]:
    return [Group(Route(WORKERS[name]), tuple(mine)) for name, mine in vms.items()]


def test_what_may_be_plugged_where_nobody_could_be_asked_is_not_called_absent() -> None:
    plugged, free, pinned = vm("plugged", 1, 101), vm("free", 2, 101), vm("pinned", 3, 101)
    world = World((), w1=[plugged], w2=[])
    asked = groups(w1=[plugged, free, pinned], w2=[free])
    found = Proven(world.judge(), [LOST])
    assert left_out(asked, found, None) == (["pinned"], ["free"], ["w2"])
    assert left_out(asked, found._replace(unasked=()), None) == (["free", "pinned"], [], [])
    assert left_out(asked, found, {"plugged", "free"}) == ([], ["free"], ["w2"])


def test_of_workers_that_were_not_meant_nothing_is_said() -> None:
    plugged, elsewhere = vm("plugged", 1, 101), vm("elsewhere", 2, 101)
    world = World((), w1=[plugged])
    (here, _) = groups(w1=[plugged], w2=[elsewhere])
    assert left_out([here], Proven(world.judge()), None) == ([], [], [])


@pytest.mark.parametrize("state", ["running", "paused"])
@pytest.mark.parametrize("first", [True, False])
def test_a_vm_that_runs_is_drawn_where_it_runs(state: str, first: bool) -> None:
    runs = VMStatus("a", "w1", "", state)
    unknown = VMStatus("a", "w2", "", "unknown", error=LOST)
    order = (runs, unknown) if first else (unknown, runs)
    seen, errors = _seen([Survey((one,), errors=(LOST,)) for one in order])
    assert seen.states == {"a": (state, "w1")}
    assert (set(seen.lost), len(errors)) == ({"w2"}, 2)


def test_one_that_was_not_seen_to_run_is_not_called_stopped() -> None:
    left = VMStatus("a", "w1", "", "crashed")
    unknown = VMStatus("a", "w2", "", "unknown", error=LOST)
    seen, _ = _seen([Survey((unknown,)), Survey((left,))])
    assert seen.states == {"a": ("unknown", "w2")}
