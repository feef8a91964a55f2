"""What commands on workers print, as it comes: bytes to a pipe, safe text to a terminal."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from vmops.tasks.frame.harmless import Harmless
from vmops.tasks.frame.output import give_bytes

if TYPE_CHECKING:
    from vmops.ops.worker.run import Sink, Stream

_LONGEST_LINE = 2**16
"""Of a line that has no end yet. Longer ones are given in pieces, each behind the worker's name."""


class RemoteOutput:
    """The output of commands on workers. Of `several` only lines, each behind its worker's name.

    A stream that goes to a terminal is made harmless there. `ended` has to be called for each
    worker. Raises BrokenPipeError when the reader of standard output has left.
    """

    def __init__(self, *, several: bool) -> None:
        self._several = several
        self._lock = threading.Lock()
        self._pipes: dict[str, dict[Stream, _Pipe]] = {}

    def sink(self, worker: str) -> Sink:
        """What takes the output of this worker's command."""
        name = f"{worker}: ".encode() if self._several else b""
        pipes: dict[Stream, _Pipe] = {
            "stdout": _Pipe(give_bytes, sys.stdout, name),
            "stderr": _Pipe(_complain_bytes, sys.stderr, name),
        }
        self._pipes[worker] = pipes

        def take(stream: Stream, data: bytes) -> None:
            with self._lock:
                pipes[stream].write(data)

        return take

    def ended(self, worker: str) -> None:
        """Give what was held back of it, and end its last line where a terminal shows it."""
        with self._lock:
            for pipe in self._pipes.pop(worker, {}).values():
                pipe.finish()


class _Pipe:
    """One stream of one worker."""

    def __init__(self, give: Callable[[bytes], None], here: Any, name: bytes) -> None:
        self._give = give
        self._encoding = here.encoding or "utf-8"
        self._harmless = Harmless() if here.isatty() else None
        self._name = name
        self._begun = b""
        self._last = b"\n"

    def write(self, data: bytes) -> None:
        self._pass_on(self._shown(data))

    def finish(self) -> None:
        self._pass_on(self._shown(b"", last=True))
        if self._begun:
            self._put(self._name + self._begun + b"\n")
        elif self._harmless and self._last != b"\n":
            self._put(b"\n")

    def _shown(self, data: bytes, *, last: bool = False) -> bytes:
        if self._harmless is None:
            return data
        return self._harmless.feed(data, last=last).encode(self._encoding, "backslashreplace")

    def _pass_on(self, data: bytes) -> None:
        if self._name:
            *lines, self._begun = (self._begun + data).split(b"\n")
            if len(self._begun) > _LONGEST_LINE:
                lines.append(self._begun)
                self._begun = b""
            data = b"".join(b"%s%s\n" % (self._name, line) for line in lines)
        self._put(data)

    def _put(self, data: bytes) -> None:
        if data:
            self._last = data[-1:]
            self._give(data)


def _complain_bytes(data: bytes) -> None:
    """To standard error; what nobody can be told is lost."""
    with suppress(OSError):
        sys.stderr.buffer.write(data)
        sys.stderr.buffer.flush()
