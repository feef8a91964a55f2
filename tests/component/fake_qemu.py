"""Monitors that do what a real QEMU's will not do on request: each is a server on a UNIX socket."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

GREETING = {"QMP": {"version": {"qemu": {"major": 7}}, "capabilities": []}}

Serve = Callable[["Client"], None]


class Client:
    """Who has come to a fake monitor."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._received = ""

    def say(self, message: Any) -> None:
        """Send an object as a line of JSON, or bytes as they are."""
        data = message if isinstance(message, bytes) else json.dumps(message).encode() + b"\r\n"
        self._stream.sendall(data)

    def heard(self) -> dict[str, Any]:
        """The next request; EOFError when the client has left. No newline need be behind it."""
        while True:
            try:
                request, end = json.JSONDecoder().raw_decode(self._received)
            except ValueError:
                self._received += self._more()
                continue
            self._received = self._received[end:].lstrip()
            assert isinstance(request, dict)
            return request

    def _more(self) -> str:
        data = self._stream.recv(65536)
        if not data:
            raise EOFError
        return data.decode()

    def answer(self, answers: dict[str, Any] | None = None) -> str:
        """Answer the next request with what `answers` has for it, else emptily; its command."""
        request = self.heard()
        command = str(request["execute"])
        self.say({"id": request["id"], "return": (answers or {}).get(command, {})})
        return command

    def refuse(self, why: str) -> None:
        """Answer the next request with an error."""
        request = self.heard()
        self.say({"id": request["id"], "error": {"class": "GenericError", "desc": why}})

    def wait_for_leave(self) -> None:
        """Read on, and answer nothing, until the client has left."""
        with suppress(EOFError):
            while True:
                self._more()


class FakeQemu:
    """A monitor's socket. Every client is served by `serve` in a thread, then hung up on."""

    def __init__(self, path: Path, serve: Serve) -> None:
        self.clients = 0
        self._serve = serve
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                stream, _ = self._listener.accept()
            except OSError:
                return
            self.clients += 1
            threading.Thread(target=self._serve_one, args=(stream,), daemon=True).start()

    def _serve_one(self, stream: socket.socket) -> None:
        client = Client(stream)
        try:
            self._serve(client)
        except (EOFError, OSError):
            pass
        finally:
            stream.shutdown(socket.SHUT_RDWR)
            stream.close()
