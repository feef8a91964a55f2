"""A VM's disk: the image that QEMU opens."""

from __future__ import annotations

from vmops.core.tools import image_chain, qemu
from vmops.core.tools.image_chain import Chain, Image, Objection

IDE = "ide"
"""What the documented drive is."""

FORMAT = "qcow2"
"""What the documented words take every image for."""


def absolute(image: str, home: str) -> str:
    """The path with a leading `~` replaced by `home`."""
    return home + image[1:] if image == "~" or image.startswith("~/") else image


def words(image: str, model: str = IDE) -> tuple[str, ...]:
    """The drive with that image, an absolute path: the documented words, which make it IDE."""
    interface = "" if model == IDE else f",if={model}"
    return ("-drive", f"file={qemu.escaped(image)},format={FORMAT}{interface}")


def parse(found: qemu.Options) -> tuple[str, str]:
    """The image of a command line and the drive's model; empty without a drive."""
    drive = qemu.split(qemu.last(found, "drive") or "")
    return drive.get("file", ""), drive.get("if", IDE) if drive else ""


def objections(chain: Chain | None, *, path: str, vm: str, user: str) -> tuple[Objection, ...]:
    """What keeps QEMU from opening the image, or us from letting it; `user` is the SSH user."""
    if not chain or (chain[0].fault, chain[0].why) == ("stat", "No such file or directory"):
        return (Objection(f"no image {path}", f"make it there, or correct vms.{vm}.qcow_image"),)
    return (*image_chain.objections(chain, user=user), *image_chain.uses(chain))


def unobjectionable(path: str) -> Chain:
    """A chain as it is supposed to be, for an image that nobody has looked at."""
    return (Image(path, FORMAT, looks=FORMAT),)
