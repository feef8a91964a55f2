"""Images on workers from the command line: image.push, pull, list, verify, remove."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vmops.errors import InventoryError
from vmops.tasks.frame import options
from vmops.tasks.frame.confirm import be_sure
from vmops.tasks.frame.context import Context, is_host
from vmops.tasks.frame.harmless import one_line
from vmops.tasks.frame.options import Option
from vmops.tasks.frame.output import give_table, say
from vmops.tasks.frame.selection import begin_to_connect, groups_of_workers, inventory
from vmops.tasks.frame.task import task
from vmops.tasks.frame.work import Report, Work
from vmops.tasks.image.display import shown, size

if TYPE_CHECKING:
    from vmops.core.images.names import Base
    from vmops.core.images.progress import Progress
    from vmops.core.inventory.image import Image
    from vmops.ops.image.folder import Found, Wanted
    from vmops.ops.image.transfers import Brought, Tell
    from vmops.ops.route import Group

IMAGE = Option(
    "The image's name; several separated by commas, or a glob. Default: all of them.",
    names="images",
)
KEPT = Option(
    "As image.list shows it: names of hosts.toml, a glob, or 8 digits or more of a base's sha256.",
    names="images",
)
YES = Option("Do not ask first.")
FAN_OUT = Option("Send each image once from here, and on from worker to worker (docs/images.md).")

_BRINGING = {
    "image": IMAGE,
    "worker": options.WORKER,
    "parallel": options.PARALLEL,
    "format": options.FORMAT,
}

_DIGITS = re.compile(r"[0-9a-f]{8,64}")


@task({**_BRINGING, "fan_out": FAN_OUT})
def push(
    c: Context,
    image: str | None = None,
    worker: str | None = None,
    parallel: int = 0,
    fan_out: bool = False,
    format: str = "text",
) -> Work[Brought]:
    """
    Send images of hosts.toml to workers; what is there is not sent again.

    Without their zeros, packed where both sides have zstd, on with what was cut. An image gets its
    name when the worker's own sha256 is right. Example: fab image.push --image debian-12 --fan-out
    """
    if fan_out and is_host(c):
        raise InventoryError(
            "image.push: --fan-out goes from worker to worker, and -H is about one at a time",
            cure="name them with --worker; without it, all of them are meant",
        )
    chosen = _of_kind(c, image, "file", "push", "pull")
    groups = groups_of_workers(c, worker, early=False)
    return _bringing(c, groups, chosen, parallel, fan_out=fan_out)


@task(_BRINGING)
def pull(
    c: Context,
    image: str | None = None,
    worker: str | None = None,
    parallel: int = 0,
    format: str = "text",
) -> Work[Brought]:
    """
    Have workers fetch images of hosts.toml that have a url, by their own curl or wget.

    On with what was cut; an image gets its name when its sha256 is right.
    Example: fab image.pull --image vyos --worker worker1
    """
    chosen = _of_kind(c, image, "url", "pull", "push")
    return _bringing(c, groups_of_workers(c, worker, early=False), chosen, parallel)


def _bringing(
    c: Context,
    groups: Sequence[Group],
    chosen: Sequence[Image],
    parallel: int,
    *,
    fan_out: bool = False,
) -> Work[Brought]:
    from vmops.ops.image.local import base_of
    from vmops.ops.image.transfers import bring

    for image in chosen:
        base_of(image)  # a bad file is told before a worker is contacted, and its sum is made once
    begin_to_connect(c, groups, parallel=parallel)
    shows: list[Tell] = []

    def tell(image: str, worker: str, progress: Progress | None) -> None:
        for show in shows:
            show(image, worker, progress)

    @contextmanager
    def around() -> Iterator[None]:
        with shown() as show:
            shows[:] = [show]
            yield

    def work(group: Group) -> Sequence[Brought]:
        if fan is not None:
            return fan.bring(group.route, tell=tell)
        return bring(group.route, chosen, tell=tell)

    fan = None
    if fan_out:
        from vmops.ops.image.fan_out import FanOut

        fan = FanOut(groups, chosen)
    return Work(
        groups,
        work,
        Report(_say_brought, brought_as_dict),
        parallel=parallel,
        around=around,
    )


def _say_brought(found: Sequence[Brought]) -> None:
    for one in found:
        if one.error is None:
            say(one_line(f"{one.image} on {one.worker}: {in_words(one)}"))


def in_words(one: Brought) -> str:
    """What came of an image that is on its worker now."""
    if not one.changed:
        return "it is there already"
    again = f", from {size(one.resumed_at)} on" if one.resumed_at else ""
    giver = f" from {one.giver}" if one.giver else ""
    return f"{size(one.sent)}{giver} in {one.seconds:.1f} s{again}"


def brought_as_dict(one: Brought) -> dict[str, Any]:
    """The JSON object of an image that was sent or fetched."""
    return {
        "image": one.image,
        "worker": one.worker,
        "base": one.base.name if one.base else None,
        "path": one.base.path if one.base else None,
        "changed": one.changed,
        "sent_bytes": one.sent,
        "resumed_at": one.resumed_at,
        "seconds": round(one.seconds, 3),
        "from": one.giver or None,
    }


@task({"image": KEPT, "worker": options.WORKER, "format": options.FORMAT}, name="list")
def list_images(
    c: Context, image: str | None = None, worker: str | None = None, format: str = "text"
) -> Work[Found]:
    """
    List the images that workers have, and what stands on each.

    Also what hosts.toml does not name any more, and what is left of a transfer that was cut.
    Example: fab image.list --worker worker1
    """
    from vmops.ops.image.folder import look

    bases, wanted = _meant(c, image)
    return Work(
        groups_of_workers(c, worker),
        lambda g: look(g.route, bases, wanted=wanted),
        Report(_table, _found_as_dict),
    )


@task({"image": KEPT, "worker": options.WORKER, "format": options.FORMAT})
def verify(
    c: Context, image: str | None = None, worker: str | None = None, format: str = "text"
) -> Work[Found]:
    """
    Have workers read their images whole and compare the sha256; exit code 1 for a damaged one.

    So it is where no worker has any of them. Example: fab image.verify --image debian-12
    """
    from vmops.ops.image.folder import verify as verified

    bases, wanted = _meant(c, image)
    return Work(
        groups_of_workers(c, worker),
        lambda g: verified(g.route, bases, wanted=wanted),
        Report(_table, _found_as_dict, exit_code=_of_what_was_read),
    )


def _of_what_was_read(found: Sequence[Found]) -> int:
    """1, and a word of it, where images are meant and none was read."""
    if not found or any(one.sum for one in found):
        return 0
    say("nothing was verified: no worker has a whole image of these")
    return 1


@task(
    {
        "image": KEPT,
        "worker": options.WORKER,
        "unused": Option("All on which no disk stands and that hosts.toml does not name."),
        "yes": YES,
        "format": options.FORMAT,
    }
)
def remove(
    c: Context,
    image: str | None = None,
    worker: str | None = None,
    unused: bool = False,
    yes: bool = False,
    format: str = "text",
) -> Work[Found]:
    """
    Remove images from workers, but none on which a disk stands.

    That is told by the headers of all files in ~/vm_images there and by what processes have open.
    It asks on a terminal; elsewhere it takes --yes. Example: fab image.remove --unused --yes
    """
    from vmops.ops.image.folder import remove_bases

    if unused == bool(image):
        raise InventoryError("image.remove: which images?", cure="name them: --image, or --unused")
    bases, wanted = _meant(c, image)
    groups = groups_of_workers(c, worker, early=False)
    what = "what is unused" if unused else f"image {image}"
    workers = ", ".join(group.route.worker.name for group in groups)
    be_sure(c, f"remove {what} from {workers}", yes=yes, cure="--yes removes without asking")
    meant = _is_unused if unused else wanted
    none = "no image is unused" if unused else "no such image is there"
    return Work(
        groups,
        lambda g: remove_bases(g.route, bases, wanted=meant),
        Report(lambda found: _say_removed(found, none), _found_as_dict),
    )


def _is_unused(found: Found) -> bool:
    return not found.names and found.kept is not None and not found.kept.is_in_use


def _say_removed(found: Sequence[Found], none: str) -> None:
    for one in found:
        if one.removed:
            say(one_line(f"{_name(one)} on {one.worker}: removed"))
    if not found:
        say(none)


def _of_kind(c: Context, pattern: str | None, kind: str, task: str, other: str) -> list[Image]:
    """The images that are meant and have a file, or a url. Raises InventoryError."""
    listed = inventory(c)
    chosen = listed.select_images("*" if pattern is None else pattern) if listed.images else ()
    mine = [image for image in chosen if getattr(image, kind) is not None]
    named = [word.strip() for word in (pattern or "").split(",")]
    wrong = [image.name for image in chosen if image not in mine and image.name in named]
    if wrong:
        raise InventoryError(
            f"image.{task}: {', '.join(wrong)} has no {kind}", cure=f"fab image.{other}"
        )
    if not mine:
        raise InventoryError(
            f"{listed.source} has no image with a {kind}{f' of {pattern!r}' if pattern else ''}",
            cure="docs/inventory.md tells of [images.NAME]",
        )
    return mine


def _meant(c: Context, pattern: str | None) -> tuple[Mapping[str, Base], Wanted]:
    """The bases of hosts.toml that are meant, by name, and which of a worker's are.

    Without a pattern that is every one. Raises InventoryError.
    """
    from vmops.ops.image.local import base_of

    listed = inventory(c)
    words = [word.strip() for word in pattern.split(",")] if pattern else []
    digits = [w.removeprefix("base-").partition(".")[0] for w in words if w not in listed.images]
    prefixes = tuple(word for word in digits if _DIGITS.fullmatch(word))
    names = ",".join(w for w in words if w.removeprefix("base-").partition(".")[0] not in prefixes)
    chosen = listed.select_images(names) if names else ()
    if pattern is None:
        chosen = tuple(listed.images.values())
    bases = {image.name: base_of(image) for image in chosen}
    if pattern is None:
        return bases, lambda found: True
    meant = set(bases.values())
    return (
        bases,
        lambda found: (
            found.base is None or found.base in meant or found.base.digest.startswith(prefixes)
            if prefixes
            else found.base is None or found.base in meant
        ),
    )


def _name(one: Found) -> str:
    base = one.base.short if one.base else "-"
    return f"{', '.join(one.names)} ({base})" if one.names else base


def _table(found: Sequence[Found]) -> None:
    from vmops.core.images.names import SHORT

    if not found:
        say("no image is there")
    rows = [
        [
            one.worker,
            ", ".join(one.names) or "-",
            one.base.digest[:SHORT],
            one.base.format,
            _state_word(one),
            size(one.kept.size) if one.kept else "-",
            size(one.kept.used) if one.kept else "-",
            str(len(one.kept.disks)) if one.kept else "-",
        ]
        for one in found
        if one.base is not None
    ]
    if rows:
        give_table(("WORKER", "IMAGE", "BASE", "FORMAT", "STATE", "SIZE", "ON DISK", "DISKS"), rows)


def _found_as_dict(one: Found) -> dict[str, Any]:
    kept = one.kept
    return {
        "worker": one.worker,
        "image": one.names[0] if one.names else None,
        "images": list(one.names),
        "base": one.base.name if one.base else None,
        "path": one.base.path if one.base else None,
        "state": _state_word(one),
        "size_bytes": kept.size if kept else None,
        "used_bytes": kept.used if kept else None,
        "disks": list(kept.disks) if kept else [],
        "holders": list(kept.holders) if kept else [],
        "removed": one.removed,
    }


def _state_word(one: Found) -> str:
    """The same word in the table as in the JSON, of `list` as of `verify`."""
    if one.base is None:
        return "unknown"
    if one.kept is None:
        return "absent"
    if not one.kept.is_whole:
        return "partial"
    return "damaged" if one.sum and one.sum != one.base.digest else "whole"
