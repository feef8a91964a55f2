"""Ctrl-C outside of a task: while programs load and end, there is nothing to undo.

Python would print a traceback of whatever module it happened to be importing.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

EXIT_CODE = 130
"""What a shell gives for a program that SIGINT ended."""


def _leave(number: int, frame: FrameType | None) -> None:
    """Nothing runs after this: an import that is cut short must not be caught and gone on from."""
    try:
        os.write(2, b"interrupted\n")
    finally:
        os._exit(EXIT_CODE)


def leave_at_once() -> Callable[[], None]:
    """From now on Ctrl-C ends the process with one line; gives what brings back the state before.

    Only where Python's own handler is in place: one that somebody else has set, or that a shell
    has switched off for a command in the background, stays.
    """
    return _swap(signal.default_int_handler, _leave)


@contextmanager
def raising() -> Iterator[None]:
    """While something is under way, Ctrl-C raises KeyboardInterrupt, as Python has it."""
    back = _swap(_leave, signal.default_int_handler)
    try:
        yield
    finally:
        back()


def _swap(before: Any, after: Any) -> Callable[[], None]:
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGINT) is not before:
        return lambda: None
    signal.signal(signal.SIGINT, after)

    def back() -> None:
        _swap(after, before)

    return back
