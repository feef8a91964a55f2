"""Disks, CDs and memory of a VM that are changed while its guest runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.guests import PROMPT, cache_directory, linux_image, seed_image
from vmops.core.inventory.model import VM, Disk, Interface

from .fleet_helpers import put
from .lab_helpers import wait_until
from .operator import Operator, small_vm
from .seat import guest, pid_of, piped

FOLDER = "/home/ubuntu/vm_images/.vmops"
RAW = f"{FOLDER}/disk-vm1-data.raw"
DATA, LOGS = Disk("data", size_gb=1, format="raw"), Disk("logs", size_gb=1)


def change(operator: Operator, vm: VM, **values: Any) -> VM:
    changed = replace(vm, **values)
    operator.vms = [(changed, "worker1")]
    operator.write()
    return changed


def typed(operator: Operator, command: str) -> str:
    """What a shell in the guest prints."""
    keys = f"echo BE''GUN; {command}; echo EN''DED\r".encode()
    said = piped(operator, keys, "--until", "ENDED", "--timeout", "30")
    assert said.code == 0, said
    return said.out.partition("BEGUN")[2].partition("ENDED")[0].replace("\r", "").strip()


def of_disk(name: str) -> str:
    """Shell words that set D to the guest's name of the disk with that serial number."""
    return f"D=$(grep -lx {name} /sys/block/vd*/serial | cut -d/ -f4)"


def serials(operator: Operator) -> list[str]:
    each = "for f in /sys/block/vd*/serial; do [ ! -e $f ] || echo $(cat $f); done"
    return sorted(typed(operator, each).split())


def planned(operator: Operator) -> tuple[str, dict[str, str]]:
    """What `plan` would do, and how each field that differs changes."""
    (entry,) = operator.fab("plan", "--vm", "vm1", "--format", "json").json
    how = {
        field["field"]: "live" if field["live"] else "later" if field["later"] else "restart"
        for field in entry["fields"]
    }
    return entry["action"], how


def is_as_asked(operator: Operator) -> bool:
    (status,) = operator.ok("status", "--vm", "vm1", "--format", "json").json
    return operator.fab("plan", "--vm", "vm1").code == 0 and not status["drift"]


def has_open(operator: Operator, vm: VM, path: str) -> bool:
    held = operator.on("worker1", "sh", "-c", f"ls -l /proc/{pid_of(operator, vm)}/fd")
    return f"-> {path}" in held


@pytest.mark.timeout(300)
def test_a_guest_gets_disks_that_grow_and_go_and_their_files_stay(operator: Operator) -> None:
    vm = guest(operator, image=linux_image(cache_directory()), ram_mb=96)
    piped(operator, b"\r", "--until", PROMPT, "--timeout", "60")
    pid = pid_of(operator, vm)
    assert serials(operator) == []

    vm = change(operator, vm, disks=(DATA, LOGS))
    assert planned(operator) == ("change", {"disks.data": "live", "disks.logs": "live"})
    assert "runs, changed" in operator.ok("launch", "--vm", "vm1").out
    assert is_as_asked(operator)
    wait_until(lambda: serials(operator) == ["data", "logs"], seconds=20)
    (status,) = operator.ok("status", "--vm", "vm1", "--format", "json").json
    images = [disk["images"] for disk in status["disks"]]
    assert [RAW] in images
    assert [f"{FOLDER}/disk-vm1-logs.qcow2"] in images
    assert operator.on("worker1", "stat", "-c", "%U %a", RAW) == "ubuntu 600\n"
    typed(operator, f"{of_disk('data')}; printf mine >/dev/$D; sync")

    vm = change(operator, vm, disks=(replace(DATA, size_gb=2), replace(LOGS, size_gb=3)))
    operator.ok("up", "--vm", "vm1")
    sizes = typed(operator, f"for n in data logs; do {of_disk('$n')}; cat /sys/block/$D/size; done")
    assert [int(each) * 512 for each in sizes.split()] == [2 << 30, 3 << 30]

    # Where nothing but a command line would tell, a suspended guest would come back without it.
    said = operator.fab("suspend", "--vm", "vm1")
    assert "its disks were changed while it ran" in said.err

    change(operator, vm, disks=vm.disks[1:])
    assert planned(operator) == ("change", {"disks.data": "live"})
    operator.ok("launch", "--vm", "vm1")
    assert serials(operator) == ["logs"]
    assert not has_open(operator, vm, RAW)
    assert operator.on("worker1", "head", "-c", "4", RAW) == "mine"
    assert is_as_asked(operator)

    change(operator, vm)
    operator.ok("launch", "--vm", "vm1")
    wait_until(lambda: serials(operator) == ["data", "logs"], seconds=20)
    assert typed(operator, f"{of_disk('data')}; head -c 4 /dev/$D") == "mine"
    assert pid_of(operator, vm) == pid
    operator.ok("restart", "--force", "--vm", "vm1")
    assert is_as_asked(operator)
    assert has_open(operator, vm, RAW)


