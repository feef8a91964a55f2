"""The shell functions that scripts call, read from the files in `shell/` when a script is written.

A script brings along those that it needs, without their comments. What one does in the words of a
dry run stands beside it, in the comments that begin with `#:`.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Final, NamedTuple

from vmops.core.names import HISTORY, NET_ROOT, OVN_BRIDGE, RUN_ROOT

START_QEMU: Final = "start_qemu"
VSCTL: Final = "vsctl"
TALK: Final = "talk_to_monitors"
WITH_FILES: Final = "with_files"
TALK_TO_AGENTS: Final = "talk_to_agents"
WHERE_VMS: Final = "where_vms"
NO_VMS: Final = "none"
"""What `where_vms` prints instead of running its command."""

SWITCH_LIMIT_S = 10
"""For every ovs-vsctl: without a limit it waits for ever when a daemon is away."""

HISTORY_BYTES = 256 * 1024
"""Of each of the two files of a worker's history: some three thousand changes."""

MONITOR_BYTES = 1 << 20
MONITOR_LINES = 10_000
MONITOR_LINE_BYTES = 1 << 18
"""What one monitor may send in one talk; more ends it."""

AGENT_BYTES = 6 << 20
"""What one guest agent may send in one talk: room for 4 MiB of a program's output."""

_FOLDER = Path(__file__).with_name("shell")
_BEGIN = re.compile(r"^(\w+)\(\) \{", re.MULTILINE)
_NAME = re.compile(r"[a-z_]\w*")


class Function(NamedTuple):
    """A shell function's text, and what it does in the words of a dry run, if that was said."""

    text: str
    words: str = ""


def settings() -> dict[str, str]:
    """The paths and limits that the functions use, as shell variables."""
    return {
        "RUN_ROOT": RUN_ROOT,
        "NET_ROOT": NET_ROOT,
        "OVN_BRIDGE": OVN_BRIDGE,
        "HISTORY": HISTORY,
        "HISTORY_BYTES": str(HISTORY_BYTES),
        "SWITCH_LIMIT_S": str(SWITCH_LIMIT_S),
        "MONITOR_BYTES": str(MONITOR_BYTES),
        "AGENT_BYTES": str(AGENT_BYTES),
        "MONITOR_LINES": str(MONITOR_LINES),
        "MONITOR_LINE_BYTES": str(MONITOR_LINE_BYTES),
    }


def words_of(name: str) -> str:
    """What a function does in the words of a dry run; empty for what is no function, or unsaid."""
    words = function(name).words if name in _read() else ""
    for variable, value in settings().items():
        words = words.replace(f"${variable}", value)
    return words


_reading = Lock()
"""The first scripts of many workers are written by as many threads at once: one of them reads the
files, and the others wait for it."""


def needed(text: str) -> str:
    """The functions that occur in a script's text, and those that these call."""
    found: dict[str, str] = {}
    with _reading:
        known = _read()
        new = set(_NAME.findall(text)) & known.keys()
        while new:
            found |= {name: function(name).text for name in new}
            inside = _NAME.findall("\n".join(found[name] for name in new))
            new = (set(inside) & known.keys()) - found.keys()
    return "\n".join(found[name] for name in known if name in found)


@cache
def without_comments(name: str) -> str:
    """A file's text without the lines that are comments, and without empty ones."""
    lines = (_FOLDER / name).read_text(encoding="utf-8").split("\n")
    return "\n".join(line for line in lines if line.strip() and not line.lstrip().startswith("#"))


def program(*names: str) -> str:
    """Several files' text, one behind the other: what they have in common stands in the first."""
    return "\n".join(map(without_comments, names))


def names() -> list[str]:
    """Of all functions."""
    return list(_read())


@cache
def function(name: str) -> Function:
    """One of them. A line `@FILE@` in it stands for that file's text."""
    words, body = [], []
    for line in _read()[name].split("\n"):
        if line.startswith("#: "):
            words.append(line[3:])
        elif line.startswith("@"):
            body.append(without_comments(line.strip("@")))
        elif line.strip() and not line.lstrip().startswith("#"):
            body.append(line)
    return Function("\n".join((*body, "}")), "\n".join(words))


@cache
def _read() -> dict[str, str]:
    """Each with the comments before it, as it stands there without its end. A script needs few of
    them, so no more is done here than to tell where each begins."""
    found: dict[str, str] = {}
    for path in sorted(_FOLDER.glob("*.sh")):
        for source in path.read_text(encoding="utf-8").split("\n}\n"):
            if begin := _BEGIN.search(source):
                found[begin[1]] = source
    return found
