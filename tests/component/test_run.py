from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fabric
import pytest

from vmops.errors import CommandTimeout, ConnectionLost, WorkFailed
from vmops.ops.route import Route
from vmops.ops.worker.run import run_command
from vmops.remote.run import LONGEST_COMMAND, CommandLine, Finished, run, stream
from vmops.wait import wait_for

from .fake_worker import FakeWorker
from .test_exchange import install_sudo, is_alive

Start = Callable[..., FakeWorker]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        pytest.param("echo out; echo err >&2", Finished(0, b"out\n", b"err\n"), id="both streams"),
        pytest.param("exit 9", Finished(9, b"", b""), id="exit code"),
        pytest.param("echo one\nfalse\necho two", Finished(0, b"one\ntwo\n", b""), id="lines"),
        pytest.param(r"printf '\000\377'", Finished(0, b"\0\xff", b""), id="bytes"),
        pytest.param("cat", Finished(0, b"", b""), id="no input"),
        pytest.param("kill -9 $$", Finished(-1, b"", b""), id="a signal"),
        pytest.param("exit 124", Finished(124, b"", b""), id="124 by itself"),
    ],
)
def test_how_a_command_ends(
    start: Start, config: fabric.Config, command: str, expected: Finished
) -> None:
    assert run(start().worker(), command, time_limit=10, config=config) == expected


@pytest.mark.parametrize("size", [0, 1, 100_000, 5_000_000])
def test_bytes_both_ways(start: Start, config: fabric.Config, size: int) -> None:
    data = random.Random(size).randbytes(size)
    done = run(start().worker(), CommandLine("cat", data), time_limit=30, config=config)
    assert done == Finished(0, data, b"")


def test_input_that_nobody_reads(start: Start, config: fabric.Config) -> None:
    data = bytes(5_000_000)
    done = run(start().worker(), CommandLine("echo enough", data), time_limit=10, config=config)
    assert done.stdout == b"enough\n"


def test_output_is_handed_on_as_it_comes(start: Start, config: fabric.Config) -> None:
    came: list[tuple[str, bytes]] = []
    at: list[float] = []

    def take(stream: str, data: bytes) -> None:
        came.append((stream, data))
        at.append(time.monotonic())

    command = "echo one; sleep 0.5; echo two >&2; sleep 0.5; printf three; exit 4"
    assert stream(start().worker(), command, take, time_limit=9, config=config) == 4
    assert came == [("stdout", b"one\n"), ("stderr", b"two\n"), ("stdout", b"three")]
    assert at[2] - at[0] > 0.5


def test_a_sink_that_fails_ends_it(start: Start, config: fabric.Config) -> None:
    def take(stream: str, data: bytes) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        stream(start().worker(), "yes", take, time_limit=9, config=config)


def test_what_stays_in_the_background_holds_nobody_up(
    start: Start, home: Path, config: fabric.Config
) -> None:
    started = time.monotonic()
    command = f"sleep 30 & echo $! | tee {home}/pid"
    done = run(start().worker(), command, time_limit=20, config=config)
    assert time.monotonic() - started < 5
    assert done.exit_code == 0
    pid = int(done.stdout)
    assert is_alive(pid)
    os.kill(pid, 9)


@pytest.mark.parametrize(
    "command",
    [
        pytest.param("echo $$ >{home}/pid; exec sleep 1000", id="one process"),
        pytest.param("sleep 1000 & echo $! >{home}/pid; wait", id="a child"),
        pytest.param("trap '' TERM; sleep 1000 & echo $! >{home}/pid; wait", id="deaf to TERM"),
        pytest.param("setsid sleep 1000 & sleep 0.2; pgrep -P $$ >{home}/pid; wait", id="setsid"),
        pytest.param("sudo sh -c 'echo $$ >{home}/pid; exec sleep 1000'; true", id="sudo"),
    ],
)
@pytest.mark.parametrize("has_sudo", [True, False], ids=["with sudo", "without"])
def test_a_command_whose_time_is_up_is_ended(
    start: Start, home: Path, config: fabric.Config, command: str, has_sudo: bool
) -> None:
    sudo = "" if has_sudo else "case $* in *vmops*) exit 1;; esac"
    install_sudo(home, f'#!/bin/sh\n{sudo}\n[ "$1" != -n ] || shift 3\nexec setsid -w "$@"\n')
    worker = start().worker(user="me")
    started = time.monotonic()
    with pytest.raises(CommandTimeout, match="w1: the command took longer than 1 s; it was ended"):
        run(worker, command.format(home=home), time_limit=1, config=config)
    assert time.monotonic() - started < 20
    pid = int((home / "pid").read_text().split()[0])
    assert wait_for(lambda: not is_alive(pid) or None, 2)


def test_a_connection_that_dies_meanwhile(start: Start, config: fabric.Config) -> None:
    fake = start()
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(run, fake.worker(), "sleep 5", time_limit=10, config=config)
        assert wait_for(lambda: fake.commands or None, 5)
        fake.hang_up()
        with pytest.raises(ConnectionLost):
            under_way.result(5)


def test_a_channel_that_opens_late_is_no_lost_connection_and_is_closed(
    start: Start, config: fabric.Config
) -> None:
    fake = start(opens_after_s=1.5)
    with pytest.raises(CommandTimeout, match="w1: sshd opened no channel within 1 s") as kept:
        run(fake.worker(), "true", time_limit=1, config=config)
    assert run(fake.worker(), "echo on", time_limit=9, config=config).stdout == b"on\n"
    (there,) = fake.transports
    channels = there._channels  # type: ignore[attr-defined]
    assert wait_for(lambda: not len(channels) or None, 5), f"held open; kept: {kept}"


def test_a_command_whose_operator_vanished_ends_too(
    start: Start, home: Path, config: fabric.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmops.remote.run._ENDING_LIMIT_S", 1.0)
    fake = start()
    command = f"echo $$ >{home}/pid; exec sleep 1000"
    with ThreadPoolExecutor(1) as pool:
        pool.submit(run, fake.worker(), command, time_limit=1, config=config)
        assert wait_for(lambda: (home / "pid").exists() or None, 5)
        fake.hang_up()
    pid = int((home / "pid").read_text())
    assert wait_for(lambda: not is_alive(pid) or None, 10)


@pytest.mark.parametrize(
    ("command", "what"),
    [
        ("x" * (LONGEST_COMMAND + 1), f"longer than {LONGEST_COMMAND} bytes"),
        ("echo a\0b", "NUL byte"),
        ("echo \ud800", "cannot be encoded"),
    ],
    ids=["too long", "NUL", "no text"],
)
def test_what_cannot_be_sent_is_refused_before_anything_is_contacted(
    start: Start, config: fabric.Config, command: str, what: str
) -> None:
    fake = start()
    with pytest.raises(WorkFailed, match=what):
        run(fake.worker(), command, time_limit=5, config=config)
    assert fake.connections == 0


def test_a_file_name_that_is_no_text_arrives_as_it_is(start: Start, config: fabric.Config) -> None:
    command = "printf %s " + os.fsdecode(b"'\xff\xfe'")
    assert run(start().worker(), command, time_limit=5, config=config).stdout == b"\xff\xfe"


def test_a_command_that_a_signal_ended(start: Start, config: fabric.Config) -> None:
    ended = run_command(Route(start().worker(), config), "kill -9 $$", time_limit_s=10)
    assert str(ended.error) == "w1: it was ended by a signal"
