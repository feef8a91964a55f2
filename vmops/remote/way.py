"""The way of a live migration, by way of this machine: from one worker's QEMU to another's.

Both ends are sockets in run directories, reached through sshd over the two connections that are
there anyway: the workers need not reach, know or trust each other.
"""

from __future__ import annotations

import logging
import socket
import threading
from contextlib import suppress
from typing import Self

import fabric

from vmops.core.inventory.model import Worker
from vmops.core.names import RunDirectory
from vmops.errors import VmopsError
from vmops.remote.forward import OPEN_LIMIT_S, open_socket, unix_channel
from vmops.remote.ssh.bridge import Bridge
from vmops.remote.ssh.connection import connection

_STREAMS = ("nbd", "ram")
_MANY = "many"
BEAT_S = 2.0
"""How often the source is told that somebody is there: after some silence it gives the move up, and
its guest goes on."""

_log = logging.getLogger("vmops")


class Way:
    """Carries what the VM's QEMU says at `source` to the one that waits at `destination`, while it
    is open. A context manager.

    Opening it raises what `open_socket` does. A stream that cannot be carried is logged and ends,
    so its QEMU says that it has failed. So does all of it where there are more than `most` streams.
    """

    def __init__(
        self,
        source: Worker,
        destination: Worker,
        vm: str,
        *,
        most: int,
        config: fabric.Config | None = None,
    ) -> None:
        self._vm = vm
        self._most = most
        self._source = source
        self._destination = destination
        self._run = RunDirectory(vm)
        self._config = config
        self._bridges: list[Bridge] = []
        self._control = open_socket(source, self._run.way(), config=config)
        self._is_over = threading.Event()
        for task in (self._serve, self._beat):
            threading.Thread(target=task, daemon=True).start()

    def close(self) -> None:
        """End every stream; the sockets at the source go with that."""
        self._is_over.set()
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        self._control.close()
        for bridge in self._bridges:
            bridge.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _beat(self) -> None:
        with suppress(OSError):
            while not self._is_over.wait(BEAT_S):
                self._control.sendall(b"\n")

    def _serve(self) -> None:
        """One stream after the other: the next that comes to the source's socket is the next that
        was told."""
        with suppress(OSError, ValueError), self._control.makefile("rb") as told:
            lines = iter(lambda: told.readline(64), b"")
            for number, line in enumerate(lines, 1):
                stream = line.decode(errors="replace").strip()
                if stream == _MANY or number > self._most:
                    where = f"{self._vm} on {self._source.name}"
                    _log.error("%s: its QEMU makes more connections than a move takes", where)
                    self.close()
                    return
                if stream not in _STREAMS:
                    return
                if self._is_over.is_set():
                    continue  # why it is over may have been told behind it
                try:
                    self._carry(stream)
                except VmopsError as error:
                    _log.error("%s", error)

    def _carry(self, stream: str) -> None:
        near = open_socket(self._source, self._run.way(), config=self._config)
        try:
            transport = connection(self._destination, config=self._config).live_transport
            path = self._run.way(stream)
            far = unix_channel(transport, self._destination.name, path, OPEN_LIMIT_S)
        except BaseException:
            near.close()
            raise
        bridge = Bridge(near, far)
        self._bridges.append(bridge)
        bridge.start()
