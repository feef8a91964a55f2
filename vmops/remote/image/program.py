"""A Perl program on a worker, as the SSH user, over a channel of its own: lines back, bytes to it.

It ends when its channel does, so it needs no time limit; whoever talks to it has one.
"""

from __future__ import annotations

import shlex
import time
from base64 import b64encode
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from vmops.core.images.names import FOLDER
from vmops.core.inventory.complaints import printable
from vmops.core.script.functions import program
from vmops.errors import CommandTimeout, ConnectionLost, UnexpectedOutput, WorkFailed
from vmops.remote.session import encoded
from vmops.remote.ssh.bridge import FAILURES
from vmops.remote.ssh.translate import working
from vmops.remote.ssh.transport import WorkerTransport

if TYPE_CHECKING:
    import paramiko

PATIENCE_S = 60.0
"""How long a worker may take no data. Its own for a sender who sends none is the same."""

CHECKS_AT_BYTES_S = 10_000_000
"""A slow disk: what is checked at less is given up."""

_MOST_WAITS = 8
"""It waits for one sender, and anew when that one's file was renamed meanwhile."""

_TAKEN = 2**17
_LONGEST_LINE = 1000

_READ_BY_SH = 'program=$(printf %s "$1" | base64 -d) && shift && exec perl -e "$program" "$@"'
"""For every login shell: the program comes in base64, which none of them reads."""


def is_count(word: str) -> bool:
    """True for a number of bytes, of any file that there can be."""
    return word.isascii() and word.isdecimal() and len(word) < 20


class Program:
    """The files of core/script/shell/ in `texts`, one behind the other, as one program.

    `close` it in any case. Building one raises what `working` does.
    """

    def __init__(self, transport: WorkerTransport, worker: str, texts: Sequence[str]) -> None:
        self.sent = 0
        self._worker = worker
        self._transport = transport
        self._texts = texts
        self._heard = b""
        with working(worker):
            self._channel: paramiko.Channel = transport.open_command(PATIENCE_S)
        self._channel.settimeout(PATIENCE_S)

    def start(self, arguments: Sequence[str]) -> None:
        """Begin. Raises WorkFailed, ConnectionLost."""
        code = b64encode(program(*self._texts).encode()).decode()
        words = ["sh", "-c", _READ_BY_SH, "vmops", code, *arguments]
        line = encoded(f"exec {shlex.join(words)}", self._worker)
        with working(self._worker):
            self._transport.start_command(self._channel, line)

    def put(self, data: bytes) -> None:
        """Send it bytes. Raises TimeoutError when it takes none for `PATIENCE_S`, and FAILURES."""
        rest = memoryview(data)
        while rest:
            sent = self._transport.send_input(self._channel, rest)
            if not sent:
                raise EOFError
            self.sent += sent
            rest = rest[sent:]

    def ask(self, line: str) -> None:
        """Send it a line. Raises ConnectionLost, and WorkFailed where it has ended without a word:
        what it said before it ended is for `hear`."""
        try:
            self.put(f"{line}\n".encode())
        except FAILURES as error:
            if not (self._heard or self._channel.recv_ready()):
                raise self._silence() from error

    def no_more(self) -> None:
        """Say that its input has ended. Raises FAILURES."""
        self._channel.shutdown_write()

    def hear(self, limit_s: float) -> list[str]:
        """Its next line, in words; that it waits for another sender is passed over.

        Raises CommandTimeout, UnexpectedOutput, WorkFailed where it ends without a word, and
        ConnectionLost.
        """
        deadline = time.monotonic() + limit_s
        for _ in range(_MOST_WAITS):
            line = self._line(deadline, limit_s)
            if line != b"waits":
                return line.decode(errors="replace").split(" ")
        raise UnexpectedOutput("it says over and over that it waits", worker=self._worker)

    @property
    def has_more(self) -> bool:
        """True where it has said something that was not heard yet, or has ended."""
        channel = self._channel
        is_over = channel.eof_received or channel.closed
        return bool(self._heard or channel.recv_ready() or is_over)

    def take(self, limit_s: float) -> bytes:
        """Its next bytes, where it sends no lines; none when it has ended. Raises TimeoutError."""
        data, self._heard = self._heard, b""
        if not data:
            self._channel.settimeout(limit_s)
            data = self._channel.recv(_TAKEN)
            self._channel.settimeout(PATIENCE_S)
        return data

    def _line(self, deadline: float, limit_s: float) -> bytes:
        while b"\n" not in self._heard:
            self._channel.settimeout(max(0.1, deadline - time.monotonic()))
            try:
                more = self._channel.recv(_LONGEST_LINE)
            except TimeoutError:
                raise CommandTimeout(
                    f"it has not answered within {limit_s:g} s", worker=self._worker
                ) from None
            if not more:
                raise self._silence()
            self._heard += more
            if len(self._heard) > 10 * _LONGEST_LINE:
                raise UnexpectedOutput("it prints what nobody asked for", worker=self._worker)
        self._channel.settimeout(PATIENCE_S)
        line, _, self._heard = self._heard.partition(b"\n")
        return line

    def was_cut(self) -> ConnectionLost | None:
        """The error for a connection that is gone; None while it is there."""
        if self._transport.is_active():
            return None
        return ConnectionLost(
            "the connection was lost while an image was on its way",
            worker=self._worker,
            cure="the same command goes on where it was cut",
        )

    def _silence(self) -> WorkFailed:
        """Why it ended without a word."""
        if cut := self.was_cut():
            return cut
        said = b""
        with suppress(*FAILURES):
            said = self._channel.recv_stderr(_LONGEST_LINE)
        lines = said.decode(errors="replace").strip().split("\n")
        return WorkFailed(
            f"the receiver there ended: {printable(lines[-1]) or 'it says nothing'}",
            worker=self._worker,
            cure="the same command goes on where this one ended",
        )

    def refusal(self, words: Sequence[str]) -> WorkFailed:
        """The error for an answer that ends it."""
        match words:
            case ["full", free, needed] if is_count(free) and is_count(needed):
                return WorkFailed(
                    f"the image needs {int(needed) / 2**20:.0f} MiB in {FOLDER},"
                    f" {int(free) / 2**20:.0f} MiB are free",
                    worker=self._worker,
                    cure="remove images that no disk stands on, or other files there",
                )
            case ["failed", *why]:
                return WorkFailed(
                    f"the image could not be written to {FOLDER}: {printable(' '.join(why))}",
                    worker=self._worker,
                    cure=f"see df -h {FOLDER} and ls -ld {FOLDER} there",
                )
            case ["busy"]:
                return WorkFailed("somebody else is sending this image there", worker=self._worker)
        said = printable(" ".join(words))[:100]
        return UnexpectedOutput(f"the receiver there answers {said!r}", worker=self._worker)

    def close(self) -> None:
        """Close the channel; the worker keeps what has come."""
        with suppress(*FAILURES):
            self._channel.close()
