"""A lab seen from this machine: its directory under a lock, its processes in /proc."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from vmops.errors import WorkFailed

SUPERVISOR = "vmops.lab.supervisor"
CHILDREN = ("vmops.lab.switch", "vmops.lab.worker")
ASK_LIMIT_S = 5.0
END_LIMIT_S = 20.0


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold a directory, made if need be. It does not outlive this when it is empty."""
    descriptor = _hold(directory)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            directory.rmdir()
        os.close(descriptor)


def _hold(directory: Path) -> int:
    """Lock the directory that is there when the lock is had: the one before may remove it."""
    while True:
        directory.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if directory.exists() and os.path.samestat(os.fstat(descriptor), directory.stat()):
                return descriptor
            os.close(descriptor)


def find_processes(directory: Path, *modules: str) -> list[int]:
    """The PIDs of that lab's processes which run one of these modules, by their command lines."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                words = os.fsdecode((entry / "cmdline").read_bytes()).split("\0")
                if str(directory) in words and not set(modules).isdisjoint(words):
                    found.append(int(entry.name))
    return found


def end_processes(directory: Path) -> None:
    """End every process of that lab, and return when all are gone. Raises WorkFailed.

    The supervisor is asked first: it waits for its children, so they leave no zombies.
    """
    for pid in find_processes(directory, SUPERVISOR):
        _signal(pid, signal.SIGTERM)
        _await_end(pid, time.monotonic() + ASK_LIMIT_S)
    deadline = time.monotonic() + END_LIMIT_S
    while found := find_processes(directory, SUPERVISOR, *CHILDREN):
        for pid in found:
            _signal(pid, signal.SIGKILL)
        for pid in found:
            if not _await_end(pid, deadline):
                raise WorkFailed(f"process {pid} of the lab in {directory} does not end")


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _await_end(pid: int, deadline: float) -> bool:
    """True when the process has ended before the deadline."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        left = max(0.0, deadline - time.monotonic())
        return bool(select.select([descriptor], [], [], left)[0])
    finally:
        os.close(descriptor)
