"""A worker's UNIX socket or TCP port, here: as a socket of this process, or as a local port."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

import fabric
import paramiko

from vmops.core.inventory.model import Worker
from vmops.errors import MonitorError, VmopsError
from vmops.remote.ssh.bridge import Bridge
from vmops.remote.ssh.connection import WorkerConnection, connection
from vmops.remote.ssh.translate import ChannelRefused, working
from vmops.remote.ssh.transport import WorkerTransport

OPEN_LIMIT_S = 10.0

_log = logging.getLogger("vmops")


def open_socket(
    worker: Worker,
    path: str,
    *,
    time_limit: float = OPEN_LIMIT_S,
    config: fabric.Config | None = None,
) -> socket.socket:
    """A socket of this process that is the worker's UNIX socket at `path`, opened as the SSH user.

    Raises what `connection` raises, MonitorError when nobody listens there, the user may not, or
    sshd forbids it, CommandTimeout, and ConnectionLost. Closing the socket ends it there too.
    """
    opened = connection(worker, config=config)
    return open_socket_of(opened, worker.name, path, time_limit=time_limit)


def open_socket_of(
    opened: WorkerConnection, worker: str, path: str, *, time_limit: float
) -> socket.socket:
    """The same over a connection that is open; `worker` is its name, for messages."""
    return _here(unix_channel(opened.live_transport, worker, path, time_limit))


def open_port(
    worker: Worker, remote_address: str, remote_port: int, *, config: fabric.Config | None = None
) -> socket.socket:
    """A socket of this process that is an address and port as the worker sees them.

    Raises what `connection` raises, MonitorError when nobody listens there or sshd forbids it,
    CommandTimeout, and ConnectionLost. Closing the socket ends it there too.
    """
    transport = connection(worker, config=config).live_transport
    return _here(_open_tcp(transport, worker.name, (remote_address, remote_port)))


def forward_port(
    worker: Worker,
    remote_address: str,
    remote_port: int,
    *,
    local_port: int = 0,
    config: fabric.Config | None = None,
) -> Forward:
    """A port on 127.0.0.1 that leads to an address and port as the worker sees them.

    `local_port` 0 takes a free one. Raises what `connection` raises, and MonitorError when the
    local port is taken. What fails for one caller of the port is logged and ends that call only;
    a connection that was lost is made anew for the next one.
    """
    connection(worker, config=config)

    def opened() -> paramiko.Channel:
        transport = connection(worker, config=config).live_transport
        return _open_tcp(transport, worker.name, (remote_address, remote_port))

    return Forward(worker.name, opened, local_port)


def forward_unix(
    worker: Worker, path: str, *, local_port: int = 0, config: fabric.Config | None = None
) -> Forward:
    """A port on 127.0.0.1 that leads to the worker's UNIX socket at `path`; see `forward_port`."""
    connection(worker, config=config)

    def opened() -> paramiko.Channel:
        transport = connection(worker, config=config).live_transport
        return unix_channel(transport, worker.name, path, OPEN_LIMIT_S)

    return Forward(worker.name, opened, local_port)


class Forward:
    """A local port that leads to a worker while it is open. A context manager."""

    def __init__(
        self, worker: str, opened: Callable[[], paramiko.Channel], local_port: int
    ) -> None:
        self._worker = worker
        self._opened = opened
        self._bridges: set[Bridge] = set()
        self._lock = threading.Lock()
        self._is_open = True
        try:
            self._listener = socket.create_server(("127.0.0.1", local_port))
        except OSError as error:
            raise MonitorError(
                f"port {local_port} of this machine cannot be used: {error.strerror}",
                cure="name another local port",
            ) from error
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        return int(self._listener.getsockname()[1])

    def close(self) -> None:
        """Stop listening and end every connection that goes through."""
        with self._lock:
            self._is_open = False
            bridges = list(self._bridges)
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for bridge in bridges:
            bridge.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._lead, args=(caller,), daemon=True).start()

    def _lead(self, caller: socket.socket) -> None:
        caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            channel = self._opened()
        except VmopsError as error:
            _log.error("%s", error)
            caller.close()
            return
        bridge = Bridge(caller, channel, self._forget)
        with self._lock:
            if self._is_open:
                self._bridges.add(bridge)
        if bridge in self._bridges:
            bridge.start()
        else:
            bridge.close()

    def _forget(self, bridge: Bridge) -> None:
        with self._lock:
            self._bridges.discard(bridge)


def _here(channel: paramiko.Channel) -> socket.socket:
    ours, bridged = socket.socketpair()
    Bridge(bridged, channel).start()
    return ours


def unix_channel(
    transport: WorkerTransport, worker: str, path: str, time_limit: float
) -> paramiko.Channel:
    """A channel that is the worker's UNIX socket at `path`. Raises MonitorError, and as `working`
    does."""
    try:
        with working(worker):
            return transport.open_unix_socket(path, time_limit)
    except ChannelRefused as error:
        raise MonitorError(
            f"{path} cannot be opened: {error.reason}",
            worker=worker,
            cure="is the VM running? may the SSH user open that socket? does sshd allow"
            " AllowStreamLocalForwarding?",
        ) from error


def _open_tcp(transport: WorkerTransport, worker: str, there: tuple[str, int]) -> paramiko.Channel:
    try:
        with working(worker):
            return transport.open_port(there, OPEN_LIMIT_S)
    except ChannelRefused as error:
        raise MonitorError(
            f"{there[0]} port {there[1]} cannot be reached from there: {error.reason}",
            worker=worker,
            cure="is anything listening there? does sshd allow AllowTcpForwarding?",
        ) from error
