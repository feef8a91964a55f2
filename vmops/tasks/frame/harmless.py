"""What workers and guests say, made safe for a terminal that somebody sits at.

Escape sequences could retitle the window, repaint what was said before, or make the terminal type
an answer into the operator's shell.
"""

from __future__ import annotations

import codecs
import re

_COLOURS_AND_MOVES = re.compile(r"\x1b\[[0-?]{0,32}[ -/]{0,4}[@-~]")
_UNFINISHED = re.compile(r"(?:\r+|\x1b(?:\[[0-?]{0,32}[ -/]{0,4})?)\Z")
_LINE_END = re.compile(r"\r+\n")


class Harmless:
    """Turns bytes, as they come, into text for a terminal: UTF-8, lines, tabs, nothing that acts.

    Sequences that colour text or move the cursor are left out. Every other character that a
    terminal might act on is written as `^X`, or as an escape, and so is what is no UTF-8.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._held = ""

    def feed(self, data: bytes, *, last: bool = False) -> str:
        """The text for these bytes. What may be the beginning of a sequence waits for its end."""
        text = self._held + self._decoder.decode(data, last)
        unfinished = None if last else _UNFINISHED.search(text)
        self._held = unfinished.group() if unfinished else ""
        text = text[: len(text) - len(self._held)]
        text = _COLOURS_AND_MOVES.sub("", _LINE_END.sub("\n", text))
        return "".join(each if _is_safe(each) else _shown(each) for each in text)


def printed(data: bytes) -> str:
    """The same for bytes that are all there."""
    return Harmless().feed(data, last=True)


def harmless(text: str) -> str:
    """A text of ours, whatever names and reasons are in it: lines, tabs, nothing that acts.

    Here nothing is left out, as a name with a colour in it is worth to be seen.
    """
    if text.isprintable():
        return text
    return "".join(each if _is_safe(each) else _shown(each) for each in text)


def one_line(text: str) -> str:
    """The same for a cell of a table, where a line's end would be a row of its own."""
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(character: str) -> str:
    return character if character.isprintable() else _shown(character)


def _is_safe(character: str) -> bool:
    return character.isprintable() or character in "\n\t"


def _shown(character: str) -> str:
    """`^[` for a control character, as terminals have always shown them, else Python's escape."""
    if character < " " or character == "\x7f":
        return "^" + chr(ord(character) ^ 0x40)
    return character.encode("unicode_escape").decode()
