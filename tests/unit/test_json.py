"""The JSON of tasks has an object for each VM, whatever became of it."""

from __future__ import annotations

import pytest

from vmops.errors import LaunchFailed
from vmops.ops.vm.lifecycle import Outcome
from vmops.tasks.frame.common import as_dict
from vmops.tasks.vm.fleet import _up_as_dict

REFUSED = LaunchFailed("vm1: no image", worker="w1")


def test_a_launch() -> None:
    assert as_dict(Outcome("vm1", "w1", "start", pid=7)) == {
        "vm": "vm1",
        "worker": "w1",
        "pid": 7,
        "changed": True,
        "skipped_interfaces": [],
    }


def test_a_launch_that_failed() -> None:
    assert as_dict(Outcome("vm1", "w1", "start", error=REFUSED)) == {
        "vm": "vm1",
        "worker": "w1",
        "pid": None,
        "changed": False,
        "skipped_interfaces": [],
        "error": "w1: vm1: no image",
    }


@pytest.mark.parametrize(
    ("outcome", "action"),
    [
        pytest.param(Outcome("vm1", "w1", "nothing"), "nothing", id="runs as asked"),
        pytest.param(Outcome("vm1", "w1", "nothing", error=REFUSED), None, id="refused"),
        pytest.param(Outcome("vm1", "w1", "start", error=REFUSED), "start", id="failed"),
    ],
)
def test_what_up_tried(outcome: Outcome, action: str | None) -> None:
    assert _up_as_dict(outcome, outcome.error)["action"] == action