@pytest.mark.timeout(300)
def test_a_guest_that_does_not_let_go_keeps_its_disk_and_the_file_behind_it(
    operator: Operator,
) -> None:
    """The boot sector knows nothing of PCI: it never gives a card up. Nor has it a balloon."""
    vm = guest(operator)
    vm = change(operator, vm, disks=(DATA,), balloon=True)
    assert planned(operator) == ("change", {"disks.data": "live", "balloon": "later"})
    said = operator.ok("launch", "--vm", "vm1")
    assert "vm1: balloon: off -> on, from its next start on" in said.err
    change(operator, vm, disks=())
    said = operator.fab("launch", "--vm", "vm1")
    assert said.code == 1
    assert "disk data could not be removed: its guest has not let go of it" in said.err
    assert planned(operator)[0] == "change"
    assert has_open(operator, vm, RAW)
    operator.on("worker1", "test", "-e", RAW)
    # A reset completes what the guest did not do: what is left is taken away.
    operator.ok("reset", "--vm", "vm1")
    wait_until(lambda: operator.fab("launch", "--vm", "vm1").code == 0, seconds=30)
    assert not has_open(operator, vm, RAW)
    assert operator.on("worker1", "stat", "-c", "%s", RAW) == f"{1 << 30}\n"

    # A file that the SSH user may not open is not opened for QEMU either, by nobody.
    operator.on("worker1", "chown", "root:root", RAW)
    change(operator, vm)
    said = operator.fab("launch", "--vm", "vm1")
    assert said.code == 1, said
    assert not has_open(operator, vm, RAW)
    operator.on("worker1", "chown", "ubuntu:ubuntu", RAW)
    operator.ok("launch", "--vm", "vm1")
    operator.ok("restart", "--force", "--vm", "vm1")
    change(operator, vm, ram_mb=vm.ram_mb - 8)
    assert planned(operator) == ("change", {"ram_mb": "live"})
    said = operator.fab("launch", "--vm", "vm1")
    assert said.code == 1
    assert "its memory could not be changed: its guest has not changed it within" in said.err


def disc(operator: Operator, name: str) -> None:
    path = f"/home/ubuntu/{name}.iso"
    script = f"printf CD-{name} >{path}; truncate -s 1M {path}; chown ubuntu:ubuntu {path}"
    operator.on("worker1", "sh", "-c", script)


def read_cd(operator: Operator) -> str:
    return typed(operator, "head -c 4 /dev/sr0 2>&1")


