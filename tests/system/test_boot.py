"""What a VM boots from other than its disk's first sector, and words for QEMU besides."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pycdlib
import pytest

from vmops.core.inventory.model import VM

from .lab_helpers import wait_until
from .operator import Operator, small_vm

FOLDER = "/home/ubuntu/vm_images/.vmops"
OVMF = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")


def change(operator: Operator, vm: VM) -> VM:
    operator.vms = [(vm, "worker1")]
    operator.write()
    return vm


def logged(operator: Operator, text: str, *, seconds: float = 60) -> None:
    wait_until(lambda: text in operator.ok("logs", "--vm", "vm1").out, seconds=seconds)


PRINTS = bytes.fromhex("31c08ed8be157cbaf803ac84c07403eeebf8f4ebfd")
"""Sets ds, and writes the text behind itself to COM1, byte by byte, up to a zero; then it halts."""


def iso() -> bytes:
    """A CD that boots and says so on the serial port."""
    cd, written = pycdlib.PyCdlib(), io.BytesIO()
    cd.new()
    sector = (PRINTS + b"VMOPS-CD-UP\r\n\0").ljust(2048, b"\0")
    cd.add_fp(io.BytesIO(sector), len(sector), "/BOOT.;1")
    cd.add_eltorito("/BOOT.;1", "/BOOT.CAT;1", boot_load_size=4)
    cd.write_fp(written)
    return written.getvalue()


def test_a_cd_is_booted_before_the_disk_and_drops_out_of_the_machine_again(
    operator: Operator,
) -> None:
    put = "mkdir -p ~/iso && cat >~/iso/a,b.iso"
    as_user = ["runuser", "-u", "ubuntu", "--", "env", "HOME=/home/ubuntu", "sh", "-c", put]
    operator.lab.run("worker1", as_user, stdin=iso())
    vm = operator.add(replace(small_vm("vm1", 1), boot="cdrom", iso="~/iso/a,b.iso"))
    assert "node-name=boot-iso" in operator.ok("--dry", "launch", "--vm", "vm1").out
    operator.ok("launch", "--vm", "vm1")
    logged(operator, "VMOPS-CD-UP")
    assert operator.fab("plan", "--vm", "vm1").code == 0
    change(operator, replace(vm, boot="cdrom", iso="~/iso/c.iso"))
    said = operator.fab("restart", "--vm", "vm1", "--force")
    assert "no image ~/iso/c.iso" in said.err
    change(operator, replace(vm, boot=None, iso=None))
    plan = operator.fab("plan", "--vm", "vm1").out
    assert "boot: cdrom -> disk" in plan
    assert "iso: /home/ubuntu/iso/a,b.iso -> none" in plan
    operator.ok("restart", "--vm", "vm1", "--force")
    assert operator.fab("plan", "--vm", "vm1").code == 0


@pytest.mark.skipif(not OVMF.exists(), reason="there is no OVMF here")
def test_uefi_boots_and_keeps_its_variables_until_the_vm_is_destroyed(operator: Operator) -> None:
    vm = replace(small_vm("vm1", 1, ram_mb=256), boot="uefi", machine="q35")
    operator.add(replace(vm, extra_args=("-device", "virtio-rng-pci")))
    operator.ok("launch", "--vm", "vm1")
    logged(operator, "BdsDxe", seconds=90)
    file = f"{FOLDER}/disk-vm1-uefi.qcow2"
    made = operator.on("worker1", "stat", "-c", "%i %U", file)
    assert made.endswith(" ubuntu\n")
    assert operator.fab("plan", "--vm", "vm1").code == 0
    operator.ok("stop", "--vm", "vm1", "--force")
    operator.ok("launch", "--vm", "vm1")
    assert operator.on("worker1", "stat", "-c", "%i %U", file) == made
    change(operator, replace(vm, machine=None))
    plan = operator.fab("plan", "--vm", "vm1").out
    assert "machine: q35 -> pc" in plan
    assert "extra_args: -device virtio-rng-pci -> none" in plan
    operator.ok("destroy", "--vm", "vm1", "--force", "--yes")
    operator.on("worker1", "test", "!", "-e", file)


def test_words_that_would_open_a_file_never_reach_a_worker(operator: Operator) -> None:
    operator.add(small_vm("vm1", 1))
    path = operator.hosts_toml
    words = 'extra_args = ["-device", "VGA,romfile=/etc/shadow"]'
    path.write_text(path.read_text().replace("ram_mb", f"{words}\nram_mb", 1))
    said = operator.fab("launch", "--vm", "vm1")
    assert said.code == 2
    assert "romfile names something of the worker, which QEMU would open as root" in said.err
