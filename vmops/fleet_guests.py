"""Work inside guests, and guests that are set aside, for `Fleet`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vmops.core.inventory.inventory import Inventory
from vmops.core.inventory.model import VM

if TYPE_CHECKING:
    import fabric

    from vmops.ops.guest.agent import Ran
    from vmops.ops.guest.files import Copied
    from vmops.ops.route import Group
    from vmops.ops.vm.outcome import Outcome


class Guests:
    """What a fleet does by the guest agents of its VMs, and what keeps guests for later."""

    inventory: Inventory
    config: fabric.Config | None

    def _placed(self, vms: Sequence[VM], at: str | None) -> list[Group]:
        raise NotImplementedError

    def suspend(self, vms: str, *, at: str | None = None, discard: bool = False) -> list[Outcome]:
        """Write each VM's memory to a file on its worker and end it; one that is suspended is left
        alone. With `discard`, give that memory up."""
        from vmops.ops.vm.live import suspending

        turn = suspending.discard if discard else suspending.suspend
        groups = self._placed(self.inventory.select(vms), at)
        return [one for group in groups for one in turn(group.route, group.vms)]

    def resume(self, vms: str, *, at: str | None = None) -> list[Outcome]:
        """Let each paused VM continue and bring back each that is suspended; one that runs is left
        alone."""
        from vmops.ops.vm.live.suspending import resume

        groups = self._placed(self.inventory.select(vms), at)
        return [one for group in groups for one in resume(group.route, group.vms)]

    def migrate(
        self,
        vms: str,
        to: str,
        *,
        cold: bool = False,
        force: bool = False,
        timeout_s: float = 30,
        overcommit: bool = False,
    ) -> list[Outcome]:
        """Move each VM to that worker, with its disks; one that runs goes on running, or with
        `cold` is stopped for it. The same call goes on with a move that was cut. The inventory
        stays as it is."""
        from vmops.core.plan.group import Terms
        from vmops.core.plan.stopping import Manner
        from vmops.ops.image.bases import bases_to_start
        from vmops.ops.route import Group, Route
        from vmops.ops.vm.moving import migrate
        from vmops.ops.vm.moving.acts import Move

        there = self.inventory.listed_worker(to).name
        listed = self.inventory.workers
        routes = {name: Route(worker, self.config) for name, worker in listed.items()}
        group = Group(routes.pop(there), self.inventory.select(vms))
        terms = Terms(overcommit=overcommit, bases=bases_to_start(self.inventory, group.vms))
        manner = Manner(force=force, timeout_s=timeout_s)
        move = Move(
            group.route,
            routes,
            cold=cold,
            manner=manner,
            terms=terms,
            northbound=self.inventory.northbound,
            own_line=self.inventory.has_own_worker,
            vms=self.inventory.vms,
        )
        return migrate.migrate(move, group.vms)

    def exec(
        self, vms: str, argv: Sequence[str], *, at: str | None = None, timeout_s: float = 30
    ) -> list[Ran]:
        """Run a program in each guest and wait for its end; `ended` has exit code and output.

        No shell takes the words apart. What runs longer is a CommandTimeout in `error`, and goes on
        in the guest. A guest without an agent is a MonitorError.
        """
        from vmops.ops.guest.agent import execute

        groups = self._placed(self.inventory.select(vms), at)
        return [
            ran
            for group in groups
            for ran in execute(group.route, group.vms, argv, timeout_s=timeout_s)
        ]

    def cp(self, source: str, target: str, *, at: str | None = None) -> Copied:
        """Copy a file into a guest or out of it. One side is `VM:/PATH`, the other a path here.

        Raises InventoryError where neither is, or both, or the file here cannot be used.
        """
        from vmops.ops.guest.files import download, sides, upload

        one = sides(source, target)
        (group,) = self._placed((self.inventory.vm(one.vm),), at)
        (vm,) = group.vms
        if one.is_upload:
            return upload(group.route, vm, Path(one.here), one.there)
        return download(group.route, vm, one.there, Path(one.here))
