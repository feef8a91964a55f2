"""The way to an SSH server: TCP, a ProxyCommand, or a channel of a gateway."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from typing import Any

from vmops.remote.ssh.endpoint import Endpoint
from vmops.remote.ssh.stream import Stream, tune
from vmops.remote.ssh.transport import WorkerTransport

_FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}

_UNDISTURBED = 'trap "" INT QUIT; exec "$1" -c "exec $2"'
"""A Ctrl-C is for us: what we then undo on the worker still needs the way there."""

_ADDRESS = re.compile(r"[0-9]+(\.[0-9]+){3}|[0-9a-f]*:[0-9a-f:]+", re.IGNORECASE)


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
        stream = _connected(endpoint)
    except UnicodeError as error:  # a part of the name that is empty or too long
        raise socket.gaierror(socket.EAI_NONAME, "it is no host name") from error
    tune(stream)
    return stream


def _connected(endpoint: Endpoint) -> socket.socket:
    """To the first of its addresses that answers, from where ssh_config says."""
    family = _FAMILIES.get(endpoint.family, socket.AF_UNSPEC)
    deadline = time.monotonic() + endpoint.connect_limit
    failure = OSError("the name has no address")
    # an address as bytes: for a text Python imports what it takes to write names in any alphabet
    host = endpoint.host.encode() if _ADDRESS.fullmatch(endpoint.host) else endpoint.host
    addresses = socket.getaddrinfo(host, endpoint.port, family, socket.SOCK_STREAM)
    for kind, _, _, _, address in addresses:
        stream = socket.socket(kind, socket.SOCK_STREAM)
        try:
            if endpoint.bind_address:
                stream.bind(_local(endpoint.bind_address, kind))
            stream.settimeout(max(0.1, deadline - time.monotonic()))
            stream.connect(address)
        except OSError as error:
            stream.close()
            failure = error
        else:
            return stream
    raise failure


def _local(name: str, family: int) -> Any:
    return socket.getaddrinfo(name, 0, family, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)[0][4]


def _proxy(command: str) -> socket.socket:
    """A ProxyCommand's standard input and output as one socket. It ends when that is closed.

    As under ssh, the user's own shell reads it, and it can ask its questions on the terminal.
    """
    ours, its = socket.socketpair()
    shell = os.environ.get("SHELL") or "/bin/sh"
    words = ["/bin/sh", "-c", _UNDISTURBED, "sh", shell, command]
    with its:
        subprocess.Popen(words, stdin=its.fileno(), stdout=its.fileno())
    return ours
