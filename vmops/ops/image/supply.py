"""Images that VMs need and their worker lacks: brought before any of them starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from vmops.core.inventory.image import Image
from vmops.errors import VmopsError
from vmops.ops.image.transfers import Brought, Tell, bring, nobody
from vmops.ops.route import Route


def _told_to_nobody(brought: Brought) -> None:
    """Tells nobody."""


def supplier_of(
    images: Mapping[str, Image],
    *,
    tell: Tell = nobody,
    told: Callable[[Brought], None] = _told_to_nobody,
) -> Callable[[Route, Sequence[str]], Mapping[str, VmopsError]]:
    """What `lifecycle.launch` takes to bring `images`. Each that is there then is `told`."""

    def supply(route: Route, names: Sequence[str]) -> Mapping[str, VmopsError]:
        errors = {}
        for one in bring(route, [images[name] for name in names], tell=tell):
            if one.error is None:
                told(one)
            else:
                errors[one.image] = one.error
        return errors

    return supply
