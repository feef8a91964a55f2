"""A VM's disk: the image that QEMU opens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from vmops.core.devices.drift import Drift
from vmops.core.images.names import Base, base_of
from vmops.core.inventory.model import VM
from vmops.core.script.command import Command, Step
from vmops.core.tools import image_chain, qemu, qemu_img, qmp
from vmops.core.tools.image_chain import Chain, Image, Objection
from vmops.core.tools.qmp import Request

GIB = 1 << 30
CLONE = "clone"
MAKE, GROW, REMOVE, SOUND = "disk", "larger disk", "remove disk", "image"

Bases = Mapping[str, Base]
"""Images of the inventory by name, as workers keep them."""

NO_BASES: Bases = MappingProxyType({})


class Fault(NamedTuple):
    """Why a VM cannot have its disk, and the cure."""

    what: str
    cure: str


ROOT = "root"
"""What QEMU calls a virtio drive of ours; a further disk cannot have that name."""

IDE = "ide"
"""What the documented drive is."""

FORMAT = "qcow2"
"""What the documented words take every image for."""


def absolute(image: str, home: str) -> str:
    """The path with a leading `~` replaced by `home`."""
    return home + image[1:] if image == "~" or image.startswith("~/") else image


NODE = "root-node"
"""What QEMU calls the node of a VM's first disk, where that is to have a name of its own."""


def words(vm: VM, image: str, *, named: bool = False) -> tuple[str, ...]:
    """The drive with that image, an absolute path: the documented words, which make it IDE.

    What a guest discards on a disk of its own is given back to the worker. A virtio drive has its
    card beside it: by itself QEMU would give it one behind those of all other disks, and the guest
    would boot from one of them.
    """
    drive = f"file={qemu.escaped(image)},format={FORMAT}"
    drive += "" if vm.image is None else ",discard=unmap"
    drive += f",node-name={NODE}" if named else ""
    if vm.drive_model == IDE:
        return ("-drive", drive)
    card = f"virtio-blk-pci,drive={ROOT},id={ROOT}-disk"
    return ("-drive", f"{drive},if=none,id={ROOT}", "-device", card)


def parse(found: qemu.Options) -> tuple[str, str]:
    """The image of a command line and the drive's model; empty without a drive.

    Of several the last counts, as it does for QEMU where it has been given one twice; but the first
    that we have named is ours.
    """
    drives = [one for one in qemu.every(found, "drive") if one.get("media") != "cdrom"]
    own = [drive for drive in drives if drive.get("id") == ROOT]
    if own:
        return own[0].get("file", ""), "virtio"
    drive = drives[-1] if drives else {}
    return drive.get("file", ""), drive.get("if", IDE) if drive else ""


def key_of_base(image: str) -> str:
    """Where an image of the inventory is found among the paths that were asked for."""
    return f"image:{image}"


def is_missing(chain: Chain | None) -> bool:
    """True where nothing lies there, or nobody has looked."""
    return not chain or (chain[0].fault, chain[0].why) == ("stat", _NO_SUCH_FILE)


def lacks_image(vm: VM, images: Mapping[str, Chain]) -> bool:
    """True where its disk has yet to be made of an image that is not there, or stands on it."""
    if vm.image is None or not is_missing(images.get(key_of_base(vm.image))):
        return False
    return is_missing(images.get(vm.qcow_image)) or stands_on_nothing(vm, images)


def stands_on_nothing(vm: VM, images: Mapping[str, Chain]) -> bool:
    """True where a VM has its disk, and the image on which that stands has been taken away."""
    chain = images.get(vm.qcow_image) or ()
    base = images.get(key_of_base(vm.image or "")) or ()
    wanted = base_of(base[0].path) if base else None
    is_gone = len(chain) > 1 and is_missing(chain[-1:])
    return is_gone and wanted is not None and base_of(chain[-1].path) == wanted


