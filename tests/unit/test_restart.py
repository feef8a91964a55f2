"""A restart while somebody else does the same: what is said of whose work."""

from __future__ import annotations

import pytest

from vmops.ops.vm.lifecycle import Outcome
from vmops.ops.vm.power import _joined


@pytest.mark.parametrize(
    ("stopped", "how", "started", "action"),
    [
        ("stop", "guest", "start", "restart"),
        ("nothing", "guest", "start", "restart"),
        ("nothing", "", "start", "start"),
        ("stop", "guest", "nothing", "stop"),
        ("nothing", "guest", "nothing", "stop"),
        ("nothing", "", "nothing", "nothing"),
    ],
)
def test_only_what_was_done_here_is_called_so(
    stopped: str, how: str, started: str, action: str
) -> None:
    joined = _joined(
        Outcome("vm1", "w1", stopped, how=how, notes=("first",)),
        Outcome("vm1", "w1", started, pid=7, notes=("second",)),
    )
    assert (joined.action, joined.pid, joined.how) == (action, 7, how)
    assert joined.notes == ("first", "second")
