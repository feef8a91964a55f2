"""The two calls of the executor, for tasks: a command or a local script, as the SSH user."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from vmops.errors import CommandFailed, Evidence, InventoryError, VmopsError
from vmops.ops.act import commands
from vmops.ops.route import Route

TAIL_CHARACTERS = 2000
"""What an error keeps of what a command complained."""


class Ended(NamedTuple):
    """What came of it. `error` is a CommandFailed for another exit code than 0."""

    worker: str
    stdout: str = ""
    stderr: str = ""
    error: VmopsError | None = None


def run_command(route: Route, command: str, *, time_limit_s: float) -> Ended:
    """Run a command in the SSH user's shell on the worker. Failures are in the result."""
    return _run(route, command, stdin=None, time_limit_s=time_limit_s)


def read_script(path: str) -> bytes:
    """A local script. Raises InventoryError when it cannot be read."""
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as unreadable:
        raise InventoryError(f"cannot read {path}: {unreadable.strerror}") from unreadable


def run_script(route: Route, text: bytes, args: Sequence[str], *, time_limit_s: float) -> Ended:
    """Stream a script to the worker's `bash -s`, with positional arguments; see `run_command`."""
    from vmops.remote.run import script_command

    return _run(route, script_command(args), stdin=text, time_limit_s=time_limit_s)


def _run(route: Route, command: str, *, stdin: bytes | None, time_limit_s: float) -> Ended:
    from vmops.remote.run import run

    name = route.worker.name
    commands.info("# on %s:\n%s", name, command)
    try:
        done = run(route.worker, command, stdin=stdin, time_limit=time_limit_s, config=route.config)
    except VmopsError as error:
        return Ended(name, error=error)
    out, err = (stream.decode(errors="replace") for stream in (done.stdout, done.stderr))
    if done.exit_code == 0:
        return Ended(name, out, err)
    how = f"exit code {done.exit_code}" if done.exit_code > 0 else "it was ended by a signal"
    evidence = Evidence((command,), done.exit_code, err[-TAIL_CHARACTERS:])
    failed = CommandFailed(how, worker=name, evidence=evidence)
    return Ended(name, out, err, failed)
