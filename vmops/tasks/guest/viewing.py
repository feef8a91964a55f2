"""Programs of this machine that show a VM's screen: VNC viewers, and the browser.

A command line is for everybody to see, so the password and noVNC's address go in private files.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from vmops.errors import WorkFailed
from vmops.tasks.frame.output import say

END_LIMIT_S = 5


@contextmanager
def viewer(port: int, password: str) -> Iterator[subprocess.Popen[bytes] | None]:
    """A VNC viewer for a port of this machine, ended with the context.

    None where there is none to start, or where it is started but cannot be waited for.
    """
    from shutil import which

    from vmops.tasks.guest.viewers import choose

    here = choose(port, password, platform=sys.platform, has=lambda name: bool(which(name)))
    chosen = here if _desktop() else None
    if chosen is None:
        say("no viewer was started: there is no desktop here, or none of the viewers is installed")
        yield None
        return
    with TemporaryDirectory(prefix="vmops-") as folder:
        argv = list(chosen.argv)
        if chosen.file:
            argv.append(str(_written(folder, "screen.vv", chosen.file)))
        process = _started(argv, chosen.environment)
        if password and not chosen.takes_password:
            say(f"{argv[0]} will ask for the password")
        try:
            yield process if chosen.stays else None
        finally:
            _end(process)


@contextmanager
def browser(url: str) -> Iterator[None]:
    """The browser at that address, by way of a private page that goes away with the context."""
    import html
    import webbrowser

    quoted = html.escape(url)
    page = (
        '<!doctype html><meta charset="utf-8"><title>vmops</title>'
        f'<meta http-equiv="refresh" content="0; url={quoted}"><a href="{quoted}">here it is</a>'
    )
    with TemporaryDirectory(prefix="vmops-") as folder:
        here = _written(folder, "open.html", page)
        usable = _desktop() or "BROWSER" in os.environ
        if not (usable and webbrowser.open(here.as_uri())):
            say("no browser was started: open the address above")
        yield


@contextmanager
def signals_noted() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C, a closed terminal or a SIGTERM came, which end nothing by themselves.

    What was opened is to be closed whatever ends the command, and at whatever moment.
    """
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = {number: signal.getsignal(number) for number in numbers}
    before = {n: h for n, h in handlers.items() if h not in (None, signal.SIG_IGN)}
    for number in before:
        signal.signal(number, lambda number, _: came.append(number))
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _desktop() -> bool:
    variables = ("DISPLAY", "WAYLAND_DISPLAY")
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in variables)


def _written(folder: str, name: str, text: str) -> Path:
    path = Path(folder) / name
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return path


def _started(argv: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            argv,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError as error:
        what = f"{argv[0]} cannot be started: {error.strerror}"
        raise WorkFailed(what, cure="--no-viewer, and a viewer of your choice") from error


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(END_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
