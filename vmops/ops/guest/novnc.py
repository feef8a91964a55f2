"""noVNC for one VM, in a browser on this very machine: its files, and the way to the VNC server.

The VNC password is in the address behind the `#`, which a browser sends to nobody.
"""

from __future__ import annotations

import logging
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self
from urllib.parse import urlencode

from websockify.websocketproxy import ProxyRequestHandler

from vmops.errors import VmopsError, WorkFailed
from vmops.nameless import path_in
from vmops.ops.private_web import HERE, PrivateHandler, PrivateServer

VARIABLE = "VMOPS_NOVNC"
PAGE = "vnc.html"
_FOLDERS = (
    f"{sys.prefix}/share/novnc",
    "/usr/share/novnc",
    "/usr/local/share/novnc",
    "/opt/homebrew/share/novnc",
    "/usr/share/webapps/novnc",
)
"""Where the packages of noVNC put it."""

_log = logging.getLogger("vmops")


def files() -> Path:
    """The folder of noVNC's files. Raises WorkFailed where there is none on this machine."""
    named = path_in(VARIABLE)
    for folder in map(Path, [named] if named else _FOLDERS):
        if (folder / PAGE).is_file():
            return folder
    where = f"{VARIABLE}={named} has no {PAGE}" if named else "noVNC is not installed here"
    raise WorkFailed(
        where,
        cure="apt install novnc (dnf, zypper and apk have it too), or unpack a release of it and"
        f" set {VARIABLE} to its folder",
    )


class Gateway:
    """noVNC on a port of 127.0.0.1, while it is entered. `opened` gives the way to VNC.

    Raises MonitorError when the port is taken; 0 takes a free one.
    """

    def __init__(self, folder: Path, opened: Callable[[], socket.socket], *, port: int = 0) -> None:
        self._server = _Server(port, folder, opened)

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        return self._server.port

    def url(self, password: str) -> str:
        """The address that connects at once. It is a secret: who has it has the VM."""
        options = {
            "host": HERE,
            "port": self.port,
            "path": f"{self._server.word}/websockify",
            "autoconnect": "true",
            "resize": "scale",
            **({"password": password} if password else {}),
        }
        return f"{self._server.url(PAGE)}#{urlencode(options)}"

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.__exit__()
        self._server.hang_up()


class _Server(PrivateServer):
    """websockify's handler reads its settings from here."""

    file_only = True
    heartbeat = None

    def __init__(self, port: int, folder: Path, opened: Callable[[], socket.socket]) -> None:
        self.folder = folder
        self._opened = opened
        self._targets: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(port, _Handler)

    def connect(self) -> socket.socket:
        """A new connection to the VNC server, to be given to `forget` at its end."""
        target = self._opened()
        with self._lock:
            self._targets.add(target)
        return target

    def forget(self, target: socket.socket) -> None:
        """Close a connection to the VNC server."""
        with self._lock:
            self._targets.discard(target)
        target.close()

    def hang_up(self) -> None:
        """End every connection to the VNC server, and with it the browser's."""
        with self._lock:
            targets = list(self._targets)
        for target in targets:
            with suppress(OSError):
                target.shutdown(socket.SHUT_RDWR)


class _Handler(PrivateHandler, ProxyRequestHandler):  # type: ignore[misc]
    """Files and WebSockets."""

    server: _Server

    def translate_path(self, path: str) -> str:
        self.directory = str(self.server.folder)
        return str(super().translate_path(path))

    def validate_connection(self) -> None:
        """The word in the path was the token."""

    def auth_connection(self) -> None:
        """The VNC server asks for the password."""

    def new_websocket_client(self) -> None:
        try:
            target = self.server.connect()
        except VmopsError as error:
            _log.error("%s", error)
            raise self.CClose(1011, "the VNC server cannot be reached") from error
        try:
            self.request.settimeout(None)
            self.do_proxy(target)
        finally:
            self.server.forget(target)
