"""What lies in /run/vmops beside the VMs: what scripts that were cut short have left there."""

from __future__ import annotations

from typing import NamedTuple

from vmops.core.facts.question import Question, lines_of
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
