"""The stream that an SSH connection runs over: TCP, a ProxyCommand, or a channel of a gateway."""

from __future__ import annotations

import socket
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import paramiko

from vmops.remote.ssh.endpoint import Endpoint

if TYPE_CHECKING:
    from vmops.remote.ssh.transport import WorkerTransport

KEEPALIVE_S = 2
"""Seconds between TCP's own questions to a silent peer."""

UNACKNOWLEDGED_MS = 5000
"""How long TCP waits for an acknowledgement before it gives up."""


Stream = socket.socket | paramiko.Channel
"""What a connection runs over."""


def dial(endpoint: Endpoint, gateway: WorkerTransport | None) -> Stream:
    """Connect within the endpoint's `connect_limit`.

    Raises OSError, socket.gaierror among them, or what a gateway's `open_port` raises: paramiko's
    ChannelException when it cannot reach the endpoint.
    """
    if gateway is not None:
        return gateway.open_port((endpoint.host, endpoint.port), endpoint.connect_limit)
    if isinstance(endpoint.via, str):
        return _proxy(endpoint.via)
    try:
        stream = socket.create_connection((endpoint.host, endpoint.port), endpoint.connect_limit)
    except UnicodeError as error:  # a part of the name that is empty or too long
        raise socket.gaierror(socket.EAI_NONAME, "it is no host name") from error
    tune(stream)
    return stream


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


def _proxy(command: str) -> socket.socket:
    """A ProxyCommand's standard input and output as one socket. It ends when that is closed."""
    ours, its = socket.socketpair()
    shell = ["/bin/sh", "-c", f"exec {command}"]
    with its:
        subprocess.Popen(shell, stdin=its.fileno(), stdout=its.fileno(), start_new_session=True)
    return ours
