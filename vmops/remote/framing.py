"""Where one script's output begins and ends in a stream of the worker's root shell."""

from __future__ import annotations

import re

_CODE = re.compile(rb"[0-9]{1,3}")
_UPTIME = re.compile(rb"([0-9]{1,10})[0-9.]{0,10}\n")
_LONGEST_CODE_LINE = 4


class FramedStream:
    """One stream of a root shell during one script, between `NONCE b` and `NONCE e CODE`.

    `data` is filled by whoever reads; what came before the frame does not count. A frame that no
    root shell of ours writes is a ValueError.
    """

    def __init__(self, data: bytearray, nonce: str) -> None:
        data.clear()
        self._data = data
        self._begin = f"{nonce} b\n".encode()
        self._end = f"{nonce} e ".encode()
        self._late = f"{nonce} l ".encode()
        self._searched = 0
        self._start: int | None = None
        self._stop: int | None = None
        self.code = 0

    def has_begun(self) -> bool:
        """True when the worker has started on the script."""
        if self._start is None:
            at = self._search(self._begin)
            if at >= 0:
                self._start = self._searched = at + len(self._begin)
        return self._start is not None

    def late_at(self) -> int | None:
        """The worker's uptime in seconds, where the script came too late and was not run."""
        _, late, rest = self._data.partition(self._late)
        found = _UPTIME.match(rest) if late else None
        return int(found[1]) if found else None

    def is_complete(self) -> bool:
        """True when the end has come; `code` is the exit code then."""
        if self._stop is None and self.has_begun():
            at = self._search(self._end)
            if at >= 0:
                self._read_code(at)
        return self._stop is not None

    def _search(self, mark: bytes) -> int:
        """Where the mark is, or -1. Nothing is searched twice, however it comes in."""
        at = self._data.find(mark, self._searched)
        self._searched = at if at >= 0 else max(self._searched, len(self._data) - len(mark) + 1)
        return at

    def _read_code(self, at: int) -> None:
        begins = at + len(self._end)
        line = bytes(self._data[begins : begins + _LONGEST_CODE_LINE])
        code, newline, _ = line.partition(b"\n")
        if newline and _CODE.fullmatch(code):
            self._stop, self.code = at, int(code)
        elif newline or len(line) == _LONGEST_CODE_LINE:
            raise ValueError(f"an exit code cannot be {code!r}")

    def content(self) -> bytes:
        """What the script printed, once `is_complete`."""
        return bytes(self._data[self._start : self._stop])
