"""The picture of the topology in a browser, anew every few seconds.

It is shown as an image: nothing in it can act in the page, whatever guests and workers are called.
Links to screens lie over it, each at the card of a VM.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable
from html import escape
from typing import NamedTuple, TypeVar
from urllib.parse import unquote

from vmops.core.plan.graph.svg import Picture
from vmops.errors import NotRunning, VmopsError
from vmops.ops.private_web import PrivateHandler, PrivateServer

T = TypeVar("T")

EVERY_S = 3.0
"""Between two looks at the workers, while somebody has the page open."""

PICTURE = "lab.svg"
LINKS = "screens.json"
SCREEN = "screen/"
"""And behind it the name of a VM: leads to noVNC."""

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>TITLE</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
<style nonce="NONCE">
body { margin: 0; font: 13px system-ui, sans-serif; color: #66727f; background: #fff }
#whole { position: relative; display: inline-block; max-width: 100% }
#lab { display: block; max-width: 100%; height: auto }
#whole a { position: absolute; border-radius: 9px }
#whole a:hover, #whole a:focus { outline: 2px solid #3b6fd6; background: #3b6fd614 }
#news { position: fixed; right: 14px; top: 10px; padding: 3px 10px; border-radius: 9px;
        background: #f4f6f9 }
#news.gone { background: #cf4a3c; color: #fff }
</style>
<div id="whole"><img id="lab" alt="workers, VMs and networks"></div>
<div id="news">looking…</div>
<script nonce="NONCE">
const shown = document.getElementById("lab"), news = document.getElementById("news");
const whole = document.getElementById("whole");
let turn = 0;
async function link() {
  const answer = await fetch("LINKS?" + turn);
  const said = await answer.json();
  const old = new Map([...whole.querySelectorAll("a")].map((each) => [each.title, each]));
  for (const spot of said.screens) {
    const title = "the screen of " + spot.vm;
    const here = old.get(title) || document.createElement("a");
    old.delete(title);
    here.title = title;
    here.href = "SCREEN" + encodeURIComponent(spot.vm);
    here.target = "_blank";
    here.rel = "noopener";
    here.style.left = 100 * spot.x / said.width + "%";
    here.style.top = 100 * spot.y / said.height + "%";
    here.style.width = 100 * spot.width / said.width + "%";
    here.style.height = 100 * spot.height / said.height + "%";
    if (!here.parentNode) whole.append(here);
  }
  old.forEach((each) => each.remove());
}
function look() {
  const next = new Image();
  next.onload = () => {
    shown.src = next.src;
    news.className = "";
    news.textContent = "as of " + new Date().toLocaleTimeString();
    link().catch(() => {});
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


class Shown(NamedTuple):
    """A picture and, for those VMs that have one, the place of the link to the screen."""

    picture: Picture
    screens: frozenset[str] = frozenset()

    @property
    def links(self) -> str:
        """As JSON, for the page."""
        spots = [spot._asdict() for spot in self.picture.cards if spot.vm in self.screens]
        size = {"width": self.picture.width, "height": self.picture.height}
        return json.dumps({**size, "screens": spots})


class Look:
    """What `drawn` gives, made anew when it is older than `every_s` seconds and asked for."""

    def __init__(self, drawn: Callable[[], Shown], *, every_s: float = EVERY_S) -> None:
        self._drawn = drawn
        self._every_s = every_s
        self._lock = threading.Lock()
        self._shown: Shown | None = None
        self._until = 0.0

    def now(self) -> Shown:
        """The picture. Who asks while another one is being made waits for that."""
        with self._lock:
            if self._shown is None or time.monotonic() >= self._until:
                self._shown = self._drawn()
                self._until = time.monotonic() + self._every_s
            return self._shown

    def last(self) -> Shown | None:
        """The last picture, however old it is."""
        with self._lock:
            return self._shown

    def alone(self, do: Callable[[], T]) -> T:
        """Do something while nobody looks at workers."""
        with self._lock:
            return do()


def _no_screen(vm: str) -> str:
    raise NotRunning(f"{vm} has no screen to show", vm=vm)


class PictureServer(PrivateServer):
    """The page and its picture on a port of 127.0.0.1, while it is entered.

    `screen` gives the address of a VM's screen, or raises a VmopsError.
    """

    def __init__(
        self,
        look: Look,
        *,
        title: str,
        port: int = 0,
        screen: Callable[[str], str] = _no_screen,
    ) -> None:
        self.look = look
        self.title = title
        self.screen = screen
        super().__init__(port, _Handler)


class _Handler(PrivateHandler):
    server: PictureServer

    def do_GET(self) -> None:  # noqa: N802 (the library's name)
        match self.path.partition("?")[0]:
            case "/":
                nonce = secrets.token_urlsafe(16)
                page = _PAGE.replace("NONCE", nonce).replace("PICTURE", PICTURE)
                page = page.replace("LINKS", LINKS).replace("SCREEN", SCREEN)
                page = page.replace("EVERY", str(int(EVERY_S * 1000)))
                page = page.replace("TITLE", escape(self.server.title))
                own = f"'nonce-{nonce}'"
                rule = "default-src 'none'; img-src 'self' data:; connect-src 'self'"
                rule += f"; style-src {own}; script-src {own}"
                self._answer(page, "text/html; charset=utf-8", rule)
            case other if other == f"/{PICTURE}":
                rule = "default-src 'none'; style-src 'unsafe-inline'"
                self._answer(self.server.look.now().picture.text, "image/svg+xml", rule)
            case other if other == f"/{LINKS}":
                last = self.server.look.last() or self.server.look.now()
                self._answer(last.links, "application/json", "default-src 'none'")
            case other if other.startswith(f"/{SCREEN}"):
                self._lead_to_screen(unquote(other.removeprefix(f"/{SCREEN}")))
            case _:
                self.send_error(404)

    def _lead_to_screen(self, vm: str) -> None:
        look = self.server.look
        last = look.last() or look.now()
        if vm not in last.screens:
            self.send_error(404)
            return
        try:
            url = look.alone(lambda: self.server.screen(vm))
        except VmopsError as error:
            self._answer(f"{error}\n", "text/plain; charset=utf-8", "default-src 'none'", 502)
            return
        self.send_response(303)
        self.send_header("Location", url)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _answer(self, text: str, kind: str, rule: str, status: int = 200) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", rule)
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(content)
