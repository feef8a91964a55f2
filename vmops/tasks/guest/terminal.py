"""The operator's terminal, or a pipe in its place, joined to an open line, byte for byte."""

from __future__ import annotations

import os
import signal
import socket
import termios
import time
import tty
from contextlib import suppress
from enum import Enum
from types import FrameType
from typing import Any, Self

from vmops.tasks.frame.ready import ready
from vmops.tasks.guest.escape import PATIENCE_S, EscapeFinder
from vmops.tasks.guest.switched import Switched

_CHUNK = 2**16
_MOST_PENDING = 2**20
_HANG_UP_S = 1.0
_ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class Ending(Enum):
    """How a talk over a line came to its end."""

    LEFT = "the escape was typed, or nobody is there to read"
    CLOSED = "the other side closed the line"
    SEEN = "the text that was waited for has come"
    LATE = "the input has ended, and the time after it"


class RawTerminal:
    """A terminal that hands over every key as it is, Ctrl-C and Ctrl-Z too. A context manager.

    It is as before afterwards, also when SIGTERM or SIGHUP ends this process: what the other side
    has `shown` and so switched on at `sink` is switched off. What was typed and not read by then is
    thrown away: it was meant for the other side, not for a shell here. `waking` becomes readable at
    a signal, which another thread may have got: who waits for input waits for it too.
    """

    def __init__(self, fd: int, sink: int) -> None:
        self._fd = fd
        self._sink = sink
        self._switched = Switched()
        self._before: list[Any] = []
        self._handlers: dict[signal.Signals, Any] = {}
        self.waking, self._wake = os.pipe()
        for end in (self.waking, self._wake):
            os.set_blocking(end, False)

    def __enter__(self) -> Self:
        self._before = termios.tcgetattr(self._fd)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        for number in _ENDING_SIGNALS:
            self._handlers[number] = signal.signal(number, self._die)
        self._handlers[signal.SIGCONT] = signal.signal(signal.SIGCONT, self._go_on)
        tty.setraw(self._fd, termios.TCSADRAIN)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        os.close(self.waking)
        os.close(self._wake)

    def shown(self, data: bytes) -> None:
        """Note what the other side printed."""
        self._switched.feed(data)

    def _restore(self) -> None:
        undo = self._switched.undo()
        if undo and os.isatty(self._sink):
            with suppress(OSError):
                os.write(self._sink, undo)
        with suppress(termios.error):
            termios.tcsetattr(self._fd, termios.TCSAFLUSH, self._before)

    def _die(self, number: int, frame: FrameType | None) -> None:
        self._restore()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _go_on(self, number: int, frame: FrameType | None) -> None:
        """Whoever stopped us, a shell has had the terminal since, and put it right for itself."""
        with suppress(termios.error):
            tty.setraw(self._fd, termios.TCSADRAIN)


class Talk:
    """Carries bytes from `source` to a line and from the line to `sink`, both file descriptors.

    At a `terminal` the escape is looked for, and is found even when the line takes nothing. With
    `until`, that text on the line ends the talk.
    """

    def __init__(
        self,
        line: socket.socket,
        source: int,
        sink: int,
        *,
        terminal: RawTerminal | None = None,
        until: bytes = b"",
    ) -> None:
        self._line = line
        self._source = source
        self._sink = sink
        self._terminal = terminal
        self._until = until
        self._pending = bytearray()
        self._seen = bytearray()
        self._escape = EscapeFinder()
        self._source_ended = False
        self._moved_at = self._typed_at = 0.0

    def carry(self, *, after_end_s: float = 0.0) -> Ending:
        """Carry until one of the endings, then hang up; what was read at the source goes out first.

        LATE comes `after_end_s` seconds after the end of the source, or after the line last took
        some of what is left of it.
        """
        self._line.setblocking(False)
        ending: Ending | None = None
        while ending is None:
            left = None
            if self._source_ended:
                left = self._moved_at + after_end_s - time.monotonic()
            ending = Ending.LATE if left is not None and left <= 0 else self._turn(left)
        if ending is not Ending.CLOSED:
            self._hang_up()
        return ending

    def _hang_up(self) -> None:
        """The other side closes the line when it has taken the last byte, or it is left so."""
        deadline = time.monotonic() + _HANG_UP_S
        with suppress(OSError):
            self._line.settimeout(_HANG_UP_S)
            self._line.sendall(self._pending)
            self._line.shutdown(socket.SHUT_WR)
            while time.monotonic() < deadline and self._line.recv(_CHUNK):
                pass

    def _turn(self, wait_s: float | None) -> Ending | None:
        line = self._line.fileno()
        sources = [line, self._source] if self._wants_input else [line]
        sources += [self._terminal.waking] if self._terminal else []
        sinks = [line] if self._pending else []
        if self._escape.holds:
            wait_s = PATIENCE_S
        readable, writable = ready(sources, sinks, within_s=wait_s)
        ending = None
        if self._terminal and self._terminal.waking in readable:
            os.read(self._terminal.waking, _CHUNK)
        if self._source in readable:
            ending = self._take()
        elif self._escape.holds and time.monotonic() - self._typed_at >= PATIENCE_S:
            self._pending += self._escape.release()
        if line in readable and ending is None:
            ending = self._show()
        if writable:
            self._send()
        return ending

    @property
    def _wants_input(self) -> bool:
        has_room = self._terminal is not None or len(self._pending) < _MOST_PENDING
        return has_room and not self._source_ended

    def _take(self) -> Ending | None:
        try:
            data = os.read(self._source, _CHUNK)
        except OSError:
            data = b""
        self._moved_at = time.monotonic()
        self._typed_at = self._moved_at
        self._source_ended = not data
        if self._terminal is None:
            self._pending += data
            return None
        typed = self._escape.feed(data)
        self._pending += typed.data
        return Ending.LEFT if typed.leaves or not data else None

    def _send(self) -> None:
        """A line that takes no more has closed, and what it still has to say comes first."""
        try:
            del self._pending[: self._line.send(self._pending)]
        except BlockingIOError:
            return
        except OSError:
            self._pending.clear()
        self._moved_at = time.monotonic()

    def _show(self) -> Ending | None:
        try:
            data = self._line.recv(_CHUNK)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if not data:
            return Ending.CLOSED
        try:
            if self._terminal:
                self._terminal.shown(data)
            left = memoryview(data)
            while left:
                left = left[os.write(self._sink, left) :]
        except OSError:
            return Ending.LEFT
        return Ending.SEEN if self._has_come(data) else None

    def _has_come(self, data: bytes) -> bool:
        if not self._until:
            return False
        self._seen += data
        found = self._until in self._seen
        del self._seen[: -len(self._until)]
        return found
