"""ssh_config and fab's own options, as the two programs are typed: no traceback, ssh's meaning."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .sshd import HERE, ME, Sshd, running

PROGRAMS = ["fabric.main", "vmops.tasks.program"]


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running(tmp_path_factory.mktemp("sshd")) as found:
        yield found


@pytest.fixture
def folder(tmp_path: Path, sshd: Sshd) -> Path:
    """A fabfile, a hosts.toml that says nothing about SSH, and a known worker."""
    (tmp_path / "fabfile.py").write_text("from vmops.tasks import ns\n")
    (tmp_path / "hosts.toml").write_text('[workers.w1]\naddress = "w1"\n')
    (tmp_path / "known_hosts").write_text(sshd.known_line)
    return tmp_path


def fab(
    folder: Path,
    sshd: Sshd,
    text: str,
    *words: str,
    program: str = PROGRAMS[0],
    typed: str = "",
    file: str = "ssh_config",
) -> subprocess.CompletedProcess[str]:
    """`fab -S` with `text` and what leads to the worker behind it."""
    (folder / "ssh_config").write_text(
        f"{text}\nHost *\n HostName {HERE}\n Port {sshd.port}\n User {ME}\n"
        f" IdentityFile {sshd.key}\n IdentitiesOnly yes\n"
        f" UserKnownHostsFile {folder}/known_hosts\n GlobalKnownHostsFile none\n"
    )
    environment = {**os.environ, "HOME": str(folder), "VMOPS_HOSTS": str(folder / "hosts.toml")}
    run = f"from {program} import program\nprogram.run()"
    return subprocess.run(
        [sys.executable, "-c", run, "-S", file, *words],
        cwd=folder,
        env=environment,
        input=typed,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(
    "text",
    [
        "Match Host other\n HostName 127.0.0.9\n Port 1",
        "Match User nobody\n Port 1",
        "Match !Host w1\n Port 1",
        "Match All\n LogLevel ERROR",
        "Match final all\n LogLevel ERROR",
        "Match host=other\n Port 1",
        "Host w1 # Bob's\n ConnectTimeout 30s # half a minute",
        "ConnectTimeout none",
        "ConnectTimeout 0",
        "ForwardAgent ask",
        "CanonicalizeHostname yes",
    ],
)
def test_what_paramiko_stumbles_over_is_nothing_to_ssh(
    folder: Path, sshd: Sshd, text: str, program: str
) -> None:
    done = fab(folder, sshd, text, "-H", "w1", "run", "echo there", program=program)
    assert (done.returncode, done.stdout) == (0, "there\n"), done.stderr


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("where", [["-H", "w1"], []])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('Match host "w1\n Port 1', "uote"),
        ("Match bogus w1\n Port 1", "bogus"),
        ("NoSuchOption yes", "nosuchoption"),
        ("Port 70000", "70000"),
        ("KnownHostsCommand /bin/true", "KnownHostsCommand is not run"),
    ],
)
def test_what_ssh_refuses_is_refused_in_a_line(
    folder: Path, sshd: Sshd, text: str, said: str, where: list[str], program: str
) -> None:
    task = ["run", "echo there"] if where else ["run", "--worker", "w1", "echo there"]
    done = fab(folder, sshd, text, *where, *task, program=program)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 3


def test_match_exec_has_no_part_in_our_input_or_output(folder: Path, sshd: Sshd) -> None:
    """It ran eight times for one command, and ate what was piped to it."""
    text = f'Match exec "echo x >>{folder}/runs; echo noise >&2; cat"\n User {ME}'
    done = fab(folder, sshd, text, "-H", "w1", "run", "echo a", "run", "echo b", typed="input\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "a\nb\n", "")
    assert (folder / "runs").read_text() == "x\n"


def test_a_file_that_is_not_there(folder: Path, sshd: Sshd) -> None:
    done = fab(folder, sshd, "", "-H", "w1", "run", "id", file="missing")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "there is no file missing" in done.stderr


def test_a_task_that_is_not_ours_is_told_what_fabric_cannot_read(folder: Path, sshd: Sshd) -> None:
    (folder / "fabfile.py").write_text(
        "from fabric import task\nfrom vmops.tasks import ns\n"
        "@task\ndef own(c):\n    print(c.host)\nns.add_task(own)\n"
    )
    done = fab(folder, sshd, "Match All\n Port 1", "-H", "w1", "own")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Fabric cannot read ssh_config" in done.stderr
    done = fab(folder, sshd, "", "-H", "w1", "own")
    assert (done.returncode, done.stdout) == (0, f"{HERE}\n")


@pytest.mark.parametrize("home", [{"HOME": "/tmp"}, {}], ids=["home", "no home"])
def test_a_number_without_a_name(folder: Path, home: dict[str, str]) -> None:
    """A container's user: ssh itself refuses to work for one, and vmops has no reason to."""
    (folder / "hosts.toml").write_text(
        f'[workers.w1]\naddress = "{HERE}"\nport = 1\nknown_hosts = "/nowhere/known_hosts"\n'
    )
    (folder / "nameless.py").write_text(
        "import pwd\n"
        "def nobody(number):\n"
        "    raise KeyError(f'getpwuid(): uid not found: {number}')\n"
        "pwd.getpwuid = nobody\n"
        "from vmops.tasks.program import program\n"
        "program.run()\n"
    )
    done = subprocess.run(
        [sys.executable, "nameless.py", "run", "--worker", "w1", "id"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "VMOPS_HOSTS": str(folder / "hosts.toml"), **home},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3, done.stderr
    assert f"{HERE} port 1 refuses connections" in done.stderr
