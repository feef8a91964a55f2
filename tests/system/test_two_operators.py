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


HOLDERS = {
    "disk": (
        "qemu-system-x86_64 -machine none -display none -drive if=none,file={disk}",
        "vm1.qcow2 is written to by PID",
    ),
    "VNC port": (
        "perl -MIO::Socket::INET -e '$held = IO::Socket::INET->new("
        'Listen => 1, LocalAddr => "127.0.0.1:{port}"); sleep 60\'',
        "TCP port {port} is in use",
    ),
}
"""What holds one thing of a VM, and what is said where it goes on holding it."""


@pytest.mark.parametrize(
    ("task", "held", "ends"),
    [
        ("launch", "disk", True),
        ("launch", "disk", False),
        ("launch", "VNC port", True),
        ("launch", "VNC port", False),
        ("restart", "VNC port", True),
    ],
)
def test_what_a_stop_is_just_about_to_let_go_is_nobody_elses(
    operator: Operator, task: str, held: str, ends: bool
) -> None:
    """The other operator has the VM's lock: who holds it is looked at when the lock is free."""
    vm = operator.add(small_vm("vm1", 1, 101))
    disk = vm.qcow_image.replace("~", "/home/ubuntu", 1)
    holder, words = (text.format(disk=disk, port=vm.vnc_port) for text in HOLDERS[held])
    free = "kill $!; wait; flock -u 9" if ends else "flock -u 9; sleep 20 >&-; kill $!; wait"
    script = (
        "mkdir -p /run/vmops/.lock; exec 9>>/run/vmops/.lock/vm1; flock 9;"
        f"{holder} 9>&- >&- & sleep 1; echo $!; sleep 4; {free}"
    )
    other = subprocess.Popen(
        operator.lab.enter("worker1", ["sh", "-c", script]), stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout is not None
        pid = other.stdout.readline().strip()
        said = operator.fab(task, "--vm", "vm1")
        assert said.code == (0 if ends else 1), said
        assert (words in said.err) == (not ends)
    finally:
        if not ends:
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
