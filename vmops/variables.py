"""The variables of the environment that vmops goes by."""

from __future__ import annotations

import os
from pathlib import Path

from vmops.errors import InventoryError
from vmops.nameless import expanded


def path_in(variable: str) -> Path | None:
    """The path that a variable names, with a home for its `~`; None where it is not set.

    Raises InventoryError for one that is set and empty: the default may be other workers than the
    operator means, who wrote `VMOPS_HOSTS=$LAB` and has no LAB.
    """
    named = os.environ.get(variable)
    if named is None:
        return None
    if not named.strip():
        raise InventoryError(
            f"{variable}={named}: the value is empty",
            cure=f"name a path in it, or: unset {variable}",
        )
    return expanded(named)
