"""An image and its backing files: how the worker is asked for them, and what QEMU must not open.

QEMU opens images as root before it becomes the VM's own user, and follows whatever a header names.
So each chain is read before, with the SSH user's rights, and judged. A header may still be
rewritten, or a link turned, between the look and QEMU's own: by whoever may write that file or its
folder. The SSH user and root are trusted to that extent, as `sudo` makes the one the other; on the
way to what a header names nobody else is, and on the way to what hosts.toml names no other user,
and not everybody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from stat import S_ISBLK
from typing import NamedTuple

from vmops.core.images.names import strays
from vmops.core.inventory.complaints import printable, typed
from vmops.core.script.command import FACT_BYTES, Command, command

MOST_IMAGES = 64
"""Images of one chain: a longer one is refused."""

_CORRUPT, _DATA_FILE = 2, 4
"""Bits of a qcow2 header's incompatible features."""


class Image(NamedTuple):
    """One image of a chain, as its header and the file system tell.

    `path` is the name by which QEMU opens it, `format` what it is then taken for; empty is that
    nothing says so, and QEMU would guess by the content. `looks` is "qcow2" or "other" by its
    content, empty where it could not be read. Sizes are in bytes: `size` of the file, `used` on
    disk, `virtual_size` as a guest sees it. `backing` is the backing file as the header names it,
    `data_file` None where there is none. `loose` is what others could turn on the way to it, and
    `loose_by` who: "all", its "owner", a "group", or nobody, in "proc", where QEMU finds another
    file by the same name. `public` is that everybody may read the image. `held` is the byte of
    QEMU's lock that stands in our way, 0 for none, and `holders` are the processes that have a held
    image open. `closed` is that root may not open it, as QEMU would. `fault` is what kept the
    worker from reading on, and `why` is the reason in its system's words, where it gave one.
    """

    path: str
    format: str
    looks: str = ""
    mode: int = 0
    owner: int = 0
    identity: str = ""
    size: int = 0
    used: int = 0
    virtual_size: int = 0
    backing: str = ""
    backing_format: str = ""
    data_file: str | None = None
    encrypted: bool = False
    features: int = 0
    loose: str = ""
    loose_by: str = "all"
    public: bool = False
    held: int = 0
    holders: tuple[int, ...] = ()
    closed: bool = False
    fault: str = ""
    why: str = ""


Chain = tuple[Image, ...]
"""An image, its backing file, that one's, and so on, as far as could be followed."""


class Objection(NamedTuple):
    """Why QEMU must not be given an image, and what can be done about it."""

    what: str
    cure: str


def read_chain(path: str, *, format: str = "qcow2") -> Command:
    """Read an image that QEMU is to open for writing, and all behind it, as the SSH user.

    A leading `~` is that user's home. `parse` reads the answer.
    """
    return read_chains([(path, format)])


def read_chains(images: Sequence[tuple[str, str]]) -> Command:
    """The same for several images, each with its format, by one process.

    `as_base` makes the format of one that disks stand on. `parse_several` reads the answer.
    """
    words = [word for path, format in images for word in (format, path)]
    return command("image_chains", *words, most_bytes=FACT_BYTES)


def are_sound(images: Sequence[tuple[str, str]]) -> Command:
    """Fail where there is any objection to these images, each with its format, and what they stand
    on, by now.

    For a start behind another process that could write to them: what was seen is not what is there.
    """
    return command("sound_images", *(word for path, format in images for word in (format, path)))


def as_base(format: str) -> str:
    """The format of an image that QEMU only reads, as other images stand on it."""
    return f"base:{format}"


def find_holders(path: str) -> Command:
    """Print the PIDs that have the image open, a line each. It reads all of /proc: seldom."""
    return command("image_holders", path)


def parse_holders(answer: str) -> tuple[int, ...]:
    """The PIDs. Raises ValueError for anything else."""
    return tuple(int(line) for line in answer.split())


def parse(answer: str) -> Chain:
    """The chain from what `read_chain` printed. Raises ValueError where that cannot be read."""
    found = parse_several(answer)
    if len(found) != 1:
        raise ValueError(f"{len(found)} chains, and not one")
    return found[0]


def parse_several(answer: str) -> tuple[Chain, ...]:
    """The chains in order, from what `read_chains` printed. Raises ValueError."""
    *chains, rest = answer.split("\n\n")
    holders: dict[str, list[int]] = {}
    for line in filter(None, rest.split("\n")):
        pid, _, identity = line.partition(" ")
        if not pid.isdecimal():
            raise ValueError(f"{len(chains)} chains, and then {line[:80]!r}")
        holders.setdefault(identity, []).append(int(pid))
    return tuple(_chain(chain, holders) for chain in chains)


def _chain(answer: str, holders: Mapping[str, Sequence[int]]) -> Chain:
    chain = tuple(_image(line) for line in answer.split("\n"))
    if not 0 < len(chain) <= MOST_IMAGES + 1:
        raise ValueError(f"a chain of {len(chain)} images")
    return tuple(
        image._replace(holders=tuple(holders.get(image.identity, ()))) if image.held else image
        for image in chain
    )


