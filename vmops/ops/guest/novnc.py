"""noVNC for one VM, in a browser on this very machine: its files, and the way to the VNC server.

Every path begins with a random word, so the other users of this machine get nothing from the port.
The VNC password is in the address behind the `#`, which a browser sends to nobody.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from socketserver import ThreadingTCPServer
from typing import Any, Self
from urllib.parse import urlencode

from websockify.websocketproxy import ProxyRequestHandler

from vmops.errors import MonitorError, VmopsError, WorkFailed

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

_LOOKS_FOR_THE_END_S = 0.1

MOST_STRANGERS = 16
"""Connections that have not shown the word yet. The oldest of them makes room for the next one, so
whoever opens many keeps neither threads nor a browser's place."""

STRANGER_LIMIT_S = 20.0
"""For how long one of them may be silent."""

_log = logging.getLogger("vmops")


def files() -> Path:
    """The folder of noVNC's files. Raises WorkFailed where there is none on this machine."""
    named = os.environ.get(VARIABLE)
    for folder in map(Path, [named] if named else _FOLDERS):
        if (folder.expanduser() / PAGE).is_file():
            return folder.expanduser()
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
        self._word = secrets.token_urlsafe(24)
        try:
            self._server = _Server(("127.0.0.1", port), folder, self._word, opened)
        except OSError as error:
            raise MonitorError(
                f"port {port} of this machine cannot be used: {error.strerror}",
                cure="name another local port",
            ) from error

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        return int(self._server.server_address[1])

    def url(self, password: str) -> str:
        """The address that connects at once. It is a secret: who has it has the VM."""
        options = {
            "host": "127.0.0.1",
            "port": self.port,
            "path": f"{self._word}/websockify",
            "autoconnect": "true",
            "resize": "scale",
            **({"password": password} if password else {}),
        }
        return f"http://127.0.0.1:{self.port}/{self._word}/{PAGE}#{urlencode(options)}"

    def __enter__(self) -> Self:
        serve = self._server.serve_forever
        threading.Thread(target=serve, args=(_LOOKS_FOR_THE_END_S,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._server.hang_up()


class _Server(ThreadingTCPServer):
    """A thread for each connection. websockify's handler reads its settings from here."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    file_only = True
    heartbeat = None

    def __init__(
        self, where: tuple[str, int], folder: Path, word: str, opened: Callable[[], socket.socket]
    ) -> None:
        self.folder = folder
        self.prefix = f"/{word}/"
        self._opened = opened
        self._targets: set[socket.socket] = set()
        self._strangers: dict[socket.socket, None] = {}
        self._lock = threading.Lock()
        super().__init__(where, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for it; where there are too many strangers the oldest one is shown out."""
        with self._lock:
            self._strangers[request] = None
            surplus = [*self._strangers][:-MOST_STRANGERS]
        request.settimeout(STRANGER_LIMIT_S)
        for oldest in surplus:
            self.greet(oldest)
            with suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Its end."""
        self.greet(request)
        super().shutdown_request(request)

    def greet(self, request: socket.socket) -> None:
        """This connection is no stranger's any more: it has shown the word, or it is over."""
        with self._lock:
            self._strangers.pop(request, None)

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

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle is no news."""
        _log.debug("noVNC: a connection ended", exc_info=True)


class _Handler(ProxyRequestHandler):  # type: ignore[misc]
    """Files and WebSockets for who knows the word; 404 for everybody else."""

    server: _Server
    path: str

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        prefix = self.server.prefix
        given = self.path[: len(prefix)]
        if not secrets.compare_digest(given.encode(), prefix.encode()):
            self.send_error(404)
            return False
        self.path = self.path[len(prefix) - 1 :]
        self.server.greet(self.request)
        return True

    def translate_path(self, path: str) -> str:
        self.directory = str(self.server.folder)
        return str(super().translate_path(path))

    def end_headers(self) -> None:
        self.send_header("Referrer-Policy", "no-referrer")
        super().end_headers()

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

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads an access log of this port."""
