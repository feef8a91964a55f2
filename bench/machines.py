"""The VMs of the bench: small, and with a guest that halts at once, so that many can run."""

from __future__ import annotations

from collections.abc import Sequence

from vmops.core.inventory.model import VM, Interface

HALT = b"\xfa\xf4\xeb\xfd"
"""A boot sector's beginning: no interrupts, halt, and halt again should anything wake it."""

_SECTOR = HALT.ljust(510, b"\0") + b"\x55\xaa"
DISK = _SECTOR.ljust(1 << 20, b"\0")
"""The disk of every VM here, raw."""

HOME = "/home/ubuntu"
FIRST_ID = 1900
FIRST_VLAN = 101


def machine(name: str, *, number: int = 0, worker: str = "worker1", interfaces: int = 4) -> VM:
    """A VM of 32 MiB with that many interfaces, each on a VLAN of its own.

    What it is called on its worker comes from `number` alone: the same number on several workers
    takes the same commands.
    """
    return VM(
        name,
        vm_id=FIRST_ID + number,
        ram_mb=32,
        cores=1,
        vnc_port=5900 + number,
        qcow_image=f"{HOME}/vm_images/{FIRST_ID + number}.qcow2",
        interfaces=tuple(
            Interface(f"eth{count + 1}", vlan_id=FIRST_VLAN + count) for count in range(interfaces)
        ),
        worker=worker,
    )


def fleet(workers: Sequence[str], *, each: int, interfaces: int = 4) -> tuple[VM, ...]:
    """VMs on several workers, `each` on every one; the same numbers everywhere."""
    return tuple(
        machine(f"fleet-{worker}-{number}", number=number, worker=worker, interfaces=interfaces)
        for number in range(each)
        for worker in workers
    )
