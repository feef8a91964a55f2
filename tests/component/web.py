"""A web server on the loopback address, which fails on request in the ways in which servers do."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Web:
    """Gives `content` at every path. With `ranges` it gives parts of it too."""

    content: bytes
    ranges: bool = True
    says_length: bool = True
    cut_after: int | None = None
    status: int = 200
    pause_s: float = 0.0
    asked: list[str] = field(default_factory=list)

    def start(self) -> str:
        """Listen, and give the address."""
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_port}/image"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range", "")
        self.asked.append(wanted)
        if request.path == "/moved":
            request.send_response(302)
            request.send_header("Location", "/image")
            request.send_header("Content-Length", "0")
            request.end_headers()
            # It hangs up a moment later: whoever asks again on this connection gets nothing.
            time.sleep(0.1)
            return
        if self.status != 200:
            request.send_error(self.status)
            return
        start = 0
        if self.ranges and (found := re.fullmatch(r"bytes=(\d+)-", wanted)):
            start = int(found[1])
            if start >= len(self.content):
                request.send_error(416)
                return
            request.send_response(206)
            whole = len(self.content)
            request.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        else:
            request.send_response(200)
        if self.says_length:
            request.send_header("Content-Length", str(len(self.content) - start))
        request.end_headers()
        end = len(self.content) if self.cut_after is None else start + self.cut_after
        for at in range(start, end, 65536):
            request.wfile.write(self.content[at : min(end, at + 65536)])
            time.sleep(self.pause_s)
