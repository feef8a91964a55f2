"""What may follow on a command line that is being typed: the shell runs this file at each Tab.

It imports the standard library only, and little of that: a process of some 30 ms. Which tasks and
options there are is in its second argument (`completion.words_of` writes it), behind the shell's
name. The words of the command line follow; the last one is the one at the cursor. It prints a
candidate a line, for fish with its description behind a tab.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

FABFILE = "fabfile.py"
HOSTS = "hosts.toml"
MAX_BYTES = 64 << 20
MAX_COUNT = 1000
NAMED = {"vm": "vms", "worker": "workers", "hosts": "workers", "image": "images"}
"""Options whose values are names, and the section of hosts.toml that has them."""

_HEADER = re.compile(
    r"""^\s*\[\[?(vms|workers|images)\s*\.\s*["']?([A-Za-z0-9._:%-]+?)["']?\s*[].]"""
)
_FOREIGN_LIMIT_S = 10

Words = Mapping[str, Any]
Candidates = Mapping[str, str]


class Place(NamedTuple):
    """Where the cursor is: behind an option that takes a value, `value_of`, or among `flags`; in
    `choices` are the words that some of these take."""

    value_of: str
    flags: Mapping[str, str]
    choices: Mapping[str, list[str]]
    in_task: bool
    wants_word: bool = False


def place(words: Words, typed: list[str]) -> Place:
    """What the words before the cursor lead to."""
    core: Mapping[str, str] = words["core"]
    flags, in_task, positional, value_of = core, False, 0, ""
    choices: Mapping[str, list[str]] = {}
    for word in typed:
        if value_of:
            value_of = ""
        elif word.startswith("-"):
            name, equals, _ = word.partition("=")
            value_of = "" if equals else flags.get(name) or core.get(name) or ""
        elif positional:
            positional -= 1
        elif word in words["tasks"]:
            task = words["tasks"][word]
            flags, in_task, positional = task["flags"], True, task["positional"]
            choices = task["choices"]
    return Place(value_of, flags, choices, in_task, positional > 0)


def candidates(words: Words, typed: list[str], current: str) -> Candidates:
    """What may stand at the cursor and begins as `current`; nothing leaves it to the shell."""
    at = place(words, typed)
    option, equals, value = current.partition("=")
    if at.value_of:
        return _values(at, at.value_of, current)
    if equals and option.startswith("--"):
        name = at.flags.get(option) or words["core"].get(option) or ""
        return {f"{option}={found}": said for found, said in _values(at, name, value).items()}
    if current.startswith("-"):
        both = at.flags if at.in_task else words["core"]
        return _begun_by(
            current, {flag: "" for flag in both if flag.startswith("--") or current == "-"}
        )
    if at.wants_word:
        return {}
    return _begun_by(current, {name: task["doc"] for name, task in words["tasks"].items()})


def _begun_by(begin: str, found: Candidates) -> Candidates:
    return {name: said for name, said in found.items() if name.startswith(begin)}


def _values(at: Place, option: str, begin: str) -> Candidates:
    """One of a few words, or names of the inventory; behind a comma those that are not in the list
    yet."""
    if option in at.choices:
        return _begun_by(begin, dict.fromkeys(at.choices[option], ""))
    if option not in NAMED:
        return {}
    before, comma, last = begin.rpartition(",")
    taken = before.split(",")
    return {
        f"{before}{comma}{name}": said
        for name, said in _begun_by(last, names(NAMED[option])).items()
        if name not in taken
    }


def names(section: str) -> dict[str, str]:
    """The names in a section of hosts.toml, with a word about each. A pipe is left to the command.

    A file that is being edited, and no TOML just now, still has its headers.
    """
    text = _text(inventory_path())
    try:
        import tomllib

        tables = tomllib.loads(text).get(section)
    except (ValueError, RecursionError):
        tables = {
            found[2]: {}
            for line in text.splitlines()
            if (found := _HEADER.match(line)) and found[1] == section
        }
    if not isinstance(tables, dict):
        return {}
    return {
        member: _about(table)
        for name, table in tables.items()
        for member in _members(name, table)
        if not re.search(r"[\s,]", member)
    }


def _members(name: str, table: object) -> list[str]:
    """One VM, or those that its table counts."""
    count = table.get("count") if isinstance(table, dict) else None
    if not isinstance(count, int):
        return [name]
    return [f"{name}{number}" for number in range(1, min(count, MAX_COUNT) + 1)]


def _about(table: object) -> str:
    values = table if isinstance(table, dict) else {}
    said = values.get("address") or values.get("worker") or ""
    return said if isinstance(said, str) and said.isprintable() else ""


def _text(path: Path) -> str:
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            return ""
        return path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return ""


def fabfile() -> Path | None:
    """The fabfile that `fab` would use here: in this folder or the nearest one above."""
    here = Path.cwd()
    return next(
        (file for folder in (here, *here.parents) if (file := folder / FABFILE).is_file()), None
    )


def inventory_path() -> Path:
    """hosts.toml as the tasks find it: by VMOPS_HOSTS, beside the fabfile, or here. An empty
    VMOPS_HOSTS, which tasks refuse, names no file."""
    named = os.environ.get("VMOPS_HOSTS")
    if named is not None:
        # Nothing of vmops can be imported here. Other than pathlib's it raises for no home.
        return Path(os.path.expanduser(named))  # noqa: PTH111
    file = fabfile()
    return (file.parent if file else Path.cwd()) / HOSTS


def is_foreign(program: str) -> bool:
    """True for a `fab` whose fabfile may have other tasks than vmops: it has to be asked."""
    if Path(program).name != "fab":
        return False
    file = fabfile()
    text = _text(file) if file else ""
    return not re.search(r"^from vmops\.tasks import ns$", text, re.MULTILINE) or bool(
        re.search(r"@task|add_task|add_collection|Collection\(", text)
    )


def ask(program: str, typed: Iterable[str]) -> Candidates:
    """What Invoke itself knows of a foreign fabfile's tasks and options."""
    argv = [program, "--complete", "--", program, *typed]
    try:
        ran = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_FOREIGN_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict.fromkeys(ran.stdout.split(), "")


def unbroken(typed: list[str]) -> tuple[list[str], bool]:
    """The words as they were typed, where bash has cut one at its `=`; True when the last was."""
    whole: list[str] = []
    cut = False
    for index, word in enumerate(typed):
        cut = bool(whole) and index > 0 and (word == "=" or typed[index - 1] == "=")
        if cut:
            whole[-1] += word
        else:
            whole.append(word)
    return whole, cut


def main(argv: list[str]) -> None:
    """Print the candidates for `SHELL WORDS PROGRAM WORD...`."""
    shell, table, program, *given = argv
    (*typed, current), cut = unbroken(given or [""])
    words = json.loads(table)
    found = candidates(words, typed, current)
    if is_foreign(program) and not place(words, typed).value_of and "=" not in current:
        found = _begun_by(current, ask(program, [*typed, current]))
    for name, said in found.items():
        name = name.partition("=")[2] if cut else name
        print(f"{name}\t{said}" if shell == "fish" and said else name)


if __name__ == "__main__":
    main(sys.argv[1:])
