"""The name and home of who runs this: in a container it may be a number without them. And the paths
that its environment names."""

from __future__ import annotations

import getpass
import os
from contextlib import suppress
from pathlib import Path

from vmops.errors import InventoryError


def local_user() -> str:
    """Who runs this; empty for a number without a name."""
    with suppress(KeyError, OSError):
        return getpass.getuser()
    return ""


def expanded(path: str | os.PathLike[str]) -> Path:
    """A path with a home for its `~`. Where there is no such home it is a file that is not there:
    pathlib alone would raise RuntimeError, which nobody expects who opens one."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


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


def tell_fabric() -> None:
    """Let Fabric have no user where this one has no name: `getpass` raises another error then from
    Python 3.13 on, which Fabric does not expect."""
    import fabric.config

    if not local_user():
        fabric.config.get_local_user = lambda: None
