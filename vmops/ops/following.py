"""VMs that were moved: work on them is done where they are, wherever hosts.toml has them.

A worker that a VM has left keeps a mark of it (docs/migration.md). The first answer of a worker
brings its marks along, before anything is done there: where no VM was moved nothing is asked that
would not be asked anyway. Where one was, its work begins anew at the worker that the mark names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from vmops.core.devices.storage.moving import Mark
from vmops.core.facts.images import MOVES
from vmops.core.facts.question import Unanswered
from vmops.core.facts.wiring import DRAINED
from vmops.core.inventory.model import VM
from vmops.core.plan.moving import marks
from vmops.core.tools.ovs import Drained
from vmops.errors import VmopsError
from vmops.ops.act import ask
from vmops.ops.fleet import DEFAULT_PARALLEL, on_each
from vmops.ops.route import Group, Ways
from vmops.ops.watch import Gone, GoneError, Watch

T = TypeVar("T")


class Moved(NamedTuple):
    """A VM that hosts.toml has at `home`, and where it was found. With a `mark` it is in between,
    or that names no worker of the inventory. `what` is said of it, `cure` is what to do.
    `drained` is that it was taken away as its home is drained, `is_open` that its home gets VMs
    again."""

    vm: VM
    home: str
    there: str
    what: str
    cure: str
    mark: Mark | None = None
    drained: bool = False
    is_open: bool = False


class _Round(NamedTuple):
    """What came of the work on one group; with `anew` nothing did, and all of it is yet to do."""

    results: Sequence[Any]
    marks: Mapping[str, Mark]
    anew: bool = False


def on_each_where_they_are(
    groups: Sequence[Group],
    work: Callable[[Group], Sequence[T]],
    *,
    parallel: int = DEFAULT_PARALLEL,
    tell: Callable[[Moved], None] | None = None,
) -> Iterator[tuple[Group, Sequence[T]]]:
    """As `on_each`, but VMs of a group with `ways` that were moved are worked on where they are,
    when all others are done. `tell` gets each of these.

    One that is in between, as no worker has handed it over yet, is worked on at the one that it is
    leaving. Work on one that is at a worker which the inventory does not have finds that worker out
    of reach.
    """
    yield from _follow(groups, work, _Search(tell), parallel=parallel)


def _follow(
    groups: Sequence[Group],
    work: Callable[[Group], Sequence[T]],
    search: _Search,
    *,
    parallel: int,
) -> Iterator[tuple[Group, Sequence[T]]]:
    waiting = list(groups)
    while waiting:
        following: list[Group] = []
        for group, done in on_each(waiting, lambda g: _attempt(g, work, search), parallel=parallel):
            if not done.anew:
                yield group, done.results
            following += search.next_groups(group, done)
        waiting = _together(following)


def located(
    groups: Sequence[Group],
    *,
    parallel: int = DEFAULT_PARALLEL,
    tell: Callable[[Moved], None] | None = None,
) -> list[Group]:
    """The same groups with each VM where it is: their workers are asked for marks, and no more.

    A worker that cannot be asked keeps its VMs, and so does one whose mark names a worker that the
    inventory does not have. Groups that have no VM any more are kept as well.
    """

    def look(group: Group) -> list[VM]:
        if group.route.watch is not None and group.route.transcript is None:
            with suppress(VmopsError):
                ask(group.route, MOVES)
        return list(group.vms)

    found = {group.route.worker.name: group._replace(vms=()) for group in groups}
    search = _Search(tell, keeps=True)
    for group, vms in _follow(groups, look, search, parallel=parallel):
        name = group.route.worker.name
        before = found.get(name, group._replace(vms=()))
        found[name] = before._replace(vms=(*before.vms, *vms))
    return list(found.values())


class _Search:
    """Where VMs were looked for, one worker after the other, and which are found. With `keeps` one
    that is at a worker which the inventory does not have stays with the one whose mark says so."""

    def __init__(self, tell: Callable[[Moved], None] | None, *, keeps: bool = False) -> None:
        self._keeps = keeps
        self._trails: dict[str, tuple[str, ...]] = {}
        self._settled: dict[str, tuple[str, Mark]] = {}
        self._drained: dict[str, Drained | None] = {}
        self._tell = tell

    def watched(self, group: Group) -> list[str]:
        """The VMs that a mark may lead on from this worker. Where one is that hosts.toml gives none
        was found already."""
        names = (vm.name for vm in group.vms if vm.worker is not None)
        return [name for name in names if name not in self._settled]

    def next_groups(self, group: Group, done: _Round) -> list[Group]:
        """What is yet to do for the VMs of a group."""
        found = []
        if group.ways is None:
            return []
        for vm in group.vms:
            mark = done.marks.get(vm.name)
            if mark is not None:
                found.append(self._led_on(group, vm, mark))
            elif done.anew:
                # What was seen there is of some time ago when all others are done.
                found.append(Group(group.route._replace(seen=None), (vm,), group.ways))
            elif vm.name in self._trails:
                self._found(group, vm)
        return found

    def _led_on(self, group: Group, vm: VM, mark: Mark) -> Group:
        """The VM at the worker that the mark names. Where it was seen already, or there is no way
        there, it is in between."""
        assert group.ways is not None, "only a group with ways has marks"
        here = group.route.worker.name
        trail = self._trails.get(vm.name, (here,))
        self._trails[vm.name] = trail
        route = group.ways.to(mark.peer)
        if route is not None and mark.peer not in trail:
            self._trails[vm.name] = (*trail, mark.peer)
            return Group(route, (vm,), group.ways)
        self._settled[vm.name] = (here, mark)
        if route is None and marks.is_gone(mark) and not self._keeps:
            return Group(group.ways.to_missing(mark.peer), (vm,), group.ways)
        if route is None or len(trail) == 1:
            return Group(group.route._replace(seen=None), (vm,), group.ways)
        self._trails[vm.name] = trail[:-1]
        back = group.ways.to(trail[-2])
        assert back is not None, "it was asked"
        return Group(back, (vm,), group.ways)

    def _found(self, group: Group, vm: VM) -> None:
        (home, *_), here = self._trails.pop(vm.name), group.route.worker.name
        seen_at, mark = self._settled.get(vm.name, (here, None))
        if self._tell is None:
            return
        assert group.ways is not None, "only a group with ways has trails"
        taken = self._taken_from(home, group.ways) if mark is None else None
        drained = taken is not None and vm.name in taken.away
        is_open = taken is not None and taken.is_open
        if mark is not None and group.ways.to(mark.peer) is None:
            said = marks.unknown(seen_at, mark)
        elif mark is not None:
            said = marks.said(vm.name, seen_at, mark)
        elif drained:
            said = marks.away(vm.name, home, here, is_open=is_open)
        else:
            own_line = group.ways.listed.has_own_worker(vm)
            said = marks.at_another(vm.name, home, here, own_line=own_line)
        self._tell(Moved(vm, home, here, *said, mark=mark, drained=drained, is_open=is_open))

    def _taken_from(self, home: str, ways: Ways) -> Drained | None:
        """What is written down of a drain of that worker."""
        if home not in self._drained:
            self._drained[home] = None
            route = ways.to(home)
            if route is not None:
                with suppress(VmopsError, Unanswered):
                    self._drained[home] = ask(route, DRAINED)[DRAINED]
        return self._drained[home]


def _attempt(group: Group, work: Callable[[Group], Sequence[Any]], search: _Search) -> _Round:
    """The work, as far as its VMs are there."""
    names = search.watched(group) if group.ways is not None else []
    if not names:
        return _Round(work(group), {})
    watch = Watch(group.route.worker.name, names)
    try:
        results = work(group._replace(route=group.route._replace(watch=watch)))
    except GoneError as gone:
        return _Round((), gone.marks, anew=True)
    lost = {error.vm: error.mark for one in results if (error := _gone(one)) is not None}
    return _Round([one for one in results if _gone(one) is None], lost)


def _gone(result: Any) -> Gone | None:
    error = getattr(result, "error", None)
    return error if isinstance(error, Gone) else None


def _together(groups: Iterable[Group]) -> list[Group]:
    """One group for each worker."""
    found: dict[str, Group] = {}
    for group in groups:
        name = group.route.worker.name
        before = found.get(name)
        found[name] = group if before is None else before._replace(vms=(*before.vms, *group.vms))
    return list(found.values())
