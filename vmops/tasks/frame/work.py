"""What a task does on its workers, and how the frame carries that out and tells of it.

A task says what it selects, its work and its words. The frame does what all tasks have in common:
`--dry`, many workers at once, notes, JSON or text, one exit code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from invoke.exceptions import Exit

from vmops.errors import VmopsError, WorkFailed
from vmops.tasks.frame.context import Context, is_dry
from vmops.tasks.frame.harmless import one_line
from vmops.tasks.frame.output import complain, finish, give, give_json, say
from vmops.tasks.typed.program import as_typed

if TYPE_CHECKING:
    from vmops.ops.following import Moved
    from vmops.ops.route import Group

T = TypeVar("T")


def errors_of(result: Any) -> Sequence[VmopsError]:
    """The error of a result that has one at most."""
    return () if result.error is None else (result.error,)


class Report(NamedTuple, Generic[T]):
    """How a task's results are told.

    `text` puts them on standard output, or says them. `as_dict` makes a result's JSON object, to
    which the frame adds the `error`, or several that have it. `merged` looks at the results of all
    workers together. `line` is said of each result as it comes, where there is `progress` to be
    shown. `exit_code` is that of a task that has failed nowhere. `cure` is a task that brings in
    interfaces which were left out. `last` says what there is to be said besides, and `shown_last`
    shows in a dry run what `merged` would do.
    """

    text: Callable[[Sequence[T]], None]
    as_dict: Callable[[T], dict[str, Any] | list[dict[str, Any]]] | None = None
    errors: Callable[[T], Sequence[VmopsError]] = errors_of
    merged: Callable[[Sequence[T]], Sequence[T]] = lambda results: results
    line: Callable[[T], str] | None = None
    exit_code: Callable[[Sequence[T]], int] = lambda results: 0
    cure: str = ""
    last: Callable[[], None] = lambda: None
    shown_last: Callable[[], None] = lambda: None


class Work(NamedTuple, Generic[T]):
    """What a task does: `do` for each group, on `parallel` workers at once (0: the usual cap).

    `name` is the task's, for the progress bar. It all happens `around` what shows it, where
    that is more than a bar.
    """

    groups: Sequence[Group]
    do: Callable[[Group], Sequence[T]]
    report: Report[T]
    parallel: int = 0
    name: str = ""
    around: Callable[[], AbstractContextManager[object]] = nullcontext


def carry_out(c: Context, work: Work[T], *, as_json: bool) -> Sequence[T]:
    """Do the work and tell of it; under `--dry` show what it would run. Gives the results.

    Raises FleetFailed for what failed, after everything was told.
    """
    if show_dry(c, work.groups, work.do):
        work.report.shown_last()
        return ()
    report = work.report
    results = report.merged(_done(work))
    for result in results:
        _remark(result, cure=report.cure)
    if as_json and report.as_dict is not None:
        give_json([found for result in results for found in _objects(result, report)])
    else:
        report.text(results)
    report.last()
    finish([error for result in results for error in report.errors(result)])
    code = report.exit_code(results)
    if code:
        raise Exit(code=code)
    return results


def show_dry(c: Context, groups: Iterable[Group], do: Callable[[Group], object]) -> bool:
    """With `fab --dry`: do it all with a transcript in each worker's place, print that, contact
    nothing, and say True."""
    if not is_dry(c):
        return False
    from vmops.ops.dry import Shown, Transcript

    for group in groups:
        kept = Transcript()
        with suppress(Shown):
            do(group._replace(route=group.route._replace(transcript=kept)))
        give(str(kept))
    return True


def each(
    groups: Sequence[Group],
    work: Callable[[Group], Sequence[T]],
    *,
    parallel: int = 0,
    told: Callable[[T], None] | None = None,
) -> list[T]:
    """The work of every group, on many workers at once, in the order of the groups; then that on
    VMs that were moved, where they are.

    `parallel` caps the workers, 0 leaves that to the fleet. `told` gets each result as it comes.
    """
    from vmops.ops.fleet import DEFAULT_PARALLEL, on_each

    places = {group.route.worker.name: place for place, group in enumerate(groups)}
    found: list[tuple[int, Sequence[T]]] = []
    moved: list[Moved] = []
    cap = parallel or DEFAULT_PARALLEL
    if any(group.ways is not None for group in groups):
        from vmops.ops.following import on_each_where_they_are

        done = on_each_where_they_are(groups, work, parallel=cap, tell=moved.append)
    else:
        done = on_each(groups, work, parallel=cap)
    for group, results in done:
        found.append((places.get(group.route.worker.name, len(places)), results))
        if told is not None:
            for result in results:
                told(result)
    _say_moved(moved)
    in_order = sorted(found, key=lambda one: one[0])
    return [item for _, results in in_order for item in results]


_MOST_NAMES = 8
_SAID: set[str] = set()
"""What a task that looks again and again, or the next of a chain, does not say again."""


def where_they_are(c: Context, groups: Sequence[Group], *, empty: bool = False) -> list[Group]:
    """The same with VMs that were moved at the worker where they are: for work that has to know it
    before it begins, one exchange with each worker. With `empty` also workers that have none."""
    if is_dry(c):
        return list(groups)
    from vmops.ops.following import located

    moved: list[Moved] = []
    found = [one for one in located(groups, tell=moved.append) if one.vms or empty]
    _say_moved(moved)
    return found


def _say_moved(found: Sequence[Moved]) -> None:
    """Say where VMs are that hosts.toml has on another worker: all that a drain has taken from one
    in one line."""
    drained: dict[tuple[str, bool], list[Moved]] = {}
    for one in found:
        if one.drained:
            drained.setdefault((one.home, one.is_open), []).append(one)
        else:
            _say_once(f"{one.vm.name}: {one.what}; {one.cure}")
    for (home, is_open), taken in drained.items():
        (first, *more) = taken
        names = ", ".join(one.vm.name for one in taken[:_MOST_NAMES])
        if not more:
            _say_once(f"{names}: {first.what}; {first.cure}")
        else:
            rest = ", ..." if len(taken) > _MOST_NAMES else ""
            why = f"and have yet to come back to {home}" if is_open else f"as {home} is drained"
            what = f"{len(taken)} VMs ({names}{rest}) are on other workers, {why}"
            _say_once(f"{what}; {first.cure}")


def _say_once(text: str) -> None:
    said = as_typed(one_line(text))
    if said not in _SAID:
        _SAID.add(said)
        say(said)


def _done(work: Work[T]) -> Sequence[T]:
    line = work.report.line
    if line is None:
        with work.around():
            return each(work.groups, work.do, parallel=work.parallel)
    from vmops.tasks.frame.progress import progress

    errors = work.report.errors
    with progress(work.name, sum(len(group.vms) for group in work.groups)) as tell:
        return each(
            work.groups,
            work.do,
            parallel=work.parallel,
            told=lambda result: tell(line(result), bool(errors(result))),
        )


def _objects(result: T, report: Report[T]) -> list[dict[str, Any]]:
    """The JSON of a result, each object with what went wrong: where, why and the cure."""
    assert report.as_dict is not None
    found = report.as_dict(result)
    if isinstance(found, list):
        return found
    return [found if "error" in found else found | {"error": text_of(report.errors(result))}]


def text_of(errors: Sequence[VmopsError]) -> str | None:
    """Errors in JSON: None where nothing went wrong."""
    return "\n".join(map(str, errors)) or None


def _remark(result: Any, *, cure: str) -> None:
    """What the operator has to know beside a result: notes, and interfaces left out."""
    for note in getattr(result, "notes", ()):
        say(one_line(note))
    complain(
        WorkFailed(
            f"interface {skip.interface} is left out: {skip.reason}",
            vm=result.vm,
            worker=result.worker,
            cure=f"{cure} --vm {result.vm}" if cure else "",
        )
        for skip in getattr(result, "skipped", ())
    )
