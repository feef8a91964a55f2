"""What a QEMU is told before any use of its migration: a live move, memory that is saved or loaded.

What one of them sets stays set in that QEMU, and goes with its guest to no other. So each says all
that it needs, and takes nothing for the default.
"""

from __future__ import annotations

from typing import Literal

from vmops.core.tools.qmp import Request

Capability = Literal["return-path", "pause-before-switchover", "auto-converge"]

_OURS: tuple[Capability, ...] = ("return-path", "pause-before-switchover", "auto-converge")
_NEVER = (
    "postcopy-ram",
    "multifd",
    "xbzrle",
    "release-ram",
    "dirty-bitmaps",
    "late-block-activate",
    "validate-uuid",
    "background-snapshot",
)
"""What somebody else may have set, and what keeps memory from going through one stream. Every QEMU
since 6.0 knows these."""

_NO_LIMIT = 1 << 40
_DOWNTIME_MS = 300


def told(*wanted: Capability) -> Request:
    """Have these capabilities and no other, beside the events that are waited for."""
    states = {"events": True, **{name: name in wanted for name in (*_OURS, *_NEVER)}}
    pairs = [{"capability": name, "state": state} for name, state in states.items()]
    return Request("migrate-set-capabilities", {"capabilities": pairs})


def limits(*, bytes_s: int = 0, downtime_ms: int = _DOWNTIME_MS) -> Request:
    """How much may be sent in a second, 0 without a limit (in 7.2 the default is 128 MiB), and how
    long the guest may stand still for what is left."""
    wanted = {"downtime-limit": downtime_ms, "max-bandwidth": bytes_s or _NO_LIMIT}
    return Request("migrate-set-parameters", wanted)
