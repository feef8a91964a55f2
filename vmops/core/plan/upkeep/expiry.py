"""VMs that are wanted until a day. Pure decisions: what day it is, is told."""

from __future__ import annotations

from datetime import date
from typing import Literal

from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM, Worker
from vmops.core.plan import stopping
from vmops.core.plan.phase import Plan
from vmops.core.plan.stopping import Manner
from vmops.errors import LaunchFailed

WARN_DAYS = 7
"""How long before its last day a VM is warned of."""

AtEnd = Literal["stop", "refuse"]
"""What a start does about a VM whose time is over."""


def days_left(vm: VM, today: date) -> int | None:
    """How many days the VM has after this one, negative when it is over; None for ever."""
    return None if vm.expires is None else (date.fromisoformat(vm.expires) - today).days


def is_over(vm: VM, today: date | None) -> bool:
    """True when its last day has passed."""
    left = None if today is None else days_left(vm, today)
    return left is not None and left < 0


def note(vm: VM, today: date) -> str:
    """What to tell of a VM whose time is over, or soon will be; empty for any other."""
    left = days_left(vm, today)
    if left is None or left > WARN_DAYS:
        return ""
    if left < 0:
        return f"{vm.name} has expired: its last day was {vm.expires}, and fab up stops it"
    when = {0: "today", 1: "tomorrow"}.get(left, f"in {left} days")
    return f"{vm.name} expires {when}: its last day is {vm.expires}, after it fab up stops it"


def ended(worker: Worker, vm: VM, observed: Observed, *, manner: Manner, at_end: AtEnd) -> Plan:
    """What is done about a VM whose time is over: it is stopped, its disks stay. Nothing where it
    does not run. Raises LaunchFailed where its start is to be refused."""
    if at_end == "refuse":
        raise refused(vm, worker.name)
    if observed.vm(vm.name).process is None:
        return Plan(vm, "nothing", notes=(not_started(vm),))
    plan = stopping.stop(worker, vm, observed, manner=manner).noted_as("expire")
    return plan._replace(notes=(f"{_over(vm)} stopped, and its disks stay", *plan.notes))


def not_started(vm: VM) -> str:
    """What to say of a VM whose time is over and that does not run."""
    return f"{_over(vm)} not started"


def refused(vm: VM, worker: str = "") -> LaunchFailed:
    """Why a VM whose time is over cannot be launched."""
    return LaunchFailed(
        f"it has expired: its last day was {vm.expires}",
        worker=worker,
        vm=vm.name,
        cure="set expires later in hosts.toml, or leave it out",
    )


def _over(vm: VM) -> str:
    return f"{vm.name} has expired, its last day was {vm.expires}: it is"
