"""Asking before something happens to many VMs at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from invoke.exceptions import Exit

from vmops.errors import InventoryError, WorkFailed
from vmops.tasks.frame.context import Context, is_dry
from vmops.tasks.frame.output import finish, say

if TYPE_CHECKING:
    from vmops.ops.route import Group

Look = Callable[[Sequence["Group"]], None]
"""Looks at workers, and raises for what keeps something from being done there."""

_MOST_NAMES = 4


def confirm(c: Context, groups: Sequence[Group], verb: str, *, yes: bool) -> None:
    """Say how many VMs on which workers are meant, if there are several, and ask on a terminal.

    Where nobody sits at a terminal, or with `yes`, it goes on at once. Anything but y or yes ends
    the task with exit code 1.
    """
    names = {vm.name for group in groups for vm in group.vms}
    if len(names) < 2 or is_dry(c):
        return
    say(f"{verb}: {in_short(groups)}")
    if not yes and _somebody_is_there():
        _go_on()


def ask(
    c: Context, groups: Sequence[Group], verb: str, *, yes: bool, first: Look | None = None
) -> None:
    """Before what cannot be taken back, for one VM too: as `be_sure`.

    What keeps it from being done is told before somebody is asked, by a `first` look at the
    workers.
    """
    if not any(group.vms for group in groups):
        return
    what = f"{verb}: {in_short(groups)}"
    if yes and not is_dry(c):
        say(what)
    if first is not None and not yes and not is_dry(c) and _somebody_is_there():
        first(groups)
    be_sure(c, what, yes=yes, cure="--yes goes on without asking")


def refuse_running(groups: Sequence[Group]) -> None:
    """Raise FleetFailed for VMs that run, and for workers that cannot say it."""
    from vmops.ops.vm.status import status
    from vmops.tasks.frame.work import each

    found = each(groups, lambda g: status(g.route, g.vms))
    running = [
        WorkFailed(
            f"{one.vm} is {one.state}, with this disk",
            worker=one.worker,
            vm=one.vm,
            cure=f"stop it first: fab stop --vm {one.vm}",
        )
        for one in found
        if one.error is None and one.pid is not None
    ]
    finish([*running, *(one.error for one in found if one.error is not None)])


def be_sure(c: Context, what: str, *, yes: bool, cure: str) -> None:
    """Ask before something is removed for good. Where nobody sits at a terminal, InventoryError
    with that cure, unless `yes`."""
    if yes or is_dry(c):
        return
    if not _somebody_is_there():
        raise InventoryError(f"{what}: nobody is there to be asked", cure=cure)
    say(what)
    _go_on()


def _go_on() -> None:
    sys.stderr.write("go on? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        say("nothing was done")
        raise Exit(code=1)


def in_short(groups: Sequence[Group]) -> str:
    """How many VMs on which workers, with the first names of both.

    A VM that is pinned nowhere is looked for on several workers, and is one all the same.
    """
    names = list(dict.fromkeys(vm.name for group in groups for vm in group.vms))
    workers = [group.route.worker.name for group in groups]
    where = _first(workers, "worker")
    return f"{_first(names, 'VM')} on {where}"


def _first(names: Sequence[str], noun: str) -> str:
    more = ", ..." if len(names) > _MOST_NAMES else ""
    plural = "" if len(names) == 1 else "s"
    return f"{len(names)} {noun}{plural} ({', '.join(names[:_MOST_NAMES])}{more})"


def _somebody_is_there() -> bool:
    return bool(sys.stdin and sys.stdin.isatty() and sys.stderr.isatty())