def _image(line: str) -> Image:
    words = line.split(" ")
    if len(words) % 2:
        raise ValueError(f"an odd line about an image: {line[:80]!r}")
    told = dict(zip(words[::2], words[1::2], strict=True))
    if "name" not in told or "as" not in told:
        raise ValueError(f"a line about no image: {line[:80]!r}")
    data_file = told.get("data")
    return Image(
        path=_name(told["name"]),
        format=_name(told["as"]),
        looks=told.get("looks", ""),
        mode=int(told.get("mode", "0"), 8),
        owner=int(told.get("owner", "0")),
        identity=told.get("id", ""),
        size=int(told.get("size", "0")),
        used=int(told.get("used", "0")),
        virtual_size=int(told.get("virtual", "0")),
        backing=_name(told.get("backing", "")),
        backing_format=_name(told.get("format", "")),
        data_file=None if data_file is None else _name(data_file),
        encrypted=told.get("crypt", "0") != "0",
        features=int(told.get("features", "0"), 16),
        loose=_name(told.get("loose", "")),
        loose_by=told.get("by", "all"),
        public="public" in told,
        held=int(told.get("held", "0")),
        closed="closed" in told,
        fault=told.get("fault", ""),
        why=_name(told.get("why", "")),
    )


def _name(digits: str) -> str:
    return bytes.fromhex(digits).decode(errors="surrogateescape")


def objections(chain: Chain, *, user: str) -> tuple[Objection, ...]:
    """Everything for which QEMU must not be given this chain, which was read as `user`.

    Empty: QEMU opens these files and no others, and the user may open them himself.
    """
    return tuple(entry for place in range(len(chain)) for entry in _against(chain, place, user))


def _against(chain: Chain, place: int, user: str) -> Iterator[Objection]:
    image = chain[place]
    path = printable(image.path)
    if place == 0:
        subject = path
    else:
        subject = f"{path}, the backing file of {printable(chain[place - 1].path)},"
    if image.fault and (fault := _fault(image, subject, user, writing=place == 0)):
        yield fault
        return
    if image.closed:
        yield Objection(
            f"root may not open {subject.rstrip(',')}, which {user} may: a FUSE mount or an NFS"
            " server keeps root out, and QEMU opens its disks as root",
            f"keep it on a disk of the worker's own: see {typed('df', image.path)}; or mount it"
            " there with allow_root (FUSE), or export it with no_root_squash (NFS)",
        )
    yield from _exposed(image, subject, user, writing=place == 0)
    yield from _misread(chain, place, subject)
    if image.data_file is not None or image.features & _DATA_FILE:
        named = printable(image.data_file) if image.data_file else "a file"
        yield Objection(
            f"{subject} keeps its data in another file, {named}",
            f"make one file of it: {_converted(image)}",
        )
    if image.encrypted:
        yield Objection(
            f"{subject} is encrypted, and QEMU is given no secret",
            "decrypt it with qemu-img convert, or encrypt inside the guest",
        )
    if place == 0 and image.features & _CORRUPT:
        yield Objection(
            f"{subject} is marked as corrupt, and QEMU does not write to such an image",
            f"repair it: {typed('qemu-img', 'check', '-r', 'all', image.path)}",
        )
    if strays(image.path, image.backing):
        yield Objection(
            f"{subject} stands on {printable(image.backing)[:200]}, which is no image that vmops"
            " has brought: its guest may have written its header",
            f"look at its guest; {_rebased(image.path, 'base-SHA256.qcow2', 'qcow2')} mends it",
        )
    if protocol := _protocol(image.backing):
        yield Objection(
            f"{subject} names {printable(image.backing)[:200]} as its backing file:"
            f' QEMU would use its "{protocol}" driver and not open a file',
            f"give it a plain path: {_rebased(image.path, '/PATH', 'FORMAT')}",
        )


def _fault(image: Image, subject: str, user: str, *, writing: bool) -> Objection | None:
    """What kept the worker from reading on at this image."""
    match image.fault:
        case "stat" | "open":
            wanted = "open" if not writing else "find" if image.fault == "stat" else "write to"
            what = f"{user} cannot {wanted} {subject.rstrip(',')}: {printable(image.why)}"
            if image.fault == "open" and writing and _may_be_given(image, user):
                give = typed("sudo", "chown", user, image.path)
                return Objection(what, f"give it to that user on the worker: {give}")
            return Objection(what, f"look: {typed('sudo', 'ls', '-lL', image.path)}")
        case "odd":
            return Objection(f"{subject} is neither a file nor a block device", "name another one")
        case "swapped":
            return Objection(f"{subject} was replaced while it was looked at", "try again")
        case "loop":
            return Objection(
                f"{subject} is in that chain already: it goes round in a circle",
                f"see {typed('qemu-img', 'info', '-U', image.path)}, and give it another backing"
                " file",
            )
        case "deep":
            return Objection(
                f"{subject} is one of more than {MOST_IMAGES} images, each standing on the next",
                "make one image of them with qemu-img convert",
            )
        case "header":
            return Objection(
                f"{subject} has a qcow2 header that QEMU would not read",
                f"see: {typed('qemu-img', 'check', image.path)}",
            )
    return Objection(f"{subject} could not be read: {printable(image.fault)}", "")


