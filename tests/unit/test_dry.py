"""What `--dry` prints is true, and can be pasted where it says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from vmops.core.inventory.model import VM
from vmops.ops.dry import Transcript
from vmops.ops.route import Route
from vmops.ops.vm import lifecycle, stopping

from .worlds import VM1, WORKER

ABSOLUTE = replace(VM1, qcow_image="/srv/vm1.qcow2")
Operation = Callable[[Route, Sequence[VM]], Any]


def transcript(operation: Operation, *vms: VM) -> str:
    kept = Transcript()
    operation(Route(WORKER, transcript=kept), vms)
    return str(kept)


@pytest.mark.parametrize(
    ("vm", "operation", "noted"),
    [
        (VM1, lifecycle.launch, True),
        (VM1, lifecycle.boot, True),
        (VM1, lifecycle.plug, False),
        (ABSOLUTE, lifecycle.launch, False),
    ],
)
def test_a_home_that_no_shell_expands_is_noted(vm: VM, operation: Operation, noted: bool) -> None:
    said = transcript(operation, vm)
    assert ("SSH user's home" in said.splitlines()[1]) is noted
    assert ("file=~/" in said) is noted


def test_a_gentle_stop_is_the_plan_that_a_running_vm_gets() -> None:
    said = transcript(stopping.stop, VM1)
    order = ("system_powerdown", "quit", "SIGTERM", "SIGKILL", "del-port", "umount")
    places = [said.index(word) for word in order]
    assert places == sorted(places)


def test_a_restart_is_both_plans_one_after_the_other() -> None:
    said = transcript(lifecycle.restart, VM1)
    assert (
        said.index("system_powerdown") < said.index("del-port") < said.index("qemu-system-x86_64")
    )
