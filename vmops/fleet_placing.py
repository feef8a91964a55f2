"""Where VMs would be started, for `Fleet`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vmops.core.inventory.inventory import Inventory
from vmops.core.inventory.model import VM, Worker
from vmops.ops.route import Route

if TYPE_CHECKING:
    from vmops.core.plan.placement.choice import Choice


class Placing:
    """What a fleet says of VMs that its inventory gives no worker."""

    inventory: Inventory

    def _route(self, worker: Worker) -> Route:
        raise NotImplementedError

    def _chosen(self, vms: str | None) -> tuple[VM, ...]:
        raise NotImplementedError

    def place(
        self, vms: str | None = None, *, workers: Sequence[str] = (), overcommit: bool = False
    ) -> list[Choice]:
        """The worker on which the `place` task would start each VM, and why: those that are pinned
        to none, or those named. Nothing is changed; `launch(vm, at=choice.worker)` starts it there.

        Of `workers`, by name, one that has no place yet gets one; of none of them means of all.
        """
        from vmops.core.plan.group import Terms
        from vmops.core.plan.placement.choice import wish_of
        from vmops.ops.image.bases import bases_to_start
        from vmops.ops.vm.expiring import today
        from vmops.ops.worker.placing import place

        chosen = [vm for vm in self._chosen(vms) if vms is not None or vm.worker is None]
        bases = bases_to_start(self.inventory, chosen)
        terms = Terms(overcommit=overcommit, bases=bases, today=today(), at_end="stop")
        among = [self.inventory.worker(name).name for name in workers] or None
        wish = wish_of(self.inventory, chosen, terms)._replace(among=among)
        routes = [self._route(worker) for worker in self.inventory.workers.values()]
        return list(place(routes, wish).choices)
