"""VMs that hosts.toml has lost or moved while they run: named, seen, stopped, and never doubled."""

from __future__ import annotations

from tests.guests import boot_sector_image, cache_directory

from .fleet_helpers import put
from .operator import Operator, small_vm


def moved(operator: Operator) -> None:
    """vm1 runs on worker1, and hosts.toml has it on worker2."""
    vm = operator.add(small_vm("vm1", 1, 101))
    operator.ok("launch", "--vm", "vm1")
    put(operator, "worker2", vm.qcow_image, boot_sector_image(cache_directory()).read_bytes())
    operator.vms = [(vm, "worker2")]
    operator.write()


def end(operator: Operator) -> None:
    operator.ok("-H", operator.address("worker1"), "stop", "--vm", "vm1", "--elsewhere", "--force")


def test_a_moved_vm_is_never_started_twice(operator: Operator) -> None:
    moved(operator)
    try:
        for words in (("up", "--vm", "vm1"), ("up",), ("launch", "--vm", "vm1")):
            said = operator.fab(*words)
            assert said.code == 1
            assert "vm1 runs on worker1, and hosts.toml has it on worker2" in said.err
            assert "stop --vm vm1 --elsewhere" in said.err
            assert not operator.qemus("worker2")
        (planned,) = operator.fab("plan", "--vm", "vm1", "--format", "json").json
        assert planned["action"] == "refused"
        said = operator.ok("status", "--vm", "vm1", "--format", "json")
        assert [said.json[0][key] for key in ("state", "worker", "home")] == [
            "running",
            "worker1",
            "worker2",
        ]
        (listed,) = operator.ok("ps", "--format", "json").json
        assert (listed["managed"], listed["home"]) == (True, "worker2")
    finally:
        end(operator)


def test_a_vm_is_not_started_where_another_worker_cannot_be_asked(operator: Operator) -> None:
    operator.add(small_vm("vm1", 1, 101))
    operator.lab.fault("worker2", "drop")
    try:
        refused = operator.fab("launch", "--vm", "vm1")
        assert refused.code == 3
        assert "it may run on worker2, which could not be asked" in refused.err
        assert not operator.qemus("worker1")
        operator.ok("launch", "--vm", "vm1", "--here")
    finally:
        operator.lab.heal("worker2")


def _destroy_by_name(operator: Operator, at: str) -> None:
    """What was made for a VM of that name goes, and nothing of a name that begins as it does."""
    folder = "/home/ubuntu/vm_images/.vmops"
    names = [f"{folder}/disk-{name}.qcow2" for name in ("vm1-root", "vm1-data", "vm1a-root")]
    make = (
        f"mkdir -p {folder} && for f in {' '.join(names)}; do qemu-img create -qf qcow2 $f 1M; done"
    )
    operator.on("worker1", "runuser", "-u", "ubuntu", "--", "sh", "-c", make)
    unasked = operator.fab("-H", at, "destroy", "--vm", "vm1")
    assert (unasked.code, "--yes goes on without asking" in unasked.err) == (2, True)
    said = operator.ok("-H", at, "destroy", "--vm", "vm1", "--yes")
    assert "vm1 on worker1: removed" in said.out + said.err
    left = operator.on("worker1", "sh", "-c", f"ls {folder}")
    assert ("disk-vm1-" in left, "disk-vm1a-root.qcow2" in left) == (False, True)
    slip = operator.fab("-H", at, "destroy", "--vm", "vm1", "--yes")
    assert (slip.code, "vm1 is not there" in slip.err) == (1, True)
    operator.on("worker1", "rm", names[-1])


def test_a_vm_that_hosts_toml_has_lost_can_be_named(operator: Operator) -> None:
    vm = operator.add(small_vm("vm1", 1, 101))
    operator.ok("launch", "--vm", "vm1")
    operator.vms = []
    operator.write()
    at = operator.address("worker1")
    try:
        assert "hosts.toml does not have: vm1 on worker1;" in operator.fab("plan").err
        picture = operator.folder / "vm1.png"
        operator.ok("-H", at, "screenshot", "--vm", "vm1", "--output", str(picture))
        assert picture.read_bytes().startswith(b"\x89PNG")
        slip = operator.fab("-H", at, "stop", "--vm", "vm2")
        assert (slip.code, "vm2 is not there" in slip.err) == (1, True)
        operator.ok("-H", at, "stop", "--vm", "vm1", "--force")
        assert not operator.qemus("worker1")
        assert operator.port("worker1", "tap_1_eth1") is None
        _destroy_by_name(operator, at)
    finally:
        operator.vms = [(vm, "worker1")]
        operator.write()
