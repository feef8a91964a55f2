"""Reaching a lab from a test as an operator would, and looking at this machine from outside."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from vmops.lab import Lab


def wait_until(condition: Callable[[], object], *, seconds: float = 10) -> None:
    """Return when the condition holds; an AssertionError when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {seconds} s"
        time.sleep(0.01)


def wait_until_said(said: Callable[[], str], text: str, *, seconds: float = 10) -> None:
    """Ask until the text is in what is said; an AssertionError with the last of it."""
    deadline = time.monotonic() + seconds
    while text not in (last := said()):
        assert time.monotonic() < deadline, f"still not said after {seconds} s: {text}\n{last}"


def ssh_argv(lab: Lab, worker: str, command: str, *options: str) -> list[str]:
    """OpenSSH's client with the lab's files alone, and strict about the host key."""
    found = next(w for w in lab.status().workers if w.name == worker)
    settings = (
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        "GlobalKnownHostsFile=none",
        f"UserKnownHostsFile={lab.known_hosts}",
        "IdentitiesOnly=yes",
        *options,
    )
    words = [word for setting in settings for word in ("-o", setting)]
    key = ("-i", str(lab.private_key))
    return [
        "ssh",
        "-F",
        "none",
        *key,
        *words,
        f"-p{found.port}",
        f"ubuntu@{found.address}",
        command,
    ]


def ssh(
    lab: Lab, worker: str, command: str, *options: str, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a command on a worker, as an operator would."""
    return subprocess.run(
        ssh_argv(lab, worker, command, *options),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=check,
        timeout=30,
    )


def namespaces(pid: int) -> set[str]:
    """The identities of a process's namespaces that are not our own."""
    kinds = ("net", "mnt", "pid", "uts", "ipc")
    return {str(Path(f"/proc/{pid}/ns/{kind}").readlink()) for kind in kinds} - {
        str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in kinds
    }


def lab_namespaces(lab: Lab) -> set[str]:
    """All namespaces that a running lab has made."""
    status = lab.status()
    pids = [status.switch_pid, *(worker.pid for worker in status.workers)]
    return set().union(*(namespaces(pid) for pid in pids if pid is not None))


def processes_in(spaces: set[str]) -> list[str]:
    """The PIDs of all processes that hold one of these namespaces, zombies not counted."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                if any(os.readlink(kind) in spaces for kind in (entry / "ns").iterdir()):  # noqa: PTH115
                    found.append(entry.name)
    return found


def links() -> set[str]:
    """The names of this machine's network links."""
    return {entry.name for entry in Path("/sys/class/net").iterdir()}


def mounts() -> list[str]:
    """This machine's mounts."""
    return Path("/proc/self/mountinfo").read_text().splitlines()
