"""Keys that are typed while something is watched, and a terminal that is given back in any case."""

from __future__ import annotations

import os
import signal
import sys
import termios
import threading
import tty
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from vmops.tasks.frame.ready import ready
from vmops.wait import wait_for

if TYPE_CHECKING:
    from rich.live import Live

_QUIT = (b"q", b"Q", b"")
_ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
_TO_OWN_SCREEN = b"\x1b[?1049h\x1b[H\x1b[?25l"
_BACK = b"\x1b[?1049l\x1b[?25h"

T = TypeVar("T")


class Keys:
    """Reads keys one by one while it is entered, where there is a terminal to type at.

    The terminal is as before afterwards, also when SIGTERM or SIGHUP ends this process, and while
    Ctrl-Z stops it. `screen` is what is drawn on meanwhile, if anything is: it is left and taken
    again with the keyboard.
    """

    def __init__(self, screen: Live | None = None) -> None:
        self._screen = screen
        self._keyboard = sys.stdin.fileno() if sys.stdin and sys.stdin.isatty() else None
        self._before: list[Any] = []
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if self._keyboard is not None:
            self._before = termios.tcgetattr(self._keyboard)
            tty.setcbreak(self._keyboard)
        if self._keyboard is not None or self._screen is not None:
            for number in _ENDING_SIGNALS:
                self._handle(number, self._die)
            self._handle(signal.SIGTSTP, self._stop)
            self._handle(signal.SIGCONT, self._go_on)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._give_keyboard_back()

    def quits_within(self, seconds: float) -> bool:
        """Wait so long, or until a key is typed: True for a q."""
        if self._keyboard is None:
            return wait_for(lambda: None, seconds, pauses=[seconds]) or False
        typed = ready([self._keyboard], within_s=seconds).readable
        return bool(typed) and self._typed() in _QUIT

    def unless_quit(self, work: Callable[[], T]) -> T | None:
        """What the work gives or raises; None when a q is typed first. It goes on then, in a
        thread that does not keep the process alive."""
        if self._keyboard is None:
            return work()
        ended: SimpleQueue[T | BaseException] = SimpleQueue()
        done, end = os.pipe()

        def run() -> None:
            try:
                ended.put(work())
            except BaseException as error:
                ended.put(error)
            os.close(end)

        threading.Thread(target=run, daemon=True).start()
        try:
            while True:
                readable = ready([done, self._keyboard]).readable
                if done in readable:
                    result = ended.get()
                    if isinstance(result, BaseException):
                        raise result
                    return result
                if self._typed() in _QUIT:
                    return None
        finally:
            os.close(done)

    def _typed(self) -> bytes:
        """The next key; nothing when the terminal is gone."""
        with suppress(OSError):
            return os.read(self._keyboard or 0, 1)
        return b""

    def _handle(self, number: signal.Signals, handler: Callable[..., None]) -> None:
        if signal.getsignal(number) is not signal.SIG_IGN:
            self._handlers[number] = signal.signal(number, handler)

    def _give_keyboard_back(self) -> None:
        if self._keyboard is not None:
            with suppress(termios.error):
                termios.tcsetattr(self._keyboard, termios.TCSADRAIN, self._before)

    def _give_back(self) -> None:
        self._give_keyboard_back()
        if self._screen is not None:
            with suppress(OSError):
                os.write(sys.stdout.fileno(), _BACK)

    def _die(self, number: int, frame: FrameType | None) -> None:
        self._give_back()
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """Stop as one does who has no handler; whoever continues us calls `_go_on`."""
        self._give_back()
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
        signal.signal(number, self._stop)

    def _go_on(self, number: int, frame: FrameType | None) -> None:
        """Whoever stopped us, a shell has had the terminal since, and put it right for itself."""
        with suppress(termios.error, OSError):
            if self._keyboard is not None:
                tty.setcbreak(self._keyboard)
            if self._screen is not None:
                os.write(sys.stdout.fileno(), _TO_OWN_SCREEN)
                self._screen.refresh()
