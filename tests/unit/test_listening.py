"""Which listeners of a worker are in the way of a VM's VNC."""

from __future__ import annotations

import pytest

from vmops.core.facts.wiring import LISTENING, in_the_way
from vmops.core.script.command import Step, StepResult

PORT = 5901


@pytest.mark.parametrize(
    ("taken", "listen", "is_in_the_way"),
    [
        ("127.0.0.1", None, True),
        ("0.0.0.0", None, True),
        ("*", None, True),
        ("10.0.0.7", None, False),
        ("127.0.0.2", None, False),
        ("127.0.0.53%lo", None, False),
        ("[::1]", None, False),
        ("[::]", None, False),
        ("[::]", "::1", True),
        ("[::1]", "::1", True),
        ("127.0.0.1", "::1", False),
        ("[fe80::1]%eth0", "::1", False),
        ("10.0.0.7", "0.0.0.0", True),
        ("[::1]", "0.0.0.0", False),
        ("127.0.0.1", "::", True),
        ("[::1]", "::", True),
        ("10.0.0.7", "10.0.0.7", True),
        ("10.0.0.7", "10.0.0.8", False),
    ],
)
def test_only_what_listens_where_vnc_is_to_listen_is_in_the_way(
    taken: str, listen: str | None, is_in_the_way: bool
) -> None:
    said = f"LISTEN 0 128 {taken}:{PORT} 0.0.0.0:*\nLISTEN 0 128 *:22 *:*\n"
    found = in_the_way(LISTENING.read(StepResult(Step("ss", ()), 0, said.encode())), listen)
    assert found == frozenset({22, PORT} if is_in_the_way else {22})
