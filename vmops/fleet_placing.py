"""Where VMs are started, and workers that get none, for `Fleet`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vmops.core.inventory.inventory import Inventory
from vmops.core.inventory.model import VM, Worker
from vmops.core.plan.stopping import Manner
from vmops.ops.route import Route

if TYPE_CHECKING:
    from vmops.core.plan.placement.choice import Choice
    from vmops.ops.vm.outcome import Outcome
    from vmops.ops.worker.draining import Draining


class Placing:
    """What a fleet says of VMs that its inventory gives no worker, and how it empties a worker."""

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

    def drain(
        self,
        worker: str,
        *,
        cold: bool = False,
        force: bool = False,
        timeout_s: float = 30,
        overcommit: bool = False,
    ) -> list[Outcome]:
        """Move all VMs of a worker to where there is room, and give it none until `undrain`; those
        that run only if `cold`, stopped and started there. Raises VmopsError where it cannot be
        asked."""
        from vmops.ops.worker.draining import drain

        manner = Manner(force=force, timeout_s=timeout_s)
        return drain(self._draining(manner, cold, overcommit), self._listed(worker))

    def undrain(
        self,
        worker: str,
        *,
        cold: bool = False,
        force: bool = False,
        timeout_s: float = 30,
        stay: bool = False,
    ) -> list[Outcome]:
        """Let a worker have VMs again, and move those back that `drain` took away from it, or with
        `stay` leave them. Raises VmopsError where it cannot be asked."""
        from vmops.ops.worker.draining import undrain

        manner = Manner(force=force, timeout_s=timeout_s)
        work = self._draining(manner, cold, False)
        return undrain(work, self._listed(worker), stay=stay) or []

    def _listed(self, worker: str) -> Route:
        return self._route(self.inventory.listed_worker(worker))

    def _draining(self, manner: Manner, cold: bool, overcommit: bool) -> Draining:
        from vmops.core.plan.group import Terms
        from vmops.core.plan.placement.choice import wish_of
        from vmops.ops.image.bases import bases_to_start
        from vmops.ops.vm.moving.acts import Move
        from vmops.ops.worker.draining import Draining

        vms = tuple(self.inventory.vms.values())
        terms = Terms(overcommit=overcommit, bases=bases_to_start(self.inventory, vms))
        routes = {name: self._route(each) for name, each in self.inventory.workers.items()}
        how = Move(
            next(iter(routes.values())),
            {},
            cold=cold,
            manner=manner,
            terms=terms,
            northbound=self.inventory.northbound,
            vms=self.inventory.vms,
        )
        return Draining(how, routes, wish_of(self.inventory, vms, terms))
