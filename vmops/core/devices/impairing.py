"""What is wrong with an interface's line on purpose: its drift, and the step that changes it."""

from __future__ import annotations

from collections.abc import Mapping

from vmops.core.devices.drift import Drift
from vmops.core.inventory.model import Nic
from vmops.core.inventory.networks.impairment import UNIMPAIRED, Impaired
from vmops.core.script.command import Step, only_if
from vmops.core.tools.lines import tc

IMPAIR = "impair"

Known = Mapping[str, Impaired] | None
"""What is impaired, by TAP; None where that could not be read."""


def drift(nic: Nic, known: Known) -> list[Drift]:
    """That its line is not as wanted. What could not be read is told where something is wanted."""
    field = f"interfaces.{nic.name}.impaired"
    if known is None:
        unknown = nic.impaired != UNIMPAIRED
        return [Drift(field, "unknown", str(nic.impaired), live=True)] if unknown else []
    has = known.get(nic.tap, UNIMPAIRED)
    if has == nic.impaired:
        return []
    return [Drift(field, str(has), str(nic.impaired), live=True)]


def is_due(nic: Nic, known: Known, *, anew: bool) -> bool:
    """True where there is something to do; `anew` where it is plugged now: a switch that opens a
    device for the first time removes the queue that it finds there."""
    return bool(drift(nic, known)) or (anew and nic.impaired != UNIMPAIRED)


def step(nic: Nic, known: Known, *, only: str = "") -> Step:
    """Impair it as wanted, `only` where the step with that flag has succeeded."""
    return impair(nic, nic.impaired, known, only=only)


def impair(nic: Nic, wanted: Impaired, known: Known, *, only: str = "") -> Step:
    """Impair it so; undone, it is as it was known to be."""
    commands = tc.impair(nic.tap, wanted)
    undo = tc.impair(nic.tap, known.get(nic.tap, UNIMPAIRED)) if known is not None else ()
    if only:
        commands = tuple(only_if(only, entry) for entry in commands)
        undo = tuple(only_if(only, entry) for entry in undo)
    return Step(f"{IMPAIR} {nic.name}", commands, undo=undo, about=(nic.name,))
