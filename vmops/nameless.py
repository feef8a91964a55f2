"""The name of who runs this: in a container it may be a number without one."""

from __future__ import annotations

import getpass
from contextlib import suppress


def local_user() -> str:
    """Who runs this; empty for a number without a name."""
    with suppress(KeyError, OSError):
        return getpass.getuser()
    return ""


def tell_fabric() -> None:
    """Let Fabric have no user where this one has no name: `getpass` raises another error then from
    Python 3.13 on, which Fabric does not expect."""
    import fabric.config

    if not local_user():
        fabric.config.get_local_user = lambda: None