def refusal(vm: VM, images: Mapping[str, Chain], *, path: str, user: str) -> Fault | None:
    """What keeps QEMU from opening the VM's disk, or us from letting it, and the cure.

    `path` is the disk's without a `~`, `user` the SSH user. A disk that is not there and can be
    made is fine.
    """
    chain = images.get(vm.qcow_image)
    if lacks_image(vm, images) and stands_on_nothing(vm, images):
        what = f"the image {vm.image} is not there, and its disk stands on it"
        found = [Objection(what, f"send it there: fab image.push --image {vm.image}")]
    elif not is_missing(chain):
        found = [*objections(chain or (), user=user), *_too_small(vm, size_of(chain))]
    elif vm.image is None:
        found = [
            Objection(f"no image {path}", f"make it there, or correct vms.{vm.name}.qcow_image")
        ]
    else:
        found = list(_against_base(vm, images.get(key_of_base(vm.image)), user=user))
    if not found:
        return None
    cures = dict.fromkeys(entry.cure for entry in found if entry.cure)
    return Fault("; ".join(entry.what for entry in found), "; ".join(cures))


def objections(chain: Chain, *, user: str) -> tuple[Objection, ...]:
    """What there is against a chain that is there."""
    return (*image_chain.objections(chain, user=user), *image_chain.uses(chain))


def _against_base(vm: VM, chain: Chain | None, *, user: str) -> Iterator[Objection]:
    if chain is None or is_missing(chain):
        yield Objection(
            f"it has no disk there yet, and the image {vm.image} is not there to make it of",
            f"send it there: fab image.push --image {vm.image}",
        )
        return
    yield from objections(chain, user=user)
    yield from _too_small(vm, size_of(chain))
    if vm.disk == CLONE and chain[0].format != FORMAT:
        yield Objection(
            f"the image {vm.image} is {chain[0].format}, and a disk is {FORMAT}",
            f"let the disk stand on it: leave vms.{vm.name}.disk out; or convert the image",
        )


def shrinking(vm: VM, images: Mapping[str, Chain]) -> tuple[Objection, ...]:
    """That the disk is to be smaller than it is, which no restart helps."""
    return tuple(_too_small(vm, size_of(images.get(vm.qcow_image))))


