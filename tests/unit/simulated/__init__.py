"""A worker that exists in memory only."""

from .parts import Cut, Fault, Manner, Qemu
from .worker import Simulated

__all__ = ["Cut", "Fault", "Manner", "Qemu", "Simulated"]
