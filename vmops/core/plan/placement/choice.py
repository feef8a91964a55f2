"""What is asked of a placement, and what comes of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from vmops.core.facts.observed import Observed
from vmops.core.inventory.inventory import Inventory
from vmops.core.inventory.model import VM, Worker
from vmops.core.plan.group import Terms
from vmops.errors import VmopsError, WorkFailed

_NO_ERRORS: Mapping[str, VmopsError] = MappingProxyType({})
_NO_VMS: Mapping[str, tuple[VM, ...]] = MappingProxyType({})
_NOBODY: Mapping[str, frozenset[str]] = MappingProxyType({})


class Asked(NamedTuple):
    """All workers of the inventory by name, in its order: what was observed there, or why nothing
    could be."""

    workers: Mapping[str, Worker]
    seen: Mapping[str, Observed]
    unasked: Mapping[str, VmopsError] = _NO_ERRORS


class Wish(NamedTuple):
    """VMs that are to be placed, on these terms.

    `beside` are VMs that start with them, by the worker that hosts.toml gives them, and `pinned`
    says of every VM that has one which that is. `apart` names for each VM those that may not be on
    one worker with it. `among` are the workers that a VM with no place yet may get, None for all.
    `trusting` places a VM though it may run on a worker that could not be asked. `leaving` is a
    worker that all of them are on and are to be taken away from.
    """

    vms: tuple[VM, ...]
    terms: Terms
    beside: Mapping[str, tuple[VM, ...]] = _NO_VMS
    pinned: Mapping[str, str] = MappingProxyType({})
    apart: Mapping[str, frozenset[str]] = _NOBODY
    among: Collection[str] | None = None
    trusting: bool = False
    leaving: str | None = None


def wish_of(listed: Inventory, vms: Sequence[VM], terms: Terms) -> Wish:
    """That these VMs be placed, as the inventory has them."""
    pinned = {name: vm.worker for name, vm in listed.vms.items() if vm.worker is not None}
    return Wish(tuple(vms), terms, pinned=pinned, apart=listed.apart)


class Judged(NamedTuple):
    """One worker for one VM. `why` is what keeps the VM from starting there, empty where nothing
    does.

    `free_mb` is the memory that is free for it, after what starts there with it. `cores` are those
    of VMs that run there or start with it, on `cpus`. None where the worker could not be asked.
    `beside` is why the VM is placed on another one, where it fits: empty before that is known.
    """

    worker: str
    why: str
    free_mb: int | None = None
    cores: int | None = None
    cpus: int | None = None
    beside: str = ""

    @property
    def fits(self) -> bool:
        """True where the VM could start there."""
        return not self.why


class Choice(NamedTuple):
    """The worker of a VM and the `reason` for it; without a `worker` the `error`, or the `note`
    that it is not to be started. `judged` has every worker, where there was something to choose."""

    vm: VM
    worker: str = ""
    reason: str = ""
    judged: tuple[Judged, ...] = ()
    note: str = ""
    error: WorkFailed | None = None
