"""A balloon in a VM: a device by which its guest gives memory back to the worker while it runs."""

from __future__ import annotations

from vmops.core.inventory.model import VM
from vmops.core.script.command import Step
from vmops.core.tools import monitor, qemu
from vmops.core.tools.monitor import Await, Heard, Talk
from vmops.core.tools.qmp import Request

CHANGE = "change memory"
MEMORY = "its memory"
LIMIT_S = 10.0
"""How long a guest may take: it has to find the memory first. QEMU tells once a second."""

_ID = "balloon"
_MIB = 1 << 20


def words(vm: VM) -> tuple[str, ...]:
    """The device, for a VM that is to have one: the documented machine has none."""
    return ("-device", f"virtio-balloon-pci,id={_ID}") if vm.balloon else ()


def is_there(found: qemu.Options) -> bool:
    """True where a command line has it."""
    return any(device.get("id") == _ID for device in qemu.every(found, "device"))


def setting(vm: VM) -> Step:
    """Ask the guest to make do with so much, and wait until it does. It goes on being asked."""
    size = vm.ram_mb * _MIB
    lines = (
        Request("balloon", {"value": size}),
        Await("BALLOON_CHANGE", LIMIT_S, holding=f'"actual": {size}}}', then="go on"),
    )
    return Step(CHANGE, (monitor.talk([Talk(vm.name, lines)]),), about=(MEMORY,))


def why_unchanged(heard: Heard) -> str:
    """In words, why the guest has not the memory that it is to have."""
    if heard.answers and heard.ended == "silent" and not monitor.is_refused(heard):
        has = [event.get("data", {}) for event in heard.events]
        sizes = [int(data["actual"]) // _MIB for data in has if isinstance(data.get("actual"), int)]
        so_far = f"; it has come to {sizes[-1]} MiB" if sizes else ""
        return (
            f"its guest has not changed it within {LIMIT_S:g} s{so_far}: it may have no driver for"
            " its balloon, or need the memory"
        )
    return monitor.why(heard)
