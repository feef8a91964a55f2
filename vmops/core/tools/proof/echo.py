"""Echoes to guests: from the namespaces of their networks, and by a program in another guest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vmops.core.script.command import FACT_BYTES, Command, command

NO_PING = 127
"""How the program ends in a guest that has no ping."""

IN_A_GUEST = (
    f"command -v ping >/dev/null || exit {NO_PING}\n"
    'for a; do ping -c 3 -W 2 "$a" >/dev/null 2>&1 && echo "reply $a" & done\n'
    "wait"
)


class Heard(NamedTuple):
    """The addresses that answered, by network; and networks that are not there."""

    replies: Mapping[str, frozenset[str]]
    gone: frozenset[str] = frozenset()


def from_gateways(targets: Mapping[str, Sequence[str]]) -> Command:
    """Ask these addresses from each network's namespace."""
    words = [word for name, these in targets.items() for word in (name, *these, "--")]
    return command("ask_guests", *words, most_bytes=FACT_BYTES)


def from_a_guest(addresses: Sequence[str]) -> tuple[str, ...]:
    """The program that asks these addresses in a guest; they never are a part of its text."""
    return ("sh", "-c", IN_A_GUEST, "sh", *addresses)


def parse(text: str) -> Heard:
    """What `from_gateways` printed; a line that is none of these is passed over."""
    found: dict[str, set[str]] = {}
    gone = set()
    for line in text.split("\n"):
        match line.split(" "):
            case [network, "reply", address]:
                found.setdefault(network, set()).add(address)
            case ["gone", network]:
                gone.add(network)
    return Heard({name: frozenset(these) for name, these in found.items()}, frozenset(gone))


def parse_of_guest(text: str) -> frozenset[str]:
    """The addresses that answered a guest."""
    rows = (line.strip().split(" ") for line in text.split("\n"))
    return frozenset(row[1] for row in rows if len(row) == 2 and row[0] == "reply")
