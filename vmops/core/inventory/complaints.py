"""How a bad value is told to the operator: key path, value, rule, and a guess at what was meant."""

from __future__ import annotations

import re
import reprlib
import shlex
from collections.abc import Collection, Iterable
from typing import NamedTuple

from vmops.errors import InventoryError

KeyPath = tuple[str | int, ...]
"""The keys and list positions from the root of a file, or of a dict, to one value."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,63}")


class _Short(reprlib.Repr):
    """`repr`, cut to what fits a line. Python refuses to print an int of 4300 digits and more."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 60
        self.maxlevel = 3

    def repr_int(self, x: int, level: int) -> str:
        return repr(x) if x.bit_length() <= 128 else f"{hex(x)[:20]}..."


_short = _Short()


def show(value: object) -> str:
    """`value` as Python writes it, shortened, on one line and without a raw control character."""
    return printable(_short.repr(value))


def printable(text: object) -> str:
    """`text` with every character that a terminal might act on written as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def typed(*words: object) -> str:
    """The command of these words for people to paste: whatever is in one, a shell takes it for one
    word. Only a `~/` at its beginning stays the home."""
    return " ".join(map(_typed, words))


def _typed(word: object) -> str:
    text = printable(word)
    home, rest = ("~/", text[2:]) if text.startswith("~/") else ("", text)
    return home + shlex.quote(rest) if rest or not home else home


def key_path(path: KeyPath) -> str:
    """`vms.vm1.interfaces[0].vlan_id`; a key that TOML would want quoted is quoted here too."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE_KEY.fullmatch(part) else show(part))
    return text


def guess(word: str, known: Iterable[str]) -> str | None:
    """The one of `known` that `word` was probably meant to be, or None."""
    from difflib import get_close_matches

    by_folded = {name.casefold(): name for name in known}
    close = get_close_matches(word[:100].casefold(), by_folded, n=1)
    return by_folded[close[0]] if close else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean "vlan_id"?`, or where nothing is close what there is, or nothing at all."""
    names = [printable(name) for name in known]
    meant = guess(word, names)
    if meant is not None:
        return f'; did you mean "{meant}"?'
    few = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return f"; there is: {few}" if names else ""


class Fault(NamedTuple):
    """One complaint: where, relative to what is being read, and the value with its rule."""

    path: KeyPath
    said: str

    def __str__(self) -> str:
        return f"{key_path(self.path)}: {self.said}" if self.path else self.said

    def below(self, *parent: str | int) -> Fault:
        """The same fault, seen from further up."""
        return Fault((*parent, *self.path), self.said)


class InvalidValue(InventoryError):
    """A model or a file with bad values. `faults` holds each of them."""

    def __init__(self, subject: str, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__(*(f"{subject}: {fault}" for fault in self.faults))


def is_of(name: str, tables: Collection[str]) -> bool:
    """True where one of these tables may make a VM of that name: its own, or with a number behind.

    That there is none is not told beside what is wrong with the table.
    """
    return any(
        not table or (name.startswith(table) and name[len(table) :].isdecimal()) or name == table
        for table in tables
    )
