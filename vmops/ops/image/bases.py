"""Which images of the inventory VMs stand on, as workers keep them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vmops.core.images.names import Base
from vmops.core.inventory.inventory import Inventory
from vmops.core.inventory.model import VM
from vmops.errors import InventoryError


def bases_to_start(listed: Inventory, vms: Sequence[VM]) -> dict[str, Base]:
    """The same for VMs that are to be started, after what their guests are told has been read too.

    Raises InventoryError for a file of that which is not good, before a worker is contacted.
    """
    from vmops.ops.vm.seeds import told

    told(vms, source=listed.source)
    return bases_of(listed, vms)


def bases_of(listed: Inventory, vms: Iterable[VM]) -> dict[str, Base]:
    """The images of these VMs by name.

    One whose file cannot be read here, and whose sum is not given, is left out: a VM that has its
    disk already does not need it.
    """
    names = sorted({vm.image for vm in vms if vm.image is not None})
    if not names:
        return {}
    from vmops.ops.image.local import base_of

    found = {}
    for name in names:
        image = listed.images[name]
        try:
            found[name] = base_of(image)
        except InventoryError:
            if image.sha256 is not None:
                found[name] = Base(image.sha256, image.format)
    return found
