"""Where OVN has the ports of guests, and which controllers follow: the southbound database."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from vmops.core.facts.network.central import CENTRAL, Central
from vmops.core.facts.question import Answers, Question, Unanswered
from vmops.core.script.command import FACT_BYTES, StepResult, command
from vmops.core.tools import ovn
from vmops.core.tools.qemu import whole


class Binding(NamedTuple):
    """Where a port is: the name of its chassis, empty for none, and whether it is up there."""

    chassis: str = ""
    up: bool = False


class Bindings(NamedTuple):
    """The ports of guests by name; and for each chassis how many changes it is behind."""

    ports: Mapping[str, Binding] = MappingProxyType({})
    behind: Mapping[str, int] = MappingProxyType({})


class Middle(NamedTuple):
    """What OVN's central has; `fault` says why it could not be asked, and what is missing then is
    unknown."""

    north: Central | None = None
    south: Bindings | None = None
    fault: str = ""


def _bindings(said: StepResult) -> Bindings:
    ports, chassis, private, whole_net = ovn.tables(said.stdout.decode(errors="replace"))
    names = {str(row["_uuid"]): str(row["name"]) for row in chassis}
    latest = max((_number(row["nb_cfg"]) for row in whole_net), default=0)
    return Bindings(
        {
            str(row["logical_port"]): Binding(
                names.get(str(row["chassis"]), ""), row["up"] == "true"
            )
            for row in ports
        },
        {str(row["name"]): max(0, latest - _number(row["nb_cfg"])) for row in private},
    )


def _number(value: object) -> int:
    return whole(str(value))


BINDINGS: Question[Bindings] = Question(
    "OVN's bindings", (command("binding_facts", most_bytes=FACT_BYTES),), _bindings
)
"""Of the worker that has OVN's central."""

OF_CENTRAL = (CENTRAL, BINDINGS)


def middle(answers: Answers) -> Middle:
    """The answers to `OF_CENTRAL`."""
    try:
        return Middle(answers[CENTRAL], answers[BINDINGS])
    except Unanswered as error:
        return Middle(fault=str(error))
