"""What is done after VMs were removed: workers that these had left forget it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vmops.errors import VmopsError
from vmops.tasks.frame.context import Context, is_host
from vmops.tasks.frame.output import complain
from vmops.tasks.frame.selection import inventory, other_routes

if TYPE_CHECKING:
    from vmops.ops.vm.outcome import Outcome


def also_forgotten(
    c: Context, pattern: str | None, outcomes: Sequence[Outcome]
) -> Sequence[Outcome]:
    """The outcomes, after every worker that has a mark of one of these VMs has forgotten that it
    was moved, where that leads nowhere now; those which were nowhere before come with their own.

    With -H one worker is meant. Of a VM that hosts.toml gives a worker, that one says where the
    next launch is.
    """
    from vmops.ops.vm.moving.forgetting import forget, found

    listed = inventory(c)
    if is_host(c) or len(listed.workers) < 2:
        return outcomes
    failed = {one.vm for one in outcomes if one.error is not None}
    gone = [vm for vm in listed.select(pattern or "") if not (vm.worker or vm.name in failed)]
    if not gone:
        return outcomes
    try:
        came = forget(found(other_routes(c, ()), gone))
    except VmopsError as error:
        # What was asked for is done; prune finds such marks as well.
        complain([error])
        return outcomes
    told = {one.vm for one in outcomes}
    return [*outcomes, *(one for one in came if one.error is not None or one.vm not in told)]
