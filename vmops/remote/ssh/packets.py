"""The packets of a connection: bounded as they come, and several that leave at once."""

from __future__ import annotations

import struct
from socket import socket
from typing import Any, NamedTuple, cast

import paramiko
from paramiko.common import cMSG_CHANNEL_DATA
from paramiko.packet import Packetizer

LONGEST_BANNER_LINE = 8192
LARGEST_PACKET = 2**18
"""Bytes, both as in OpenSSH: who sends more means no good, and would fill the memory here."""

MOST_TOGETHER = 8
"""Packets of 32 KiB that leave at once: more gain little, and hold up what others have to say."""

_HEAD = struct.Struct(">II")


class Together(NamedTuple):
    """Messages that leave in one system call, and how many bytes of input they hold."""

    messages: tuple[paramiko.Message, ...]
    length: int


def together(channel: paramiko.Channel, data: memoryview) -> Together:
    """The beginning of `data` as input for the channel: as much as the other side has room for.

    Room for the first byte is waited for. Empty where the channel takes no more. Raises
    TimeoutError, and OSError where it is closed.
    """
    messages: list[paramiko.Message] = []
    at = 0
    with channel.lock:
        if channel.closed:
            raise OSError("Socket is closed")
        while at < len(data) and len(messages) < MOST_TOGETHER and (at == 0 or _has_room(channel)):
            length = cast(Any, channel)._wait_for_send_window(len(data) - at)
            if not length:
                break
            head = cMSG_CHANNEL_DATA + _HEAD.pack(channel.remote_chanid, length)
            messages.append(paramiko.Message(b"".join((head, data[at : at + length]))))
            at += length
    return Together(tuple(messages), at)


def _has_room(channel: Any) -> bool:
    return bool(channel.out_window_size)


class Packets(Packetizer):
    """paramiko's own with bounds, and without its timer, a thread that holds up the end of the
    process.

    Whoever starts the handshake has a time limit already.
    """

    REKEY_BYTES = 2**30
    """Until new keys are made, as RFC 4253 recommends for whatever cipher; paramiko does so after
    half of that, in the middle of many an image."""

    last_line = ""
    _before_line = 0

    def __init__(self, socket: socket) -> None:
        super().__init__(socket)
        self._gathers = False
        self._gathered: list[bytes] = []

    def send_message(self, data: paramiko.Message | Together) -> None:
        """Encrypt and send."""
        if not isinstance(data, Together):
            super().send_message(data)
            return
        *others, last = data.messages
        self._gathers = True
        try:
            for message in others:
                super().send_message(message)
        finally:
            self._gathers = False
        super().send_message(last)

    def write_all(self, out: Any) -> None:
        """Send a packet, unless more are to leave with it.

        They come one at a time, in the order in which they were encrypted: also what another thread
        says meanwhile, which leaves with the others.
        """
        self._gathered.append(out)
        if not self._gathers:
            ready, self._gathered = b"".join(self._gathered), []
            # paramiko sends the rest of what was not taken: a view of it, no copy
            super().write_all(memoryview(ready))

    def start_handshake(self, timeout: float) -> None:
        """Nothing to start."""

    def readline(self, timeout: float) -> str:
        """A line before the encryption starts."""
        self._before_line = 0
        self.last_line = super().readline(timeout)
        return self.last_line

    def _read_timeout(self, timeout: float) -> bytes:
        """More of that line."""
        data: bytes = super()._read_timeout(timeout)  # type: ignore[misc]
        self._before_line += len(data)
        if self._before_line > LONGEST_BANNER_LINE and b"\n" not in data:
            raise paramiko.SSHException("its first line has no end")
        return data

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        """`n` bytes of a packet."""
        if n > LARGEST_PACKET:
            raise paramiko.SSHException(f"it announces a packet of {n} bytes")
        return super().read_all(n, check_rekey)
