"""What a worker has of a VM, and what of that is old: the VM has left it behind. Pure decisions.

What was made for a VM goes when it leaves. Its qcow_image stays, as the operator's own file; when
the VM comes back a newer one comes with it, and the old one is set aside.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from vmops.core.devices import disk
from vmops.core.facts.observed import Observed
from vmops.core.images.names import FOLDER
from vmops.core.inventory.model import VM, Worker
from vmops.core.tools import image_chain
from vmops.errors import WorkFailed


def files_of(vm: VM, observed: Observed) -> tuple[str, ...]:
    """The files of the VM that are on this worker: what was made for it, and its qcow_image."""
    files = [f"{FOLDER}/{file.file}" for file in observed.folder.of(vm.name)]
    if vm.image is None and not disk.is_missing(observed.images.get(vm.qcow_image)):
        files.append(vm.qcow_image)
    return tuple(dict.fromkeys(files))


def left_behind(vm: VM, observed: Observed) -> bool:
    """True where all that the worker has of the VM is a qcow_image that it has left there: what was
    made for it went when it had left, and a newer one is where it is."""
    mark = observed.moves.get(vm.name)
    is_left = mark is not None and mark.how == "left" and vm.image is None
    return is_left and files_of(vm, observed) == (vm.qcow_image,)


def check_set_aside(worker: Worker, vm: VM, observed: Observed, *, vms: Iterable[VM] = ()) -> None:
    """Raise WorkFailed where the qcow_image that the VM has left there is in use by now. `vms` are
    those of hosts.toml."""
    if not left_behind(vm, observed):
        return
    where = {"worker": worker.name, "vm": vm.name}
    what = f"the {vm.qcow_image} that it has left there cannot be set aside"
    if others := _others(worker, vm, vms):
        cure = f"give {others[0]} another qcow_image: what lies there is an old disk of {vm.name}"
        raise WorkFailed(f"{what}: it is that of {', '.join(others)}", **where, cure=cure)
    for use in image_chain.uses(observed.images.get(vm.qcow_image) or ()):
        raise WorkFailed(f"{what}: {use.what}", **where, cure=use.cure)


def _others(worker: Worker, vm: VM, vms: Iterable[VM]) -> list[str]:
    """The other VMs that may be on this worker and have the same qcow_image."""
    path = posixpath.normpath(vm.qcow_image)
    return [
        each.name
        for each in vms
        if each.name != vm.name
        and each.worker in (None, worker.name)
        and posixpath.normpath(each.qcow_image) == path
    ]
