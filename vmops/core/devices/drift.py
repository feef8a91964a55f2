"""One field in which a running VM and its entry in the inventory differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Drift(NamedTuple):
    """One field: what runs and what is wanted. `live` when it can change without a restart, `later`
    when it can wait for the VM's next start."""

    field: str
    running: str
    wanted: str
    live: bool = False
    later: bool = False

    def is_of(self, fields: Sequence[str]) -> bool:
        """True when the field is one of these, or a part of one."""
        return any(self.field == field or self.field.startswith(f"{field}.") for field in fields)

    @property
    def is_state(self) -> bool:
        """True for a guest that stands still, which nothing that starts VMs makes run on."""
        return self.field == "state"

    @property
    def how(self) -> str:
        """What it takes, in a word or two."""
        if self.is_state:
            return "left as it is"
        return "live" if self.live else "at its next start" if self.later else "restart"

    def __str__(self) -> str:
        return f"{self.field}: {self.running} -> {self.wanted}"


def word(value: object) -> str:
    """A value as QEMU's options have it."""
    return ("on" if value else "off") if isinstance(value, bool) else str(value)
