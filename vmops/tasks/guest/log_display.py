"""Several VMs' logs on one terminal, or in one pipe."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from vmops.tasks.frame.harmless import Harmless, printed
from vmops.tasks.frame.output import give_bytes, say

if TYPE_CHECKING:
    from vmops.core.facts.logs import Part
    from vmops.ops.guest.logs import Reading


class LogDisplay:
    """Puts what guests printed on standard output, and what is said about it on standard error.

    `for_terminal` makes control characters harmless, else the bytes are as they were. Of `several`
    VMs only whole lines are shown, each behind the VM's name. With `only_qemu` QEMU's messages
    take the guest's place.
    """

    def __init__(self, *, several: bool, for_terminal: bool, only_qemu: bool) -> None:
        self._several = several
        self._for_terminal = for_terminal
        self._only_qemu = only_qemu
        self._decoders: dict[str, Harmless] = {}
        self._begun: dict[str, bytes] = {}
        self._at_line_start = True

    def show(self, reading: Reading) -> None:
        """Show a reading; of a VM that has ended, with a word on that."""
        parts = reading.parts
        shown, other = (parts.qemu, None) if self._only_qemu else (parts.console, parts.qemu)
        if shown is not None:
            self._show(reading.vm, shown)
        if other is not None:
            for line in printed(other.data).splitlines():
                self._say(f"QEMU of {reading.vm}: {line}")
        if reading.ended:
            self.finish(reading.vm)
            self._say(f"{reading.vm} {reading.ended}")

    def end(self) -> None:
        """Finish all, and leave the terminal at the beginning of a line."""
        for vm in sorted(self._decoders.keys() | self._begun.keys()):
            self.finish(vm)
        self._end_line()

    def _show(self, vm: str, part: Part) -> None:
        if part.missed:
            self._say(f"{vm}: {part.missed} bytes were printed faster than they could be read")
        self._write(vm, self._text(vm, part.data))

    def finish(self, vm: str) -> None:
        """Show what was held back: the beginning of a line, or of a character."""
        self._write(vm, self._text(vm, b"", last=True))
        if self._begun.get(vm):
            self._write(vm, b"\n")

    def _text(self, vm: str, data: bytes, *, last: bool = False) -> bytes:
        if not self._for_terminal:
            return data
        text = self._decoders.setdefault(vm, Harmless()).feed(data, last=last)
        return text.encode(sys.stdout.encoding, "backslashreplace")

    def _write(self, vm: str, data: bytes) -> None:
        if self._several:
            *whole, rest = (self._begun.pop(vm, b"") + data).split(b"\n")
            self._begun[vm] = rest
            data = b"".join(b"%s: %s\n" % (vm.encode(), line) for line in whole)
        if data:
            give_bytes(data)
            self._at_line_start = data.endswith(b"\n")

    def _say(self, text: str) -> None:
        self._end_line()
        say(text)

    def _end_line(self) -> None:
        """On a terminal both streams meet."""
        if not self._at_line_start and sys.stdout.isatty():
            give_bytes(b"\n")
            self._at_line_start = True
