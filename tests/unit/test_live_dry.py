"""A dry run of what changes running VMs shows the change, not only the look before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import pytest

from vmops.core.inventory.model import VM
from vmops.ops.dry import Transcript
from vmops.ops.route import Route
from vmops.ops.vm.live import links, snapshots, suspending
from vmops.ops.vm.outcome import Outcome

from .worlds import VM1, WORKER


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        (partial(snapshots.save, name="one"), '"execute": "snapshot-save"'),
        (partial(snapshots.save, name="one", freeze=True), "guest-fsfreeze-freeze"),
        (snapshots.thaw, 'go on if the answer holds "thawed"'),
        (partial(snapshots.revert, name="one"), '"execute": "snapshot-load"'),
        (partial(snapshots.delete, name="one"), '"execute": "snapshot-delete"'),
        (partial(links.set_link, name="eth1", up=False), "vmops-link=pulled"),
        (suspending.suspend, "write /run/vmops/vm1/memory.sock to"),
        (suspending.resume, '"execute": "cont"'),
    ],
)
def test_it_shows_what_would_be_done(
    operation: Callable[[Route, Sequence[VM]], list[Outcome]], words: str
) -> None:
    transcript = Transcript()
    (came,) = operation(Route(WORKER, transcript=transcript), [VM1])
    assert came.error is None
    assert words in str(transcript)
