"""What tunnels of a worker are laid on: the device that has the address where they begin."""

from __future__ import annotations

from typing import NamedTuple

from vmops.core.facts.question import Question, lines_of
from vmops.core.script.command import StepResult, command


class Underlay(NamedTuple):
    """The device, and how large its packets may be, in bytes."""

    device: str
    mtu: int


def _underlay(said: StepResult) -> Underlay | None:
    for line in lines_of(said):
        device, _, mtu = line.partition(" ")
        return Underlay(device, int(mtu))
    return None


def underlay(address: str) -> Question[Underlay | None]:
    """The device that has this address; None where no device has it."""
    return Question("the device of tunnels", (command("underlay_facts", address),), _underlay)
