"""`up` and `down` where workers are dead, lost on the way, or held by somebody else."""

from __future__ import annotations

import json
import signal

from .fleet_helpers import begun, column, held, running, whole_or_nothing
from .lab_helpers import wait_until
from .operator import Operator


def test_dead_workers_neither_stop_nor_hide_the_rest(fleet: Operator) -> None:
    fleet.lab.fault("worker1", "drop")
    fleet.lab.fault("worker3", "freeze")
    said = fleet.fab("up", "--format", "json")
    assert said.code == 3
    assert sorted(running(fleet)) == ["b1", "b2"]
    assert [item["vm"] for item in said.json] == ["a1", "a2", "b1", "b2", "c1", "c2"]
    assert [item["changed"] for item in said.json] == [False, False, True, True, False, False]
    for item in said.json:
        reached = item["worker"] == "worker2"
        assert (item["error"] is None) is reached
        assert (item["pid"] is not None) is reached
    lines = said.err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert [line.split(": ")[1] for line in errors] == ["worker1", "worker3"], "each said once"
    told = [line for line in lines if " on worker" in line and not line.startswith("error")]
    assert lines.index(errors[0]) > max(map(lines.index, told)), "failures come at the end"
    fleet.lab.heal("worker3")
    planned = fleet.fab("plan", "--format", "json")
    assert planned.code == 3
    actions = [item["action"] for item in planned.json]
    assert actions == ["unknown", "unknown", "nothing", "nothing", "start", "start"]
    down = fleet.fab("down", "--format", "json")
    assert down.code == 3
    assert running(fleet) == {}


def test_a_worker_that_is_lost_in_the_middle_is_a_failure_of_the_work(fleet: Operator) -> None:
    with held(fleet, "worker3", "c2"):
        fab = begun(fleet, "up", "--format", "json", told=4)
        fleet.lab.fault("worker3", "reset")
        out, _ = fab.communicate(timeout=10)
    assert fab.returncode == 1
    errors = {item["vm"]: item["error"] for item in json.loads(out)}
    assert [name for name, error in errors.items() if error] == ["c1", "c2"]
    assert "the connection was lost" in errors["c1"]
    fleet.lab.heal("worker3")
    wait_until(lambda: whole_or_nothing(fleet, "c*"), seconds=15)
    assert {"a1", "a2", "b1", "b2"} <= set(running(fleet))


def test_a_vm_that_somebody_holds_keeps_none_of_its_worker_waiting(fleet: Operator) -> None:
    with held(fleet, "worker1", "a1"):
        fab = begun(fleet, "up", told=4)
        wait_until(lambda: "a2" in fleet.qemus("worker1"))
        assert "a1" not in fleet.qemus("worker1")
    out, _ = fab.communicate(timeout=20)
    assert fab.returncode == 0
    assert column(out, 2) == ["started"] * 6
    assert len(running(fleet)) == 6


def test_ctrl_c_leaves_each_vm_whole_or_not_there(fleet: Operator) -> None:
    with held(fleet, "worker1", "a2"):
        fab = begun(fleet, "up", told=4)
        fab.send_signal(signal.SIGINT)
        out, err = fab.communicate(timeout=5)
    assert (fab.returncode, out) == (130, "")
    assert "interrupted" in err
    assert "Traceback" not in err
    wait_until(lambda: whole_or_nothing(fleet, "*"), seconds=15)
    assert {"b1", "b2", "c1", "c2"} <= set(running(fleet))
    fleet.ok("up")
    assert len(running(fleet)) == 6
