"""What `--dry` prints: the commands that a task would run on a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vmops.ops.route import Group
    from vmops.tasks.frame.work import Shown


def commands(what: str, **options: Any) -> Shown:
    """Those of a task, by its name and the options that change what it runs."""

    def shown(group: Group) -> str:
        from vmops.ops.dry import shown

        return shown(group.route, group.vms, what, **options)

    return shown
