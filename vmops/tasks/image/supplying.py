"""What `launch` and `up` bring to workers before they start VMs, and how they say so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmops.tasks.frame.context import Context, is_dry
from vmops.tasks.frame.harmless import one_line
from vmops.tasks.frame.output import say
from vmops.tasks.frame.selection import inventory

if TYPE_CHECKING:
    from vmops.ops.image.transfers import Brought
    from vmops.ops.vm.lifecycle import Supplier


def supplier(c: Context, *, push: bool) -> Supplier | None:
    """What brings images of hosts.toml, telling of it in lines: beside a bar, too."""
    images = inventory(c).images if push else {}
    if not images:
        return None
    from vmops.ops.image.supply import supplier_of
    from vmops.tasks.image.display import in_lines

    return supplier_of(images, tell=in_lines(), told=lambda one: _say(c, one))


def _say(c: Context, one: Brought) -> None:
    from vmops.tasks.image.tasks import in_words

    if not is_dry(c):
        say(one_line(f"{one.image} on {one.worker}: {in_words(one)}"))
