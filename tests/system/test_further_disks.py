"""Further disks of a VM, as its guest and the worker see them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.guests import PROMPT, cache_directory, linux_image
from vmops.core.images.names import Base
from vmops.core.inventory.model import VM, Disk
from vmops.inventory_file import load
from vmops.remote.image.image_file import ImageFile
from vmops.remote.image.transfer import push

from .lab_helpers import wait_until
from .operator import Operator, small_vm
from .seat import piped, seated

FOLDER = "/home/ubuntu/vm_images/.vmops"
DATA, LOGS = Disk("data", size_gb=1, format="raw"), Disk("logs", size_gb=1)


@pytest.fixture
def web(operator: Operator) -> Iterator[VM]:
    """A VM of the small Linux, which worker1 has, with two further disks."""
    file = linux_image(cache_directory())
    operator.extra = f"[images.linux]\nfile = {json.dumps(str(file))}\n"
    operator.write()
    worker = load(operator.hosts_toml).workers["worker1"]
    with ImageFile(file) as image:
        push(worker, image, base=Base(image.digest(), "qcow2"))
    vm = replace(small_vm("vm1", 1, ram_mb=96), qcow_image="", image="linux", disks=(DATA, LOGS))
    yield operator.add(vm, image=False)
    operator.on("worker1", "rm", "-rf", FOLDER)


def change(operator: Operator, vm: VM) -> VM:
    operator.vms = [(vm, "worker1")]
    operator.write()
    return vm


def launched(operator: Operator) -> None:
    operator.ok("launch", "--vm", "vm1")
    piped(operator, b"\r", "--until", PROMPT, "--timeout", "60")


def typed(operator: Operator, command: str) -> str:
    """What a shell in the guest prints."""
    keys = f"echo BE''GUN; {command}; echo EN''DED\r".encode()
    said = piped(operator, keys, "--until", "ENDED", "--timeout", "30")
    assert said.code == 0, said
    return said.out.partition("BEGUN")[2].partition("ENDED")[0].replace("\r", "").strip()


def of_disk(name: str) -> str:
    """Shell words that set D to the guest's name of the disk with that serial number, which is what
    udev makes /dev/disk/by-id of."""
    return f"D=$(grep -lx {name} /sys/block/vd*/serial | cut -d/ -f4)"


def there(operator: Operator) -> set[str]:
    found = operator.on("worker1", "ls", FOLDER).split()
    return {name for name in found if name.startswith("disk-")}


def test_a_guest_finds_them_by_name_gives_back_what_it_discards_and_sees_them_grow(
    operator: Operator, web: VM
) -> None:
    launched(operator)
    assert there(operator) == {"disk-vm1-root.qcow2", "disk-vm1-data.raw", "disk-vm1-logs.qcow2"}
    raw = f"{FOLDER}/disk-vm1-data.raw"
    assert operator.on("worker1", "stat", "-c", "%U %a %s", raw) == f"ubuntu 600 {1 << 30}\n"
    # Which of them is vdb is the order of hosts.toml, and the first is the one that was booted.
    serials = typed(operator, "for d in vda vdb vdc; do echo $d:$(cat /sys/block/$d/serial); done")
    assert serials.split() == ["vda:", "vdb:data", "vdc:logs"]
    typed(operator, f"{of_disk('data')}; head -c 8388608 /dev/zero | tr '\\0' y >/dev/$D; sync")
    used = int(operator.on("worker1", "stat", "-c", "%b", raw)) * 512
    assert used >= 8 << 20
    typed(operator, f"{of_disk('data')}; blkdiscard -o 4194304 -l 4194304 /dev/$D; sync")
    assert int(operator.on("worker1", "stat", "-c", "%b", raw)) * 512 <= used - (3 << 20)

    assert operator.fab("plan", "--vm", "vm1").code == 0
    pid = operator.qemus("worker1")["vm1"]
    change(operator, replace(web, disks=(replace(DATA, size_gb=2), replace(LOGS, size_gb=3))))
    plan = operator.fab("plan", "--vm", "vm1")
    assert "disks.data.size_gb: 1 -> 2" in plan.out
    assert "disks.logs.size_gb: 1 -> 3" in plan.out
    assert "its disks made larger" in operator.ok("launch", "--vm", "vm1").out
    assert operator.qemus("worker1")["vm1"] == pid
    sizes = typed(operator, f"for n in data logs; do {of_disk('$n')}; cat /sys/block/$D/size; done")
    assert [int(each) * 512 for each in sizes.split()] == [2 << 30, 3 << 30]
    assert operator.fab("plan", "--vm", "vm1").code == 0

    operator.ok("stop", "--vm", "vm1")
    assert operator.on("worker1", "head", "-c", "4", raw) == "yyyy"


def test_they_are_kept_and_a_smaller_one_is_refused_until_the_vm_is_destroyed(
    operator: Operator, web: VM
) -> None:
    operator.ok("launch", "--vm", "vm1")
    operator.ok("stop", "--vm", "vm1", "--force")
    raw = f"{FOLDER}/disk-vm1-data.raw"
    operator.on("worker1", "sh", "-c", f"printf mine | dd of={raw} conv=notrunc")
    web = change(operator, replace(web, disks=(replace(DATA, size_gb=2), LOGS)))
    operator.ok("launch", "--vm", "vm1")
    assert operator.on("worker1", "stat", "-c", "%s", raw) == f"{2 << 30}\n"
    assert operator.on("worker1", "head", "-c", "4", raw) == "mine"
    change(operator, replace(web, disks=(replace(DATA, size_gb=1),)))
    assert operator.fab("launch", "--vm", "vm1").code == 1
    said = operator.fab("restart", "--vm", "vm1", "--force")
    assert "a disk is not made smaller" in said.err
    assert operator.qemus("worker1").keys() == {"vm1"}

    change(operator, replace(web, disks=()))
    operator.ok("destroy", "--vm", "vm1", "--force", "--yes")
    assert there(operator) == set()


def test_a_disk_is_made_anew_on_request_and_by_nothing_else(operator: Operator, web: VM) -> None:
    operator.ok("launch", "--vm", "vm1")
    running = operator.fab("reset-disk", "--vm", "vm1", "--yes")
    assert running.code == 1
    assert "vm1 is running, with this disk" in running.err
    with seated(operator) as seat:
        seat.begin("fab reset-disk --vm vm1")
        assert seat.end() == 1
        assert "vm1 is running, with this disk" in seat.said
        assert "go on?" not in seat.said
    operator.ok("stop", "--vm", "vm1", "--force")
    raw = f"{FOLDER}/disk-vm1-data.raw"
    words = f"printf mine | dd of={raw} conv=notrunc"
    operator.on("worker1", "sh", "-c", words)
    change(operator, replace(web, disks=(replace(DATA, format="qcow2"), LOGS)))
    said = operator.fab("launch", "--vm", "vm1")
    assert "its disk data is there as raw, and qcow2 is asked for" in said.err
    change(operator, web)
    operator.ok("launch", "--vm", "vm1")
    operator.ok("stop", "--vm", "vm1", "--force")
    assert operator.on("worker1", "head", "-c", "4", raw) == "mine"
    assert "disk removed" in operator.ok("reset-disk", "--vm", "vm1", "--disk", "data", "--yes").err
    assert there(operator) == {"disk-vm1-root.qcow2", "disk-vm1-logs.qcow2"}
    assert operator.fab("reset-disk", "--vm", "vm1", "--disk", "no").code == 2
    assert "disk removed" in operator.ok("reset-disk", "--vm", "vm1", "--yes").err
    assert "had no such disk" in operator.ok("reset-disk", "--vm", "vm1", "--yes").err
    operator.ok("launch", "--vm", "vm1")
    zeros = operator.on("worker1", "sh", "-c", f"head -c 4096 {raw} | tr -d '\\0' | wc -c")
    assert zeros.strip() == "0"


def test_a_header_that_a_guest_writes_into_its_raw_disk_opens_nothing(
    operator: Operator, web: VM
) -> None:
    """A qcow2 header that names a file of root's: QEMU has to take it for the guest's data."""
    operator.ok("launch", "--vm", "vm1")
    operator.ok("stop", "--vm", "vm1", "--force")
    raw, evil = f"{FOLDER}/disk-vm1-data.raw", "/tmp/evil.qcow2"
    words = f"qemu-img create -q -u -f qcow2 -F raw -b /etc/shadow {evil} 1G"
    put = f"{words} && dd if={evil} of={raw} conv=notrunc status=none && rm {evil}"
    operator.on("worker1", "sh", "-c", put)
    operator.ok("launch", "--vm", "vm1")
    (status,) = operator.ok("status", "--vm", "vm1", "--format", "json").json
    images = [image for disk in status["disks"] for image in disk["images"]]
    assert raw in images
    assert "/etc/shadow" not in images
    head = operator.on("worker1", "head", "-c", "3", raw)
    assert head == "QFI"


def test_a_launch_that_fails_takes_away_what_it_made_and_no_more(
    operator: Operator, web: VM
) -> None:
    change(operator, replace(web, cpu="no-such-cpu", disks=(LOGS,)))
    assert operator.fab("launch", "--vm", "vm1").code == 1
    assert there(operator) == set()
    change(operator, replace(web, disks=(LOGS,)))
    operator.ok("launch", "--vm", "vm1")
    pid = operator.qemus("worker1")["vm1"]
    change(operator, replace(web, cpu="no-such-cpu"))
    said = operator.fab("restart", "--vm", "vm1", "--force")
    assert said.code == 1
    assert "it was started again as it had run" in said.err
    assert there(operator) == {"disk-vm1-root.qcow2", "disk-vm1-logs.qcow2"}
    wait_until(lambda: operator.qemus("worker1").get("vm1", pid) != pid)


def test_a_full_folder_is_told_before_anything_is_done(operator: Operator, web: VM) -> None:
    """A file system of its own that holds less than is promised, and then next to nothing."""
    operator.on("worker1", "mkdir", "-p", FOLDER)
    script = (
        f"mkdir /tmp/keep && cp -a {FOLDER}/* /tmp/keep"
        f" && mount -t tmpfs -o size=600m small {FOLDER}"
        f" && chown ubuntu {FOLDER} && chmod 700 {FOLDER} && cp -a /tmp/keep/* {FOLDER}"
    )
    operator.on("worker1", "sh", "-c", script)
    try:
        said = operator.ok("launch", "--vm", "vm1")
        assert "GiB more, and 5" in said.err
        assert "MiB is free there: a guest" in said.err
        operator.ok("destroy", "--vm", "vm1", "--force", "--yes")
        operator.on("worker1", "fallocate", "-l", "400M", f"{FOLDER}/big")
        said = operator.fab("launch", "--vm", "vm1")
        assert said.code == 1
        assert "its disks need 256 MiB at once" in said.err
        assert there(operator) == set()
    finally:
        operator.on("worker1", "umount", "-l", FOLDER)
        operator.on("worker1", "rm", "-rf", "/tmp/keep")
