"""Guests that are none, on a network's node: what they try there, and what came of it.

Each network has one, with an address of its subnet that nobody has and a MAC of the run. Its
packets go into the network's namespace by the node's own end of the pair, so that the rules, routes
and programs there do with them what they do with a guest's: see shell/guests.pl.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

from vmops.core.names import NetworkNames
from vmops.core.script.command import FACT_BYTES, Command, command
from vmops.core.tools.proof.probe import address
from vmops.core.tools.qemu import whole

PATIENCE_S = 2
"""How long what is to come is waited for."""

OUTSIDE = "203.0.113.254"
"""An address of TEST-NET-3, which is nobody's: where packets are sent that are to leave the node.
Their time to live ends at its next neighbour."""

Kind = Literal["echo", "node", "out", "to", "name"]


class Guest(NamedTuple):
    """The guest of a network that is none. `uplink` is the node's way out, which is looked at;
    empty for none."""

    network: str
    gateway: str
    address: str
    uplink: str = ""


class Try(NamedTuple):
    """What one of them tries, and whether that is to work.

    `echo`: the gateway answers; `node`: the node itself does; `out`: a packet to `target` leaves by
    the uplink; `to`: it comes out in the network `target`; `name`: somebody answers for that name.
    """

    network: str
    kind: Kind
    target: str
    wanted: bool


class Tried(NamedTuple):
    """What came of it: the numbers of what worked, the address that was given for a name, networks
    whose gateway is silent or that are not there, and devices that could not be looked at."""

    seen: frozenset[int] = frozenset()
    named: Mapping[int, str] = MappingProxyType({})
    silent: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()
    blind: frozenset[str] = frozenset()


def tries(run: int, guests: Sequence[Guest], tried: Iterable[Try]) -> Command:
    """Try all that, each by its place in the list. `run` has 32 bits."""
    words = [f"{run & 0xFFFFFFFF:08x}", str(PATIENCE_S)]
    for number, guest in enumerate(guests):
        words += ["net", guest.network, guest.gateway, guest.address, address(run >> 16, number)]
        words += [NetworkNames(guest.network).short, guest.uplink or "-"]
    for number, each in enumerate(tried):
        words += ["try", str(number), each.network, each.kind, each.target, str(int(each.wanted))]
    return command("try_as_guests", *words, most_bytes=FACT_BYTES)


def parse(text: str) -> Tried:
    """What was printed; a line that is none of these is passed over."""
    rows = [line.split(" ") for line in text.split("\n")]

    def second(word: str, length: int = 2) -> list[list[str]]:
        return [row for row in rows if len(row) == length and row[0] == word]

    return Tried(
        frozenset(whole(row[1]) for row in second("seen") if row[1].isdecimal()),
        MappingProxyType(
            {whole(row[1]): row[2] for row in second("named", 3) if row[1].isdecimal()}
        ),
        *(frozenset(row[1] for row in second(word)) for word in ("silent", "gone", "blind")),
    )
