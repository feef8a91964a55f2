"""Talks with monitors, as tests hold them: what they say, and real and false ones to say it to."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from vmops.core.script import functions, script
from vmops.core.script.command import Block, Step
from vmops.core.tools import qmp
from vmops.core.tools.monitor import (
    Heard,
    Talk,
    is_refused,
    read_talk,
    talk,
)

from ..component.fake_qemu import GREETING, Client, FakeQemu, Serve

NONCE = "0123456789abcdef" * 2


LIMIT_S = 1.0


RUNNING = {"query-status": {"status": "running"}}


Start = Callable[..., FakeQemu]


UNHEARD = ("no socket", "held", "busy", "silent", "too much")
"""How a talk ends that the worker itself knows to be no good."""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of run directories of our own."""
    monkeypatch.setattr(functions, "RUN_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture
def start(root: Path) -> Iterator[Start]:
    """Starts a fake monitor of a VM, on the first of its sockets or another one."""
    started: list[FakeQemu] = []

    def start_one(vm: str, serve: Serve, name: str = "qmp.sock") -> FakeQemu:
        (root / vm).mkdir(exist_ok=True)
        started.append(FakeQemu(root / vm / name, serve))
        return started[-1]

    yield start_one
    for fake in started:
        fake.close()


def text_of(*talks: Talk) -> tuple[Block, str]:
    block = Block("vm", (Step("talk", (talk(talks),), may_fail=True),))
    return block, script.render([block], nonce=NONCE)


def hold(*talks: Talk, shell: str = "dash") -> Mapping[str, Heard]:
    block, text = text_of(*talks)
    done = subprocess.run([shell, "-c", text], capture_output=True, timeout=60, check=True)
    (result,) = script.parse([block], nonce=NONCE, stdout=done.stdout, stderr=done.stderr)
    (said,) = result.steps
    assert (result.outcome, said.stderr) == ("done", b""), result
    found = read_talk(said.stdout)
    if any(heard.ended in UNHEARD or is_refused(heard) for heard in found.values()):
        assert not said.ok, result
    return found


def status(vm: str) -> Talk:
    return Talk(vm, (qmp.STATUS,), LIMIT_S)


def healthy(client: Client) -> None:
    client.say(GREETING)
    while True:
        client.answer(RUNNING)


@pytest.fixture
def qemu(root: Path) -> Iterator[Callable[[str], int]]:
    """Starts a real QEMU with the sockets of a VM; its PID."""
    started: list[int] = []

    def start_one(vm: str) -> int:
        if shutil.which("qemu-system-x86_64") is None:
            pytest.skip("there is no QEMU")
        (root / vm).mkdir()
        words = ["-display", "none", "-m", "16", "-accel", "tcg", "-daemonize", "-S"]
        for name in ("qmp", "qmp-human"):
            words += ["-qmp", f"unix:{root}/{vm}/{name}.sock,server=on,wait=off"]
        words += ["-pidfile", f"{root}/{vm}/pid"]
        subprocess.run(["qemu-system-x86_64", *words], check=True, timeout=60)
        started.append(int((root / vm / "pid").read_text()))
        return started[-1]

    yield start_one
    for pid in started:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


Qemu = Callable[[str], int]


def after_the_greeting(*lines: bytes) -> Serve:
    def serve(client: Client) -> None:
        client.say(GREETING)
        client.answer()
        for line in lines:
            client.say(line)
        client.wait_for_leave()

    return serve
