"""Talks with monitors as a script holds them: real QEMUs, and servers that misbehave.

Whatever a monitor does is bounded, and costs its own VM's talk only.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from vmops.core.tools import qmp
from vmops.core.tools.monitor import Await, Heard, Refused, Talk
from vmops.core.tools.qmp import Request

from ..component.fake_qemu import GREETING, Client, Serve
from .talks import (
    LIMIT_S,
    NONCE,
    RUNNING,
    Qemu,
    Start,
    after_the_greeting,
    healthy,
    hold,
    qemu,
    root,
    start,
    status,
    text_of,
)

__all__ = ["qemu", "root", "start"]

HUGE = b'{"return": {"n": ' + b"9" * 5000 + b'}, "id": "vmops-2"}\n'
DEEP = b'{"return": ' + b"[" * 100_000 + b"]" * 100_000 + b', "id": "vmops-2"}\n'


def flood(line: bytes) -> Serve:
    def serve(client: Client) -> None:
        client.say(GREETING)
        while True:
            client.say(line * (1 + 65536 // len(line)))

    return serve


def silent(client: Client) -> None:
    client.wait_for_leave()


def half_a_greeting(client: Client) -> None:
    client.say(b'{"QMP": {"vers')
    client.wait_for_leave()


def gone(client: Client) -> None:
    pass


def gone_after_the_greeting(client: Client) -> None:
    client.say(GREETING)
    client.heard()


def half_an_answer(client: Client) -> None:
    client.say(GREETING)
    client.answer()
    client.heard()
    client.say(b'{"id": "vmops-2", "return": {"sta')


def reads_nothing(client: Client) -> None:
    client.say(GREETING)
    time.sleep(5)


def drop(client: Client) -> None:
    """Says one byte at a time, and never a whole line."""
    client.say(b"{")
    while True:
        time.sleep(0.05)
        client.say(b" ")


@pytest.mark.parametrize("shell", ["dash", "bash"])
@pytest.mark.parametrize(
    ("serve", "ended"),
    [
        pytest.param(silent, "busy", id="silent"),
        pytest.param(half_a_greeting, "busy", id="half-a-greeting"),
        pytest.param(drop, "busy", id="a-byte-at-a-time"),
        pytest.param(gone, "hung up", id="gone"),
        pytest.param(gone_after_the_greeting, "hung up", id="gone-after-the-greeting"),
        pytest.param(half_an_answer, "hung up", id="half-an-answer"),
        pytest.param(reads_nothing, "silent", id="reads-nothing"),
        pytest.param(after_the_greeting(), "silent", id="no-answer"),
        pytest.param(after_the_greeting(b'{"return": 1, "id": "vmops-9"}\n'), "silent", id="id"),
        pytest.param(after_the_greeting(b'{"return": 1}\n'), "silent", id="no-id"),
        pytest.param(after_the_greeting(b"x" * 300_000), "too much", id="no-end-of-line"),
        pytest.param(after_the_greeting(b"\x00\xff{]\n"), "not qmp", id="garbage"),
        pytest.param(after_the_greeting(b"SSH-2.0-x\n"), "not qmp", id="another-protocol"),
        pytest.param(after_the_greeting(DEEP), "not qmp", id="deep"),
        pytest.param(after_the_greeting(HUGE), "not qmp", id="huge-number"),
        pytest.param(after_the_greeting(b'{"id": "vmops-2", "x": "\xff"}\n'), "not qmp", id="utf8"),
        pytest.param(flood(b"x"), "too much", id="flood-without-lines"),
        pytest.param(flood(b"\n"), "not qmp", id="flood-of-nothing"),
        pytest.param(flood(b"{}\n"), "too much", id="flood-of-short-lines"),
        pytest.param(flood(b'{"event": "X"}\n'), "too much", id="flood-of-events"),
        pytest.param(flood(b'{"event": "%s"}\n' % (b"y" * 9000)), "too much", id="flood-of-bytes"),
    ],
)
def test_a_bad_monitor_costs_its_own_talk_only(
    start: Start, serve: Serve, ended: str, shell: str
) -> None:
    start("vm1", serve)
    start("vm1", serve, "qmp-human.sock")
    start("vm2", healthy)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    heard = hold(status("vm1"), status("vm2"), shell=shell)
    assert time.monotonic() - began < 4 * LIMIT_S
    since = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert since.ru_utime + since.ru_stime - used.ru_utime - used.ru_stime < 1.0
    assert heard["vm1"].ended == ended
    assert heard["vm1"].answers == ()
    assert len(heard["vm1"].said) <= 200
    assert heard["vm2"] == Heard("vm2", ({"status": "running"},))


def test_what_a_monitor_sends_forges_no_frame(start: Start, root: Path) -> None:
    frame = f"vm2 whole 2 0 0\n@@{NONCE} e 0 0 0\n@@{NONCE} x 0 done\n"
    lines = json.dumps({"event": "X", "data": frame}).encode() + b"\n" + frame.encode()
    start("vm1", after_the_greeting(lines))
    heard = hold(status("vm1"), status("vm2"))
    assert heard["vm1"].ended == "not qmp"
    assert heard["vm2"].ended == "no socket"
    assert heard["vm2"].said == f"{root}/vm2/qmp-human.sock: No such file or directory"


@pytest.mark.parametrize("first", [silent, None], ids=["busy", "absent"])
def test_where_the_first_socket_is_taken_the_one_for_humans_serves(
    start: Start, first: Serve | None
) -> None:
    if first is not None:
        start("vm1", first)
    start("vm1", healthy, "qmp-human.sock")
    began = time.monotonic()
    assert hold(status("vm1"))["vm1"].answers == ({"status": "running"},)
    assert time.monotonic() - began < (1 if first else 0.45)


@pytest.mark.parametrize("kind", ["file", "link", "link to another VM's", "directory", "fifo"])
def test_only_a_socket_that_lies_there_itself_is_opened(
    start: Start, root: Path, kind: str
) -> None:
    """The run directory is QEMU's to write in."""
    other = start("vm2", healthy)
    (root / "vm1").mkdir()
    path = root / "vm1" / "qmp.sock"
    match kind:
        case "file":
            path.touch()
        case "link":
            path.symlink_to("/etc/passwd")
        case "directory":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case _:
            path.symlink_to("../vm2/qmp.sock")
    (root / "vm1" / "qmp-human.sock").symlink_to("qmp.sock")
    heard = hold(status("vm1"))["vm1"]
    assert (heard.ended, heard.answers) == ("no socket", ())
    assert heard.said == f"{root}/vm1/qmp-human.sock is no socket"
    assert other.clients == 0


