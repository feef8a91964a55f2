"""No task that changes a worker is forgotten by the sweep."""

from __future__ import annotations

import pytest

from vmops.tasks import ns

from .operations import OPERATIONS
from .soak import MIXED, WORDS

ASKS = frozenset(
    [
        "cloud-init.show",
        "console",
        "doctor",
        "export",
        "from-libvirt",
        "graph",
        "history",
        "image.list",
        "image.verify",
        "inventory",
        "lab.status",
        "logs",
        "net.status",
        "pid",
        "place",
        "plan",
        "ps",
        "script",
        "snapshot.list",
        "ssh-config",
        "status",
        "trace",
        "vnc",
        "wait",
    ]
)
"""They ask, or show what a worker has, and change nothing there."""

LEFT_OUT = {
    "capture": "lasts as long as somebody is there: tests/system/test_capture.py",
    "ping": "lasts as long as somebody is there: tests/system/test_door.py",
    "ssh": "lasts as long as somebody is there: tests/system/test_door.py",
    "verify": "sends packets, and leaves nothing: tests/system/test_verify.py",
    "screenshot": "a file of QEMU's, which prune finds: tests/system/test_screen.py",
    "sendkey": "is for the guest, which no guest here tells: tests/system/test_screen.py",
    "type": "is for the guest, which no guest here tells: tests/system/test_screen.py",
    "exec": "is for the guest, and leaves nothing on the worker: tests/system/test_agent.py",
    "cp": "is for the guest, and leaves nothing on the worker: tests/system/test_agent.py",
    "run": "does what its user says",
    "lab.up": "changes this machine, and no worker",
    "lab.down": "changes this machine, and no worker",
    "lab.fault": "changes this machine, and no worker",
    "lab.heal": "changes this machine, and no worker",
    "lab.delay": "changes this machine, and no worker",
    "lab.vlans": "changes this machine, and no worker",
}
"""They change something, and are not cut: why."""

SWEPT = {word for operation in OPERATIONS for word in operation.words if word in ns.task_names}


def test_every_task_is_swept_or_changes_nothing_or_has_a_reason() -> None:
    """A new one that changes a worker gets a line in operations.py."""
    assert sorted([*SWEPT, *ASKS, *LEFT_OUT]) == sorted(ns.task_names)


@pytest.mark.parametrize("task", sorted(ASKS))
def test_what_asks_has_no_option_to_be_sure_about(task: str) -> None:
    """Where one may say beforehand that one is sure, something is changed."""
    names = {name for argument in ns[task].get_arguments() for name in argument.names}
    assert "yes" not in names


def test_names_of_operations_are_their_own() -> None:
    names = [operation.name for operation in OPERATIONS]
    assert sorted(set(names)) == sorted(names)


def test_the_soak_has_networks_drains_and_moves_too() -> None:
    mixed = {words[0] for words, _file in WORDS}
    assert {"net.up", "net.down", "drain", "undrain", "migrate", "launch", "prune"} <= mixed


def test_the_soak_judges_the_vms_that_its_words_are_about() -> None:
    """What no command of it ever makes cannot be whole after it."""
    files = {file for _words, file in WORDS}
    about = {vm for operation in OPERATIONS if operation.file in files for vm in operation.vms}
    assert {target.name for target in MIXED} == {*about} - {"sent", "fetched"}
