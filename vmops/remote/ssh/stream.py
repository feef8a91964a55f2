"""What an SSH connection runs over, and the screws of a TCP socket."""

from __future__ import annotations

import socket
from contextlib import suppress

import paramiko

KEEPALIVE_S = 2
"""Seconds between TCP's own questions to a silent peer."""

UNACKNOWLEDGED_MS = 5000
"""How long TCP waits for an acknowledgement before it gives up."""


Stream = socket.socket | paramiko.Channel
"""What a connection runs over."""


def tune(stream: socket.socket) -> None:
    """Send at once, and notice a dead link in about 7 s where the platform can (macOS cannot)."""
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_S),
        ("TCP_KEEPINTVL", KEEPALIVE_S),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", UNACKNOWLEDGED_MS),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            stream.setsockopt(socket.IPPROTO_TCP, option, value)


def acknowledge_at_once(stream: object) -> None:
    """Do not hold back the next acknowledgement, where the platform lets us say so (Linux).

    Until a command runs, sshd waits for it before it sends its next packet: 40 ms each time.
    """
    option = getattr(socket, "TCP_QUICKACK", None)
    if option is not None and isinstance(stream, socket.socket):
        with suppress(OSError):
            stream.setsockopt(socket.IPPROTO_TCP, option, 1)
