"""QEMU's command line as a language: options, values, escapes. What they mean is in devices/.

Read back from /proc, the line that started a QEMU is the truth about what runs.
"""

from __future__ import annotations

from collections.abc import Sequence

BINARY = "qemu-system-x86_64"

SEED_DRIVE = "seed"
"""The drive with what a guest is told at its first boot: no disk of its own."""

Options = Sequence[tuple[str, str]]
"""Names and values of the options of a command line, in order; a name has no dash."""


def escaped(value: str) -> str:
    """A value inside a QEMU option: a comma is written twice."""
    return value.replace(",", ",,")


def options(argv: Sequence[str]) -> Options:
    """The options of a command line, of ours or of anybody's. A word that begins with a dash is no
    value; an option without one has an empty value."""
    words = list(argv[1:])
    return [
        (here.lstrip("-"), "" if following.startswith("-") else following)
        for here, following in zip(words, [*words[1:], "-"], strict=False)
        if here.startswith("-")
    ]


def last(found: Options, name: str) -> str | None:
    """The value of the last option of that name, which is the one that counts; None without one."""
    values = [value for option, value in found if option == name]
    return values[-1] if values else None


def every(found: Options, name: str) -> list[dict[str, str]]:
    """The values of all options of that name, taken apart."""
    return [split(value) for option, value in found if option == name]


def split(value: str) -> dict[str, str]:
    """`first,key=value,…` as a dict, the first word without `=` under "", doubled commas undone."""
    parts = [part.replace("\0", ",") for part in value.replace(",,", "\0").split(",")]
    found: dict[str, str] = {}
    for part in parts:
        key, equals, rest = part.partition("=")
        found.setdefault(key if equals else "", rest if equals else part)
    return found


def whole(digits: str, *, otherwise: int = 0) -> int:
    """The number in a text; `otherwise` where there is none. Python takes no number of thousands of
    digits, and of some digits no number at all."""
    return int(digits) if digits.isdecimal() and len(digits) < 20 else otherwise
