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
NAMED = ("vms", "workers", "images", "networks", "interfaces", "ends")
"""What options name: what has a section of hosts.toml of its own, `VM:INTERFACE`, or that and a VM
alone."""

_HEADER = re.compile(
    r"""^\s*\[\[?(vms|workers|images|networks)\s*\.\s*["']?([A-Za-z0-9._:%-]+?)["']?\s*[].]"""
)
_FOREIGN_LIMIT_S = 10
_CUTS = ("=", ":")

Words = Mapping[str, Any]
Candidates = Mapping[str, str]


class Place(NamedTuple):
    """Where the cursor is: behind an option that takes a value, `value_of`, or among `flags`; in
    `choices` are the words that some of these take, in `named` what of hosts.toml others name. An
    argument that the task wants without its option is in `wants`."""

    value_of: str
    flags: Mapping[str, str]
    choices: Mapping[str, list[str]]
    named: Mapping[str, str]
    in_task: bool
    wants: str = ""


def place(words: Words, typed: list[str]) -> Place:
    """What the words before the cursor lead to."""
    core: Mapping[str, str] = words["core"]
    flags, in_task, value_of = core, False, ""
    wanted: list[str] = []
    choices: Mapping[str, list[str]] = {}
    named: Mapping[str, str] = {"hosts": "workers"}
    for word in typed:
        if value_of:
            value_of = ""
        elif word.startswith("-"):
            name, equals, _ = word.partition("=")
            wanted = [one for one in wanted if one != name]
            value_of = "" if equals else flags.get(name) or core.get(name) or ""
        elif wanted:
            del wanted[0]
        elif word in words["tasks"]:
            task = words["tasks"][word]
            flags, in_task, wanted = task["flags"], True, [*task["positional"]]
            choices, named = task["choices"], {**named, **task["named"]}
    return Place(value_of, flags, choices, named, in_task, flags[wanted[0]] if wanted else "")


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
    if at.wants:
        return _values(at, at.wants, current)
    return _begun_by(current, {name: task["doc"] for name, task in words["tasks"].items()})


def _begun_by(begin: str, found: Candidates) -> Candidates:
    return {name: said for name, said in found.items() if name.startswith(begin)}


def _values(at: Place, option: str, begin: str) -> Candidates:
    """One of a few words, or names of the inventory; behind a comma those that are not in the list
    yet."""
    if option in at.choices:
        return _begun_by(begin, dict.fromkeys(at.choices[option], ""))
    section = at.named.get(option, "")
    if not section:
        return {}
    hosts = _hosts()
    if section in ("interfaces", "ends"):
        return _begun_by(begin, _ends(hosts, with_vms=section == "ends"))
    before, comma, last = begin.rpartition(",")
    taken = before.split(",")
    return {
        f"{before}{comma}{name}": said
        for name, said in _begun_by(last, _names(hosts, section)).items()
        if name not in taken
    }


def _hosts() -> dict[str, Any]:
    """What hosts.toml holds. A pipe is left to the command.

    A file that is being edited, and no TOML just now, still has its headers.
    """
    text = _text(inventory_path())
    try:
        import tomllib

        return tomllib.loads(text)
    except (ValueError, RecursionError):
        headers = [found for line in text.splitlines() if (found := _HEADER.match(line))]
        return {section: {f[2]: {} for f in headers if f[1] == section} for section in NAMED}


def _names(hosts: Mapping[str, Any], section: str) -> dict[str, str]:
    """The names in a section, with a word about each; VMs are those of topologies too."""
    tables = _tables(hosts, section)
    if section == "vms":
        tables = [*tables, *_tables(hosts, "topologies")]
    return {
        member: _about(table)
        for name, table in tables
        for member in _members(name, table)
        if not re.search(r"[\s,]", member)
    }


def _ends(hosts: Mapping[str, Any], *, with_vms: bool) -> dict[str, str]:
    """The interfaces that hosts.toml gives VMs, by their own table, its template or the defaults,
    or an end of a link; those that a topology adds are nowhere by name."""
    found: dict[str, str] = {}
    templates = dict(_tables(hosts, "templates"))
    links = hosts.get("links")
    ends = {
        end: ""
        for link in (links if isinstance(links, list) else [])
        for end in (_listed(link, "ends") or [])
        if isinstance(end, str)
    }
    for name, table in [*_tables(hosts, "vms"), *_tables(hosts, "topologies")]:
        template = table.get("template") if isinstance(table, dict) else None
        layers = (table, templates.get(str(template)), hosts.get("vm_defaults"))
        cards = next((own for one in layers if (own := _listed(one, "interfaces")) is not None), [])
        for vm in _members(name, table):
            if with_vms:
                found[vm] = _about(table)
            found |= {
                f"{vm}:{card['name']}": ""
                for card in cards
                if isinstance(card, dict) and isinstance(card.get("name"), str)
            }
            found |= _begun_by(f"{vm}:", ends)
    return {end: said for end, said in found.items() if not re.search(r"[\s,]", end)}


def _tables(hosts: Mapping[str, Any], section: str) -> list[tuple[str, object]]:
    tables = hosts.get(section)
    return [*tables.items()] if isinstance(tables, dict) else []


def _listed(table: object, key: str) -> list[Any] | None:
    found = table.get(key) if isinstance(table, dict) else None
    return found if isinstance(found, list) else None


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


def unbroken(typed: list[str]) -> tuple[list[str], int]:
    """The words as they were typed, where bash has cut one at its `=` and `:`, and how much of the
    last one stands before its last cut: what is offered takes the place of the rest alone."""
    whole: list[str] = []
    before = 0
    for index, word in enumerate(typed):
        if index and (word in _CUTS or typed[index - 1] in _CUTS):
            before = len(whole[-1]) + (len(word) if word in _CUTS else 0)
            whole[-1] += word
        else:
            before = 0
            whole.append(word)
    return whole, before


def main(argv: list[str]) -> None:
    """Print the candidates for `SHELL WORDS PROGRAM WORD...`."""
    shell, table, program, *given = argv
    (*typed, current), before = unbroken(given or [""])
    words = json.loads(table)
    found = candidates(words, typed, current)
    if is_foreign(program) and not place(words, typed).value_of and "=" not in current:
        found = _begun_by(current, ask(program, [*typed, current]))
    for name, said in found.items():
        name = name[before:]
        print(f"{name}\t{said}" if shell == "fish" and said else name)


if __name__ == "__main__":
    main(sys.argv[1:])
