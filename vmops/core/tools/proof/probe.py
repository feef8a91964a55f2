"""Probe frames: sent at a VM's port as if its guest had, and found again where they were learned.

A probe is a broadcast with a source address of its own, `0e:76` (locally administered), two bytes
of the run and two of the probe, and the type 88b5, which is set aside for experiments: no guest has
a use for it. A switch that it comes to learns its source address, and so tells where it came in and
in which VLAN. It forgets it by itself, after five minutes as a rule: Open vSwitch can be told to
forget one address only where that was entered by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vmops.core.script.command import FACT_BYTES, Command, command
from vmops.core.tools.qemu import whole

PREFIX = "0e:76"
TYPE = "88b5"
SHORTEST_BYTES = 60
"""A frame without its checksum has at least so many."""

MOST = 1 << 16
"""So many probes have addresses of their own in one run."""

REFUSED = "refused "


class Probe(NamedTuple):
    """A frame that is sent at `port`, and the VLAN that it is to come into; None for one that is to
    come nowhere. With a `tag` the guest itself would have tagged it."""

    port: str
    mac: str
    vlan_id: int | None = None
    tag: int | None = None


class Sighting(NamedTuple):
    """Where a bridge has learned an address: the OpenFlow number of the port, and the VLAN.

    `ofport` is None for the bridge's own port. `age_s` is how long ago it came.
    """

    ofport: int | None
    vlan_id: int
    mac: str
    age_s: int


def prefix(run: int) -> str:
    """What the addresses of one run begin with."""
    return f"{PREFIX}:{run >> 8 & 0xFF:02x}:{run & 0xFF:02x}"


def address(run: int, number: int) -> str:
    """The source address of one probe."""
    return f"{prefix(run)}:{number >> 8 & 0xFF:02x}:{number & 0xFF:02x}"


def frame(probe: Probe) -> str:
    """The frame in hex: to all, from the probe's own address."""
    tag = "" if probe.tag is None else f"8100{probe.tag:04x}"
    head = "ff" * 6 + probe.mac.replace(":", "") + tag + TYPE + b"vmops".hex()
    return head.ljust(2 * SHORTEST_BYTES, "0")


def send(bridge: str, probes: Sequence[Probe]) -> Command:
    """Send the probes, one after the other; it says of each port that refuses one why.

    They go through the bridge's flows like what a guest sends.
    """
    pairs = (word for probe in probes for word in (probe.port, frame(probe)))
    return command("send_probes", bridge, *pairs)


def parse_refusals(text: str) -> dict[str, str]:
    """Why a port took no probe, by port, from what `send` printed."""
    said = (line.removeprefix(REFUSED) for line in text.split("\n") if line.startswith(REFUSED))
    return {port: why for port, _, why in (line.partition(" ") for line in said)}


def look(bridge: str, run: int) -> Command:
    """What the bridge has learned of this run's probes."""
    return command("learned_probes", bridge, prefix(run), most_bytes=FACT_BYTES)


def parse(text: str) -> tuple[Sighting, ...]:
    """Each address and where it was learned, from `ovs-appctl fdb/show`: port, VLAN, MAC, age.

    Lines that are none of a probe, such as the headings, are passed over.
    """
    rows = (line.split() for line in text.split("\n"))
    return tuple(
        Sighting(whole(row[0]) if row[0] != "LOCAL" else None, whole(row[1]), row[2], whole(row[3]))
        for row in rows
        if len(row) == 4 and row[2].startswith(f"{PREFIX}:") and row[1].isdecimal()
    )
