"""The picture of the topology in a browser, anew every few seconds.

It is shown as an image: nothing in it can act in the page, whatever guests and workers are called.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from html import escape

from vmops.ops.private_web import PrivateHandler, PrivateServer

EVERY_S = 3.0
"""Between two looks at the workers, while somebody has the page open."""

PICTURE = "lab.svg"

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>TITLE</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
<style nonce="NONCE">
body { margin: 0; font: 13px system-ui, sans-serif; color: #66727f; background: #fff }
#lab { display: block; max-width: 100%; height: auto }
#news { position: fixed; right: 14px; top: 10px; padding: 3px 10px; border-radius: 9px;
        background: #f4f6f9 }
#news.gone { background: #cf4a3c; color: #fff }
</style>
<img id="lab" alt="workers, VMs and networks">
<div id="news">looking…</div>
<script nonce="NONCE">
const shown = document.getElementById("lab"), news = document.getElementById("news");
let turn = 0;
function look() {
  const next = new Image();
  next.onload = () => {
    shown.src = next.src;
    news.className = "";
    news.textContent = "as of " + new Date().toLocaleTimeString();
    setTimeout(look, EVERY);
  };
  next.onerror = () => {
    news.className = "gone";
    news.textContent = "no answer: has fab graph --web ended?";
    setTimeout(look, EVERY);
  };
  next.src = "PICTURE?" + (++turn);
}
look();
</script>
</html>
"""


class Picture:
    """What `drawn` gives, made anew when it is older than `every_s` seconds and asked for."""

    def __init__(self, drawn: Callable[[], str], *, every_s: float = EVERY_S) -> None:
        self._drawn = drawn
        self._every_s = every_s
        self._lock = threading.Lock()
        self._text = ""
        self._until = 0.0

    def now(self) -> str:
        """The picture. Who asks while another one is being made waits for that."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._text = self._drawn()
                self._until = time.monotonic() + self._every_s
            return self._text


class PictureServer(PrivateServer):
    """The page and its picture on a port of 127.0.0.1, while it is entered."""

    def __init__(self, picture: Picture, *, title: str, port: int = 0) -> None:
        self.picture = picture
        self.title = title
        super().__init__(port, _Handler)


class _Handler(PrivateHandler):
    server: PictureServer

    def do_GET(self) -> None:  # noqa: N802 (the library's name)
        match self.path.partition("?")[0]:
            case "/":
                nonce = secrets.token_urlsafe(16)
                page = _PAGE.replace("NONCE", nonce).replace("PICTURE", PICTURE)
                page = page.replace("EVERY", str(int(EVERY_S * 1000)))
                page = page.replace("TITLE", escape(self.server.title))
                own = f"'nonce-{nonce}'"
                rule = (
                    f"default-src 'none'; img-src 'self' data:; style-src {own}; script-src {own}"
                )
                self._answer(page, "text/html; charset=utf-8", rule)
            case other if other == f"/{PICTURE}":
                rule = "default-src 'none'; style-src 'unsafe-inline'"
                self._answer(self.server.picture.now(), "image/svg+xml", rule)
            case _:
                self.send_error(404)

    def _answer(self, text: str, kind: str, rule: str) -> None:
        content = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", rule)
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(content)
