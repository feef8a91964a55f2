"""The tables that ovs-vsctl and its like print as JSON, a line each."""

from __future__ import annotations

import json
from typing import Any


def rows(line: str) -> list[dict[str, Any]]:
    """The rows of one table. Raises ValueError for what is none."""
    try:
        table = json.loads(line)
    except RecursionError as deep:
        raise ValueError("nested too deep") from deep
    return [dict(zip(table["headings"], row, strict=True)) for row in table["data"]]


def members(value: Any) -> list[Any]:
    """OVSDB writes a set of one as the value itself, and a UUID as ["uuid", "…"]."""
    atoms = value[1] if isinstance(value, list) and value[0] == "set" else [value]
    return [atom[1] if isinstance(atom, list) else atom for atom in atoms]


def optional(value: Any) -> Any:
    """The value of a column that may be empty; None where it is."""
    found = members(value) if value != [] else []
    return found[0] if found else None
