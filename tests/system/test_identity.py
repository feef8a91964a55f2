"""Whose QEMU it is: seen again under the lock, and never taken from what somebody else did."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vmops import RemoteExecutor, VMLauncher, load
from vmops.core.facts import supposed
from vmops.core.facts.observed import for_starting
from vmops.core.inventory.model import VM
from vmops.core.plan import starting
from vmops.core.plan.phase import Plan
from vmops.ops.act import observe, perform
from vmops.ops.route import Route

from .operator import Operator, small_vm


def late_plan(route: Route, vm: VM) -> Plan:
    """A launch that is decided now, to be tried when the worker looks otherwise."""
    seen = observe(route, for_starting([vm]), vms=[vm], suppose=supposed.blank)
    return starting.launch(route.worker, vm, seen)


def acted(operator: Operator, made: Plan) -> str:
    """How a plan ends that was made before the worker looked as it does now."""
    assert made.block is not None
    route = Route(load(operator.hosts_toml).worker("worker1"))
    (result,) = perform(route, [made.block], time_limit_s=30)
    return result.outcome


@pytest.mark.parametrize("vm_id", [1, 2])
def test_a_launch_that_comes_second_takes_nothing_away(operator: Operator, vm_id: int) -> None:
    """By another inventory the same name may have another number."""
    vm = operator.add(small_vm("vm1", 1, 101))
    route = Route(load(operator.hosts_toml).worker("worker1"))
    other = replace(vm, vm_id=vm_id)
    late = late_plan(route, other)
    operator.ok("launch", "--vm", "vm1")
    pid = operator.qemus("worker1")["vm1"]
    assert acted(operator, late) == "changed"
    assert operator.ok("pid", "--vm", "vm1").out == f"{pid}\n"
    assert operator.ok("status", "--format", "json").json[0]["drift"] == []


def test_what_died_meanwhile_is_not_launched_over(operator: Operator) -> None:
    """Its run directory is new to the plan, which would not clear it."""
    vm = operator.add(small_vm("vm1", 1, 101))
    route = Route(load(operator.hosts_toml).worker("worker1"))
    late = late_plan(route, vm)
    operator.ok("launch", "--vm", "vm1")
    end(operator)
    assert acted(operator, late) == "changed"
    operator.ok("launch", "--vm", "vm1")


@pytest.mark.parametrize("vm_id", [1, 2])
def test_what_came_to_life_again_is_not_cleared_away(operator: Operator, vm_id: int) -> None:
    """What it had left was to go: only its process says now that it runs."""
    vm = operator.add(small_vm("vm1", 1, 101))
    operator.ok("launch", "--vm", "vm1")
    end(operator)
    route = Route(load(operator.hosts_toml).worker("worker1"))
    other = replace(vm, vm_id=vm_id)
    late = late_plan(route, other)
    operator.ok("launch", "--vm", "vm1")
    pid = operator.qemus("worker1")["vm1"]
    assert acted(operator, late) == "changed"
    assert operator.ok("pid", "--vm", "vm1").out == f"{pid}\n"


def end(operator: Operator) -> None:
    pid = operator.qemus("worker1")["vm1"]
    operator.on("worker1", "sh", "-c", f"kill {pid}; while [ -e /proc/{pid} ]; do sleep 0.02; done")


def test_a_replug_names_the_pid_of_what_runs(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator.add(small_vm("vm1", 1, 101))
    operator.ok("launch", "--vm", "vm1")
    pid = operator.qemus("worker1")["vm1"]
    retag = ("ovs-vsctl", "set", "Port", "tap_1_eth1", "tag=999")
    operator.on("worker1", *retag)
    assert (
        operator.ok("launch", "--vm", "vm1").out == f"vm1 on worker1: runs, replugged, PID {pid}\n"
    )
    operator.on("worker1", *retag)
    assert operator.ok("up", "--format", "json").json[0]["pid"] == pid
    monkeypatch.setenv("VMOPS_HOSTS", str(operator.hosts_toml))
    operator.on("worker1", *retag)
    launcher = VMLauncher(RemoteExecutor(), vnc_listen="127.0.0.1")
    vm = small_vm("vm1", 1, 101)
    assert launcher.launch_vm(operator.address("worker1"), vm.to_dict()) == (True, str(pid))


def test_a_vm_that_ends_before_it_is_replugged_is_not_called_running(operator: Operator) -> None:
    vm = operator.add(small_vm("vm1", 1, 101))
    operator.ok("launch", "--vm", "vm1")
    operator.on("worker1", "ovs-vsctl", "set", "Port", "tap_1_eth1", "tag=999")
    route = Route(load(operator.hosts_toml).worker("worker1"))
    late = late_plan(route, vm)
    assert late.action == "replug"
    end(operator)
    assert acted(operator, late) == "changed"
    port = operator.port("worker1", "tap_1_eth1")
    assert port is not None
    assert port["tag"] == "999", "nothing was done"


@pytest.fixture
def documented(operator: Operator) -> Operator:
    """vm1 as the documented system starts it: no mark, no run directory."""
    operator.add(small_vm("vm1", 1, 101))
    script = (
        "ip tuntap add mode tap name tap_1_eth1 && ip link set dev tap_1_eth1 up && "
        "ovs-vsctl --may-exist add-port br-int tap_1_eth1 tag=101 && "
        "qemu-system-x86_64 -m 32 -smp 1 -vnc 127.0.0.1:1 -name vm1 -daemonize "
        "-netdev tap,id=net0,ifname=tap_1_eth1,script=no,downscript=no -device e1000,netdev=net0 "
        "-drive file=/home/ubuntu/vm_images/vm1.qcow2,format=qcow2"
    )
    operator.on("worker1", "sh", "-c", script)
    return operator


@pytest.mark.parametrize("task", ["launch", "stop", "unplug"])
def test_a_vm_of_the_documented_system_is_neither_doubled_nor_cut_off(
    documented: Operator, task: str
) -> None:
    pids = documented.qemus("worker1")
    said = documented.fab(task, "--vm", "vm1")
    assert said.code == 1
    assert "vm1: a process that vmops did not start uses its TAP tap_1_eth1" in said.err
    assert "Traceback" not in said.err
    (cure,) = [line for line in said.err.splitlines() if "/proc/" in line]
    look = ["sh", "-c", cure.partition("sh -c '")[2].partition("'")[0]]
    found = documented.lab.run("worker1", look, check=False).stdout.decode()
    assert found.split("/")[2] == str(pids["vm1"])
    assert documented.qemus("worker1") == pids
    assert documented.port("worker1", "tap_1_eth1") is not None


def test_a_vm_of_the_documented_system_is_not_called_stopped(
    documented: Operator,
) -> None:
    said = documented.fab("status", "--format", "json")
    assert (said.code, said.json[0]["state"]) == (1, "unknown")
    assert "tap_1_eth1" in said.err


def test_a_pidfile_that_is_none_holds_nobody_up(operator: Operator) -> None:
    """A guest that rules its QEMU may put anything there."""
    operator.add(small_vm("vm1", 1, 101))
    made = "for vm in fifo link; do mkdir -p /run/vmops/$vm; done; mkfifo /run/vmops/fifo/pid; "
    operator.on("worker1", "sh", "-c", made + "ln -s /run/vmops/fifo/pid /run/vmops/link/pid")
    operator.ok("launch", "--vm", "vm1")
    said = operator.fab("ps", "--format", "json")
    found = {item["vm"]: item["state"] for item in said.json}
    assert found == {"vm1": "running", "fifo": "unknown", "link": "unknown"}
    assert said.code == 1
    assert "fifo: it is not known whether it runs" in said.err
