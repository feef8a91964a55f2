"""The shell functions that a script brings along, read from the files in `shell/`."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from vmops.core.names import RUN_ROOT

TALK: Final = "talk_to_monitors"

MOST_BYTES = 1 << 20
MOST_LINES = 10_000
LONGEST_LINE = 1 << 18
"""What one monitor may send in one talk; more ends it."""

_FOLDER = Path(__file__).with_name("shell")


@cache
def program(name: str) -> str:
    """A file's text without its comments and empty lines."""
    lines = (_FOLDER / name).read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if line.strip() and not line.lstrip().startswith("#"))


def talk() -> str:
    """The function that talks to monitors. Its program comes on a descriptor of its own: as an
    argument it would stand in every list of processes and be too long for some sudo's log."""
    words = f"{RUN_ROOT} {MOST_BYTES} {MOST_LINES} {LONGEST_LINE}"
    lines = (f"{TALK}() {{", f"perl /proc/self/fd/3 {words} 3<<'QMP_PL'", program("qmp.pl"))
    return "\n".join((*lines, "QMP_PL", "}"))


def images() -> str:
    """The functions that read images, with their programs."""
    text = program("images.sh")
    for name in ("chain.pl", "holders.pl"):
        text = text.replace(f"@{name}@", program(name))
    return text
