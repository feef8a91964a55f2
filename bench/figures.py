"""The arithmetic of the bench: medians, ratios of one round at a time, and the slope of a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

__all__ = ["median", "ratio", "slope"]


def ratio(mine: Mapping[int, float], theirs: Mapping[int, float]) -> float | None:
    """The median of mine divided by theirs, round by round; None when no round has both.

    Both were measured within seconds of each other in a round, so what slows the machine for a
    while slows both.
    """
    both = [mine[number] / theirs[number] for number in mine.keys() & theirs.keys()]
    return median(both) if both else None


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The least-squares slope of y over x. Raises ValueError for fewer than two different x."""
    middle_x = sum(x for x, _ in points) / max(1, len(points))
    middle_y = sum(y for _, y in points) / max(1, len(points))
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    if not spread:
        raise ValueError(f"no line through {points}")
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / spread
