"""Ctrl-], in every way in which a terminal may send it.

Most send one byte. With kitty's keyboard protocol or xterm's modifyOtherKeys, which a guest may
switch on, it is a sequence, and that may come in pieces.
"""

from __future__ import annotations

import re
from typing import NamedTuple

ESCAPE = b"\x1d"
PATIENCE_S = 0.1
"""How long the beginning of a sequence is kept back. A person who presses Esc does not notice."""

_CTRL = 4
_LOCKS = 64 | 128
"""Caps Lock and Num Lock are modifiers too, and change nothing."""

_KITTY = rb"\x1b\[(?:93|\d+:\d*:93)(?::\d*)*;(?P<kitty>\d+)(?::[12])?(?:;[\d:]*)?u"
_XTERM = rb"\x1b\[27;(?P<xterm>\d+);93~"
_SEQUENCE = re.compile(_KITTY + rb"|" + _XTERM + rb"|" + re.escape(ESCAPE))
_BEGUN = re.compile(rb"\x1b(?:\[[0-9:;]{0,24})?\Z")


class Typed(NamedTuple):
    """What goes to the guest, and whether the escape came behind it."""

    data: bytes
    leaves: bool


class EscapeFinder:
    """Looks for the escape in what is typed, however it is cut."""

    def __init__(self) -> None:
        self._held = b""

    @property
    def holds(self) -> bool:
        """True while the beginning of a sequence waits for its end, for `PATIENCE_S` at most."""
        return bool(self._held)

    def feed(self, data: bytes) -> Typed:
        """What was typed next."""
        data = self._held + data
        self._held = b""
        for found in _SEQUENCE.finditer(data):
            if _is_escape(found):
                return Typed(data[: found.start()], leaves=True)
        begun = _BEGUN.search(data)
        if begun:
            self._held = begun.group()
        return Typed(data[: len(data) - len(self._held)], leaves=False)

    def release(self) -> bytes:
        """What was held back: nothing more has come, so it was Esc or the like."""
        held, self._held = self._held, b""
        return held


def _is_escape(found: re.Match[bytes]) -> bool:
    modifiers = found["kitty"] or found["xterm"]
    return modifiers is None or (int(modifiers) - 1) & ~_LOCKS == _CTRL
