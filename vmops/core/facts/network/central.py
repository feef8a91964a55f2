"""What OVN's central has of our networks, and which workers follow it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from vmops.core.facts.question import Question
from vmops.core.script.command import FACT_BYTES, StepResult, command
from vmops.core.tools import ovn
from vmops.core.tools.ovn import Found, Key


class Central(NamedTuple):
    """The rows of ours, the chassis of each end of a tunnel, and the sum of the rows: a guard
    compares it."""

    rows: Mapping[Key, Found]
    chassis: Mapping[str, str] = MappingProxyType({})
    sum: str = ""

    @property
    def networks(self) -> tuple[str, ...]:
        """The networks that it has, in order."""
        return tuple(sorted({key.network for key in self.rows} - {ovn.EVERYBODY}))

    def of(self, network: str) -> dict[Key, Found]:
        """The rows of one network."""
        return {key: found for key, found in self.rows.items() if key.network == network}

    def guests_of(self, network: str) -> dict[str, bool]:
        """Each guest's port there, and whether OVN says that it is up."""
        return {
            str(found.columns["name"]): found.columns.get("up") == "true"
            for found in self.of(network).values()
            if found.table == ovn.PORTS and not found.columns.get("type")
        }


def _central(said: StepResult) -> Central:
    parts = {name: raw.decode(errors="replace") for name, raw in said.parts}
    rows = {found.key: found for found in ovn.parse(parts["north"])}
    encaps, *_ = [*ovn.tables(parts["south"]), []]
    chassis = {str(row["ip"]): str(row["chassis_name"]) for row in encaps}
    return Central(
        MappingProxyType(rows), MappingProxyType(chassis), parts["sum"].strip().partition(" ")[0]
    )


CENTRAL = Question("OVN's central", (command("central_facts", most_bytes=FACT_BYTES),), _central)
"""Of the worker that has it."""


def _has_two(said: StepResult) -> bool:
    return said.stdout.strip() == b"yes"


TWO_PLACES = Question(
    "whether OVN can have a port at two workers", (command("two_places"),), _has_two
)
"""Of the worker that has it: OVN can since 22.09."""
