"""Snapshots of VMs whose guests count: what is counted after a revert is what was counted then."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from tests.guests import cache_directory, counter_image, counts
from vmops.core.inventory.model import VM, Disk, Interface

from .lab_helpers import wait_until
from .operator import Operator
from .seat import console_log, guest, pid_of, seated


def counters(operator: Operator, *names: str) -> list[VM]:
    return [guest(operator, name, image=counter_image(cache_directory())) for name in names]


def last(operator: Operator, vm: VM) -> int:
    """Where its count is."""
    return counts(console_log(operator, vm))[-1]


def jumped(operator: Operator, vm: VM) -> tuple[int, int] | None:
    """The numbers before and after the first place where it did not count on by one."""
    seen = counts(console_log(operator, vm))
    found = [(a, b) for a, b in pairwise(seen) if b != a + 1]
    return found[0] if found else None


def states(operator: Operator) -> dict[str, str]:
    said = operator.ok("status", "--format", "json").json
    return {item["vm"]: item["state"] for item in said}


def test_three_vms_go_back_to_where_they_were_at_once(operator: Operator) -> None:
    vms = counters(operator, "vm1", "vm2", "vm3")
    pids = operator.qemus("worker1")
    said = operator.ok("snapshot.save", "--vm", "*", "--name", "before-class")
    assert said.err.count("snapshot before-class saved") == 3
    then = {vm.name: last(operator, vm) for vm in vms}
    wait_until(lambda: all(last(operator, vm) > then[vm.name] + 20 for vm in vms), seconds=30)
    operator.ok("snapshot.revert", "--vm", "*", "--name", "before-class", "--yes")
    wait_until(lambda: all(jumped(operator, vm) for vm in vms), seconds=30)
    for vm in vms:
        found = jumped(operator, vm)
        assert found is not None
        before, after = found
        assert after < before - 15
        assert abs(after - then[vm.name]) < 15
    assert operator.qemus("worker1") == pids
    assert set(states(operator).values()) == {"running"}

    (listed, *_) = operator.ok("snapshot.list", "--vm", "*", "--format", "json").json
    (one,) = listed["snapshots"]
    assert (one["name"], one["differs"]) == ("before-class", [])
    assert one["memory_bytes"] > 100_000
    again = operator.fab("snapshot.save", "--vm", "vm1", "--name", "before-class")
    assert again.code == 1
    assert "has a snapshot before-class already" in again.err
    operator.ok("snapshot.delete", "--vm", "*", "--name", "before-class")
    listed = operator.ok("snapshot.list", "--vm", "*", "--format", "json").json
    assert [item["snapshots"] for item in listed] == [[], [], []]


def test_a_vm_is_not_taken_back_to_another_machine(operator: Operator) -> None:
    (vm,) = counters(operator, "vm1")
    eth1, eth2 = (Interface(f"eth{n}", vlan_id=101) for n in (1, 2))
    operator.vms = [(replace(vm, interfaces=(eth1,)), "worker1")]
    operator.write()
    operator.ok("restart", "--force", "--vm", "vm1")
    operator.ok("snapshot.save", "--vm", "vm1", "--name", "one")
    assert ", with snapshots" in operator.ok("status").out
    operator.vms = [(replace(vm, interfaces=(eth1, eth2)), "worker1")]
    operator.write()
    operator.ok("launch", "--vm", "vm1")
    pid = pid_of(operator, vm)
    said = operator.fab("snapshot.revert", "--vm", "vm1", "--name", "one", "--yes")
    assert said.code == 1
    assert "snapshot one is of another machine: eth2 was not in it" in said.err
    assert "eth2 was not in it" in operator.ok("snapshot.list", "--vm", "vm1").out
    # Nobody is asked about what cannot be.
    for name, why in (("one", "eth2 was not in it"), ("nosuch", "it has no snapshot nosuch")):
        with seated(operator) as seat:
            seat.begin(f"fab snapshot.revert --vm vm1 --name {name}")
            assert seat.end() == 1
            assert why in seat.said
            assert "go on?" not in seat.said
    assert pid_of(operator, vm) == pid
    # As one with that card it can be taken back to, after a restart too.
    operator.ok("snapshot.save", "--vm", "vm1", "--name", "two")
    operator.ok("restart", "--force", "--vm", "vm1")
    operator.ok("snapshot.revert", "--vm", "vm1", "--name", "two", "--yes")
    assert states(operator) == {"vm1": "running"}


def test_failures_are_collected_and_leave_nothing(operator: Operator) -> None:
    """A raw disk keeps no snapshot, a VM that is stopped has no memory, and the others go on."""
    vm1, vm2, vm3 = counters(operator, "vm1", "vm2", "vm3")
    raw = replace(vm2, disks=(Disk("data", size_gb=1, format="raw"),))
    operator.vms = [(vm1, "worker1"), (raw, "worker1"), (vm3, "worker1")]
    operator.write()
    operator.ok("restart", "--force", "--vm", "vm2")
    operator.ok("stop", "--force", "--vm", "vm3")
    said = operator.fab("snapshot.save", "--vm", "*", "--name", "one")
    assert said.code == 1
    assert "vm1 on worker1: snapshot one saved" in said.err
    assert "all that its guest writes to: data is raw" in said.err
    assert "vm3 is stopped: a snapshot is of a VM that runs" in said.err
    # No room for its memory: QEMU says so, and nothing of it is left.
    disk = vm1.qcow_image.replace("~", "/home/ubuntu")
    operator.ok("stop", "--force", "--vm", "vm1")
    small = f"d={disk}.d; mkdir $d; mount -t tmpfs -o size=1500k none $d; cp {disk} $d/disk;"
    operator.on("worker1", "sh", "-c", f"{small} chown -R ubuntu $d")
    tight = replace(vm1, qcow_image=f"{vm1.qcow_image}.d/disk")
    operator.vms = [(tight, "worker1")]
    operator.write()
    try:
        operator.ok("launch", "--vm", "vm1")
        wait_until(lambda: bool(counts(console_log(operator, vm1))))
        said = operator.fab("snapshot.save", "--vm", "vm1", "--name", "two")
        assert said.code == 1
        assert "no snapshot was made: " in said.err
        (listed,) = operator.ok("snapshot.list", "--vm", "vm1", "--format", "json").json
        assert [one["name"] for one in listed["snapshots"]] == ["one"]
        assert states(operator) == {"vm1": "running"}
        # Whether there is room to go back depends on what the guest has written by now.
        said = operator.fab("snapshot.revert", "--vm", "vm1", "--name", "one", "--yes")
        stands = "it could not be taken back, and stands still: " in said.err
        assert (said.code, states(operator)["vm1"]) == ((1, "paused") if stands else (0, "running"))
    finally:
        operator.ok("stop", "--force", "--vm", "vm1")
        operator.on("worker1", "umount", "-l", f"{disk}.d")
