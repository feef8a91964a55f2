"""The parts of docs/ that are made from the code; `scripts/reference` writes them.

docs/reference.md comes from the tasks' own help, the classes in docs/glossary.md from docstrings.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from vmops.tasks import ns
from vmops.tasks.frame.options import as_option

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference.md"
GLOSSARY = ROOT / "docs" / "glossary.md"
CLASSES = "## Classes"

SHORTEST = 15
"""A sentence of fewer characters takes the next one along."""

_TASKS = """# All tasks

What `fab --help TASK` says, of every task. `scripts/reference` writes this page. The keys of
hosts.toml are in [inventory.md](inventory.md), what Python calls in [python.md](python.md).

Where `vmops` is typed instead of `fab` the tasks are the same. `-H` comes before the task, the
task's own options behind it: `fab -H worker1 launch --vm vm1`.

| exit code | means |
|---|---|
| 0 | done |
| 1 | the work failed on at least one VM or worker |
| 2 | bad input; nothing was contacted |
| 3 | a worker could not be reached, or refused the login |
| 4 | from `plan`: there is something to do |
| 130 | Ctrl-C |
"""

_KINDS = {int: "N", float: "N", str: "TEXT", list: "TEXT"}


class Word(NamedTuple):
    """A public class: its room, its name, and the beginning of its docstring."""

    room: str
    name: str
    meaning: str


def tasks_page() -> str:
    """docs/reference.md as it has to be."""
    subjects: dict[str, list[str]] = {}
    for name, task in _tasks():
        subjects.setdefault(_subject(task), []).append(_entry(name, task))
    parts = [_TASKS]
    for heading, entries in subjects.items():
        parts += [f"## {heading}\n", *entries]
    return "\n".join(parts)


def _tasks() -> Iterator[tuple[str, Any]]:
    """Every task under its whole name, in the order in which the program lists its subjects."""
    for task in ns.tasks.values():
        yield task.name.replace("_", "-"), task
    for prefix, collection in ns.collections.items():
        for task in collection.tasks.values():
            yield f"{prefix}.{task.name}".replace("_", "-"), task


def _subject(task: Any) -> str:
    module = sys.modules[inspect.unwrap(task.body).__module__]
    first = (module.__doc__ or "").partition("\n")[0]
    subject = first.partition(":")[0].removesuffix(".")
    return subject.replace(" from the command line", "").removesuffix(",")


def _entry(name: str, task: Any) -> str:
    text, _, example = inspect.cleandoc(task.__doc__ or "").partition("Example: ")
    paragraphs = " ".join(text.split("\n")).strip().replace("  ", "\n\n")
    lines = [f"### `{name}`", "", paragraphs, "", f"    {' '.join(example.split())}", ""]
    arguments = sorted(task.get_arguments(), key=lambda argument: str(argument.name))
    if arguments:
        lines += ["| option | does |", "|---|---|", *map(_row, arguments), ""]
    return "\n".join(lines)


def _row(argument: Any) -> str:
    name = as_option(argument.name)
    letters = "".join(f"`-{n}`, " for n in argument.names if len(n) == 1)
    value = "" if argument.kind is bool else f" {_KINDS[argument.kind]}"
    said = " ".join((argument.help or "").split()).replace("|", "\\|")
    dashes = "--[no-]" if argument.kind is bool and argument.default else "--"
    option = f"`{name.upper()}`" if argument.positional else f"{letters}`{dashes}{name}{value}`"
    return f"| {option} | {said} |"


def words() -> list[Word]:
    """Every public class of vmops, in the order of their rooms."""
    package = ROOT / "vmops"
    found = []
    for path in sorted(package.rglob("*.py")):
        room = path.relative_to(package).parent.as_posix().removeprefix(".") or "vmops"
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.append(Word(room, node.name, _beginning(node)))
    return sorted(found, key=lambda word: (word.room != "vmops", word.room, word.name))


def _beginning(node: ast.ClassDef) -> str:
    text = " ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split())
    first, _, rest = text.partition(". ")
    if len(first) < SHORTEST:
        first = f"{first}. {rest.partition('. ')[0]}"
    return first.removesuffix(".").replace("|", "\\|")


def glossary_page() -> str:
    """docs/glossary.md as it has to be: its words as they are, and the classes made anew."""
    kept = GLOSSARY.read_text().partition(CLASSES)[0].rstrip("\n")
    lines = [
        kept,
        "",
        CLASSES,
        "",
        "Every public class of vmops in the words of its own docstring; `scripts/reference` writes",
        "them here. What begins with an underscore belongs to its module alone.",
    ]
    room = ""
    for word in words():
        if word.room != room:
            room = word.room
            title = "At the top" if room == "vmops" else f"`{room}/`"
            lines += ["", f"### {title}", "", "| class | is |", "|---|---|"]
        lines.append(f"| `{word.name}` | {word.meaning} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Write both pages."""
    REFERENCE.write_text(tasks_page())
    GLOSSARY.write_text(glossary_page())


if __name__ == "__main__":
    main()
