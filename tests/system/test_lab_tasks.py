"""The lab from the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system.conftest import free_network, require_a_lab

FABFILE = """\
from invoke import Collection
from vmops.tasks import lab
ns = Collection(lab)
"""

Fab = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def fab(tmp_path: Path) -> Iterator[Fab]:
    """`fab` with the lab's tasks alone, and a lab directory of its own."""
    require_a_lab()
    (tmp_path / "fabfile.py").write_text(FABFILE)
    environment = {**os.environ, "VMOPS_LAB_DIR": str(tmp_path / "lab")}
    command = str(Path(sys.executable).with_name("fab"))

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [command, *words],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    yield run
    run("lab.down")


def test_a_lab_is_brought_up_looked_at_broken_and_removed(fab: Fab, tmp_path: Path) -> None:
    network = free_network()
    up = fab("lab.up", "--workers", "2", "--network", network)
    assert (up.returncode, up.stdout) == (0, "")
    assert f"lab of 2 workers in {tmp_path / 'lab'}" in up.stderr
    assert "keeps its 2 workers" in fab("lab.up", "--workers", "1").stderr

    broken = fab("lab.fault", "--worker", "worker2", "--kind", "freeze")
    assert (broken.returncode, broken.stdout) == (0, "")
    assert (
        "worker2: SSH is broken: freeze; to mend it: fab lab.heal --worker worker2" in broken.stderr
    )
    far = fab("lab.delay", "--worker", "worker1", "--ms", "20")
    assert (far.returncode, far.stderr) == (0, "worker1: 20 ms away\n")
    assert fab("lab.vlans", "--worker", "worker2", "--without", "101,102").returncode == 0
    status = json.loads(fab("lab.status", "--format", "json").stdout)
    first, second = status["workers"]
    assert (first["without_vlans"], second["without_vlans"]) == ([], [101, 102])
    assert status["inventory"] == str(tmp_path / "lab" / "hosts.toml")
    assert (first["name"], first["address"], first["port"]) == ("worker1", f"{network}.1", 2222)
    assert (first["state"], first["fault"], first["delay_ms"]) == ("running", "", 20)
    assert (second["name"], second["fault"], second["delay_ms"]) == ("worker2", "freeze", 0)
    lines = fab("lab.status").stdout.splitlines()
    assert lines[1].split()[:3] == ["worker", "ssh", "state"]
    assert lines[2].split()[:3] == ["worker1", f"ubuntu@{network}.1:2222", "running"]
    assert lines[3].split()[-5:] == ["all", "but", "101,", "102", "freeze"]
    assert fab("lab.heal", "--worker", "worker2").stderr == "worker2: its SSH works again\n"

    assert fab("--dry", "lab.down").stderr == "would remove the lab\n"
    assert fab("lab.down").returncode == 0
    assert not (tmp_path / "lab").exists()


def test_without_a_lab_status_and_down_are_no_errors(fab: Fab, tmp_path: Path) -> None:
    assert fab("lab.down").returncode == 0
    assert fab("lab.status").stdout == f"no lab runs in {tmp_path / 'lab'}\n"
    assert json.loads(fab("lab.status", "--format", "json").stdout)["workers"] == []
    heal = fab("lab.heal", "--worker", "worker1")
    assert heal.returncode == 1
    assert "fab lab.up" in heal.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("lab.up", "--workers", "0"),
        ("lab.up", "--network", "192.168.1"),
        ("lab.status", "--format", "xml"),
    ],
    ids=lambda words: " ".join(words),
)
def test_bad_input_ends_with_2(fab: Fab, tmp_path: Path, words: tuple[str, ...]) -> None:
    done = fab(*words)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "lab").exists()
