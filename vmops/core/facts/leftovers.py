"""What lies in /run/vmops beside the VMs: what scripts that were cut short have left there."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from typing import NamedTuple

from vmops.core.facts.question import Question, lines_of
from vmops.core.inventory.model import VM
from vmops.core.script.command import FACT_BYTES, StepResult, command


class Left(NamedTuple):
    """Names, no paths. `outputs` are folders with what VMs said that were acted on at once, by a
    script which is gone; `locks` are those that nobody holds, of VMs without a run directory;
    `halves` are disks whose making was cut, which nobody has written to for an hour. `networks` are
    those whose making or removal was cut; `served` are those that are whole, None while somebody
    changes them."""

    outputs: tuple[str, ...] = ()
    locks: tuple[str, ...] = ()
    halves: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    served: frozenset[str] | None = None


def set_aside(vms: Iterable[VM]) -> Question[tuple[str, ...]]:
    """Disks that were set aside when VMs came back to the worker, by their paths: in the folders of
    these VMs' own images, and where those usually are."""
    own = (posixpath.dirname(vm.qcow_image) for vm in vms if vm.image is None)
    folders = sorted({"~/vm_images", *filter(None, own)})
    asked = command("set_aside_facts", *folders, most_bytes=FACT_BYTES)
    return Question("old disks", (asked,), _read_paths)


def _read_paths(said: StepResult) -> tuple[str, ...]:
    return tuple(lines_of(said))


def _read(said: StepResult) -> Left:
    rows = [line.split(" ", 1) for line in lines_of(said)]
    found = {
        kind: tuple(name for is_kind, name in rows if is_kind == kind)
        for kind in ("said", "lock", "half", "network", "served", "busy")
    }
    served = None if found["busy"] else frozenset(found["served"])
    networks = tuple(dict.fromkeys(found["network"]))
    return Left(found["said"], found["lock"], found["half"], networks, served)


LEFT = Question("leftovers", (command("left_facts", most_bytes=FACT_BYTES),), _read)
