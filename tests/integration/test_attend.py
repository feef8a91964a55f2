"""Programs that serve one caller through a socket: they begin wherever a worker can begin."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from vmops.core.script import functions, script
from vmops.core.script.command import Block, Command, Step, command
from vmops.core.tools.proof import attend

NONCE = "0123456789abcdef" * 2

PROGRAMS: dict[str, Callable[[str], Command]] = {
    "capture": lambda path: command("capture_frames", path, "0", "lo", "0", ""),
    "seat": lambda path: command("take_seat", path, "0", "blue", "127.0.0.1", "10.0.0.9"),
    "door": lambda path: command("open_door", path, "0", "br0", "101"),
    "OVN's door": lambda path: command("open_door_in_ovn", path, "0", "br0", "101"),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_on_a_worker_that_never_had_a_vm(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing has made the folder of the run directories there yet."""
    root = tmp_path / "run" / "vmops"
    monkeypatch.setattr(functions, "RUN_ROOT", str(root))
    monkeypatch.setattr(attend, "RUN_ROOT", str(root))
    switch = tmp_path / "ovs-vsctl"
    switch.write_text("#!/bin/sh\necho br0\n")
    switch.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    made = PROGRAMS[program](attend.socket_path(NONCE))
    block = Block("vm", (Step("listen", (made,)),))
    text = script.render([block], nonce=NONCE)
    done = subprocess.run(["dash", "-c", text], capture_output=True, timeout=60, check=True)
    (result,) = script.parse([block], nonce=NONCE, stdout=done.stdout, stderr=done.stderr)
    assert result.outcome == "done", result
    assert root.stat().st_mode & 0o777 == 0o711
