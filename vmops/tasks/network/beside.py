"""Networks beside VMs in up, down and plan: before the first starts, after the last has ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from vmops.tasks.frame.context import Context, is_dry
from vmops.tasks.frame.output import gap, give_table, say
from vmops.tasks.frame.selection import inventory
from vmops.tasks.frame.work import each, show_dry
from vmops.tasks.network import serving
from vmops.tasks.typed.program import as_typed

if TYPE_CHECKING:
    from vmops.ops.network.serving import NetworkOutcome
    from vmops.ops.route import Group


def networks_first(c: Context, groups: Sequence[Group] | None) -> list[NetworkOutcome]:
    """Serve all networks, or those that the VMs of these groups are in. A dry run shows it."""
    found = _nodes(c, groups)
    if not found.groups or show_dry(c, found.groups, found.bring):
        return []
    return each(found.groups, found.bring)


def planned_networks(c: Context, groups: Sequence[Group] | None) -> list[NetworkOutcome]:
    """What `networks_first` would do."""
    found = _nodes(c, groups)
    if not found.groups or is_dry(c):
        return []
    return each(found.groups, found.plan)


def networks_last(c: Context, all_of_it: bool, *, ended: bool) -> list[NetworkOutcome]:
    """Remove what serves the networks, where all of the inventory goes down. Unless all VMs have
    `ended` the networks stay, and that is said: guests that run need them."""
    if not all_of_it or not _has_networks(c):
        return []
    if not ended:
        say(as_typed("networks stay, as VMs may still run; all the same: fab net.down"))
        return []
    return each(*_removal(c))


def show_networks_last(c: Context, all_of_it: bool) -> None:
    """In a dry run, what `networks_last` would do."""
    if is_dry(c) and all_of_it and _has_networks(c):
        show_dry(c, *_removal(c))


def _nodes(c: Context, groups: Sequence[Group] | None) -> serving.Nodes:
    if not _has_networks(c):
        return serving.Nodes([], {})
    vms = None if groups is None else [vm for group in groups for vm in group.vms]
    return serving.agreed(c, serving.nodes(c, vms=vms))


def _has_networks(c: Context) -> bool:
    return bool(inventory(c).networks) or inventory(c).mesh is not None


def _removal(c: Context) -> tuple[list[Group], Callable[[Group], list[NetworkOutcome]]]:
    from vmops.ops.network.serving import remove

    found = serving.nodes(c)
    names, northbound = list(inventory(c).networks), inventory(c).northbound

    def there(group: Group) -> list[NetworkOutcome]:
        return [
            one
            for one in remove(
                group.route,
                names,
                northbound=northbound,
                mesh=found.shares[group.route.worker.name].mesh,
            )
            if one.action != "nothing"
        ]

    return found.groups, there


def with_networks(
    tell: Callable[[Sequence[Any]], None], tell_networks: Callable[[Sequence[NetworkOutcome]], None]
) -> Callable[[Sequence[Any]], None]:
    """Networks and VMs in a table each."""

    def both(results: Sequence[Any]) -> None:
        networks = [one for one in results if _is_network(one)]
        if networks:
            tell_networks(networks)
        vms = [one for one in results if not _is_network(one)]
        if networks and vms:
            gap()
        tell(vms)

    return both


def brought(outcomes: Sequence[NetworkOutcome]) -> None:
    """What became of networks."""
    give_table(("NETWORK", "WORKER", "RESULT"), [serving.row(one) for one in outcomes])


def planned(outcomes: Sequence[NetworkOutcome]) -> None:
    """What would become of them."""
    rows = [[one.network, one.worker, one.action, serving.differs(one)] for one in outcomes]
    give_table(("NETWORK", "WORKER", "ACTION", "CHANGES"), rows)


def of_both(as_dict: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
    """The JSON object of a VM, or of a network, which has no `vm`."""
    return lambda one: serving.as_dict(one) if _is_network(one) else as_dict(one)


def _is_network(result: Any) -> bool:
    return hasattr(result, "network")
