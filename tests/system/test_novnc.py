"""noVNC in a real browser: the guest's screen, its keys, and nobody else's way to it."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from PIL import Image, ImageChops
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.remote.webdriver import WebDriver

from vmops.lab import Lab

from .browser import Browser, browser, novnc_files
from .lab_helpers import wait_until
from .operator import Operator
from .seat import console_log, guest
from .showing import from_the_worker, showing

SCREEN = (720, 400)


@pytest.fixture(scope="module")
def novnc(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(novnc_files(tmp_path_factory.mktemp("novnc")))


@pytest.fixture
def chromium(tmp_path: Path) -> Iterator[Browser]:
    with browser(tmp_path) as running:
        yield running


def is_same(one: Image.Image, other: Image.Image) -> bool:
    """True when they differ in less than a blinking cursor and what a lossy encoding does."""
    red, green, blue = ImageChops.difference(one, other).split()
    most = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    return one.size == other.size and sum(most.histogram()[32:]) < 200


def screenshot(operator: Operator) -> Image.Image:
    path = operator.folder / "shot.png"
    operator.ok("screenshot", "--vm", "vm1", "--output", str(path), "--force")
    return Image.open(path).convert("RGB")


def test_the_screen_is_in_the_browser_and_follows_the_keys(
    operator: Operator, novnc: str, tmp_path: Path
) -> None:
    vm = guest(operator)
    with (
        showing(operator, "vm1", "--web", "--no-browser", VMOPS_NOVNC=novnc) as shown,
        browser(tmp_path) as chromium,
    ):
        chromium.open(shown.said["url"])
        wait_until(chromium.connected, seconds=20)
        wait_until(lambda: len(chromium.canvas().getcolors() or ()) > 1, seconds=20)
        before = chromium.canvas()
        assert before.size == SCREEN
        assert is_same(before, screenshot(operator))

        operator.ok("sendkey", "--vm", "vm1", "--keys", "q")
        wait_until(lambda: not is_same(chromium.canvas(), before), seconds=20)
        wait_until(lambda: is_same(chromium.canvas(), screenshot(operator)), seconds=20)

        after = chromium.canvas()
        ActionChains(chromium.driver).send_keys("z").perform()
        wait_until(lambda: "VMOPS-KEY z" in console_log(operator, vm), seconds=20)
        wait_until(lambda: not is_same(chromium.canvas(), after), seconds=20)
        assert shown.end() == 0
        wait_until(lambda: not chromium.connected(), seconds=20)
    assert chromium.addresses() == {"127.0.0.1"}


def test_a_screen_without_a_port_is_in_the_browser_too(
    operator: Operator, novnc: str, chromium: Browser
) -> None:
    guest(operator, has_port=False)
    with showing(operator, "vm1", "--web", "--no-browser", VMOPS_NOVNC=novnc) as shown:
        chromium.open(shown.said["url"])
        wait_until(chromium.connected, seconds=20)
        wait_until(lambda: len(chromium.canvas().getcolors() or ()) > 1, seconds=20)
        assert shown.end() == 0


def test_only_the_whole_address_opens_it(
    operator: Operator, lab: Lab, novnc: str, chromium: Browser
) -> None:
    vm = guest(operator)
    with showing(operator, "vm1", "--web", "--no-browser", VMOPS_NOVNC=novnc) as shown:
        url = shown.said["url"]
        word = re.findall(r"/([\w-]{32})/", url)[0]
        for guessed in ("vnc.html", f"{word[:-1]}/vnc.html", ""):
            with pytest.raises(HTTPError, match="404"):
                urlopen(f"http://127.0.0.1:{shown.port}/{guessed}", timeout=10)
        wrong = url.replace(shown.password, shown.password[::-1])
        chromium.open(wrong)
        wait_until(lambda: "failed" in chromium.status().lower(), seconds=20)
        assert not chromium.connected()
        assert shown.end() == 0
    assert from_the_worker(lab, vm.vnc_port, shown.password).startswith("refused")


def test_the_address_is_on_no_command_line(
    operator: Operator, novnc: str, chromium: Browser
) -> None:
    """What a browser is started with is a private page that leads to the address."""
    guest(operator)
    script = operator.folder / "a-browser"
    script.write_text(
        f'#!/bin/sh\nf="${{1#file://}}"\necho "$1" >{operator.folder}/argv\n'
        f'stat -c %a "$f" "${{f%/*}}" >{operator.folder}/modes\n'
    )
    script.chmod(0o755)
    options = ("--web",)
    with showing(operator, "vm1", *options, VMOPS_NOVNC=novnc, BROWSER=str(script)) as shown:
        wait_until(lambda: (operator.folder / "modes").exists())
        given = (operator.folder / "argv").read_text().strip()
        assert re.fullmatch(r"file:///\S+/vmops-\w+/open\.html", given)
        wait_until(lambda: (operator.folder / "modes").read_text() == "600\n700\n")
        chromium.open(given)
        wait_until(chromium.connected, seconds=20)
        assert shown.end() == 0
    assert not Path(given.removeprefix("file://")).exists()


def test_what_is_missing_is_said_before_anything_is_contacted(operator: Operator) -> None:
    guest(operator)
    nowhere = {"VMOPS_NOVNC": str(operator.folder)}
    said = operator.fab("vnc", "--vm", "vm1", "--web", env=nowhere)
    assert said.code == 1
    assert "has no vnc.html" in said.err
    hidden = operator.folder / "websockify"
    hidden.mkdir()
    (hidden / "__init__.py").write_text("raise ModuleNotFoundError(name='websockify')")
    said = operator.fab("vnc", "--vm", "vm1", "--web", env={"PYTHONPATH": str(operator.folder)})
    assert said.code == 1
    assert "pip install 'vmops[web]'" in said.err
    assert "Traceback" not in said.err


def after(driver: WebDriver, click: Callable[[], None]) -> str:
    """The window that a click has opened."""
    before = set(driver.window_handles)
    click()
    wait_until(lambda: len(driver.window_handles) > len(before), seconds=60)
    (opened,) = set(driver.window_handles) - before
    return opened


def test_the_topologys_page_leads_to_the_screen_of_a_vm(
    operator: Operator, novnc: str, chromium: Browser
) -> None:
    """Also a second time, and no longer when the page has ended."""
    guest(operator)
    driver = chromium.driver
    with operator.begin("graph", "--web", "--no-browser", VMOPS_NOVNC=novnc) as shown:
        assert shown.stdout is not None
        url = shown.stdout.readline().removeprefix("in a browser: ").strip()
        page = driver.current_window_handle
        for _ in range(2):
            driver.switch_to.window(page)
            chromium.open(url)
            wait_until(lambda: bool(driver.find_elements("css selector", "#whole a")), seconds=60)
            (link,) = driver.find_elements("css selector", "#whole a")
            assert link.get_attribute("title") == "the screen of vm1"
            driver.switch_to.window(after(driver, link.click))
            wait_until(chromium.connected, seconds=60)
        shown.send_signal(signal.SIGINT)
        shown.communicate(timeout=60)
        assert shown.returncode == 0
    wait_until(lambda: not chromium.connected(), seconds=60)
