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
    "remote": {"remote", "core", "errors", "wait", "nameless"},
    "ops": {"ops", "remote", "core", "errors", "wait", "nameless"},
    "lab": {"lab", "core", "errors", "wait", "nameless"},
    "tasks": {
        "tasks",
        "ops",
        "core",
        "lab",
        "errors",
        "wait",
        "inventory_file",
        "interrupt",
        "nameless",
    },
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


OF_A_FILE_OF_OURS = {
    "lab/lab.py", "lab/layout.py", "lab/supervisor.py", "lab/tools.py", "lab/worker.py",
    "ops/image/sums.py", "remote/ssh/config/ask.py", "remote/ssh/keys/known_hosts.py",
    "remote/ssh/keys/private.py", "tasks/typed/completer.py",
}  # fmt: skip
"""Where the text is this machine's own (the lab's files and its request lines, an operator's keys
and what his ssh says, a table of the program's): no worker writes there."""

OTHER_LINE_ENDS = {
    "tasks/guest/log_display.py": "control characters have been made visible, U+2028 too",
}
JSON_THAT_IS_OURS = {"core/devices/seed/documents.py": "it was written in that module"}
FORMATS_OF_OURS = {
    "tasks/vm/power.py": "a table of sentences in that module",
}


def calls(path: Path, attribute: str) -> list[ast.Call]:
    found = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return [c for c in found if isinstance(c.func, ast.Attribute) and c.func.attr == attribute]


def literals(path: Path) -> set[str]:
    """The names that a module gives to literals."""
    body = ast.parse(path.read_text()).body
    made = [n for n in body if isinstance(n, ast.Assign) and isinstance(n.value, ast.Constant)]
    return {t.id for n in made for t in n.targets if isinstance(t, ast.Name)}


def caught(path: Path, call: ast.Call, error: str) -> bool:
    """True where a `try` around the call catches that error by name."""
    for node in ast.walk(ast.parse(path.read_text())):
        inside = isinstance(node, ast.Try) and any(
            statement.lineno <= call.lineno <= (statement.end_lineno or 0)
            for statement in node.body
        )
        if isinstance(node, ast.Try) and inside:
            names = [n for h in node.handlers if h.type for n in ast.walk(h.type)]
            if any(isinstance(n, ast.Name) and n.id == error for n in names):
                return True
    return False


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_line_of_a_worker_ends_at_a_newline_only(path: Path) -> None:
    """str.splitlines also ends one at U+2028 and the like, which may stand in anybody's name."""
    assert name(path) in {*OF_A_FILE_OF_OURS, *OTHER_LINE_ENDS} or not calls(path, "splitlines")


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_no_text_of_a_worker_is_a_format(path: Path) -> None:
    """str.format evaluates what stands in braces: only a literal, or a name for one, is ours."""
    made = calls(path, "format")
    ours = literals(path)
    receivers = [c.func.value for c in made if isinstance(c.func, ast.Attribute)]
    variable = [
        r
        for r in receivers
        if not (isinstance(r, ast.Constant) or (isinstance(r, ast.Name) and r.id in ours))
    ]
    assert name(path) in FORMATS_OF_OURS or not variable


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_json_of_a_worker_may_be_nested_too_deep(path: Path) -> None:
    """json.loads raises RecursionError then, which is no ValueError."""
    if name(path) in {*OF_A_FILE_OF_OURS, *JSON_THAT_IS_OURS}:
        return
    open_to_it = [c for c in calls(path, "loads") if not caught(path, c, "RecursionError")]
    assert not open_to_it


def test_the_exceptions_are_still_some() -> None:
    """One that is not needed any more would let the next one pass."""
    known = {*OF_A_FILE_OF_OURS, *OTHER_LINE_ENDS, *JSON_THAT_IS_OURS, *FORMATS_OF_OURS}
    for module in known:
        path = PACKAGE / module
        assert any(calls(path, word) for word in ("splitlines", "loads", "format")), module


OWN_PLACE = re.compile(
    r"(?<![\w.~$}])/(?:Users|home|work|mnt|root)/(?!ubuntu\b|USER\b|user\b|me?\b|u\b|x\b|\.ssh\b)\w[\w.-]*"
)
"""A home or a working folder that is not one of the examples'."""

OF_ANYBODY = {"base.raw", "x"}
"""Files of root that tests make in a lab."""


def test_nothing_names_a_place_on_a_developers_machine() -> None:
    root = PACKAGE.parent
    folders = ("vmops", "docs", "tests", "scripts", "bench", "examples", ".github")
    files = [path for folder in folders for path in (root / folder).rglob("*") if path.is_file()]
    files += [path for path in root.glob("*") if path.is_file() and path.name != ".git"]
    found = set()
    for path in files:
        if "__pycache__" in path.parts or path == Path(__file__):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        places = {p for p in OWN_PLACE.findall(text) if p.rpartition("/")[2] not in OF_ANYBODY}
        found |= {f"{path.relative_to(root)}: {place}" for place in places}
    assert not found
