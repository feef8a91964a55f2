"""What a talk hands over open, a TAP or a file, as the SSH user may open it."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

import pytest

from vmops.core.tools import qmp
from vmops.core.tools.monitor import (
    Heard,
    Talk,
    WithFile,
    WithTap,
    why,
)

from ..component.fake_qemu import GREETING, Client
from .talks import LIMIT_S, Start, healthy, hold, root, start

__all__ = ["root", "start"]


def test_a_tap_that_cannot_be_opened_ends_the_talk_before_anything_is_asked(start: Start) -> None:
    def serve(client: Client) -> None:
        client.say(GREETING)
        client.answer()
        client.wait_for_leave()

    start("vm1", serve)
    heard = hold(Talk("vm1", (WithTap("x" * 17), qmp.STATUS), LIMIT_S))["vm1"]
    assert (heard.ended, heard.answers) == ("no tap", ())
    assert "x" * 17 in why(heard)


def lent(path: Path, *, writable: bool = False) -> Heard:
    file = WithFile(str(path), 7, writable=writable)
    return hold(Talk("vm1", (file, qmp.STATUS), LIMIT_S))["vm1"]


def test_a_file_is_handed_over_as_the_ssh_user_may_open_it(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start("vm1", healthy)
    monkeypatch.setenv("VMOPS_USER", getpass.getuser())
    path = tmp_path / "a disk, with 'odd' words"
    path.write_text("mine")
    heard = lent(path, writable=True)
    assert (heard.ended, len(heard.answers)) == ("whole", 2)

    path.chmod(0)
    # Root may open everything.
    monkeypatch.setenv("VMOPS_USER", "nobody" if os.getuid() == 0 else getpass.getuser())
    heard = lent(path)
    assert (heard.ended, heard.answers) == ("no file", ())
    assert "Permission denied" in why(heard)


@pytest.mark.parametrize("kind", ["nothing", "a folder", "a FIFO", "a socket"])
def test_what_is_no_file_is_not_handed_over(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    start("vm1", healthy)
    monkeypatch.setenv("VMOPS_USER", getpass.getuser())
    path = tmp_path / "it"
    if kind == "a folder":
        path.mkdir()
    elif kind == "a FIFO":
        os.mkfifo(path)
    elif kind == "a socket":
        path = tmp_path / "vm1" / "qmp.sock"
    for writable in (True, False):
        heard = lent(path, writable=writable)
        assert (heard.ended, heard.answers) == ("no file", ())
        assert str(path) in why(heard)
