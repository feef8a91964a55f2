"""VNC viewers of this machine, and how each is started without its password on a command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

FIRST_PORT = 5900
"""The port of display 0: gvncviewer counts displays, and knows no ports below."""


class Viewer(NamedTuple):
    """A viewer to be started: its argv, and what it is handed apart from that.

    `file` is the content of a private file whose path follows argv. `takes_password` is False for
    one that asks its user. One that does not `stays` hands over to another process and ends.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str] = MappingProxyType({})
    file: str = ""
    takes_password: bool = False
    stays: bool = True


def _vncviewer(port: int, password: str) -> Viewer:
    """TigerVNC reads the variable; the others ask."""
    environment = {"VNC_PASSWORD": password} if password else {}
    return Viewer(("vncviewer", f"127.0.0.1::{port}"), environment, takes_password=True)


def _remote_viewer(port: int, password: str) -> Viewer:
    lines = ["[virt-viewer]", "type=vnc", "host=127.0.0.1", f"port={port}"]
    lines += [f"password={password}"] if password else []
    return Viewer(("remote-viewer",), file="\n".join(lines) + "\n", takes_password=True)


def _gvncviewer(port: int, _password: str) -> Viewer:
    return Viewer(("gvncviewer", f"127.0.0.1:{port - FIRST_PORT}"))


def _screen_sharing(port: int, _password: str) -> Viewer:
    return Viewer(("open", f"vnc://127.0.0.1:{port}"), stays=False)


_ON_LINUX: Mapping[str, Callable[[int, str], Viewer]] = MappingProxyType(
    {"vncviewer": _vncviewer, "remote-viewer": _remote_viewer, "gvncviewer": _gvncviewer}
)


def choose(port: int, password: str, *, platform: str, has: Callable[[str], bool]) -> Viewer | None:
    """The viewer for a port of this machine; None where there is none.

    `platform` is a word as in `sys.platform`; `has` says whether a program is installed.
    """
    if platform == "darwin":
        return _screen_sharing(port, password)
    for name, viewer in _ON_LINUX.items():
        if has(name) and (name != "gvncviewer" or port >= FIRST_PORT):
            return viewer(port, password)
    return None
