"""Where one script's output begins and ends in a stream of the worker's root shell."""

from __future__ import annotations


class FramedStream:
    """One stream of a root shell during one script, between `NONCE b` and `NONCE e CODE`.

    `data` is filled by whoever reads; what came before the frame does not count.
    """

    def __init__(self, data: bytearray, nonce: str) -> None:
        data.clear()
        self._data = data
        self._begin = f"{nonce} b\n".encode()
        self._end = f"{nonce} e ".encode()
        self._searched = 0
        self._stop: int | None = None
        self.code = 0

    def has_begun(self) -> bool:
        """True when the worker has started on the script."""
        return self._begin in self._data

    def is_complete(self) -> bool:
        """True when the end has come; `code` is the exit code then."""
        if self._stop is None:
            at = self._data.find(self._end, self._searched)
            self._searched = at if at >= 0 else max(0, len(self._data) - len(self._end))
            newline = self._data.find(b"\n", at) if at >= 0 else -1
            if newline >= 0:
                self._stop = at
                self.code = int(self._data[at + len(self._end) : newline])
        return self._stop is not None

    def content(self) -> bytes:
        """What the script printed."""
        return bytes(self._data[self._data.find(self._begin) + len(self._begin) : self._stop])