def _too_small(vm: VM, size: int) -> Iterator[Objection]:
    if size > wanted_bytes(vm) > 0:
        least = -(-size // GIB)
        yield Objection(
            f"disk_gb is {vm.disk_gb}, and its disk has {in_gib(size)}: a disk is not made smaller",
            f"set disk_gb = {least}, or start with a new disk: fab reset-disk --vm {vm.name}",
        )


def size_of(chain: Chain | None) -> int:
    """How large the guest finds it, in bytes; 0 where that is not known."""
    top = chain[0] if chain else None
    return 0 if top is None else top.virtual_size or (top.size if top.format == "raw" else 0)


def wanted_bytes(vm: VM) -> int:
    """How large the VM's disk is to be; 0 where hosts.toml does not say."""
    return (vm.disk_gb or 0) * GIB


def in_gib(size: int) -> str:
    """A number of bytes in GiB, as short as it can be said."""
    return f"{size / GIB:.4g}"


def spoken(size: int) -> str:
    """A number of bytes in the unit in which one would say it."""
    for unit, bytes_ in (("GiB", GIB), ("MiB", 1 << 20)):
        if size >= bytes_:
            return (
                f"{size / bytes_:.3g} {unit}"
                if size < 1000 * bytes_
                else f"{size // bytes_} {unit}"
            )
    return f"{size / 1024:.3g} KiB" if size else "nothing"


def preparing(vm: VM, images: Mapping[str, Chain]) -> tuple[Step, ...]:
    """What makes the disk of a VM that does not run what it is to be.

    A disk that is made goes again when a later step fails. One that was made larger stays so:
    nothing that was on it is lost.
    """
    if vm.image is None:
        return ()
    chain, wanted = images.get(vm.qcow_image), wanted_bytes(vm)
    if is_missing(chain):
        return (_making(vm, images[key_of_base(vm.image)], wanted),)
    if 0 < size_of(chain) < wanted:
        grow = qemu_img.grow_disk(vm.qcow_image, FORMAT, size=wanted)
        return (Step(GROW, (grow,), about=(vm.qcow_image,)),)
    return ()


def promised(vm: VM, images: Mapping[str, Chain]) -> int:
    """How much more a disk that is made or made larger may come to take, in bytes."""
    if vm.image is None:
        return 0
    chain = images.get(vm.qcow_image)
    if is_missing(chain):
        return max(wanted_bytes(vm), size_of(images.get(key_of_base(vm.image))))
    return max(0, wanted_bytes(vm) - size_of(chain))


def taken_at_once(vm: VM, images: Mapping[str, Chain]) -> int:
    """What a disk that is made takes from its first moment on: a copy is as large as the image."""
    if vm.disk != CLONE or vm.image is None or not is_missing(images.get(vm.qcow_image)):
        return 0
    base = images.get(key_of_base(vm.image)) or ()
    return base[0].used if base else 0


def wait_s(vm: VM, images: Mapping[str, Chain]) -> float:
    """How long `preparing` takes at most, beyond what any step may: a copy is as long as it is."""
    copies = vm.disk == CLONE and is_missing(images.get(vm.qcow_image))
    return qemu_img.CLONE_LIMIT_S if copies else 0.0


def growing(vm: VM, images: Mapping[str, Chain], argv: Sequence[str]) -> tuple[Request, ...]:
    """What makes the disk of a running VM larger: its QEMU does, which has it open.

    `argv` is what that was started with: QEMU names a drive that has no name after its place.
    """
    if not 0 < size_of(images.get(vm.qcow_image)) < wanted_bytes(vm):
        return ()
    return (qmp.resize(device_of(argv), size=wanted_bytes(vm)),)


def device_of(argv: Sequence[str]) -> str:
    """What a QEMU that was started with these words calls its first drive."""
    found = qemu.options(argv)
    named = any(drive.get("id") == ROOT for drive in qemu.every(found, "drive"))
    _, model = parse(found)
    return ROOT if named else {IDE: "ide0-hd0"}.get(model, f"{model}0")


def is_opened_once(argv: Sequence[str]) -> bool:
    """True where a QEMU that was started with these words never opens its first drive again. Any
    other does to let go of it, for reading only, as the user that it has become."""
    found = qemu.options(argv)
    image, _ = parse(found)
    own = [drive for drive in qemu.every(found, "drive") if drive.get("file") == image]
    return bool(own) and own[-1].get("auto-read-only") == "off"


def _making(vm: VM, base_chain: Chain, wanted: int) -> Step:
    base = base_of(base_chain[0].path)
    assert base is not None, "only bases are asked for by their image"
    undo = (qemu_img.remove_disk(vm.qcow_image),)
    if vm.disk == CLONE:
        commands = [qemu_img.clone_base(vm.qcow_image, base)]
        if wanted > size_of(base_chain):
            commands.append(qemu_img.grow_disk(vm.qcow_image, FORMAT, size=wanted))
        return Step(MAKE, tuple(commands), undo=undo)
    return Step(MAKE, (qemu_img.make_overlay(vm.qcow_image, base, size=wanted),), undo=undo)


def guards(vm: VM, images: Mapping[str, Chain]) -> tuple[Command, ...]:
    """That a disk which is to be made is still not there: its undo removes what lies there."""
    if vm.image is None or not is_missing(images.get(vm.qcow_image)):
        return ()
    return (qemu_img.no_disk(vm.qcow_image),)


def drift(vm: VM, images: Mapping[str, Chain]) -> list[Drift]:
    """Where the size of a VM's disk and the wanted one differ; nothing where it is not known."""
    has, wants = size_of(images.get(vm.qcow_image)), wanted_bytes(vm)
    if not has or not wants or has == wants:
        return []
    return [Drift("disk_gb", in_gib(has), in_gib(wants), live=has < wants)]


def unobjectionable(path: str, format: str = FORMAT) -> Chain:
    """A chain as it is supposed to be, for an image that nobody has looked at."""
    return (Image(path, format, looks=FORMAT if format == FORMAT else "other"),)


_NO_SUCH_FILE = "No such file or directory"
NOTHING_THERE: Chain = (Image("", FORMAT, fault="stat", why=_NO_SUCH_FILE),)
