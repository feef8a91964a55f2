"""A VM that hosts.toml has moved while it runs: what one worker shows of another one's VMs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vmops.core.inventory.model import Settings
from vmops.errors import LaunchFailed, WorkerUnreachable
from vmops.ops.route import Group, Route
from vmops.ops.vm.changes import Change, with_others
from vmops.ops.vm.elsewhere import Elsewhere

from .worlds import EMPTY, VM1, WORKER, running

OTHER = Settings().worker("w2", address="192.0.2.2")
VM2 = replace(VM1, name="vm2", vm_id=1002)


def fleet() -> Elsewhere:
    """vm1 belongs to w1, vm2 to w2."""
    return Elsewhere([Group(Route(WORKER), (VM1,)), Group(Route(OTHER), (VM2,))])


def test_a_vm_that_was_seen_on_another_worker_is_not_started() -> None:
    elsewhere = fleet()
    assert elsewhere.launch(WORKER, VM1, EMPTY).action == "start"
    elsewhere.look(OTHER, running(VM1, OTHER))
    with pytest.raises(LaunchFailed, match=r"vm1 runs on w2, and hosts.toml has it on w1") as error:
        elsewhere.launch(WORKER, VM1, EMPTY)
    assert error.value.cure.endswith("fab -H w2 stop --vm vm1 --elsewhere")


@pytest.mark.parametrize(
    ("there", "seen"),
    [
        pytest.param(WORKER, running(VM1, WORKER), id="its-own-worker"),
        pytest.param(OTHER, EMPTY, id="does-not-run"),
        pytest.param(
            OTHER, running(replace(VM1, vm_id=7), OTHER), id="somebody-elses-of-that-name"
        ),
        pytest.param(OTHER, running(replace(VM1, name="vm3"), OTHER), id="not-of-this-run"),
    ],
)
def test_what_is_in_its_place_or_is_not_it(there: object, seen: object) -> None:
    elsewhere = fleet()
    elsewhere.look(there, seen)  # type: ignore[arg-type]
    assert elsewhere.launch(WORKER, VM1, EMPTY).action == "start"
    assert elsewhere.reason("vm3") is None


def test_a_plan_knows_it_whichever_worker_answered_first() -> None:
    elsewhere = fleet()
    elsewhere.look(OTHER, running(VM1, OTHER))
    for action, error in (("start", None), ("refused", LaunchFailed("no image"))):
        changes = [Change("vm1", "w1", action, error=error), Change("vm2", "w2", action)]
        moved, other = with_others(changes, elsewhere)
        assert (moved.action, moved.to_do) == ("refused", False)
        assert "vm1 runs on w2" in str(moved.error)
        assert other == changes[1]
    unreached = Change("vm1", "w1", "unknown", error=WorkerUnreachable("down"))
    assert with_others([unreached], elsewhere) == [unreached]
