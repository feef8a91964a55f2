"""What `--dry` prints is true, and can be pasted where it says so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vmops.ops.dry import shown
from vmops.ops.route import Route

from .worlds import VM1, WORKER

ABSOLUTE = replace(VM1, qcow_image="/srv/vm1.qcow2")


@pytest.mark.parametrize(
    ("vm", "task", "noted"),
    [(VM1, "launch", True), (VM1, "boot", True), (VM1, "plug", False), (ABSOLUTE, "launch", False)],
)
def test_a_home_that_no_shell_expands_is_noted(vm: object, task: str, noted: bool) -> None:
    said = shown(Route(WORKER), (vm,), task)  # type: ignore[arg-type]
    assert ("SSH user's home" in said.splitlines()[1]) is noted
    assert ("file=~/" in said) is noted
