"""Bytes between a socket of this machine and a channel of a worker."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

import paramiko

FAILURES = (paramiko.SSHException, EOFError, OSError)
"""All that paramiko and sockets raise for what is not our own mistake."""

_CHUNK = 2**16


class Bridge:
    """Carries bytes between a socket and a channel, both ways, until both ends are done."""

    def __init__(
        self,
        near: socket.socket,
        far: paramiko.Channel,
        on_end: Callable[[Bridge], None] = lambda _: None,
    ) -> None:
        self._near = near
        self._far = far
        self._on_end = on_end

    def start(self) -> None:
        """Carry, in threads of its own; all is closed when they end."""
        threading.Thread(target=self._carry_back, daemon=True).start()

    def close(self) -> None:
        """End both sides at once."""
        with suppress(OSError):
            self._near.shutdown(socket.SHUT_RDWR)
        with suppress(*FAILURES):
            self._far.close()

    def _carry_back(self) -> None:
        there = threading.Thread(target=self._carry_there, daemon=True)
        there.start()
        with suppress(*FAILURES):
            while data := self._far.recv(_CHUNK):
                self._near.sendall(data)
        self.close()
        there.join()
        self._near.close()
        self._on_end(self)

    def _carry_there(self) -> None:
        with suppress(*FAILURES):
            while data := self._near.recv(_CHUNK):
                self._far.sendall(data)
        with suppress(*FAILURES):
            self._far.shutdown_write()
