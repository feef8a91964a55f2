"""Workers laid otherwise than a lab has them, for as long as an operation needs that."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from vmops.lab import Lab

from .operations import Operation
from .overlay import started
from .shell import NO_OVN, NO_SHARE, NO_UNDERLAY, SHARE, UNDERLAY
from .targets import ENDS


class Lay:
    """What is changed at workers before an operation, past vmops, and given back by `undo`."""

    def __init__(self, lab: Lab, *workers: str) -> None:
        self._lab = lab
        self._workers = workers
        self._laid: tuple[str, ...] = ()
        self._undo = ""
        self._shared: Path | None = None

    def do(self, operation: Operation) -> bool:
        """Lay them as the operation wants it; False where it wants nothing. Raises RuntimeError."""
        self._laid = self._workers if operation.paired else self._workers[:1]
        if operation.file == "mesh":
            self._undo = NO_UNDERLAY
            for worker, address in zip(self._workers, ENDS, strict=True):
                self._lab.run(worker, ("sh", "-ec", UNDERLAY, "sh", address))
        if operation.shares:
            self._undo = NO_SHARE
            self._shared = Path(tempfile.mkdtemp(prefix="vmops-chaos-", dir="/var/lib"))
            for worker in self._workers:
                self._lab.run(worker, ("sh", "-ec", SHARE, "sh", str(self._shared)))
        if operation.overlaid:
            self._undo = NO_OVN
            for worker in self._laid:
                self._lab.run(worker, ("sh", "-ec", started(), "sh", ENDS[0]))
        return bool(self._undo)

    def undo(self) -> None:
        """Give the workers back what they had; no VM may run on them. May be done at any time."""
        if self._undo:
            for worker in self._laid:
                self._lab.run(worker, ("sh", "-c", self._undo))
        self.forget()

    def forget(self) -> None:
        """Leave nothing beside the lab, which ends."""
        if self._shared:
            shutil.rmtree(self._shared, ignore_errors=True)
        self._undo, self._shared = "", None
