"""Where work goes: a worker and how this process gets there, and the VMs that are asked about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from vmops.core.inventory.model import VM, Worker
from vmops.errors import WorkerUnreachable

if TYPE_CHECKING:
    from vmops.core.facts.observed import Observed
    from vmops.core.inventory.inventory import Inventory
    from vmops.ops.dry import Transcript
    from vmops.ops.watch import Watch


class Route(NamedTuple):
    """A worker and how this process gets there: fab's configuration, None for the defaults.

    With a `transcript` it leads nowhere: what would be sent is written down (dry.py). `seen` is
    what the worker has answered just now to what is asked there first: it is not asked again. With
    a `watch` the worker's first answer brings its marks of VMs that were moved (following.py).
    `missing` is that hosts.toml does not have the worker: nobody can be asked, and that is why.
    """

    worker: Worker
    config: Any = None
    transcript: Transcript | None = None
    seen: Observed | None = None
    watch: Watch | None = None
    missing: WorkerUnreachable | None = None

    def ask_early(self) -> None:
        """Begin to ask ssh where the worker is. What goes wrong, `connect_early` says."""
        if self.config is not None and self.missing is None:
            from vmops.remote.ssh.endpoint import begin_endpoint

            begin_endpoint(self.worker, self.config)

    def connect_early(self) -> None:
        """Begin to connect in the background, while the caller imports what the work needs.

        What goes wrong is raised by the first use. Raises InventoryError.
        """
        if self.missing is not None:
            return
        from vmops.remote.ssh.connection import connect_early

        connect_early(self.worker, config=self.config)


class Ways(NamedTuple):
    """An inventory, and how this process gets to each of its workers: where VMs may have gone."""

    listed: Inventory
    config: Any = None

    def to(self, name: str) -> Route | None:
        """The way to the worker of that name; None for one that the inventory does not have."""
        worker = self.listed.workers.get(name)
        return None if worker is None else Route(worker, self.config)

    def to_missing(self, name: str) -> Route:
        """The way to a worker that the inventory does not have: none."""
        error = WorkerUnreachable(
            "it cannot be asked, as hosts.toml does not have it",
            worker=name,
            cure=f"add workers.{name} to hosts.toml",
        )
        return Route(Worker(name, address=name), self.config, missing=error)


class Group(NamedTuple):
    """The VMs that one worker is asked about; none at all is fine.

    With `ways` the work on those that were moved from there is done where they are.
    """

    route: Route
    vms: tuple[VM, ...] = ()
    ways: Ways | None = None
