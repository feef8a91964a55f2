"""What can go wrong in the bench itself."""

from __future__ import annotations


class BenchFailed(Exception):
    """A way did not do its work, or left something else behind than the others."""
