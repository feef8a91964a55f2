"""The addition of a disk that is taken back, by a real QEMU."""

from __future__ import annotations

import getpass
import subprocess
from pathlib import Path
from typing import Any

import pytest

from vmops.core.devices.live import disks
from vmops.core.devices.live.drives import Drives
from vmops.core.inventory.model import VM, Disk
from vmops.core.script import script
from vmops.core.script.command import Block, Step, command
from vmops.core.tools import qmp
from vmops.core.tools.monitor import Talk, WithFile, talk
from vmops.core.tools.process import Process

from .talks import LIMIT_S, NONCE, Qemu, hold, qemu, root

__all__ = ["qemu", "root"]


@pytest.mark.parametrize("kept", [True, False], ids=["guest keeps it", "not attached yet"])
def test_the_word_for_a_disks_file_goes_with_the_disk(
    qemu: Qemu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    """What is taken back of an addition. This guest has no system, and lets go of nothing."""
    qemu("vm1")
    # QEMU forgets no file while it stands still.
    hold(Talk("vm1", (qmp.RESUME,), LIMIT_S))
    monkeypatch.setenv("VMOPS_USER", getpass.getuser())
    monkeypatch.setattr(disks, "RELEASE_LIMIT_S", 0.2)
    vm = VM(
        "vm1",
        vm_id=1,
        ram_mb=16,
        cores=1,
        image="small",
        disks=(Disk("data", size_gb=1, format="raw"),),
    )
    folder = tmp_path / "vm_images" / ".vmops"
    folder.mkdir(parents=True)
    file = folder / "disk-vm1-data.raw"
    file.write_bytes(bytes(1 << 20))
    running = Process(1, 1, "S", 0, 0, ())
    step = disks.adding(vm, vm.disks[0], (), Drives(), running, home=str(tmp_path))
    if not kept:
        step = step._replace(commands=(talk([Talk("vm1", (WithFile(str(file), 7, True),))]),))
        monkeypatch.setattr(Drives, "number_for", lambda *_: 7)
        step = step._replace(
            undo=disks.adding(vm, vm.disks[0], (), Drives(), running, home=str(tmp_path)).undo
        )
    block = Block("vm1", (step, Step("and then", (command("false"),))))
    text = script.render([block], nonce=NONCE)
    done = subprocess.run(["dash", "-c", text], capture_output=True, timeout=60, check=True)
    (result,) = script.parse([block], nonce=NONCE, stdout=done.stdout, stderr=done.stderr)
    assert [each.ok for each in result.steps[:2]] == [True, False], result
    sets: Any
    (sets,) = hold(Talk("vm1", (qmp.FILES,), LIMIT_S))["vm1"].answers
    assert [fd["opaque"] for one in sets for fd in one["fds"]] == ([str(file)] if kept else [])
