"""The services of networks, for `Fleet`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from vmops.core.inventory.inventory import Inventory
from vmops.core.inventory.model import Worker
from vmops.ops.route import Group, Route

if TYPE_CHECKING:
    from vmops.core.devices.network.mesh import Mesh
    from vmops.core.devices.network.service import Share
    from vmops.ops.network.serving import NetworkOutcome
    from vmops.ops.network.status import NetworkStatus

T = TypeVar("T")


class Networks:
    """What a fleet does for the networks of its inventory, on their nodes.

    `networks` is a name, several separated by commas, or a glob; None means all.
    """

    inventory: Inventory

    def _route(self, worker: Worker) -> Route:
        raise NotImplementedError

    def _each(self, groups: list[Group], do: Callable[[Group], Sequence[T]]) -> list[T]:
        raise NotImplementedError

    def networks_up(self, networks: str | None = None) -> list[NetworkOutcome]:
        """Serve networks as the inventory has them, and take them from where they are no more.

        What runs so already is left alone. `up` starts VMs only: call this before it.
        """
        from vmops.ops.network.serving import bring

        groups, shares = self._agreed(networks)
        return self._each(groups, lambda g: bring(g.route, *shares[g.route.worker.name]))

    def networks_plan(self, networks: str | None = None) -> list[NetworkOutcome]:
        """What `networks_up` would do. Nothing is changed."""
        from vmops.ops.network.serving import plan

        groups, shares = self._agreed(networks)
        return self._each(groups, lambda g: plan(g.route, *shares[g.route.worker.name]))

    def networks_down(self, networks: str | None = None) -> list[NetworkOutcome]:
        """Remove what nodes serve of networks; one that is nowhere is no error. Without a name the
        tunnels between workers go as well."""
        from vmops.ops.network.serving import remove

        names = self._names(networks)
        groups = [Group(self._route(worker)) for worker in self.inventory.workers.values()]
        there = self.inventory.northbound
        meshes = {} if networks is not None else self._meshes()

        def down(group: Group) -> list[NetworkOutcome]:
            mesh = meshes.get(group.route.worker.name)
            return remove(group.route, names, northbound=there, mesh=mesh)

        return self._each(groups, down)

    def networks_status(self, networks: str | None = None) -> list[NetworkStatus]:
        """What nodes serve: leases, counters, and what differs; also what the inventory lacks."""
        from vmops.ops.network.status import status

        groups, shares = self._shares(networks)

        def look(group: Group) -> list[NetworkStatus]:
            share = shares[group.route.worker.name]
            return status(group.route, share.wanted, carried=share.carried, mesh=share.mesh)

        return self._each(groups, look)

    def _meshes(self) -> dict[str, Mesh]:
        from vmops.core.devices.network.mesh import Mesh, share

        workers = self.inventory.workers.items()
        return {n: share(self.inventory, n) or Mesh(worker.bridge) for n, worker in workers}

    def _names(self, networks: str | None) -> list[str]:
        listed = self.inventory
        chosen = listed.networks.values() if networks is None else listed.select_networks(networks)
        return [network.name for network in chosen]

    def _shares(self, networks: str | None) -> tuple[list[Group], dict[str, Share]]:
        from vmops.core.devices.network.service import shares

        workers = self.inventory.workers
        groups = [Group(self._route(worker)) for worker in workers.values()]
        return groups, shares(self.inventory, self._names(networks), workers)

    def _agreed(self, networks: str | None) -> tuple[list[Group], dict[str, Share]]:
        """The shares, tunnels held to workers that are not fit for theirs."""
        groups, shares = self._shares(networks)
        if not any(share.mesh and share.mesh.tunnels for share in shares.values()):
            return groups, shares
        from vmops.ops.network.mesh import agreed, unfit

        held = self._each(groups, lambda g: unfit(g.route, shares[g.route.worker.name].mesh))
        return groups, agreed(shares, held)
