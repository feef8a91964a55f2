"""What day it is, and which VMs that run have to be warned of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from vmops.core.inventory.model import VM
from vmops.core.plan.upkeep import expiry
from vmops.ops.vm.status import Survey


def today() -> date:
    """The operator's day, by the clock and the time zone here."""
    return datetime.now().astimezone().date()


def warned(seen: Survey, vms: Sequence[VM], on: date) -> Survey:
    """The same survey with a note for each of these VMs that is there and expires soon, or has."""
    there = {item.vm for item in seen.vms if item.state not in ("stopped", "crashed")}
    notes = [expiry.note(vm, on) for vm in vms if vm.name in there]
    return seen._replace(notes=(*seen.notes, *filter(None, notes)))
