"""A real Chromium without a window, which reaches nothing but 127.0.0.1; and noVNC's files."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from tests.guests import cache_directory, require_tools
from tests.guests.packages import Packages

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--window-size=1000,700",
)
_PAGE_LIMIT_S = 20

_CANVAS = "document.querySelector('#noVNC_container canvas')"
_CONNECTED = "document.documentElement.classList.contains('noVNC_connected')"


class Browser:
    """A Chromium with a profile of its own. Selenium asks it; nothing is on a command line."""

    def __init__(self, driver: webdriver.Chrome, log: Path) -> None:
        self.driver = driver
        self._log = log

    def open(self, address: str) -> None:
        """Go to an address."""
        self.driver.get(address)

    def connected(self) -> bool:
        """True when the page is noVNC, and it shows a screen."""
        return bool(self.driver.execute_script(f"return {_CONNECTED} && !!{_CANVAS}"))

    def canvas(self) -> Image.Image:
        """What noVNC has drawn, in the guest's own pixels."""
        script = f"return {_CANVAS}.toDataURL('image/png')"
        _, _, data = str(self.driver.execute_script(script)).partition(",")
        return Image.open(BytesIO(base64.b64decode(data))).convert("RGB")

    def status(self) -> str:
        """What noVNC tells its user."""
        script = "return document.getElementById('noVNC_status').textContent"
        return str(self.driver.execute_script(script))

    def addresses(self) -> set[str]:
        """Every IP address that it called or sent a datagram to; to be asked when it is closed.

        A UDP socket that is connected and sends nothing is how it learns its own address.
        """
        logged: dict[str, Any] = json.loads(self._log.read_text())
        kinds: dict[str, int] = logged["constants"]["logEventTypes"]
        sent = {e["source"]["id"] for e in logged["events"] if e["type"] == kinds["UDP_BYTES_SENT"]}
        found = set()
        for event in logged["events"]:
            address = event.get("params", {}).get("address", "")
            used = event["type"] == kinds["TCP_CONNECT_ATTEMPT"] or event["source"]["id"] in sent
            if used and address:
                found.add(address.rpartition(":")[0])
        return found


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser whose profile and log are in `folder`. Needs chromium and chromium-driver."""
    require_tools("chromium", "chromedriver")
    log = folder / "net-log.json"
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in (*_FLAGS, f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    driver.set_page_load_timeout(_PAGE_LIMIT_S)
    driver.set_script_timeout(_PAGE_LIMIT_S)
    try:
        yield Browser(driver, log)
    finally:
        driver.quit()


def novnc_files(folder: Path) -> Path:
    """Debian's noVNC, unpacked there and not installed."""
    packages = Packages(cache_directory() / "packages")
    packages.unpack("novnc", folder / "novnc", "./usr/share/novnc/*")
    return folder / "novnc/usr/share/novnc"
