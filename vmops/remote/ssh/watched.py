"""A stream whose peer is watched: a dead link and a peer that is stuck are noticed in 10 s."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from vmops.remote.counters import count
from vmops.remote.ssh.stream import Stream, acknowledge_at_once

PING_AFTER_S = 3.0
"""A peer from which nothing was heard for so long is asked whether it is there."""

LOST_AFTER_S = 10.0
"""A peer from which nothing was heard for so long, three pings included, is given up."""


class WatchedStream:
    """A stream that calls `on_silence` while nothing is heard, and fails when that lasts too long.

    Silence is the sum of the waits that ended without a byte, not a difference of two clock
    readings, so a laptop that slept does not find its workers dead. It is counted after `watch`.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._tick = 0.1
        self._silence = 0.0
        self._asked_at = 0.0
        self._on_silence: Callable[[], None] | None = None
        self._received_last = True
        self._lost = ""

    def watch(self, on_silence: Callable[[], None]) -> None:
        """From now on ask by `on_silence` every 3 s of silence, and fail after 10 s of it."""
        self._silence = self._asked_at = 0.0
        self._on_silence = on_silence

    def recv(self, nbytes: int) -> bytes:
        """Up to `nbytes`; empty at the end; TimeoutError after a tick, OSError when lost."""
        acknowledge_at_once(self._stream)
        try:
            data = self._stream.recv(nbytes)
        except TimeoutError:
            self._heard_nothing()
            raise
        self._silence = self._asked_at = 0.0
        self._received_last = True
        count("bytes_in", len(data))
        return data

    def _heard_nothing(self) -> None:
        if self._on_silence is None:
            return
        self._silence += self._tick
        if self._silence >= LOST_AFTER_S:
            self._lost = self._lost or "it stopped answering"
        self._fail_if_lost()
        if self._silence - self._asked_at >= PING_AFTER_S:
            self._asked_at = self._silence
            self._on_silence()

    def _fail_if_lost(self) -> None:
        """What one thread has found out ends the wait of all."""
        if self._lost:
            raise ConnectionAbortedError(errno.ECONNABORTED, self._lost)

    def send(self, data: bytes) -> int:
        """How many bytes were taken; OSError when none were for 10 s."""
        waited = 0.0
        while True:
            self._fail_if_lost()
            try:
                sent = self._stream.send(data)
            except TimeoutError:
                waited += self._tick
                if waited >= LOST_AFTER_S:
                    self._lost = "it stopped taking data"
                continue
            if self._received_last:
                self._received_last = False
                count("round_trips")
            count("bytes_out", sent)
            return sent

    def settimeout(self, seconds: float | None) -> None:
        """The tick: how long one `recv` or `send` waits."""
        self._tick = 0.1 if seconds is None else seconds
        self._stream.settimeout(seconds)

    def close(self) -> None:
        """Close the stream below; both directions end."""
        if isinstance(self._stream, socket.socket):
            with suppress(OSError):
                self._stream.shutdown(socket.SHUT_RDWR)
        self._stream.close()

    def let_go(self) -> None:
        """Give up this process's share in the stream; the process that it was forked from keeps
        its own. Nothing can be sent or received here afterwards."""
        self._lost = "it belongs to another process"
        if isinstance(self._stream, socket.socket):
            with suppress(OSError):
                os.close(self._stream.detach())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
