"""VMs whose disks lie in a folder that several workers share: which of these a VM is at.

Its mark there says so, one file for all of them: the worker of that name alone starts the VM or
removes its disks. A first start makes the mark, which only one worker can; from then on only that
worker changes it, under the VM's lock, while the VM does not run.
"""

from __future__ import annotations

from collections.abc import Mapping

from vmops.core.devices.storage.moving import MARK, Mark, mark, path_of
from vmops.core.images.names import FOLDER
from vmops.core.script.command import Step, command

CLAIM = "claim its disks"


def at(worker: str, *, ran: bool = False) -> Mark:
    """The mark of a VM that is at that worker; `ran` is that it is to be started there yet."""
    return mark("at", worker, "", ran=ran)


def as_seen(worker: str, marks: Mapping[str, Mark]) -> Mapping[str, Mark]:
    """What marks say to that worker."""
    return {
        vm: one._replace(how="elsewhere") if one.how == "at" and one.peer != worker else one
        for vm, one in marks.items()
    }


def is_free(found: Mark | None) -> bool:
    """True where a mark keeps nothing from being done on its worker."""
    return found is None or found.how == "at"


def claiming(vm: str, worker: str, found: Mark | None, *, shares: bool) -> tuple[Step, ...]:
    """What has to be done before the VM starts on a worker: in a folder that it `shares`, make the
    mark, which fails where another worker has; and forget that the VM was to be started."""
    path, wanted = path_of(vm), at(worker)
    if found is None and shares:
        words = (path, wanted.text)
        undo = (command("drop_claim", *words),)
        return (Step(CLAIM, (command("claim_mark", *words),), undo=undo),)
    if found is not None and found.how == "at" and found.ran:
        back = (command("write_mark", path, found.text),)
        return (Step(MARK, (command("write_mark", path, wanted.text),), undo=back),)
    return ()


def sign_of(store: str) -> str:
    """The file by which a shared folder is known."""
    return f"{FOLDER}/shared-{store}"
