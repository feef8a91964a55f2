"""What stands still is told by plan and up, and what somebody stops has not crashed."""

from __future__ import annotations

import re

from vmops import load
from vmops.core.plan.life import KILL, ending
from vmops.core.script.command import Block
from vmops.ops.act import perform, running
from vmops.ops.route import Route

from .operator import Operator, small_vm


def test_plan_and_up_tell_of_guests_that_stand_still(operator: Operator) -> None:
    for number in (1, 2, 3):
        operator.add(small_vm(f"vm{number}", number, 101))
    operator.ok("up")
    pids = operator.qemus("worker1")
    operator.ok("pause", "--vm", "vm1")
    operator.on("worker1", "kill", "-s", "STOP", str(pids["vm2"]))
    try:
        planned = operator.ok("plan", "--format", "json")
        told = {item["vm"]: (item["action"], item["fields"]) for item in planned.json}
        assert told == {
            "vm1": ("nothing", [state("paused")]),
            "vm2": ("nothing", [state("held by a signal")]),
            "vm3": ("nothing", []),
        }
        cures = ["fab resume --vm vm1", f"sudo kill -CONT {pids['vm2']}"]
        for said in (planned, operator.ok("up"), operator.ok("launch", "--vm", "*")):
            assert [cure for cure in cures if cure in said.err] == cures
        assert re.search(r"vm1 +worker1 +is paused +\d+", operator.ok("up").out)
        assert "(left as it is)" in operator.ok("plan").out
        assert operator.qemus("worker1") == pids
    finally:
        operator.on("worker1", "kill", "-CONT", str(pids["vm2"]))


def state(running: str) -> dict[str, object]:
    return {
        "field": "state",
        "running": running,
        "wanted": "running",
        "live": False,
        "later": False,
    }


def test_what_another_operator_is_stopping_has_not_crashed(operator: Operator) -> None:
    """Between his kill and the removal of what it left, as a stop that was cut would leave it."""
    operator.add(small_vm("vm1", 1, 101))
    operator.ok("launch", "--vm", "vm1")
    route = Route(load(operator.hosts_toml).worker("worker1"))
    process = running(route, ["vm1"])["vm1"].process
    assert process is not None
    perform(route, [Block("vm1", tuple(ending("vm1", process, [KILL])))], time_limit_s=30)
    said = operator.fab("status", "--format", "json")
    assert said.json[0]["state"] == "stopped"
    planned = operator.fab("plan")
    assert planned.code == 4
    assert "vm1 had been stopped: starting it removes what it left behind" in planned.err
    assert operator.on("worker1", "ls", "/run/vmops") == "vm1\n"
    assert "had been stopped" in operator.ok("stop", "--vm", "vm1").err


def test_an_ovsdb_that_hangs_is_named(operator: Operator) -> None:
    operator.add(small_vm("vm1", 1, 101))
    signal_it = "kill -s {} $(cat /run/openvswitch/ovsdb-server.pid)"
    operator.on("worker1", "sh", "-c", signal_it.format("STOP"))
    try:
        said = operator.fab("launch", "--vm", "vm1")
    finally:
        operator.on("worker1", "sh", "-c", signal_it.format("CONT"))
    assert said.code == 1
    assert "no answer in time: does its daemon hang?" in said.err
    assert "sudo systemctl restart openvswitch-switch" in said.err
    assert "Alarm clock" not in said.err
