"""The API of a fleet beside the tasks: what these do, Python can, under the same name."""

from __future__ import annotations

import inspect

import pytest

from vmops import Fleet
from vmops.tasks import ns

ELSEWHERE = {
    "console": "holds a terminal",
    "logs": "streams to a terminal",
    "vnc": "lasts as long as somebody looks",
    "inventory": "Fleet.inventory is it",
    "ps": "status with `unmanaged`",
    "pid": "status has it",
    "adopt": "a person decides that, once",
    "trace": "tells a story to a person",
    "capture": "lasts as long as somebody reads",
    "graph": "makes a picture for a person",
    "export": "makes a file for another program",
    "from-libvirt": "makes lines for a person's hosts.toml",
    "ssh": "lasts as long as somebody is logged in",
    "ssh-config": "makes a file for another program",
    "ping": "tells as it comes",
}
"""Tasks without a method, and why."""

OURS = sorted(name for name in ns.task_names if "." not in name)


@pytest.mark.parametrize("name", [name for name in OURS if name not in ELSEWHERE])
def test_a_task_is_a_method_of_the_same_name(name: str) -> None:
    method = getattr(Fleet, name.replace("-", "_"))
    assert inspect.getdoc(method)
    assert inspect.signature(method).return_annotation


def test_nothing_is_excused_that_is_gone() -> None:
    assert set(ELSEWHERE) <= set(OURS)
