"""What a guest has switched on in the operator's terminal, and how that is taken back.

A guest that is left in the middle of an editor would leave its operator without a cursor, in the
alternate screen, or with a mouse that types.
"""

from __future__ import annotations

import re

_ON_AT_FIRST = frozenset({7, 25})
"""Private modes that a terminal has on by itself: wrapping, and a visible cursor."""

_SEQUENCE = re.compile(
    rb"\x1b\[(?P<prefix>[?<=>!]?)(?P<args>[0-9;:]{0,64})(?P<between>[ !\"$']?)(?P<final>[@-~])"
    rb"|\x1b(?P<set>[()])(?P<charset>[0-9A-Za-z])"
    rb"|\x1b(?P<one>[=>c])"
    rb"|(?P<shift>[\x0e\x0f])"
)
_BEGUN = re.compile(rb"\x1b(?:\[[?<=>!]?[0-9;:]{0,64}[ !\"$']?|[()])?\Z")
_MOST_PUSHES = 99


class Switched:
    """Follows what a guest prints. Nothing is undone that the guest did not do."""

    def __init__(self) -> None:
        self._held = b""
        self._forget()

    def _forget(self) -> None:
        self._modes: set[int] = set()
        self._charsets: set[bytes] = set()
        self._pushes = 0
        self._others: set[bytes] = set()

    def feed(self, data: bytes) -> None:
        """What the guest printed next."""
        data = self._held + data
        for found in _SEQUENCE.finditer(data):
            if found["final"]:
                self._control(found)
            elif found["set"]:
                self._turn(self._charsets, found["set"], found["charset"] != b"B")
            elif found["shift"]:
                self._turn(self._others, b"\x0f", found["shift"] == b"\x0e")
            elif found["one"] == b"c":
                self._forget()
            else:
                self._turn(self._others, b"\x1b>", found["one"] == b"=")
        begun = _BEGUN.search(data)
        self._held = begun.group() if begun else b""

    def undo(self) -> bytes:
        """The sequences that bring the terminal back to where it was."""
        off = sorted(self._modes - _ON_AT_FIRST)
        on = sorted(self._modes & _ON_AT_FIRST)
        return b"".join(
            (
                *(b"\x1b[?%dl" % mode for mode in off),
                *(b"\x1b[?%dh" % mode for mode in on),
                b"\x1b[<%du" % self._pushes if self._pushes else b"",
                *(b"\x1b%sB" % which for which in sorted(self._charsets)),
                *sorted(self._others),
            )
        )

    def _control(self, found: re.Match[bytes]) -> None:
        kind = found["prefix"] + found["between"] + found["final"]
        numbers = [int(part) for part in re.split(rb"[;:]", found["args"]) if part]
        first = numbers[0] if numbers else 0
        if kind in (b"?h", b"?l"):
            for mode in numbers:
                changed = (kind == b"?h") != (mode in _ON_AT_FIRST)
                (self._modes.add if changed else self._modes.discard)(mode)
        elif kind == b">u":
            self._pushes = min(self._pushes + 1, _MOST_PUSHES)
        elif kind == b"<u":
            self._pushes = max(0, self._pushes - (first or 1))
        elif kind == b"=u":
            self._turn(self._others, b"\x1b[=0u", first != 0)
        elif kind == b">m" and first == 4:
            self._turn(self._others, b"\x1b[>4m", any(numbers[1:]))
        elif kind == b"m":
            self._turn(self._others, b"\x1b[m", any(numbers))
        elif kind == b"r":
            self._turn(self._others, b"\x1b7\x1b[r\x1b8", bool(numbers))
        elif kind in (b"h", b"l") and 4 in numbers:
            self._turn(self._others, b"\x1b[4l", kind == b"h")
        elif kind == b" q":
            self._turn(self._others, b"\x1b[ q", first != 0)

    @staticmethod
    def _turn(where: set[bytes], what: bytes, on: bool) -> None:
        (where.add if on else where.discard)(what)
