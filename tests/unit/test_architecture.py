"""The rooms of the house: imports run downwards only, and each room keeps its own rules."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from vmops import core
from vmops.tasks import ns

PACKAGE = Path(__file__).parents[2] / "vmops"
MODULES = sorted(PACKAGE.rglob("*.py"))
FOLDERS = sorted({path.parent for path in MODULES})
MOST_LINES = 400
MOST_MODULES = 13

ALLOWED = {
    "core": {"core", "errors"},
    "remote": {"remote", "core", "errors", "wait"},
    "ops": {"ops", "remote", "core", "errors", "wait"},
    "lab": {"lab", "core", "errors", "wait"},
    "tasks": {"tasks", "ops", "core", "lab", "errors", "wait", "inventory_file", "interrupt"},
}
"""What each room may import of vmops."""

OUTSIDE = {
    "core": {"fabric", "invoke", "paramiko", "qemu", "rich", "asyncio", "subprocess", "socket"},
    "ops": {"fabric", "paramiko", "rich"},
    "tasks": {"paramiko"},
    "lab": {"fabric", "paramiko", "rich"},
}
"""What each room may not import of others."""


CORE_FLOORS = ("names", "inventory", "script", "tools", "devices", "facts", "plan")
"""The rooms of core from the ground up: each may import those below it."""

APART = ("images",)
"""Rooms of core that stand beside the others."""


def room(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


def imports(path: Path, *, within_functions: bool = True) -> set[str]:
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    for node in waiting:
        if within_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


IN_ROOMS = [path for path in MODULES if room(path)]


def name(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", IN_ROOMS, ids=name)
def test_imports_run_downwards(path: Path) -> None:
    ours = {entry.split(".")[1] for entry in imports(path) if entry.startswith("vmops.")}
    assert ours - {"__version__"} <= ALLOWED[room(path)]


IN_CORE = [path for path in IN_ROOMS if room(path) == "core" and len(path.parents) > 2]


@pytest.mark.parametrize("path", IN_CORE, ids=name)
def test_imports_inside_core_run_downwards(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[1].removesuffix(".py")
    if own in (*APART, "__init__"):
        return
    ours = {entry.split(".")[2] for entry in imports(path) if entry.startswith("vmops.core.")}
    floors = CORE_FLOORS[: CORE_FLOORS.index(own) + 1]
    assert ours - {*APART} <= set(floors)


@pytest.mark.parametrize("path", IN_ROOMS, ids=name)
def test_a_room_keeps_out_what_does_not_belong_there(path: Path) -> None:
    others = {entry.split(".")[0] for entry in imports(path)}
    assert not others & OUTSIDE.get(room(path), set())


def test_no_imports_run_in_a_circle() -> None:
    """Those for types alone count too. One within a function does not: by then all is loaded."""
    dotted = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(
            ".__init__"
        ): path
        for path in MODULES
    }
    needed = {
        module: {
            entry if entry in dotted else entry.rpartition(".")[0]
            for entry in imports(path, within_functions=False)
            if entry.startswith("vmops.")
        }
        - {module}
        for module, path in dotted.items()
    }
    TopologicalSorter(needed).prepare()


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_can_be_read_in_one_go(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MOST_LINES


def test_the_map_of_core_names_each_room_once() -> None:
    named = re.findall(r"^- `(\w+)`", core.__doc__ or "", re.MULTILINE)
    there = [path.name for path in (PACKAGE / "core").iterdir() if (path / "__init__.py").exists()]
    assert sorted(named) == sorted(there)


@pytest.mark.parametrize("folder", FOLDERS, ids=name)
def test_a_folder_can_be_taken_in_at_a_glance(folder: Path) -> None:
    modules = [path for path in folder.glob("*.py") if path.stem != "__init__"]
    assert len(modules) <= MOST_MODULES


@pytest.mark.parametrize("path", [p for p in MODULES if room(p) != "lab"], ids=name)
def test_nothing_starts_an_event_loop(path: Path) -> None:
    """A program that has one may call us. The lab's is in a process of its own."""
    assert not {entry for entry in imports(path) if entry.split(".")[0] == "asyncio"}


@pytest.mark.parametrize("path", [p for p in IN_ROOMS if room(p) != "tasks"], ids=name)
def test_only_tasks_print(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    printed = [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"]
    assert not printed


@pytest.mark.parametrize("task", sorted(ns.task_names))
def test_the_help_of_every_task_has_an_example(task: str) -> None:
    assert "fab " in (ns[task].__doc__ or "")
    undocumented = [a.name for a in ns[task].get_arguments() if not a.help]
    assert not undocumented
