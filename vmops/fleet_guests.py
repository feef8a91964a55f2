"""Work inside guests, for `Fleet`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vmops.core.inventory.inventory import Inventory
from vmops.core.inventory.model import VM

if TYPE_CHECKING:
    from vmops.ops.guest.agent import Ran
    from vmops.ops.guest.files import Copied
    from vmops.ops.route import Group


class Guests:
    """What a fleet does by the guest agents of its VMs."""

    inventory: Inventory

    def _placed(self, vms: Sequence[VM], at: str | None) -> list[Group]:
        raise NotImplementedError

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
