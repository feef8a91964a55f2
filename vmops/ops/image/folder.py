"""The bases on a worker: listed, verified, removed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from vmops.core.facts.images import FOLDER, Folder, Kept, names_of, remove, sum_of
from vmops.core.facts.question import Unanswered
from vmops.core.images.names import FOLDER as WHERE
from vmops.core.images.names import Base
from vmops.core.inventory.complaints import printable
from vmops.core.script.command import Block, Step
from vmops.errors import VmopsError, WorkFailed
from vmops.ops.act import ask, perform, unreadable
from vmops.ops.dry import Transcript
from vmops.ops.route import Route

REMOVE_LIMIT_S = 90.0
_MOST_NAMED = 3


class Found(NamedTuple):
    """A base on a worker, or an image that is not there. `names` are what hosts.toml calls it.

    `kept` None is that it is not there; `sum` what was found when it was verified.
    """

    worker: str
    names: tuple[str, ...] = ()
    base: Base | None = None
    kept: Kept | None = None
    sum: str = ""
    removed: bool = False
    error: VmopsError | None = None


Wanted = Callable[[Found], bool]
"""Which of the bases that a worker has are meant."""


def look(route: Route, bases: Mapping[str, Base], *, wanted: Wanted) -> list[Found]:
    """Every base there that is wanted, and every one of `bases`, by its image's name, that is not
    there. Never raises a VmopsError."""
    worker = route.worker.name
    try:
        folder = _folder(route)
    except VmopsError as error:
        return [Found(worker, error=error)]
    there = [Found(worker, names_of(bases, one.base), one.base, one) for one in folder.kept]
    known = {one.base for one in folder.kept}
    absent = [
        Found(worker, names_of(bases, base), base)
        for base in dict.fromkeys(bases.values())
        if base not in known
    ]
    return [found for found in (*there, *absent) if wanted(found)]


def _folder(route: Route) -> Folder:
    """Raises VmopsError. Nothing is there on a dry run."""
    answers = ask(route, FOLDER)
    if route.transcript is not None:
        return Folder()
    try:
        return answers[FOLDER]
    except Unanswered as error:
        raise unreadable(route, error) from error


def verify(route: Route, bases: Mapping[str, Base], *, wanted: Wanted) -> list[Found]:
    """Have the worker read the whole of each base that is wanted, and compare its sum."""
    if route.transcript is not None:
        ask(route, *(sum_of(base) for base in dict.fromkeys(bases.values())))
        return []
    found = look(route, bases, wanted=wanted)
    return [_verified(route, one) if one.kept and one.kept.is_whole else one for one in found]


def _verified(route: Route, found: Found) -> Found:
    base = found.base
    assert base is not None, "what is there is a base"
    question = sum_of(base)
    try:
        answer = ask(route, question)[question]
    except Unanswered as error:
        return found._replace(error=unreadable(route, error))
    except VmopsError as error:
        return found._replace(error=error)
    found = found._replace(sum=answer)
    if answer == base.digest:
        return found
    stand = f"; {_disks(found.kept)} on it" if found.kept and found.kept.disks else ""
    return found._replace(
        error=WorkFailed(
            f"{base.short} is damaged: its sha256 is {printable(answer)[:64]}{stand}",
            worker=route.worker.name,
            cure="look for a failing disk there; remove it and send it again",
        )
    )


def remove_bases(route: Route, bases: Mapping[str, Base], *, wanted: Wanted) -> list[Found]:
    """Remove every base that is wanted, and what is left of its transfers.

    One on which a disk stands, or which a process has open, is left, and so is every one where a
    file in the images folder cannot be read: it may stand on it. Never raises a VmopsError.
    """
    if route.transcript is not None:
        _show_removal(route, route.transcript, bases, wanted=wanted)
        return []
    try:
        folder = _folder(route)
    except VmopsError as error:
        return [Found(route.worker.name, error=error)]
    found = [
        Found(route.worker.name, names_of(bases, one.base), one.base, one) for one in folder.kept
    ]
    return [_removed(route, one, folder) for one in found if wanted(one)]


def _show_removal(
    route: Route, transcript: Transcript, bases: Mapping[str, Base], *, wanted: Wanted
) -> None:
    """What a dry run can say: which are there, and what stands on them, only the worker knows."""
    worker = route.worker
    ask(route, FOLDER)
    found = [Found(worker.name, names_of(bases, b), b) for b in dict.fromkeys(bases.values())]
    blocks = [_removal(one.base) for one in found if one.base is not None and wanted(one)]
    which = "these" if blocks else "those there that hosts.toml does not name"
    transcript.noted(worker, f"# of {which}, each on which no disk stands and that nobody has open")
    if blocks:
        perform(route, blocks, time_limit_s=REMOVE_LIMIT_S)
    else:
        transcript.noted(worker, f"rm -f {WHERE}/base-SHA256.FORMAT")


def _removal(base: Base) -> Block:
    return Block(base.name, (Step("remove", (remove(base),)),))


def _removed(route: Route, found: Found, folder: Folder) -> Found:
    assert found.base is not None, "what is there is a base"
    assert found.kept is not None, "what is there is kept"
    error = _objection(route, found.kept, folder)
    if error is None:
        try:
            (result,) = perform(route, [_removal(found.base)], time_limit_s=REMOVE_LIMIT_S)
        except VmopsError as failed:
            return found._replace(error=failed)
        if result.outcome == "done":
            return found._replace(removed=True)
        why = result.failure.reason() if result.failure else "the answer is cut short"
        error = WorkFailed(
            f"{found.base.short} is left: {why}", worker=route.worker.name, cure="try again"
        )
    return found._replace(error=error)


def _objection(route: Route, kept: Kept, folder: Folder) -> WorkFailed | None:
    if not kept.is_whole:
        return None
    where = route.worker.name
    if kept.is_in_use:
        who = (
            f"{_disks(kept)} on it"
            if kept.disks
            else f"PID {', '.join(map(str, kept.holders))} has it open"
        )
        return WorkFailed(
            f"{kept.base.short} is in use: {who}",
            worker=where,
            cure="it goes when the last disk that stands on it is gone",
        )
    if folder.unread:
        return WorkFailed(
            f"{kept.base.short} is left: nobody can say what these stand on:"
            f" {'; '.join(map(printable, folder.unread[:_MOST_NAMED]))}",
            worker=where,
            cure=f"let the SSH user read them, or move them out of {WHERE.rpartition('/')[0]}",
        )
    return None


def _disks(kept: Kept | None) -> str:
    names: Sequence[str] = [printable(disk) for disk in kept.disks] if kept else []
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    verb = "stands" if len(names) == 1 else "stand"
    return f"{', '.join(names[:_MOST_NAMED])}{more} {verb}" if names else "nothing stands"
