"""What the tasks for VMs share: options, work on every worker, --dry, and how results are told."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vmops.errors import InventoryError, VmopsError
from vmops.tasks.frame.output import complain, finish, give, say

if TYPE_CHECKING:
    from vmops.ops.route import Group
    from vmops.ops.vm.lifecycle import Outcome

VM_HELP = "Name of the VM; several separated by commas, or a glob such as 'web*'."
FORMAT_HELP = "text (default) or json."
TIMEOUT_HELP = "Seconds for the guest to power off, before QEMU is ended harder (default 30)."
PARALLEL_HELP = "Workers at once (default 32)."
OVERCOMMIT_HELP = "Start the VMs although the memory available there does not suffice for them."


def check_timeout(timeout: float, *, least: int = 0) -> None:
    """Raise InventoryError for a time that cannot be waited, or in which nothing can be done."""
    if timeout < least:
        raise InventoryError(f"--timeout {timeout:g}: must be {least} seconds or more")


def check_lines(lines: int) -> None:
    """Raise InventoryError for a number of lines that cannot be shown."""
    if lines < 0:
        raise InventoryError(f"--lines {lines}: must be 0 or more")


def check_parallel(parallel: int) -> None:
    """Raise InventoryError for a cap that allows nothing; 0 leaves it to the fleet."""
    if parallel < 0:
        raise InventoryError(f"--parallel {parallel}: must be 1 or more")


def ended_by(outcome: Outcome) -> str:
    """What ended a VM, in brackets: its guest, asked once or twice, or what it took instead."""
    if outcome.how == "guest":
        return " (by its guest, asked twice)" if outcome.asked > 1 else " (by its guest)"
    return f" ({outcome.how})" if outcome.how else ""


def each(
    groups: list[Group],
    work: Callable[[Group], list[Any]],
    *,
    parallel: int = 0,
    told: Callable[[Any], None] | None = None,
) -> list[Any]:
    """The work of every group, on many workers at once, in the order of the groups.

    `parallel` caps the workers, 0 leaves that to the fleet. `told` gets each result as it comes.
    """
    from vmops.ops.fleet import DEFAULT_PARALLEL, on_each

    found: dict[int, list[Any]] = {}
    for group, results in on_each(groups, work, parallel=parallel or DEFAULT_PARALLEL):
        found[id(group)] = results
        if told is not None:
            for result in results:
                told(result)
    return [item for group in groups for item in found[id(group)]]


def tell(outcomes: list[Outcome], *, cure: str = "") -> None:
    """What the operator has to know beside the result: notes, and interfaces left out.

    `cure` is a task that brings these in; the VM's name is put behind it.
    """
    from vmops.errors import WorkFailed

    for outcome in outcomes:
        for note in outcome.notes:
            say(note)
        complain(
            WorkFailed(
                f"{outcome.vm}: interface {skip.interface} is left out: {skip.reason}",
                worker=outcome.worker,
                cure=f"{cure} --vm {outcome.vm}" if cure else "",
            )
            for skip in outcome.skipped
        )


def as_dict(outcome: Outcome) -> dict[str, Any]:
    """The documented JSON object of a launch; of one that failed, with the `error`."""
    return {
        "vm": outcome.vm,
        "worker": outcome.worker,
        "pid": outcome.pid or None,
        "changed": outcome.changed and outcome.error is None,
        "skipped_interfaces": [skip.interface for skip in outcome.skipped],
        **error_of(outcome),
    }


def error_of(result: Any) -> dict[str, str]:
    """What the JSON object of a VM has more where that failed."""
    return {} if result.error is None else {"error": str(result.error)}


def text_of(error: VmopsError | None) -> str | None:
    """For JSON: what went wrong, where, why and the cure; None where nothing did."""
    return None if error is None else str(error)


def finish_all(outcomes: list[Outcome]) -> None:
    """Raise the failures among the outcomes."""
    finish([outcome.error for outcome in outcomes if outcome.error is not None])


def dry(c: Any, groups: list[Group], what: str, **options: Any) -> bool:
    """With `fab --dry`: print what would run, contact nothing, and say True."""
    if not c.config.run.dry:
        return False
    from vmops.ops.dry import shown

    for group in groups:
        give(shown(group.route, group.vms, what, **options))
    return True
