"""Every command that a message names can be typed: the task is there, and so are its options."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmops.tasks import ns

PACKAGE = Path(__file__).parents[2] / "vmops"
COMMAND = re.compile(r"(?<![\w/.-])fab(?: -H \S+)?(?P<words>(?: (?!fab\b)\S+)+)")
HOLE = "HOLE"
"""What an f-string puts in."""

CORE = {"--list", "--help", "-d"}
TASKS = set(ns.task_names)


def texts(tree: ast.AST) -> Iterator[str]:
    """The strings of a module with holes in them, without its docstrings."""
    inside: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inside |= {id(part) for part in node.values}
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else HOLE for part in node.values
            )
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            inside.add(id(node.value))
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in inside
        ):
            yield node.value


def commands() -> Iterator[tuple[str, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.parent.name == "typed":
            continue
        for text in texts(ast.parse(path.read_text())):
            for found in COMMAND.finditer(text):
                yield path.name, found["words"].strip()


FOUND = list(commands())


def test_commands_were_found() -> None:
    assert len(FOUND) > 20


@pytest.mark.parametrize(("module", "words"), FOUND, ids=lambda value: str(value)[:40])
def test_a_command_in_a_message_can_be_typed(module: str, words: str) -> None:
    first, *rest = (word.rstrip(",;:.)`") for word in re.split(r"[ \n]", words))
    if first in CORE or HOLE in first:
        return
    assert first in TASKS, f"{module}: fab {words}"
    task = ns[first]
    known = {f"--{name}" for argument in task.get_arguments() for name in argument.names}
    known |= {f"--no-{name[2:]}" for name in known} | CORE
    for word in rest:
        if word in TASKS:
            task = ns[word]
            known |= {f"--{name}" for argument in task.get_arguments() for name in argument.names}
        elif word == "--":
            return
        elif word.startswith("--"):
            assert word in known, f"{module}: fab {words}"
