"""Programs on a worker that serve one caller through a socket, and end when he has gone.

They are started by a script and outlive it. Whoever has the socket's path, and is the SSH user or
root, is the caller; the path is random, and gone as soon as he has come.
"""

from __future__ import annotations

from vmops.core.names import RUN_ROOT
from vmops.core.script.command import Command, command

PATIENCE_S = 20
"""How long a program waits for its caller."""

OK, NO = "ok", "no"
"""How its first line begins: what follows is what was asked for, or why there is none."""

NO_TCPDUMP = "tcpdump"
"""Why there is no capture with a filter."""


def socket_path(nonce: str) -> str:
    """Where the caller comes to. No VM's name begins with a dot."""
    return f"{RUN_ROOT}/.call.{nonce}"


def capture(path: str, tap: str, *, count: int = 0, expression: str = "") -> Command:
    """Give the caller the frames of a TAP as pcap: `count` of them, 0 for no end.

    With tcpdump where it is there; elsewhere every frame, and none where there is an expression.
    """
    return command("capture_frames", path, str(PATIENCE_S), tap, str(count), expression)
