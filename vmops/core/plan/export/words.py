"""Words of a shell's, with variables in them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator


def word(text: str) -> str:
    """A word of a shell's. What stands between two NULs is the name of a variable."""
    return "".join(_pieces(text)) or "''"


def _pieces(text: str) -> Iterator[str]:
    for number, part in enumerate(text.split("\0")):
        if number % 2:
            yield f'"${part}"'
        elif part:
            yield shlex.quote(part)
