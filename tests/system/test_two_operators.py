"""Two operators at once, and one who vanishes: the worker's lock and the script's own undo."""

from __future__ import annotations

import subprocess
import time

import pytest

from .lab_helpers import wait_until
from .operator import Operator, small_vm


def test_two_launches_at_once_start_one_vm(operator: Operator) -> None:
    operator.add(small_vm("vm1", 1, 101, 102))
    both = [operator.begin("launch", "--vm", "vm1", "--strict") for _ in range(2)]
    said = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    pid = operator.qemus("worker1")["vm1"]
    assert all(out.strip().endswith(f"PID {pid}") for out, _ in said)
    assert sum("already runs" in out for out, _ in said) == 1
    assert operator.ok("status", "--format", "json").json[0]["drift"] == []


@pytest.mark.parametrize("ends", [True, False])
def test_a_disk_that_a_stop_is_just_about_to_let_go_is_nobody_elses(
    operator: Operator, ends: bool
) -> None:
    """The other operator has the VM's lock: what has the disk open is looked at when it is free."""
    vm = operator.add(small_vm("vm1", 1, 101))
    path = vm.qcow_image.replace("~", "/home/ubuntu", 1)
    qemu = f"qemu-system-x86_64 -machine none -display none -drive if=none,file={path}"
    free = "kill $!; wait; flock -u 9" if ends else "flock -u 9"
    script = (
        "mkdir -p /run/vmops/.lock; exec 9>>/run/vmops/.lock/vm1; flock 9;"
        f"{qemu} 9>&- & sleep 1; echo held; sleep 4; {free}; exec sleep 20 >&-"
    )
    other = subprocess.Popen(
        operator.lab.enter("worker1", ["sh", "-c", script]), stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        said = operator.fab("launch", "--vm", "vm1")
        assert said.code == (0 if ends else 1), said
        assert ("vm1.qcow2 is written to by PID" in said.err) == (not ends)
    finally:
        for pid in operator.on("worker1", "sh", "-c", f"fuser {path} 2>/dev/null || :").split():
            if str(operator.qemus("worker1").get("vm1")) != pid:
                operator.on("worker1", "kill", pid)
        other.kill()
        other.communicate()


def test_a_launch_and_a_stop_at_once_leave_all_or_nothing(operator: Operator) -> None:
    operator.add(small_vm("vm1", 1, 101))
    for _ in range(3):
        both = [
            operator.begin("launch", "--vm", "vm1"),
            operator.begin("stop", "--force", "--vm", "vm1"),
        ]
        for process in both:
            process.communicate(timeout=60)
        if "vm1" in operator.qemus("worker1"):
            assert operator.ok("status", "--format", "json").json[0]["drift"] == []
        else:
            assert operator.taps("worker1") == set()
            assert operator.port("worker1", "tap_1_eth1") is None


def test_a_vm_that_somebody_holds_is_waited_for(operator: Operator) -> None:
    operator.add(small_vm("vm1", 1, 101))
    operator.ok("launch", "--vm", "vm1")
    held = "exec 9>>/run/vmops/.lock/vm1; flock 9; touch /tmp/held; sleep 2; rm /tmp/held"
    argv = operator.lab.enter("worker1", ["sh", "-c", held])
    holder = subprocess.Popen(argv)
    wait_until(lambda: "held" in operator.on("worker1", "ls", "/tmp"))
    began = time.monotonic()
    operator.ok("stop", "--force", "--vm", "vm1")
    assert time.monotonic() - began > 1
    assert holder.wait(timeout=10) == 0


@pytest.mark.parametrize("bytes_more", [0, 400, 1200])
def test_a_connection_that_is_cut_leaves_all_or_nothing(
    operator: Operator, bytes_more: int
) -> None:
    """The cut comes while the script of the launch is under way."""
    operator.add(small_vm("vm1", 1, 101, 102, 103))
    launching = operator.begin("launch", "--vm", "vm1")
    wait_until(lambda: operator.taps("worker1") != set(), seconds=20)
    operator.lab.fault("worker1", "reset", after_bytes=bytes_more)
    out, err = launching.communicate(timeout=40)
    operator.lab.heal("worker1")
    assert "Traceback" not in out + err
    if launching.returncode != 0:
        assert "worker1" in err

    def settled() -> bool:
        (found,) = operator.ok("status", "--format", "json").json
        plugged = [nic["plugged"] for nic in found["interfaces"]]
        whole = found["state"] == "running" and all(plugged) and not found["drift"]
        nothing = found["state"] == "stopped" and operator.taps("worker1") == set()
        return bool(whole or nothing)

    wait_until(settled, seconds=20)


@pytest.mark.parametrize("task", ["launch", "status", "plan", "stop", "boot"])
def test_a_start_that_is_half_done_is_not_called_somebody_elses(
    operator: Operator, task: str
) -> None:
    """QEMU has its TAP, and what tells whose QEMU it is comes a moment later, under the lock."""
    operator.add(small_vm("vm1", 1, 101))
    operator.ok("launch", "--vm", "vm1")
    pid = operator.qemus("worker1")["vm1"]
    half = (
        "exec 9>>/run/vmops/.lock/vm1; flock 9; cd /run/vmops/vm1; mkdir /tmp/kept; "
        "mv pid process /tmp/kept; touch /tmp/held; sleep 3; "
        "mv /tmp/kept/* .; rm -r /tmp/kept /tmp/held"
    )
    holder = subprocess.Popen(operator.lab.enter("worker1", ["sh", "-c", half]))
    wait_until(lambda: "held" in operator.on("worker1", "ls", "/tmp"))
    said = operator.fab(task, "--vm", "vm1")
    assert holder.wait(timeout=30) == 0
    assert said.code == 0, said
    assert "did not start" not in said.err
    left = {} if task == "stop" else {"vm1": pid}
    assert operator.qemus("worker1") == left
