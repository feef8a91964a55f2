"""Whole processes: started, fed, waited for, and weighed."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from bench.errors import BenchFailed

_SCALE = str(Path(__file__).with_name("scale.py"))


@dataclass(frozen=True, slots=True)
class Call:
    """A program to run: its words, what it reads, and what is added to its environment."""

    argv: tuple[str, ...]
    stdin: bytes = b""
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: str | None = None


class Work(Protocol):
    """What is measured: it raises BenchFailed when it does not succeed."""

    def __call__(self) -> None:
        """Do it."""

    def weigh(self) -> int:
        """Do it, and give the peak memory of its largest process in KiB, 0 where it is unknown."""


@dataclass(frozen=True, slots=True)
class Processes:
    """Work of whole processes: the lanes run at once, the calls of a lane one after the other."""

    lanes: Sequence[Sequence[Call]]

    def __call__(self) -> None:
        """Run them all."""
        self._each(run)

    def weigh(self) -> int:
        """Run them all under a small program that sees their memory."""
        return max(self._each(weigh))

    def _each(self, how: Callable[[Call], int]) -> list[int]:
        def one_lane(lane: Sequence[Call]) -> int:
            return max(map(how, lane))

        if len(self.lanes) == 1:
            return [one_lane(self.lanes[0])]
        with ThreadPoolExecutor(max_workers=len(self.lanes)) as pool:
            return list(pool.map(one_lane, self.lanes))


def run(call: Call) -> int:
    """Run it, and give 0. Raises BenchFailed with the end of what it said for any other code."""
    done = subprocess.run(
        call.argv,
        input=call.stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**_environment(), **call.environment},
        cwd=call.directory,
        check=False,
    )
    if done.returncode != 0:
        words = done.stdout.decode(errors="replace").strip()[-2000:]
        raise BenchFailed(f"{shlex.join(call.argv)[:200]}: exit {done.returncode}\n{words}")
    return 0


def _environment() -> dict[str, str]:
    """Ours without an SSH agent, and without what makes Python slower or faster than usual."""
    return {
        key: value
        for key, value in os.environ.items()
        if key != "SSH_AUTH_SOCK" and not key.startswith("PYTHON")
    }


def weigh(call: Call) -> int:
    """Run it, and give the peak memory of it or of any process that it waited for, in KiB.

    Linux counts what a process was before `exec` too, so it must come from a small one.
    """
    with tempfile.NamedTemporaryFile() as weight:
        words = (sys.executable, "-I", "-S", _SCALE, weight.name, *call.argv)
        run(replace(call, argv=words))
        return int(Path(weight.name).read_text())
