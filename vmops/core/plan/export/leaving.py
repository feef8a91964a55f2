"""What every way out needs to know of a VM: where it is, its disks by name, and what is said of it.

Paths of disks are known by rule, so no worker has to be asked; but what a leading `~` stands for
there is.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import NamedTuple

from vmops.core.devices import disk
from vmops.core.devices.network.logical import Logical
from vmops.core.devices.seed import drive
from vmops.core.devices.storage import boot, further
from vmops.core.inventory.machine.rules import CDROM, UEFI
from vmops.core.inventory.model import VM, Nic, Worker

USER = "ubuntu"
"""Who logs in where neither hosts.toml nor ssh_config says."""


class Leaving(NamedTuple):
    """A VM on its worker, its seed read. `home` is what `~` stands for there, `bridge` what it is
    to be plugged into, `storage` the other system's word for where its disks go, and `carried` are
    its networks in OVN and those that they reach."""

    vm: VM
    worker: Worker
    home: str
    bridge: str
    storage: str = ""
    carried: tuple[Logical, ...] = ()

    @property
    def kind(self) -> str:
        """QEMU's word for the machine."""
        return self.vm.machine or "pc"

    @property
    def is_q35(self) -> bool:
        """True for a PC that has SATA where an older one has IDE."""
        return "q35" in self.kind

    @property
    def seed_path(self) -> str:
        """Where the seed's CD is looked for on the worker: the run directory goes with its VM."""
        return f"{self.home}/vm_images/{seed_file(self.vm)}"


class Volume(NamedTuple):
    """A disk of the VM's: its name, its path with a `~`, its format, and its size in GiB where that
    is said. The `first` is what it boots from."""

    name: str
    path: str
    format: str
    size_gb: int | None
    first: bool = False


class Exported(NamedTuple):
    """The text, how its file's name ends, what is to be known besides, and the seed's CD."""

    text: str
    suffix: str
    notes: tuple[str, ...] = ()
    seed: bytes | None = None


def home_of(worker: Worker) -> str:
    """The home that the worker's SSH user most likely has."""
    user = worker.user or USER
    return "/root" if user == "root" else f"/home/{user}"


def seed_file(vm: VM) -> str:
    """What the file with a VM's seed is called."""
    return f"{vm.name}-seed.iso"


def volumes(vm: VM) -> tuple[Volume, ...]:
    """All disks, the first one first."""
    first = Volume(disk.ROOT, vm.qcow_image, disk.FORMAT, vm.disk_gb, first=True)
    more = (
        Volume(each.name, further.path_of(vm, each), each.format, each.size_gb) for each in vm.disks
    )
    return (first, *more)


def seed_of(vm: VM) -> bytes | None:
    """The CD that its guest is told by; None for one that is told nothing."""
    return None if vm.seed is None else drive.written(vm.seed).cd


def needs_home(vm: VM, *, seed: bool = True) -> bool:
    """True where a path of the VM's begins with `~`; with `seed` that of its seed counts."""
    paths = [each.path for each in volumes(vm)]
    paths += [vm.iso] if vm.boot == CDROM and vm.iso is not None else []
    paths += [boot.path_of(vm)] if vm.boot == UEFI else []
    return (seed and vm.seed is not None) or any(path.startswith("~") for path in paths)


def unplugged(vm: VM) -> tuple[str, ...]:
    """What to say of interfaces that are in no VLAN."""
    names = [nic.name for nic in vm.nics if nic.attachment is None]
    if not names:
        return ()
    return (f"{vm.name}: {', '.join(names)} is not connected, so QEMU never had it: left out",)


def vlans(nic: Nic) -> tuple[int | None, tuple[int, ...]]:
    """The VLAN whose frames have no tag for the guest, and those whose frames have theirs."""
    return nic.vlan_id, nic.interface.trunks


def flattened(leaving: Leaving, volume: Volume, *, format: str) -> tuple[str, ...]:
    """The commands that bring a disk of a VM that is stopped here, as one file without a backing
    file, which is called as `file_of` has it.

    On the worker it lies in /var/tmp meanwhile.
    """
    file = file_of(leaving.vm, volume, format)
    there = f"/var/tmp/{file}"
    # A relative path is taken from the home in the user's shell, where `~` in quotes is none.
    path = volume.path.removeprefix("~/")
    convert = ("qemu-img", "convert", "-f", volume.format, "-O", format, "--", path, there)
    return (
        ssh(leaving.worker, convert),
        f"{_scp(leaving.worker, there)} {quote(file)}",
        ssh(leaving.worker, ("rm", there)),
    )


def file_of(vm: VM, volume: Volume, format: str) -> str:
    """What the file is called that a disk is brought as."""
    return f"{vm.name}-{volume.name}.{format}"


def ssh(worker: Worker, argv: Sequence[str]) -> str:
    """The line that runs a command on the worker."""
    port = ["-p", str(worker.port)] if worker.port else []
    return shlex.join(["ssh", *port, destination(worker), shlex.join(argv)])


def _scp(worker: Worker, path: str) -> str:
    port = ["-P", str(worker.port)] if worker.port else []
    host = f"[{worker.address}]" if ":" in worker.address else worker.address
    user = f"{worker.user}@" if worker.user else ""
    return shlex.join(["scp", *port, f"{user}{host}:{path}"])


def destination(worker: Worker) -> str:
    """The worker as ssh takes it."""
    return f"{worker.user}@{worker.address}" if worker.user else worker.address


def quote(word: str) -> str:
    """A word of a shell's."""
    return shlex.quote(word)
