"""Disks that are made of an image: at the first launch, kept, made larger, and removed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.guests import BANNER, boot_sector_image, cache_directory
from vmops.core.images.names import Base
from vmops.core.inventory.model import VM
from vmops.inventory_file import load
from vmops.remote.image.image_file import ImageFile
from vmops.remote.image.transfer import push

from .lab_helpers import wait_until
from .operator import Operator, small_vm

FOLDER = "/home/ubuntu/vm_images/.vmops"


@pytest.fixture
def base(operator: Operator) -> Iterator[Base]:
    """The boot sector as an image of hosts.toml, which worker1 has already."""
    file = boot_sector_image(cache_directory())
    operator.extra = f"[images.small]\nfile = {json.dumps(str(file))}\n"
    operator.write()
    worker = load(operator.hosts_toml).workers["worker1"]
    with ImageFile(file) as image:
        found = Base(image.digest(), "qcow2")
        push(worker, image, base=found)
    yield found
    operator.on("worker1", "rm", "-f", "-rf", FOLDER)


def of_image(name: str, number: int, **more: Any) -> VM:
    return replace(small_vm(name, number), qcow_image="", image="small", **more)


def change(operator: Operator, vm: VM) -> None:
    operator.vms = [(vm if old.name == vm.name else old, worker) for old, worker in operator.vms]
    operator.write()


def disk(vm: VM) -> str:
    return vm.qcow_image.replace("~", "/home/ubuntu")


def info(operator: Operator, path: str) -> dict[str, Any]:
    return dict(json.loads(operator.on("worker1", "qemu-img", "info", "-U", "--output=json", path)))


def as_ubuntu(operator: Operator, *argv: str) -> str:
    return operator.on("worker1", "runuser", "-u", "ubuntu", "--", *argv)


def there(operator: Operator) -> set[str]:
    return set(operator.on("worker1", "ls", FOLDER).split())


def test_a_disk_is_made_once_kept_and_removed_by_destroy_alone(
    operator: Operator, base: Base
) -> None:
    web = operator.add(of_image("web1", 21), image=False)
    other = operator.add(of_image("web2", 22), image=False)
    operator.ok("launch", "--vm", "web*")
    wait_until(lambda: BANNER in operator.ok("logs", "--vm", "web1").out)
    found = info(operator, disk(web))
    assert found["backing-filename"] == base.name
    assert found["backing-filename-format"] == "qcow2"
    assert operator.on("worker1", "stat", "-c", "%U %a", disk(web)) == "ubuntu 600\n"
    assert operator.fab("plan", "--vm", "web1").code == 0
    sum_before = operator.on("worker1", "sha256sum", f"{FOLDER}/{base.name}")

    operator.ok("stop", "--vm", "web1", "--force")
    as_ubuntu(operator, "qemu-io", "-c", "write -P 0xab 512k 4k", disk(web))
    operator.ok("launch", "--vm", "web1")
    operator.ok("stop", "--vm", "web1", "--force")
    read = as_ubuntu(operator, "qemu-io", "-c", "read -P 0xab 512k 4k", disk(web))
    assert "verification failed" not in read

    operator.ok("launch", "--vm", "web1")
    operator.ok("destroy", "--vm", "web1", "--keep-disks", "--force", "--yes")
    assert disk(web).rpartition("/")[2] in there(operator)
    unasked = operator.fab("destroy", "--vm", "web1")
    assert (unasked.code, "nobody is there to be asked" in unasked.err) == (2, True)
    assert disk(web).rpartition("/")[2] in there(operator)
    said = operator.ok("destroy", "--vm", "web1", "--yes")
    assert said.err.endswith("web1 on worker1: removed\n")
    assert there(operator) == {base.name, disk(other).rpartition("/")[2]}
    assert set(operator.qemus("worker1")) == {"web2"}
    assert operator.on("worker1", "sha256sum", f"{FOLDER}/{base.name}") == sum_before
    assert operator.ok("destroy", "--vm", "web2", "--force", "--yes").err.count("removed") == 1
    assert operator.qemus("worker1") == {}
    assert there(operator) == {base.name}


def test_a_larger_disk_is_made_so_running_or_not_and_a_smaller_one_refused(
    operator: Operator, base: Base
) -> None:
    web = operator.add(of_image("web1", 21, disk_gb=1), image=False)
    operator.ok("launch", "--vm", "web1")
    assert info(operator, disk(web))["virtual-size"] == 1 << 30
    change(operator, replace(web, disk_gb=3))
    plan = operator.fab("plan", "--vm", "web1")
    assert "disk_gb: 1 -> 3" in plan.out
    pid = operator.qemus("worker1")["web1"]
    assert "its disks made larger" in operator.ok("launch", "--vm", "web1").out
    assert operator.qemus("worker1")["web1"] == pid
    assert info(operator, disk(web))["virtual-size"] == 3 << 30
    assert operator.fab("plan", "--vm", "web1").code == 0
    operator.ok("stop", "--vm", "web1", "--force")
    change(operator, replace(web, disk_gb=4))
    operator.ok("launch", "--vm", "web1")
    assert info(operator, disk(web))["virtual-size"] == 4 << 30
    change(operator, replace(web, disk_gb=2))
    pid = operator.qemus("worker1")["web1"]
    said = operator.fab("restart", "--vm", "web1", "--force")
    assert said.code == 1
    assert "a disk is not made smaller" in said.err
    assert "set disk_gb = 4" in said.err
    assert operator.qemus("worker1")["web1"] == pid


def test_a_clone_stands_alone(operator: Operator, base: Base) -> None:
    web = operator.add(of_image("web1", 21, disk="clone", disk_gb=1), image=False)
    operator.ok("launch", "--vm", "web1")
    found = info(operator, disk(web))
    assert "backing-filename" not in found
    assert found["virtual-size"] == 1 << 30
    wait_until(lambda: BANNER in operator.ok("logs", "--vm", "web1").out)


def test_a_launch_that_fails_takes_away_the_disk_that_it_made_and_no_other(
    operator: Operator, base: Base
) -> None:
    web = operator.add(of_image("web1", 21, cpu="no-such-cpu"), image=False)
    assert operator.fab("launch", "--vm", "web1").code == 1
    assert there(operator) == {base.name}
    change(operator, replace(web, cpu=None))
    operator.ok("launch", "--vm", "web1")
    operator.ok("stop", "--vm", "web1", "--force")
    change(operator, web)
    assert operator.fab("launch", "--vm", "web1").code == 1
    assert there(operator) == {base.name, disk(web).rpartition("/")[2]}


def test_an_image_that_is_not_there_is_told_before_anything_is_done(
    operator: Operator, base: Base
) -> None:
    operator.on("worker1", "rm", "-f", f"{FOLDER}/{base.name}")
    operator.add(of_image("web1", 21), image=False)
    said = operator.fab("launch", "--vm", "web1", "--no-push")
    assert said.code == 1
    assert "it has no disk there yet, and the image small is not there" in said.err
    assert "not there yet: up brings it" in operator.ok("doctor", "--worker", "worker1").out


def test_an_image_that_was_taken_away_under_a_disk_is_sent_again(
    operator: Operator, base: Base
) -> None:
    operator.add(of_image("web1", 21), image=False)
    operator.ok("launch", "--vm", "web1")
    operator.ok("stop", "--vm", "web1", "--force")
    operator.on("worker1", "rm", "-f", f"{FOLDER}/{base.name}")
    said = operator.fab("launch", "--vm", "web1", "--no-push")
    assert "the image small is not there, and its disk stands on it" in said.err
    assert "its image small is brought there first" in operator.fab("plan", "--vm", "web1").err
    operator.ok("launch", "--vm", "web1")
    wait_until(lambda: BANNER in operator.ok("logs", "--vm", "web1").out)


def test_a_base_that_names_a_file_of_roots_is_refused(operator: Operator, base: Base) -> None:
    """Whoever made the image may have written into its header what QEMU is to open as root."""
    path = f"{FOLDER}/{base.name}"
    words = ["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", "/etc/shadow"]
    operator.on("worker1", "rm", "-f", path)
    as_ubuntu(operator, *words, path, "1M")
    operator.add(of_image("web1", 21), image=False)
    said = operator.fab("launch", "--vm", "web1")
    assert "ubuntu cannot open /etc/shadow" in said.err
    assert said.code == 1


def test_a_qcow_image_is_the_operators_and_stays(operator: Operator) -> None:
    vm = operator.add(small_vm("vm1", 1))
    operator.ok("launch", "--vm", "vm1")
    operator.ok("destroy", "--vm", "vm1", "--force", "--yes")
    assert operator.qemus("worker1") == {}
    operator.on("worker1", "test", "-f", disk(vm))
