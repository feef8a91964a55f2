"""Where work goes: a worker and how this process gets there, and the VMs that are asked about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from vmops.core.inventory.model import VM, Worker

if TYPE_CHECKING:
    from vmops.core.facts.observed import Observed
    from vmops.ops.dry import Transcript


class Route(NamedTuple):
    """A worker and how this process gets there: fab's configuration, None for the defaults.

    With a `transcript` it leads nowhere: what would be sent is written down (dry.py). `seen` is
    what the worker has answered just now to what is asked there first: it is not asked again.
    """

    worker: Worker
    config: Any = None
    transcript: Transcript | None = None
    seen: Observed | None = None

    def ask_early(self) -> None:
        """Begin to ask ssh where the worker is. What goes wrong, `connect_early` says."""
        if self.config is not None:
            from vmops.remote.ssh.endpoint import begin_endpoint

            begin_endpoint(self.worker, self.config)

    def connect_early(self) -> None:
        """Begin to connect in the background, while the caller imports what the work needs.

        What goes wrong is raised by the first use. Raises InventoryError.
        """
        from vmops.remote.ssh.connection import connect_early

        connect_early(self.worker, config=self.config)


class Group(NamedTuple):
    """The VMs that one worker is asked about; none at all is fine."""

    route: Route
    vms: tuple[VM, ...] = ()
