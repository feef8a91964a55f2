"""The JSON of tasks has an object for each VM, whatever became of it, and each has its error."""

from __future__ import annotations

import json
from typing import Any

import fabric
import pytest
from invoke.context import Context

from vmops.core.inventory.model import Settings
from vmops.errors import FleetFailed, LaunchFailed
from vmops.ops.route import Group, Route
from vmops.ops.vm.outcome import Outcome
from vmops.tasks.frame.outcomes import ended_as_dict, started_as_dict
from vmops.tasks.frame.work import Report, Work, carry_out
from vmops.tasks.vm.fleet import _up_as_dict

REFUSED = LaunchFailed("no image", vm="vm1", worker="w1")
GROUP = Group(Route(Settings().worker("w1", address="192.0.2.1")))


def told(outcome: Outcome, as_dict: Any, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The object that a task prints for that outcome."""
    work = Work([GROUP], lambda _: [outcome], Report(lambda _: None, as_dict))
    c = Context(config=fabric.Config())
    if outcome.error is None:
        assert carry_out(c, work, as_json=True) == [outcome]
    else:
        with pytest.raises(FleetFailed):
            carry_out(c, work, as_json=True)
    (found,) = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_a_launch(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(Outcome("vm1", "w1", "start", pid=7), started_as_dict, capsys) == {
        "vm": "vm1",
        "worker": "w1",
        "pid": 7,
        "changed": True,
        "skipped_interfaces": [],
        "error": None,
    }


def test_a_launch_that_failed(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = Outcome("vm1", "w1", "start", error=REFUSED)
    assert told(outcome, started_as_dict, capsys) == {
        "vm": "vm1",
        "worker": "w1",
        "pid": None,
        "changed": False,
        "skipped_interfaces": [],
        "error": "w1: vm1: no image",
    }


def test_a_stop(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = Outcome("vm1", "w1", "stop", how="guest", asked=1)
    assert told(outcome, ended_as_dict, capsys) == {
        "vm": "vm1",
        "worker": "w1",
        "changed": True,
        "how": "guest",
        "asked": 1,
        "error": None,
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
    assert _up_as_dict(outcome)["action"] == action
