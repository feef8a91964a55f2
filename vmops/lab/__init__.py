"""Workers on this very machine, in namespaces, for trying and testing.

The names are imported when they are asked for: the lab's processes need few of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmops.lab.lab import Lab, LabStatus, WorkerStatus

__all__ = ["Lab", "LabStatus", "WorkerStatus"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from vmops.lab import lab

    return getattr(lab, name)
