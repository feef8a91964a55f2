"""The way of a live migration at the worker that a VM leaves, under the real perl."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from vmops.core.script.functions import program
from vmops.wait import wait_for

STREAMS = 3
SILENCE_S = 6
"""Whoever says that he is there says so twenty times a second."""


class Way:
    """The sockets of one VM, and who comes for what its QEMU says."""

    def __init__(self, folder: Path, open_ones: ExitStack) -> None:
        self.folder = folder
        self._open = open_ones
        words = (str(folder), str(os.getuid()), "60", str(SILENCE_S), str(STREAMS))
        env = {**os.environ, "VMOPS_USER": getpass.getuser(), "LC_ALL": "C"}
        subprocess.run(["perl", "-e", program("way.pl"), *words], env=env, check=True, timeout=30)
        self.caller = self.comes("way")
        self.qemu = self.comes("way-nbd")
        assert self.caller.recv(4) == b"nbd\n"
        self.carrier = self.comes("way")

    def comes(self, name: str) -> socket.socket:
        found = self._open.enter_context(socket.socket(socket.AF_UNIX))
        found.settimeout(60)
        found.connect(str(self.folder / f"{name}.sock"))
        return found

    def carries(self) -> bool:
        self.qemu.sendall(b"there")
        self.carrier.sendall(b"back!")
        return (self.carrier.recv(5), self.qemu.recv(5)) == (b"there", b"back!")

    def is_gone(self) -> bool:
        """When its sockets have gone."""
        return wait_for(lambda: None if any(self.folder.iterdir()) else True, 60) or False


@pytest.fixture
def ways() -> Iterator[list[Way]]:
    """Two of them."""
    with ExitStack() as stack:
        folders = [stack.enter_context(tempfile.TemporaryDirectory(prefix="way")) for _ in "12"]
        made = [Way(Path(folder), stack) for folder in folders]
        yield made
        for way in made:
            way.caller.close()
            assert way.is_gone()


def test_it_carries_until_its_caller_has_gone(ways: list[Way]) -> None:
    way, other = ways
    assert way.carries()
    way.caller.close()
    assert (way.qemu.recv(1), way.carrier.recv(1)) == (b"", b"")
    assert way.is_gone()
    assert other.carries()


def test_a_caller_who_hangs_holds_nobody(ways: list[Way]) -> None:
    """Over a line that hangs nobody says that he has gone: QEMU would wait for him for ever, with
    its guest standing still."""
    silent, way = ways
    silent.qemu.settimeout(0.05)
    ended = False
    for _ in range(20 * 60):
        way.caller.sendall(b"\n")
        try:
            ended = silent.qemu.recv(1) == b""
            break
        except TimeoutError:
            continue
    assert ended
    assert silent.carrier.recv(1) == b""
    assert way.carries()


def test_qemu_comes_no_more_often_than_a_move_takes(ways: list[Way]) -> None:
    """Each connection is two processes of root's here, and threads at the operator's."""
    way, other = ways
    way.comes("way-nbd")
    way.comes("way-ram")
    told = way.caller.makefile("rb")
    assert {told.readline(), told.readline()} == {b"nbd\n", b"ram\n"}
    way.comes("way-nbd")
    assert told.read() == b"many\n"
    assert (way.qemu.recv(1), way.carrier.recv(1)) == (b"", b"")
    assert way.is_gone()
    assert other.carries()


@pytest.mark.parametrize("form", ["a link", "a link to nothing", "a file"])
def test_nothing_is_removed_behind_what_qemu_has_put_there(tmp_path: Path, form: str) -> None:
    """Its run directory is a place where a QEMU that its guest rules makes what it likes, and
    this program is root's."""
    others = tmp_path / "others"
    others.mkdir()
    (others / "kept").write_text("kept")
    with tempfile.TemporaryDirectory(prefix="way") as folder, ExitStack() as stack:
        place = Path(folder, "way")
        if form == "a file":
            place.write_text("")
        else:
            place.symlink_to(others if form == "a link" else tmp_path / "nothing")
        way = Way(Path(folder), stack)
        assert way.carries()
        way.caller.close()
        assert wait_for(lambda: None if list(Path(folder).glob("*.sock")) else True, 60)
        assert os.path.lexists(place)
        assert [each.read_text() for each in others.iterdir()] == ["kept"]
    assert not (tmp_path / "nothing").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="it gives a directory away")
@pytest.mark.parametrize("text", ["way.pl", "memory.pl"])
def test_nothing_is_given_away_in_a_directory_of_qemus_own(tmp_path: Path, text: str) -> None:
    """It could put a link to any file in the place of a socket, and be given that."""
    folder = tmp_path / "run"
    folder.mkdir()
    os.chown(folder, 1900000001, 1900000001)
    words = {
        "way.pl": [str(folder), "1900000001", "1", "1", "1"],
        "memory.pl": ["take", f"{folder}/memory.sock", "1900000001", "1"],
    }
    command = ["perl", "-e", program(text), *words[text]]
    said = subprocess.run(command, check=False, timeout=60, capture_output=True, text=True)
    assert said.returncode
    assert "not root's: restart the VM" in said.stderr
    assert not any(folder.iterdir())
