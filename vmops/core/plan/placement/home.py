"""What a worker has of a VM that it could not do without."""

from __future__ import annotations

from collections.abc import Mapping

from vmops.core.devices import disk
from vmops.core.devices.storage.shared import is_free
from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM
from vmops.core.plan.moving.marks import is_still_there


def is_there(name: str, seen: Observed) -> bool:
    """True where a VM runs, or where it is not known whether it does. A QEMU that waits for what
    comes from another worker is none that runs."""
    mark = seen.moves.get(name)
    if (mark is not None and mark.how == "receiving") or is_still_there(name, seen):
        return False
    return seen.vm(name).state in ("running", "unknown")


def home(vm: VM, seen: Observed) -> str:
    """What the worker has of a VM that does not run, without which it would not be the same VM;
    empty where it has nothing. What stays behind of one that was moved away is nothing, nor is what
    has come of one that was not handed over yet."""
    mark = seen.moves.get(vm.name)
    if mark is not None and mark.how in ("left", "expected", "receiving", "elsewhere"):
        return ""
    left = kept(vm.name, seen)
    if left or vm.image is not None or vm.disks:
        return left
    return "" if disk.is_missing(seen.images.get(vm.qcow_image)) else "its image"


def without_left(
    vm: VM, homes: Mapping[str, str], all_seen: Mapping[str, Observed]
) -> dict[str, str]:
    """Where a VM is at home, without a worker that it is leaving, and that has handed it over."""
    marks = {name: all_seen[name].moves.get(vm.name) for name in homes}
    stays = {name: why for name, why in homes.items() if is_free(marks[name])}
    return stays or dict(homes)


def kept(name: str, seen: Observed) -> str:
    """What was made there for a VM of that name, and is kept while it does not run."""
    if name in seen.suspended:
        return "its memory, as it is suspended,"
    return "its disk" if seen.folder.of(name) else ""


def is_drained(seen: Observed) -> bool:
    """True for a worker that is to get no VM."""
    return seen.drained is not None and not seen.drained.is_open


def belongs(vm: VM, worker: str, seen: Observed) -> bool:
    """True for a VM that has to leave the worker when it is drained: one that runs there, is on its
    way from there, or has its disk there and no other worker by hosts.toml."""
    mark = seen.moves.get(vm.name)
    if is_there(vm.name, seen):
        return True
    if not is_free(mark) and mark is not None:
        return mark.how in ("leaving", "staying")
    return bool(
        home(vm, seen) if vm.worker == worker else vm.worker is None and kept(vm.name, seen)
    )
