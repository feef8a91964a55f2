"""What is wrong with the line of an interface on purpose: delay, loss, a lower rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from vmops.core.inventory.complaints import Fault, show

KEYS = ("delay_ms", "jitter_ms", "loss_pct", "rate_mbit")
BOTH, IN, OUT = WAYS = ("both", "in", "out")
"""Which way frames are impaired, as the guest sees it: `in` is what it gets, `out` what it sends.
"""


class Impairment(NamedTuple):
    """One way's. What is 0 is not impaired; the delay of each frame differs by up to `jitter_ms`
    either way."""

    delay_ms: float = 0
    jitter_ms: float = 0
    loss_pct: float = 0
    rate_mbit: float = 0

    @property
    def takes_netem(self) -> bool:
        """True where a lower rate is not all of it."""
        return bool(self.delay_ms or self.loss_pct)

    def __str__(self) -> str:
        """In the words of messages and drift."""
        jitter = f" (±{self.jitter_ms:g})" if self.jitter_ms else ""
        said = (
            f"{self.delay_ms:g} ms{jitter}" if self.delay_ms else "",
            f"loss {self.loss_pct:g} %" if self.loss_pct else "",
            f"{self.rate_mbit:g} Mbit/s" if self.rate_mbit else "",
        )
        return ", ".join(filter(None, said)) or "nothing"


class Impaired(NamedTuple):
    """An interface's, both ways: of what its guest gets, and of what it sends."""

    into: Impairment = Impairment()
    out: Impairment = Impairment()

    def __str__(self) -> str:
        """In the words of messages and drift."""
        if self.into == self.out:
            return str(self.into) if self.into == Impairment() else f"{self.into} both ways"
        ways = (("in", self.into), ("out", self.out))
        return "; ".join(f"{way}: {each}" for way, each in ways if each != Impairment())


UNIMPAIRED = Impaired()


def impaired(values: Mapping[str, Any]) -> Impaired:
    """What these keys of an interface mean."""
    each = Impairment(*(values.get(key) or 0 for key in KEYS))
    way = values.get("impaired") or BOTH
    return Impaired(
        Impairment() if way == OUT else each,
        Impairment() if way == IN else each,
    )


def keys_of(found: Impaired) -> dict[str, Any]:
    """The keys that mean this; where the ways differ, those of what comes in."""
    way = OUT if found.into == Impairment() else IN if found.out == Impairment() else BOTH
    each = found.out if way == OUT else found.into
    values = {key: value for key, value in zip(KEYS, each, strict=True) if value}
    return values | ({"impaired": way} if values and way != BOTH else {})


def impairment_faults(interface: Mapping[str, Any]) -> list[Fault]:
    """What is wrong with values of one interface that are good each by itself."""
    delay, jitter, way = (interface.get(key) for key in ("delay_ms", "jitter_ms", "impaired"))
    if jitter and jitter > (delay or 0):
        return [Fault(("jitter_ms",), f"{jitter:g}: must be at most delay_ms, {delay or 0:g}")]
    if way not in (None, BOTH) and not any(interface.get(key) for key in KEYS):
        return [Fault(("impaired",), f"{show(way)}: must be left out, as nothing is impaired")]
    return []
