"""Networks for tasks: which node serves what, and rows and JSON of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from vmops.tasks.frame.context import Context, is_dry
from vmops.tasks.frame.outcomes import fields_as_dicts
from vmops.tasks.frame.selection import groups_of_workers, inventory
from vmops.tasks.frame.work import each

if TYPE_CHECKING:
    from vmops.core.devices.network.service import Share
    from vmops.core.inventory.inventory import Inventory
    from vmops.core.inventory.model import VM
    from vmops.ops.network.serving import NetworkOutcome
    from vmops.ops.route import Group

WORDS = {
    "start": "made",
    "change": "changed",
    "remove": "removed",
    "nothing": "as asked",
    "held": "left as it is",
}


class Nodes(NamedTuple):
    """The workers that serve networks, or may still, and the share of each."""

    groups: list[Group]
    shares: dict[str, Share]

    def bring(self, group: Group) -> list[NetworkOutcome]:
        """Serve what is wanted there."""
        from vmops.ops.network.serving import bring

        return bring(group.route, *self.shares[group.route.worker.name])

    def plan(self, group: Group) -> list[NetworkOutcome]:
        """What `bring` would do there."""
        from vmops.ops.network.serving import plan

        return plan(group.route, *self.shares[group.route.worker.name])


def nodes(c: Context, pattern: str | None = None, *, vms: Sequence[VM] | None = None) -> Nodes:
    """The networks that `--network` means, or else all, or those that these VMs are in; with those
    that they reach. Raises InventoryError."""
    from vmops.core.devices.network.service import shares

    listed = inventory(c)
    chosen = _chosen(listed, pattern, vms)
    if not chosen and listed.mesh is None:
        return Nodes([], {})
    groups = [group._replace(vms=()) for group in groups_of_workers(c, None, early=False)]
    found = shares(listed, chosen, [group.route.worker.name for group in groups])
    if is_dry(c):
        groups = [group for group in groups if found[group.route.worker.name].is_busy]
    return Nodes(groups, found)


def agreed(c: Context, found: Nodes) -> Nodes:
    """The same, tunnels held to workers that are not fit for theirs. All are asked first: nothing
    is changed by that."""
    if is_dry(c) or not any(one.mesh and one.mesh.tunnels for one in found.shares.values()):
        return found
    from vmops.ops.network.mesh import agreed, unfit

    def ask(group: Group) -> list[str]:
        return unfit(group.route, found.shares[group.route.worker.name].mesh)

    return found._replace(shares=agreed(found.shares, each(found.groups, ask)))


def _chosen(listed: Inventory, pattern: str | None, vms: Sequence[VM] | None) -> list[str]:
    if pattern is not None:
        return [network.name for network in listed.select_networks(pattern)]
    if vms is None:
        return list(listed.networks)
    names = {nic.network for vm in vms for nic in vm.interfaces if nic.network is not None}
    names |= {other for name in names for other in listed.networks[name].reach}
    return [name for name in listed.networks if name in names]


def as_dict(outcome: NetworkOutcome) -> dict[str, Any]:
    """The JSON object of what changed a network."""
    return {
        "network": outcome.network,
        "worker": outcome.worker,
        "action": outcome.action,
        "changed": outcome.changed,
        "fields": fields_as_dicts(outcome.drift),
        "held": list(outcome.held),
    }


def row(outcome: NetworkOutcome) -> list[str]:
    """What became of it."""
    return [outcome.network, outcome.worker, came_of(outcome)]


def came_of(outcome: NetworkOutcome) -> str:
    """In a word, and which tunnels were left out."""
    if outcome.error is not None:
        return "failed"
    word = WORDS.get(outcome.action, outcome.action)
    return f"{word}{_left_out(outcome, ', but not ')}" if outcome.action != "held" else word


def differs(outcome: NetworkOutcome) -> str:
    """The fields that differ, or why it cannot be served."""
    if outcome.error is not None:
        return outcome.error.what
    return ("; ".join(map(str, outcome.drift)) or "-") + _left_out(outcome, "; left as it is: ")


def _left_out(outcome: NetworkOutcome, before: str) -> str:
    return f"{before}the tunnel to {', '.join(outcome.held)}" if outcome.held else ""