@pytest.mark.timeout(300)
def test_a_guest_sees_another_cd_and_makes_do_with_less_memory(operator: Operator) -> None:
    for name in ("a", "b"):
        disc(operator, name)
    vm = replace(small_vm("vm1", 1, ram_mb=160), boot="cdrom", iso="~/a.iso", balloon=True)
    operator.add(vm, image=False)
    put = f"mkdir -p ~/vm_images && cat >{vm.qcow_image}"
    as_user = ["runuser", "-u", "ubuntu", "--", "env", "HOME=/home/ubuntu", "sh", "-c", put]
    operator.lab.run("worker1", as_user, stdin=seed_image(cache_directory()).read_bytes())
    operator.ok("launch", "--vm", "vm1")
    piped(operator, b"\r", "--until", PROMPT, "--timeout", "90")
    pid = pid_of(operator, vm)
    # It looks for a seed on its CD.
    typed(operator, "until [ -e /dev/sr0 ]; do usleep 100000; done; killall seed")
    wait_until(lambda: read_cd(operator) == "CD-a", seconds=20)

    vm = change(operator, vm, iso="~/b.iso")
    assert planned(operator) == ("change", {"iso": "live"})
    assert "runs, changed" in operator.ok("launch", "--vm", "vm1").out
    wait_until(lambda: read_cd(operator) == "CD-b", seconds=20)
    assert is_as_asked(operator)

    typed(operator, "sleep 1000 </dev/sr0 & sleep 1")
    change(operator, vm, iso="~/a.iso")
    said = operator.fab("launch", "--vm", "vm1")
    assert said.code == 1
    assert "the CD could not be changed: its guest has locked the tray" in said.err
    assert planned(operator) == ("change", {"iso": "live"})
    typed(operator, "killall sleep")
    operator.ok("launch", "--vm", "vm1")
    wait_until(lambda: read_cd(operator) == "CD-a", seconds=20)

    change(operator, vm, iso=None)
    operator.ok("launch", "--vm", "vm1")
    assert "CD-" not in read_cd(operator)
    assert is_as_asked(operator)
    change(operator, vm, boot=None, iso=None)
    assert planned(operator) == ("nothing", {"boot": "later"})
    vm = change(operator, vm, iso="~/b.iso")
    operator.ok("launch", "--vm", "vm1")
    wait_until(lambda: read_cd(operator) == "CD-b", seconds=20)

    total = "awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo"
    before = int(typed(operator, total))
    change(operator, vm, ram_mb=128)
    assert planned(operator) == ("change", {"ram_mb": "live"})
    operator.ok("launch", "--vm", "vm1")
    assert is_as_asked(operator)
    assert before - int(typed(operator, total)) == 32
    change(operator, vm, ram_mb=192)
    assert planned(operator) == ("restart", {"ram_mb": "restart"})
    change(operator, vm)
    operator.ok("launch", "--vm", "vm1")
    assert int(typed(operator, total)) == before
    assert pid_of(operator, vm) == pid


@pytest.mark.timeout(300)
def test_a_q35_takes_disks_and_cards_at_its_root_ports_and_gives_them_back(
    operator: Operator,
) -> None:
    vm = replace(small_vm("vm1", 1, ram_mb=96), machine="q35")
    operator.add(vm, image=False)
    put(operator, "worker1", vm.qcow_image, linux_image(cache_directory()).read_bytes())
    operator.ok("launch", "--vm", "vm1")
    piped(operator, b"\r", "--until", PROMPT, "--timeout", "60")
    pid = pid_of(operator, vm)

    eth1 = Interface("eth1", vlan_id=101, model="virtio")
    change(operator, vm, disks=(DATA, LOGS), interfaces=(eth1,))
    action, how = planned(operator)
    assert (action, {*how.values()}) == ("change", {"live"})
    operator.ok("launch", "--vm", "vm1")
    assert is_as_asked(operator)
    wait_until(lambda: serials(operator) == ["data", "logs"], seconds=20)
    mac = "52:54:00:00:01:01"
    assert mac in typed(operator, "cat /sys/class/net/*/address")

    # Another one in its place: a port that was given back takes a card again.
    more = Disk("more", size_gb=1)
    change(operator, vm, disks=(LOGS, more))
    operator.ok("launch", "--vm", "vm1")
    assert is_as_asked(operator)
    wait_until(lambda: serials(operator) == ["logs", "more"], seconds=20)
    assert mac not in typed(operator, "cat /sys/class/net/*/address")
    assert operator.taps("worker1") == set()
    assert pid_of(operator, vm) == pid
