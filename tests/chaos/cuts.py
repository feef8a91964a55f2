"""Ways to be interrupted, and where: a plan of cuts spread over an undisturbed run."""

from __future__ import annotations

import random
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from .operations import OPERATIONS, Operation

Network = Literal["drop", "reset", "freeze", "strand", "late"]
"""Faults of the lab. After `strand` the same command goes on over a new connection, and only then
does what the old one held arrive; with `late` the operation has even been taken back by then."""
Signal = Literal["kill", "interrupt", "terminate"]
Gauge = Literal["operator", "worker", "time"]
"""What `at` counts: bytes that reached the operator, bytes that reached the worker, seconds."""

NETWORK: tuple[Network, ...] = get_args(Network)
SIGNALS = {
    "kill": signal.SIGKILL,
    "interrupt": signal.SIGINT,
    "terminate": signal.SIGTERM,
}
GAUGES: tuple[Gauge, ...] = get_args(Gauge)


@dataclass(frozen=True)
class Extent:
    """How much an undisturbed run moves and takes."""

    operator: int
    worker: int
    time: float


@dataclass(frozen=True)
class Cut:
    """A fault of the network or a signal to the operator's process, and when."""

    kind: str
    gauge: Gauge
    at: float

    @property
    def lab_fault(self) -> str | None:
        """The lab's word for it; None for a signal."""
        if self.kind in SIGNALS:
            return None
        return "strand" if self.kind == "late" else self.kind

    def __str__(self) -> str:
        at = f"{self.at:.3f}" if self.gauge == "time" else f"{self.at:.0f}"
        return f"{self.kind}:{self.gauge}:{at}"


def read_cut(text: str) -> Cut:
    """The cut that `str` wrote. Raises ValueError."""
    kind, gauge, at = text.split(":")
    known = next((word for word in GAUGES if word == gauge), None)
    if known is None or kind not in (*NETWORK, *SIGNALS) or (kind in SIGNALS and known != "time"):
        raise ValueError(f"no such cut: {text}")
    return Cut(kind, known, float(at))


@dataclass(frozen=True)
class Place:
    """A cut of an operation as the plan has it: a part of the whole extent, from 0 to 1."""

    operation: Operation
    kind: str
    gauge: Gauge
    part: float

    @property
    def name(self) -> str:
        """The same in every run with the same seed and number of points."""
        return f"{self.operation.name}:{self.kind}:{self.gauge}:{self.part:.4f}"

    def cut(self, extent: Extent) -> Cut:
        """Where that is in a run of this extent."""
        whole = getattr(extent, self.gauge)
        return Cut(
            self.kind,
            self.gauge,
            whole * self.part if self.gauge == "time" else int(whole * self.part),
        )


def plan(
    *,
    points: int,
    seed: int,
    operations: Sequence[Operation] = OPERATIONS,
    kinds: Sequence[str] = (),
) -> list[Place]:
    """All places, shuffled so that any beginning is a fair sample of the whole.

    Where an operation is cut depends on the seed and on that operation alone: what was done one
    operation at a time adds up to the whole.

    Every row (operation, kind, gauge) is divided into as many parts as there are points, with a
    place at random in each. The parts are small toward the end, where the work is done: most of the
    bytes are a login and questions, most of the time is the command's own start.
    """
    places = []
    for operation in operations:
        chance = random.Random(f"{seed} {operation.name}")
        rows = [(kind, gauge) for kind in NETWORK for gauge in GAUGES]
        for kind, gauge in [*rows, *((kind, "time") for kind in SIGNALS)]:
            for point in range(points):
                part = 1 - (1 - (point + chance.random()) / points) ** 2
                if not kinds or kind in kinds:
                    places.append(Place(operation, kind, gauge, part))
    random.Random(seed).shuffle(places)
    return places
