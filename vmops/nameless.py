"""The name and home of who runs this: in a container it may be a number without them."""

from __future__ import annotations

import getpass
import os
from contextlib import suppress
from pathlib import Path


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


def tell_fabric() -> None:
    """Let Fabric have no user where this one has no name: `getpass` raises another error then from
    Python 3.13 on, which Fabric does not expect."""
    import fabric.config

    if not local_user():
        fabric.config.get_local_user = lambda: None
