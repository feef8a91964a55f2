"""-H in a foreign fabfile that takes over the tasks, as the program `fab` hands it on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HOSTS = """
[defaults]
user = "ubuntu"
[workers.w1]
address = "192.0.2.1"
port = 2222
"""

FABFILE = """
from fabric import task
from vmops.tasks import ns
from vmops.tasks.frame.selection import inventory, worker_at

@task
def who(c):
    worker = worker_at(c, inventory(c))
    print(f"{worker.user} {worker.port}")

ns.add_task(who)
"""


@pytest.mark.parametrize("program", ["fabric.main", "vmops.tasks.program"])
@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        ("w1", ["ubuntu 2222"]),
        ("me@w1", ["me 2222"]),
        ("w1:22", ["ubuntu 22"]),
        ("configured@192.0.2.1:22", ["configured 22"]),
        ("w1,other@w1:2200,me@192.0.2.1", ["ubuntu 2222", "other 2200", "me 2222"]),
        ("[2001:db8::1]:2022", ["ubuntu 2022"]),
        ("me@[2001:db8::1]:2022", ["me 2022"]),
        ("[2001:db8::1]", ["ubuntu None"]),
        ("2001:db8::1", ["ubuntu None"]),
        ("dom\\user@w1", ["dom\\user 2222"]),
    ],
)
def test_what_it_names_wins_also_where_it_is_the_default(
    tmp_path: Path, program: str, hosts: str, said: list[str]
) -> None:
    (tmp_path / "hosts.toml").write_text(HOSTS)
    (tmp_path / "fabfile.py").write_text(FABFILE)
    (tmp_path / "ssh_config").write_text("Host 192.0.2.1\n  User configured\n")
    environment = {**os.environ, "LOGNAME": "me", "HOME": str(tmp_path)}
    environment["VMOPS_HOSTS"] = str(tmp_path / "hosts.toml")
    run = f"import fabfile\nfrom {program} import program\nprogram.run()"
    done = subprocess.run(
        [sys.executable, "-c", run, "-S", "ssh_config", "-H", hosts, "who"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == said
