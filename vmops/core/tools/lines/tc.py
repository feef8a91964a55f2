"""The kernel's traffic control: the queues that impair what passes a TAP, and their reading.

What goes to the guest waits in the TAP's own queue. What the guest sends has none, as it comes in
there: it is led through a device of its own, the TAP's mirror, and waits in that one's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from vmops.core.inventory.networks.impairment import UNIMPAIRED, Impaired, Impairment
from vmops.core.script.command import FACT_BYTES, Command, command

HELD_MS = 100
"""What may wait for its turn at a lower rate."""

FRAME_BYTES = 1500
FEWEST, MOST = 50, 20_000
"""Frames that a queue holds: more would only take the worker's memory."""

_UNBOUND_MBIT = 1000


def mirror(tap: str) -> str:
    """The device that a TAP's frames are led through."""
    return "ifb" + tap.removeprefix("tap")


def words(wanted: Impairment) -> tuple[str, ...]:
    """The queue, in tc's words. A lower rate alone takes no netem, which not every kernel has."""
    if not wanted.takes_netem:
        rate = wanted.rate_mbit
        burst = max(16_384, round(rate * 1e6 / 8 / 100))
        return ("tbf", "rate", _rate(rate), "burst", str(burst), "latency", f"{HELD_MS}ms")
    found = ["netem", "limit", str(_frames(wanted))]
    if wanted.delay_ms:
        found += ["delay", f"{wanted.delay_ms:g}ms"]
    if wanted.jitter_ms:
        found.append(f"{wanted.jitter_ms:g}ms")
    if wanted.loss_pct:
        found += ["loss", f"{wanted.loss_pct:g}%"]
    if wanted.rate_mbit:
        found += ["rate", _rate(wanted.rate_mbit)]
    return tuple(found)


def _rate(mbit: float) -> str:
    return f"{round(mbit * 1000)}kbit"


def _frames(wanted: Impairment) -> int:
    """As many as are on their way at once at that rate, and those that wait for their turn."""
    seconds = (wanted.delay_ms + wanted.jitter_ms + HELD_MS) / 1000
    count = seconds * (wanted.rate_mbit or _UNBOUND_MBIT) * 1e6 / 8 / FRAME_BYTES
    return min(MOST, max(FEWEST, round(count)))


def impair(tap: str, wanted: Impaired) -> tuple[Command, ...]:
    """Impair what passes the TAP just so, whatever was there before; may be done again."""
    none = Impairment()
    into = ("impair_in", tap, *words(wanted.into)) if wanted.into != none else ("free_in", tap)
    other = mirror(tap)
    out = (
        ("impair_out", tap, other, *words(wanted.out))
        if wanted.out != none
        else ("free_out", tap, other)
    )
    return (command(*into), command(*out))


def query() -> Command:
    """What `parse` reads."""
    return command("queue_facts", most_bytes=FACT_BYTES)


def parse(text: str) -> Mapping[str, Impaired]:
    """What is impaired, by TAP. Raises ValueError for what is not tc's answer."""
    try:
        return _parse(json.loads(text or "[]"))
    except (TypeError, KeyError, AttributeError, RecursionError) as odd:
        raise ValueError(f"what tc said cannot be read: {odd!r}") from odd


def _parse(rows: Any) -> Mapping[str, Impaired]:
    queues = {row["dev"]: _impairment(row) for row in rows if row.get("root")}
    led = {row["dev"] for row in rows if row["kind"] == "clsact"}
    found = {}
    for device, into in queues.items() | {(tap, None) for tap in led - queues.keys()}:
        out = queues.get(mirror(device)) if device in led else None
        both = Impaired(into or Impairment(), out or Impairment())
        if both != UNIMPAIRED and not device.startswith("ifb"):
            found[device] = both
    return MappingProxyType(found)


def _impairment(row: Mapping[str, Any]) -> Impairment | None:
    """What a queue does; None for one of another kind."""
    options = row.get("options", {})
    if row["kind"] == "tbf":
        return Impairment(rate_mbit=_mbit(options["rate"]))
    if row["kind"] != "netem":
        return None
    delay = options.get("delay", {})
    return Impairment(
        _round(delay.get("delay", 0) * 1000, 2),
        _round(delay.get("jitter", 0) * 1000, 2),
        _round(options.get("loss-random", {}).get("loss", 0) * 100),
        _mbit(options.get("rate", {}).get("rate", 0)),
    )


def _mbit(bytes_in_a_second: float) -> float:
    return _round(bytes_in_a_second * 8 / 1e6)


def _round(value: float, decimals: int = 3) -> float:
    """As values of hosts.toml are kept: where 0.5 ms was set, tc says 0.499."""
    if not -1e15 < value < 1e15:
        raise ValueError(f"{value!r} is no such number")
    return round(value, decimals)
