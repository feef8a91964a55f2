"""A web server on this very machine, for who knows a random word: every path begins with it.

So the other users of the machine get nothing from its port.
"""

from __future__ import annotations

import logging
import secrets
import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any, Self

from vmops.errors import MonitorError

HERE = "127.0.0.1"

MOST_STRANGERS = 16
"""Connections that have not shown the word yet. The oldest of them makes room for the next one, so
whoever opens many keeps neither threads nor a browser's place."""

STRANGER_LIMIT_S = 20.0
"""For how long one of them may be silent."""

_LOOKS_FOR_THE_END_S = 0.1

_log = logging.getLogger("vmops")


class PrivateServer(ThreadingTCPServer):
    """A thread for each connection, while it is entered. Its handlers are `PrivateHandler`s.

    Raises MonitorError when the port is taken; 0 takes a free one.
    """

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        self.word = secrets.token_urlsafe(24)
        self.prefix = f"/{self.word}/"
        self._strangers: dict[socket.socket, None] = {}
        self._guard = threading.Lock()
        try:
            super().__init__((HERE, port), handler)
        except OSError as error:
            raise MonitorError(
                f"port {port} of this machine cannot be used: {error.strerror}",
                cure="name another local port",
            ) from error

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        return int(self.server_address[1])

    def url(self, page: str = "") -> str:
        """The address of a page. It is a secret."""
        return f"http://{HERE}:{self.port}{self.prefix}{page}"

    def __enter__(self) -> Self:
        serve = self.serve_forever
        threading.Thread(target=serve, args=(_LOOKS_FOR_THE_END_S,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for it; where there are too many strangers the oldest one is shown out."""
        with self._guard:
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
        with self._guard:
            self._strangers.pop(request, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle is no news."""
        _log.debug("a browser's connection ended", exc_info=True)


class PrivateHandler(BaseHTTPRequestHandler):
    """Answers who knows the word, without it in the path; 404 for everybody else."""

    server: PrivateServer
    path: str

    def parse_request(self) -> bool:
        """As the library has it, and the word."""
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

    def end_headers(self) -> None:
        """What the word is in is told to no other server."""
        self.send_header("Referrer-Policy", "no-referrer")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads an access log of this port."""
