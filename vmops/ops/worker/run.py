"""The two calls of the executor, for tasks: a command or a local script, as the SSH user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from vmops.errors import CommandFailed, Evidence, InventoryError, VmopsError
from vmops.nameless import expanded
from vmops.ops.act import commands
from vmops.ops.route import Route

if TYPE_CHECKING:
    from vmops.remote.run import CommandLine
    from vmops.remote.run import Sink as Sink
    from vmops.remote.run import Stream as Stream

TAIL_CHARACTERS = 2000
"""What an error keeps of what a command complained."""

KEPT_BYTES = 1 << 20
"""What is kept of each stream that a sink takes: the end of it."""


class Ended(NamedTuple):
    """How a command on a worker ended, and what it printed.

    `error` is a CommandFailed for another exit code than 0. `stdout` and `stderr` are what was
    printed, before an `error` too; where a sink took it, the last MiB of each.
    """

    worker: str
    stdout: bytes = b""
    stderr: bytes = b""
    error: VmopsError | None = None


def run_command(
    route: Route, command: str, *, time_limit_s: float, sink: Sink | None = None
) -> Ended:
    """Run a command in the SSH user's shell on the worker. Failures are in the result.

    `sink` gets the output as it comes. Without one at most 64 MiB of it are kept.
    """
    from vmops.remote.run import CommandLine

    commands.info("# on %s:\n%s", route.worker.name, command)
    return _run(route, CommandLine(command), time_limit_s=time_limit_s, sink=sink)


class Script(NamedTuple):
    """What bash is to run, and its positional arguments."""

    text: bytes
    args: Sequence[str] = ()


def read_script(path: str) -> bytes:
    """A local script. Raises InventoryError when it cannot be read."""
    try:
        return expanded(path).read_bytes()
    except OSError as unreadable:
        raise InventoryError(f"cannot read {path}: {unreadable.strerror}") from unreadable


def run_script(
    route: Route, script: Script, *, time_limit_s: float, sink: Sink | None = None
) -> Ended:
    """Stream a script to bash on the worker, which reads all of it first; see `run_command`."""
    from vmops.remote.run import script_line

    line = script_line(script.text, script.args)
    commands.info("# on %s:\n%s", route.worker.name, line.text)
    return _run(route, line, time_limit_s=time_limit_s, sink=sink)


def _run(route: Route, line: CommandLine, *, time_limit_s: float, sink: Sink | None) -> Ended:
    from vmops.remote.run import Collected, stream

    name = route.worker.name
    kept = Collected(name) if sink is None else _Kept(sink)
    try:
        code = stream(route.worker, line, kept, time_limit=time_limit_s, config=route.config)
    except VmopsError as error:
        return Ended(name, kept.stdout, kept.stderr, error)
    if code == 0:
        return Ended(name, kept.stdout, kept.stderr)
    how = f"exit code {code}" if code > 0 else "it was ended by a signal"
    tail = kept.stderr[-4 * TAIL_CHARACTERS :].decode(errors="replace")[-TAIL_CHARACTERS:]
    evidence = Evidence((line.text,), code, tail)
    return Ended(name, kept.stdout, kept.stderr, CommandFailed(how, worker=name, evidence=evidence))


class _Kept:
    """A sink in front of another one. It remembers the end of each stream."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._kept: dict[Stream, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}

    def __call__(self, stream: Stream, data: bytes) -> None:
        kept = self._kept[stream]
        kept += data
        if len(kept) > 2 * KEPT_BYTES:  # to cut at each piece would move a MiB each time
            del kept[:-KEPT_BYTES]
        self._sink(stream, data)

    @property
    def stdout(self) -> bytes:
        return bytes(self._kept["stdout"][-KEPT_BYTES:])

    @property
    def stderr(self) -> bytes:
        return bytes(self._kept["stderr"][-KEPT_BYTES:])
