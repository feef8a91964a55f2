"""The format of pcap, as far as it tells how many frames have come."""

from __future__ import annotations

import struct

_HEAD_BYTES, _FRAME_HEAD_BYTES = 24, 16
_MAGICS = {b"\xa1\xb2\xc3\xd4": ">", b"\xa1\xb2\x3c\x4d": ">"}
_MOST_BYTES = 1 << 20


class Counter:
    """Counts the whole frames of a stream that is fed to it in pieces.

    `frames` stays where it was when the stream turns out to be none.
    """

    def __init__(self) -> None:
        self.frames = 0
        self._order = ""
        self._held = b""
        self._skip = 0
        self._lost = False

    def feed(self, data: bytes) -> None:
        """One more piece."""
        if self._lost:
            return
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        if skipped and not self._skip:
            self.frames += 1
        if self._skip:
            return
        self._held += data[skipped:]
        if not self._order:
            self._read_head()
        while self._order and self._read_frame():
            pass

    def _read_head(self) -> None:
        if len(self._held) < _HEAD_BYTES:
            return
        magic = self._held[:4]
        self._order = _MAGICS.get(magic) or ("<" if magic[::-1] in _MAGICS else "")
        self._lost = not self._order
        self._held = self._held[_HEAD_BYTES:]

    def _read_frame(self) -> bool:
        """True when one was there, whole or in part, and more may be."""
        if len(self._held) < _FRAME_HEAD_BYTES:
            return False
        (length,) = struct.unpack_from(f"{self._order}I", self._held, 8)
        rest = self._held[_FRAME_HEAD_BYTES:]
        self._lost = length > _MOST_BYTES
        if self._lost:
            return False
        if len(rest) >= length:
            self.frames += 1
            self._held = rest[length:]
            return True
        self._skip, self._held = length - len(rest), b""
        return False
