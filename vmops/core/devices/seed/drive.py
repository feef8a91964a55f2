"""The drive with the seed's CD: QEMU's words, the step that brings it, and its drift.

The drive is there while the VM has a seed, at every boot: cloud-init that finds none takes the
guest for another one, or for none of its own. It is SCSI where the disk is virtio, as kernels for
clouds know no IDE.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmops.core.devices.drift import Drift
from vmops.core.inventory.guest.told import Seed, Written
from vmops.core.names import RunDirectory
from vmops.core.script.command import Step, command
from vmops.core.tools import qemu

if TYPE_CHECKING:
    from vmops.core.inventory.model import VM

SEED = "seed"
DRIVE = qemu.SEED_DRIVE
NONE = "no seed"

_IDE = "ide"
_DIGITS = slice(len("vmops-"), len("vmops-") + 8)


def words(vm: VM) -> tuple[str, ...]:
    """The drive and its place in the machine; nothing for a VM without a seed."""
    if vm.seed is None:
        return ()
    path = qemu.escaped(RunDirectory(vm.name).seed)
    drive = f"if=none,id={DRIVE},file={path},format=raw,media=cdrom,readonly=on"
    if vm.drive_model == _IDE:
        return ("-drive", drive, "-device", f"ide-cd,drive={DRIVE}")
    bus = ("-device", f"virtio-scsi-pci,id={DRIVE}bus")
    return (*bus, "-drive", drive, "-device", f"scsi-cd,bus={DRIVE}bus.0,drive={DRIVE}")


def is_there(found: qemu.Options) -> bool:
    """True where a command line has it."""
    return any(each.get("id") == DRIVE for each in qemu.every(found, "drive"))


def bringing(vm: VM, *, group: int) -> tuple[Step, ...]:
    """What puts the CD into the run directory, for root and that group alone. It goes with it."""
    assert vm.seed is not None or not vm.is_told, "what a guest is told is read before it starts"
    if vm.seed is None:
        return ()
    made = written(vm.seed)
    name = f"{SEED} {short(made.instance)}, {len(made.cd)} bytes"
    bring = command(
        "bring_seed",
        vm.name,
        str(group),
        made.instance,
        name,
        stdin=_packed(made.cd),
    )
    return (Step(SEED, (bring._replace(private=True),)),)


def _packed(cd: bytes) -> bytes:
    """As `gzip -d` reads it: a CD is fifty times as long as what is on it."""
    import zlib

    packer = zlib.compressobj(wbits=31)
    return packer.compress(cd) + packer.flush()


def drift(vm: VM, running: str) -> list[Drift]:
    """Where a running VM has another seed than it is to have; `running` is its instance-id, empty
    without one. Nothing is known of a seed that could not be read.

    A guest reads it when it starts: what else differs need not wait for that.
    """
    if vm.seed is None and vm.is_told:
        return []
    wanted = "" if vm.seed is None else instance_of(vm.seed)
    if running == wanted:
        return []
    has, wants = (f"{SEED} {short(one)}" if one else NONE for one in (running, wanted))
    return [Drift("cloud_init", has, wants, later=True)]


def short(instance: str) -> str:
    """An instance-id as people read it."""
    return instance[_DIGITS] or instance


def instance_of(seed: Seed | Written) -> str:
    """The instance-id: another one makes cloud-init begin anew in the guest."""
    from vmops.core.devices.seed import documents

    if isinstance(seed, Written):
        return seed.instance
    return documents.instance_of(documents.documents(seed))


def written(seed: Seed | Written) -> Written:
    """The seed on its CD."""
    if isinstance(seed, Written):
        return seed
    from vmops.core.devices.seed import cd, documents

    files = documents.documents(seed)
    return Written(documents.instance_of(files), cd.iso(files))
