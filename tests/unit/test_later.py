"""Tasks are imported when they are called, and are then what their modules have."""

from __future__ import annotations

import copy
import importlib
import json
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from invoke.collection import Collection

import vmops.tasks
from vmops.tasks import ns
from vmops.tasks.frame.task import Task
from vmops.tasks.later import home_of, tasks_of

ROOT = Path(__file__).parents[2]
NAMES = sorted(ns.task_names)


def there() -> Iterator[tuple[tuple[str, str], Any]]:
    """All tasks that the modules have, with where they are."""
    for module in pkgutil.walk_packages(vmops.tasks.__path__, "vmops.tasks."):
        if module.name == "vmops.tasks.typed.completer":
            continue
        for name, found in vars(importlib.import_module(module.name)).items():
            if isinstance(found, Task) and found.body.__module__ == module.name:
                yield (module.name, name), found


def test_each_task_of_the_modules_is_in_the_collection_once() -> None:
    homes = [home_of(ns[name]) for name in NAMES]
    assert sorted(homes) == sorted(home for home, _ in there())


@pytest.mark.parametrize("name", NAMES)
def test_a_task_is_called_as_its_module_calls_it(name: str) -> None:
    module, function = home_of(ns[name])
    own = getattr(importlib.import_module(module), function)
    assert name.rpartition(".")[2] == own.name.replace("_", "-")
    assert ns[name] == own
    assert hash(ns[name]) == hash(own)


def later() -> Any:
    (found,) = tasks_of("inventory", "inventory")
    return found


SEEN = {
    "doc": lambda task: task.__doc__,
    "name": lambda task: (task.name, task.__name__, task.__module__),
    "options": lambda task: [argument.name for argument in task.get_arguments()],
    "repr": repr,
    "hash": hash,
    "frame": lambda task: task.framed,
    "class": lambda task: (bool(task.body), type(task)),
    "copy": lambda task: copy.copy(task).body,
    "calls": lambda task: (task.pre, task.post, task.autoprint, task.called),
}


@pytest.mark.parametrize("seen", SEEN.values(), ids=SEEN)
def test_asked_for_anything_it_is_the_task_itself(seen: Any) -> None:
    own = importlib.import_module("vmops.tasks.inventory").inventory
    assert seen(later()) == seen(own)


def test_what_a_task_does_not_have_is_not_there() -> None:
    assert not hasattr(later(), "colour")


def test_a_collection_takes_it_by_its_name_alone() -> None:
    task = later()
    found = Collection(task)
    assert [*found.task_names] == ["inventory"]
    assert "body" not in vars(task)


COUNT = """
import json, sys
from fabric.main import program
try:
    program.run(['fab', *sys.argv[1:]], exit=False)
finally:
    print('\\n' + json.dumps(sorted(m for m in sys.modules if m.startswith('vmops'))))
"""

HOSTS = """
[workers.worker1]
address = "127.0.0.1"

[vms.vm1]
vm_id = 1
worker = "worker1"
ram_mb = 64
cores = 1
vnc_port = 5901
qcow_image = "/vm1.qcow2"
interfaces = [{ name = "eth1", vlan_id = 101 }]
"""


def imported(folder: Path, *words: str) -> list[str]:
    """The modules of ours that a command imports; it contacts nothing."""
    (folder / "hosts.toml").write_text(HOSTS)
    done = subprocess.run(
        [sys.executable, "-c", COUNT, *words],
        cwd=ROOT,
        env={**os.environ, "VMOPS_HOSTS": str(folder / "hosts.toml")},
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_command_imports_the_module_of_its_task_alone(tmp_path: Path) -> None:
    found = imported(tmp_path, "--help", "console")
    assert "vmops.tasks.guest.console" in found
    own = {home_of(ns[name])[0] for name in NAMES} - {"vmops.tasks.guest.console"}
    assert not own & set(found)


@pytest.mark.parametrize(
    ("words", "most"),
    [
        (("launch", "--vm", "vm1"), 166),
        (("stop", "--vm", "vm1"), 140),
        (("up",), 169),
        (("down",), 143),
        (("status",), 155),
    ],
)
def test_a_command_imports_no_more_of_ours_than_it_needs(
    words: tuple[str, ...], most: int, tmp_path: Path
) -> None:
    """A module takes a quarter of a millisecond at each start. A dry run connects to nothing, so
    what does that, some 30, is not among them."""
    assert len(imported(tmp_path, "--dry", *words)) <= most