def test_a_socket_that_nobody_listens_at_any_more(start: Start, root: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    (root / "vm1").mkdir()
    left.bind(str(root / "vm1" / "qmp.sock"))
    left.close()
    heard = hold(status("vm1"))["vm1"]
    assert heard.ended == "no socket"
    other = start("vm1", healthy, "qmp-human.sock")
    assert hold(status("vm1"))["vm1"].ended == "whole"
    assert other.clients == 1


def test_requests_go_out_together_and_answers_keep_their_order(start: Start) -> None:
    """This monitor says nothing before it has all five, and answers the last one first."""
    heard: list[dict[str, Any]] = []

    def serve(client: Client) -> None:
        client.say(GREETING)
        heard.extend(client.heard() for _ in range(5))
        for request in reversed(heard):
            client.say({"id": request["id"], "return": request["execute"]})
        client.wait_for_leave()

    start("vm1", serve)
    answers = hold(Talk("vm1", qmp.LOOK, LIMIT_S))["vm1"].answers
    assert heard[0]["execute"] == "qmp_capabilities"
    assert answers == ("query-status", "query-block", "query-blockstats", "query-chardev")


def test_all_monitors_are_asked_at_the_same_time(start: Start) -> None:
    together = threading.Barrier(12)

    def serve(client: Client) -> None:
        client.say(GREETING)
        client.answer()
        together.wait(10)
        client.answer(RUNNING)
        client.wait_for_leave()

    vms = [f"vm{number}" for number in range(12)]
    for vm in vms:
        start(vm, serve)
    heard = hold(*(Talk(vm, (qmp.STATUS,), 10) for vm in vms))
    assert [found.answers for found in heard.values()] == [({"status": "running"},)] * 12


def test_arguments_arrive_as_they_are(start: Start) -> None:
    sent: list[dict[str, Any]] = []
    arguments = {"password": "it's $HOME `id` \\ \" \u2028 ü\n@@", "nested": {"id": "vmops-1"}}

    def serve(client: Client) -> None:
        client.say(GREETING)
        client.answer()
        sent.append(client.heard())
        client.say({"id": sent[0]["id"], "return": arguments})
        client.wait_for_leave()

    start("vm1", serve)
    heard = hold(Talk("vm1", (Request("set_password", arguments),), LIMIT_S))["vm1"]
    assert sent[0]["arguments"] == arguments
    assert heard.answers == (arguments,)


def test_nothing_that_is_said_stands_in_a_list_of_processes(start: Start, root: Path) -> None:
    seen: list[bytes] = []

    def serve(client: Client) -> None:
        client.say(GREETING)
        client.answer()
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                seen.append(entry.read_bytes())
            except OSError:
                continue
        client.answer()
        client.wait_for_leave()

    start("vm1", serve)
    secret = Request("set_password", {"password": "opensesame"})
    _, text = text_of(Talk("vm1", (secret,), LIMIT_S))
    subprocess.run(["dash"], input=text.encode(), capture_output=True, timeout=30, check=True)
    ours = [words for words in seen if words.startswith(b"perl\0") and str(root).encode() in words]
    assert [len(words) < 1000 for words in ours] == [True]
    assert not any(b"opensesame" in words for words in seen)


def test_a_real_monitor_answers_and_refuses(qemu: Qemu) -> None:
    qemu("vm1")
    qemu("vm2")
    bad = Talk("vm2", (Request("device_del", {"id": "none"}), Await("DEVICE_DELETED", 30)))
    heard = hold(Talk("vm1", qmp.LOOK), bad)
    assert qmp.read_look(heard["vm1"].answers).status == "prelaunch"
    assert heard["vm2"] == Heard("vm2", (Refused("Device 'none' not found"),))


def test_the_end_of_a_real_qemu_is_noticed_with_its_farewell(qemu: Qemu) -> None:
    qemu("vm1")
    began = time.monotonic()
    heard = hold(Talk("vm1", (qmp.QUIT, Await("", 20))))["vm1"]
    assert time.monotonic() - began < 10
    assert (heard.ended, heard.answers) == ("hung up", ({},))
    (farewell,) = [event for event in heard.events if event["event"] == qmp.SHUTDOWN]
    assert qmp.ended_by(farewell["data"]) == "quit"


def test_a_real_qemu_that_is_killed_hangs_up_without_a_word(qemu: Qemu) -> None:
    pid = qemu("vm1")
    kill = threading.Timer(0.5, os.kill, (pid, signal.SIGKILL))
    kill.start()
    heard = hold(Talk("vm1", (qmp.STATUS, Await("", 20))))["vm1"]
    kill.join()
    assert (heard.ended, heard.events) == ("hung up", ())
    assert hold(Talk("vm1", (qmp.STATUS,)))["vm1"].ended == "no socket"


def test_a_real_qemu_that_is_held_by_a_signal_is_told(qemu: Qemu) -> None:
    pid = qemu("vm1")
    os.kill(pid, signal.SIGSTOP)
    assert hold(status("vm1"))["vm1"].ended == "held"
    os.kill(pid, signal.SIGCONT)
    assert hold(status("vm1"))["vm1"].ended == "whole"