def _may_be_given(image: Image, user: str) -> bool:
    """False for a disk of the worker, and for what is root's outside the images' folder and the
    user's home: a mistake in hosts.toml should not have /dev/vda or /etc/shadow given away."""
    folder = image.path.rpartition("/")[0]
    is_at_home = "/vm_images" in folder or f"{folder}/".startswith(f"/home/{user}/")
    return not S_ISBLK(image.mode) and (image.owner != 0 or (is_at_home and "/.." not in folder))


def _exposed(image: Image, subject: str, user: str, *, writing: bool) -> Iterator[Objection]:
    """What others may write. Of what a header names there is no more advice than to look: a guest
    may have chosen it."""
    look = f"see what it is, and who has named it: {typed('sudo', 'ls', '-lL', image.path)}"
    if image.mode & 0o002:
        cure = f"keep them out: {typed('chmod', 'o-w', image.path)}"
        yield Objection(
            f"{subject} may be written by every user of the worker", cure if writing else look
        )
    if not image.loose:
        return
    place = printable(image.loose)
    match image.loose_by:
        case "owner":
            what = f"another user of the worker: {place} is neither {user}'s nor root's"
            cure = f"keep it where only {user} and root may write"
        case "group":
            what = f"a group of users: they may write to {place}"
            cure = f"keep it where only {user} and root may write"
        case "proc":
            what = f"itself: {place} is another file for each process"
            cure = "name another one"
        case _:
            what = f"every user of the worker: they may write to {place}"
            cure = f"keep them out: {typed('chmod', 'o-w', image.loose)}"
    yield Objection(f"{subject} may be replaced by {what}", cure if writing else look)


def _misread(chain: Chain, place: int, subject: str) -> Iterator[Objection]:
    """An image that is something else than what QEMU takes it for."""
    image = chain[place]
    above = chain[place - 1].path if place else ""
    if image.format == "qcow2" and image.looks == "other":
        cure = f"say what it is: {_rebased(above, image.path, 'raw')}"
        if not place:
            cure = f"convert it: {_converted(image)}"
        yield Objection(f"{subject} is not a qcow2 image", cure)
    elif image.format == "raw" and image.looks == "qcow2":
        cure = f"say what it is: {_rebased(above, image.path, 'qcow2')}"
        yield Objection(
            f"{subject} is taken for a raw image and is a qcow2 one",
            cure if place else "say so: format = qcow2",
        )
    elif not image.format and image.looks != "qcow2":
        yield Objection(
            f"{subject} has no format given there, and QEMU would guess",
            f"say what it is: {_rebased(above, image.path, 'raw')}",
        )
    elif image.format not in ("qcow2", "raw", ""):
        yield Objection(
            f'{subject} would be opened by QEMU\'s "{printable(image.format)[:40]}" driver,'
            " which may open more files",
            f"convert it: {_converted(image)}",
        )


def _converted(image: Image) -> str:
    return typed("qemu-img", "convert", "-O", "qcow2", image.path, "NEW.qcow2")


def _rebased(path: str, backing: str, format: str) -> str:
    return typed("qemu-img", "rebase", "-u", "-F", format, "-b", backing, path)


def _protocol(name: str) -> str:
    """The driver that QEMU picks by a name's beginning, as its `path_has_protocol` finds it."""
    before, colon, _ = name.partition(":")
    return printable(before)[:40] if colon and "/" not in before else ""


def without_holder(chain: Chain, pid: int) -> Chain:
    """The chain as it will be when that process has ended. What others hold too stays held."""
    return tuple(
        image._replace(held=0, holders=()) if image.holders == (pid,) else image for image in chain
    )


def in_use(chain: Chain) -> Chain:
    """The images that somebody has open in a way for which QEMU would refuse to start."""
    return tuple(image for image in chain if image.held)


def uses(chain: Chain) -> tuple[Objection, ...]:
    """Who has the images of `in_use` open, and how."""
    return tuple(_use(image) for image in in_use(chain))


def _use(image: Image) -> Objection:
    way = "written to" if image.held in (101, 103) else "in use, perhaps as a backing file,"
    who = ", ".join(map(str, image.holders))
    if not who:
        return Objection(
            f"{printable(image.path)} is {way} by somebody whom this worker does not see",
            "try again; a folder that other machines share may be used by one of them",
        )
    return Objection(
        f"{printable(image.path)} is {way} by PID {who}",
        f"see what that is: ps -fp {who.replace(' ', '')}",
    )


def readable_by_all(chain: Chain) -> tuple[str, ...]:
    """The images that every user of the worker may read: those hold what the guests wrote."""
    return tuple(image.path for image in chain if image.public)
