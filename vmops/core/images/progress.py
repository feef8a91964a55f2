"""How far a transfer is."""

from __future__ import annotations

from typing import Literal, NamedTuple

Doing = Literal["sending", "fetching", "checking", "mirroring"]


class Progress(NamedTuple):
    """A transfer on its way. `done` and `total` are bytes of data, without what is only zeros;
    `resumed` of them were there already. A `total` of 0 is not known. `sent` is what went over the
    line, `seconds` since it began. `doing` is what is happening: the worker reads the whole image
    once more at the end. Of what is mirrored QEMU counts the holes too.
    """

    doing: Doing
    done: int
    total: int
    resumed: int
    sent: int
    seconds: float

    @property
    def rate(self) -> float:
        """Bytes of data a second."""
        return (self.done - self.resumed) / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """By the rate so far; None where that says nothing yet."""
        return (self.total - self.done) / self.rate if self.rate > 0 and self.total else None
