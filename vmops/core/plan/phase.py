"""A plan: a sequence of phases, each a block of steps on a named worker."""

from __future__ import annotations

from typing import Literal, NamedTuple

from vmops.core.devices.drift import Drift
from vmops.core.devices.nic import Skip
from vmops.core.devices.power import Asking
from vmops.core.inventory.model import VM
from vmops.core.script.command import Block

Action = Literal[
    "start",
    "nothing",
    "replug",
    "change",
    "link",
    "impair",
    "snapshot",
    "revert",
    "delete snapshot",
    "thaw",
    "suspend",
    "move",
    "discard memory",
    "grow",
    "restart",
    "stop",
    "destroy",
    "forget",
    "reset disk",
    "tidy",
    "adopt",
]

ACT_LIMIT_S = 120.0
"""What the steps of one phase may take, apart from what they wait for a guest."""


class Phase(NamedTuple):
    """A block of steps on one worker. A block that fails undoes itself.

    `recovery` is what makes good again what this phase has done, run when a later phase fails.
    `waits_s` is how long the steps may wait for a guest.
    """

    worker: str
    block: Block
    recovery: Block | None = None
    waits_s: float = 0.0

    @property
    def time_limit_s(self) -> float:
        """When the worker ends what is not done by then."""
        return ACT_LIMIT_S + self.waits_s


class Plan(NamedTuple):
    """What is to be done for one VM. Without phases nothing is.

    `drift` are the fields that differ, `notes` are for the operator: a hashed TAP name, what a dead
    VM left behind.
    """

    vm: VM
    action: Action
    phases: tuple[Phase, ...] = ()
    drift: tuple[Drift, ...] = ()
    skips: tuple[Skip, ...] = ()
    notes: tuple[str, ...] = ()
    asking: Asking | None = None

    def noted_as(self, change: str) -> Plan:
        """The same plan under another word in the worker's history."""
        phases = (each._replace(block=each.block._replace(change=change)) for each in self.phases)
        return self._replace(phases=tuple(phases))

    @property
    def block(self) -> Block | None:
        """The block of a plan of one phase; None where nothing is to be done."""
        return self.phases[0].block if self.phases else None
