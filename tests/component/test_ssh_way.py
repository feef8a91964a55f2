"""`ssh` to a guest: what becomes of the way there is told once, by the program that was typed."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOSTS = """
[workers.w1]
address = "127.0.0.1"
port = {port}

[networks.blue]
vlan_id = 7
subnet = "192.0.2.0/24"

[vm_defaults]
worker = "w1"
ram_mb = 32
cores = 1

[vms.a]
qcow_image = "/a.qcow2"
interfaces = [{{ name = "eth0", network = "blue", address = "192.0.2.5/24" }}]

[vms.a2]
qcow_image = "/a2.qcow2"
interfaces = [{{ name = "eth0", network = "blue", address = "192.0.2.6/24" }}]
"""


def typed(
    program: str, *words: str, folder: Path, port: int, path: str = "", hosts: str = HOSTS
) -> subprocess.CompletedProcess[str]:
    """The program in a folder of its own, whose only worker is at that port."""
    (folder / "fabfile.py").write_text("from vmops.tasks import ns\n")
    (folder / "hosts.toml").write_text(hosts.format(port=port))
    return subprocess.run(
        [Path(sys.executable).with_name(program), *words],
        cwd=folder,
        env={
            "HOME": str(folder),
            "PYTHONPATH": str(ROOT),
            "PATH": path + os.environ["PATH"],
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def free_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def test_a_worker_that_is_down_is_told_once_with_its_exit_code(tmp_path: Path) -> None:
    done = typed("fab", "ssh", "--vm", "a", folder=tmp_path, port=free_port())
    assert done.returncode == 3, done
    assert done.stderr.count("error: ") == 1
    assert "error: w1: " in done.stderr
    alone = typed("fab", "ssh", "--vm", "a", "--stdio", folder=tmp_path, port=free_port())
    assert (alone.returncode, alone.stderr.count("error: w1: ")) == (3, 1)


@pytest.mark.parametrize(("program", "cure"), [("fab", "fab verify"), ("vmops", "vmops verify")])
def test_the_cure_is_of_the_program_that_was_typed(program: str, cure: str, tmp_path: Path) -> None:
    """An ssh that does as OpenSSH does: it starts the way, and ends with 255."""
    ssh = tmp_path / "bin" / "ssh"
    ssh.parent.mkdir()
    said = '{"what": "no way", "worker": "w1", "vm": "a", "cure": "fab verify", "exit_code": 1}'
    ssh.write_text(f"#!/bin/sh\necho {shlex.quote(said)} >$VMOPS_SSH_ERROR\nexit 255\n")
    ssh.chmod(0o755)
    path = f"{ssh.parent}:"
    done = typed(program, "ssh", "--vm", "a", folder=tmp_path, port=1, path=path)
    assert (done.returncode, done.stderr) == (1, f"error: w1: a: no way\n  {cure}\n")
    ssh.write_text("#!/bin/sh\nexit 255\n")
    done = typed(program, "ssh", "--vm", "a", folder=tmp_path, port=1, path=path)
    assert (done.returncode, done.stderr) == (255, "")
