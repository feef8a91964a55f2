"""That cloud-init has ended, and how: a word that the guest says on its serial port."""

from __future__ import annotations

import re
import shlex
from typing import NamedTuple

_READY = "vmops: cloud-init has ended with"
_MOST_SAID = 600


class Ending(NamedTuple):
    """How cloud-init has ended: the exit code of its `status --wait`, and what it says of it."""

    code: int
    said: str = ""

    @property
    def failed(self) -> bool:
        """True unless all is well, or well but for warnings: that is exit code 2 since 23.4."""
        return self.code not in (0, 2)


def saying(instance: str) -> str:
    """A word on the serial port at each boot, when cloud-init has ended, and how; what it says of
    that where all is not well.

    At every boot and in the background: a VM that was stopped has a new console's log, and
    cloud-init itself must not wait for its own end.
    """
    word = shlex.quote(f"\\r\\n{_READY} %s in {instance}: %s\\r\\n")
    return (
        "(cloud-init status --wait >/dev/null 2>&1; code=$?; said=;"
        ' [ "$code" = 0 ] || said=$(cloud-init status --long 2>&1 | tr -cs "!-~" " " |'
        f" head -c {_MOST_SAID});"
        f' for port in /dev/ttyS0 /dev/console; do printf {word} "$code" "$said" >"$port" && break;'
        " done) </dev/null >/dev/null 2>&1 &"
    )


def ending(console: bytes, instance: str) -> Ending | None:
    """What the guest has said last on its serial port of cloud-init's end; None for nothing yet.

    A guest may say what it likes. Its terminal puts a carriage return before a line's end, and may
    find one there already.
    """
    pattern = re.escape(_READY) + r" (\d{1,3}) in " + re.escape(instance) + r":([^\r\n]*)\r*\n"
    found = re.findall(pattern.encode(), console)
    if not found:
        return None
    code, said = found[-1]
    return Ending(int(code), said[:_MOST_SAID].decode(errors="replace").strip())
