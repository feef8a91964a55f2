"""Addresses that are handed out by name: the same on every laptop, whatever the order of VMs.

A name's own wish comes from its hash. Where two wish for one address, the one whose name hashes
lower has it, and the other takes the next that it wishes for: one more name moves few others, if
any.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from hashlib import sha256

_WISHES = 64
"""How often a name wishes again before it takes the next that is free."""


def hand_out(names: Iterable[str], count: int, taken: Collection[int] = ()) -> dict[str, int]:
    """A number below `count` for each name, each once and none that is `taken`.

    A name for which nothing is left has none.
    """
    free = count - len({number for number in taken if 0 <= number < count})
    used = set(taken)
    found: dict[str, int] = {}
    for name in sorted(set(names), key=_order):
        if free <= len(found):
            break
        number = _wished(name, count, used)
        used.add(number)
        found[name] = number
    return found


def _wished(name: str, count: int, used: set[int]) -> int:
    number = 0
    for wish in range(_WISHES):
        number = int.from_bytes(sha256(f"{name}/{wish}".encode()).digest()[:8]) % count
        if number not in used:
            return number
    while number in used:
        number = (number + 1) % count
    return number


def _order(name: str) -> bytes:
    return sha256(name.encode()).digest()
