"""A mark that a VM has left a worker goes where it leads nowhere, and only there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vmops.core.devices.live.memory import Memory
from vmops.core.devices.storage.folder import DiskFile, DiskFolder
from vmops.core.devices.storage.moving import How, mark
from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM
from vmops.core.plan.moving.forgetting import forget, leading_nowhere

from .worlds import EMPTY, VM1, WORKER, running

IMAGED = replace(VM1, qcow_image="", image="small")
FILE = DiskFile("disk-vm1-root.qcow2", "vm1", "root", "qcow2", 1, 1)
DISK = EMPTY._replace(folder=DiskFolder(files={FILE.file: FILE}))


def left(peer: str, how: How = "left", before: Observed = EMPTY) -> Observed:
    return before._replace(moves={"vm1": mark(how, peer, "t")})


@pytest.mark.parametrize(
    ("seen", "nowhere"),
    [
        ({"a": left("b"), "b": EMPTY, "c": EMPTY}, ["a"]),
        ({"a": left("b"), "b": left("c"), "c": EMPTY}, ["a", "b"]),
        ({"a": left("c"), "b": left("c"), "c": EMPTY}, ["a", "b"]),
        ({"a": EMPTY, "b": EMPTY}, []),
        ({"a": left("b"), "b": DISK}, []),
        ({"a": left("b"), "b": EMPTY, "c": DISK}, []),
        ({"a": left("b"), "b": running(IMAGED)}, []),
        ({"a": left("b"), "b": EMPTY._replace(suspended={"vm1": Memory()})}, []),
        ({"a": left("gone"), "b": EMPTY}, []),
        ({"a": left("b"), "b": left("a")}, []),
        *(({"a": left("b"), "b": left("a", how)}, []) for how in ("expected", "leaving", "at")),
    ],
)
def test_marks_that_lead_nowhere(seen: dict[str, Observed], nowhere: list[str]) -> None:
    assert leading_nowhere(IMAGED, seen) == nowhere


@pytest.mark.parametrize(("vm", "nowhere"), [(VM1, []), (IMAGED, ["a"])])
def test_an_image_of_its_own_is_something_of_it(vm: VM, nowhere: list[str]) -> None:
    assert leading_nowhere(vm, {"a": left("b"), "b": EMPTY}) == nowhere


def test_an_image_that_it_has_left_behind_is_not() -> None:
    none = EMPTY._replace(images={})
    assert leading_nowhere(VM1, {"a": left("b"), "b": none}) == ["a"]


def test_the_mark_goes_if_it_is_still_the_one_that_was_seen() -> None:
    seen = left("b")
    (block,) = (phase.block for phase in forget(WORKER, VM1, seen).phases)
    path = "~/vm_images/.vmops/moving-vm1"
    guards = [guard.argv for guard in block.guards]
    assert guards == [("not_running", "vm1"), ("mark_is", path, seen.moves["vm1"].text)]
    assert [one.argv for step in block.numbered() for one in step.commands] == [("drop_mark", path)]
