"""Talks with monitors as a script holds them: real QEMUs, and servers that misbehave.

Whatever a monitor does is bounded, and costs its own VM's talk only.
"""

from __future__ import annotations

import getpass
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from vmops.core.script import functions, script
from vmops.core.script.command import Block, Step, command
from vmops.core.tools import qmp
from vmops.core.tools.monitor import (
    Await,
    Heard,
    Need,
    Refused,
    Talk,
    WithFile,
    WithTap,
    is_refused,
    read_talk,
    talk,
    why,
)
from vmops.core.tools.qmp import Request

from ..component.fake_qemu import GREETING, Client, FakeQemu, Serve
from ..system.lab_helpers import wait_until

NONCE = "0123456789abcdef" * 2
LIMIT_S = 1.0
RUNNING = {"query-status": {"status": "running"}}
HUGE = b'{"return": {"n": ' + b"9" * 5000 + b'}, "id": "vmops-2"}\n'
DEEP = b'{"return": ' + b"[" * 100_000 + b"]" * 100_000 + b', "id": "vmops-2"}\n'

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


def after_the_greeting(*lines: bytes) -> Serve:
    def serve(client: Client) -> None:
        client.say(GREETING)
        client.answer()
        for line in lines:
            client.say(line)
        client.wait_for_leave()

    return serve


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


DELETED = {"event": "DEVICE_DELETED", "data": {"device": "net1", "path": "/p"}}
EARLY = {"event": "DEVICE_DELETED", "data": {"path": "/machine/peripheral/net1/virtio-backend"}}


def line(message: object) -> bytes:
    return json.dumps(message).encode() + b"\n"


@pytest.mark.parametrize("before", [True, False], ids=["before-the-answer", "after-it"])
def test_an_event_is_awaited_with_what_it_must_hold(start: Start, before: bool) -> None:
    asked: list[str] = []

    def serve(client: Client) -> None:
        client.say(GREETING)
        client.answer()
        client.say(EARLY)
        if before:
            client.say(DELETED)
        asked.append(client.answer())
        if not before:
            client.say(DELETED)
        asked.append(client.answer())
        client.wait_for_leave()

    start("vm1", serve)
    awaited = Await("DEVICE_DELETED", 5, holding='"device": "net1"', then="go on")
    lines = (Request("device_del", {"id": "net1"}), awaited, Request("netdev_del", {"id": "n"}))
    heard = hold(Talk("vm1", lines, LIMIT_S))["vm1"]
    # The fake notes a request when it has answered it.
    wait_until(lambda: asked == ["device_del", "netdev_del"])
    assert (heard.ended, len(heard.answers)) == ("whole", 2)
    assert heard.events == (EARLY, DELETED)


def test_what_nobody_hears_any_more_is_done_all_the_same(start: Start, root: Path) -> None:
    """As when the operator is killed: the block has no undo, so all its steps are done."""
    start("vm1", healthy)
    then = Step("then", (command("touch", str(root / "then")),))
    block = Block("vm", (Step("talk", (talk([status("vm1")]),)), then))
    text = script.render([block], nonce=NONCE)
    reading, writing = os.pipe()
    os.close(reading)
    words = ["dash", "-c", text]
    subprocess.run(words, stdout=writing, stderr=writing, timeout=60, check=False)
    os.close(writing)
    assert (root / "then").exists()


def test_without_the_event_that_had_to_come_nothing_follows(start: Start) -> None:
    start(
        "vm1", after_the_greeting(b'{"id": "vmops-2", "return": {}}\n', json.dumps(EARLY).encode())
    )
    awaited = Await("DEVICE_DELETED", 0.3, holding='"device": "net1"', then="go on")
    lines = (Request("device_del"), awaited, Request("netdev_del"))
    heard = hold(Talk("vm1", lines, LIMIT_S))["vm1"]
    assert (heard.ended, heard.answers) == ("silent", ({},))


def test_an_event_counts_for_one_wait(start: Start) -> None:
    start("vm1", after_the_greeting(line(DELETED), b'{"id": "vmops-2", "return": {}}\n'))
    await_one = Await("DEVICE_DELETED", 0.2, then="go on")
    began = time.monotonic()
    heard = hold(Talk("vm1", (qmp.STATUS, await_one, await_one), LIMIT_S))["vm1"]
    assert time.monotonic() - began > 0.2
    assert heard.ended == "silent"


def test_a_refusal_ends_the_talk_before_the_next_wait(start: Start) -> None:
    def serve(client: Client) -> None:
        client.say(GREETING)
        client.answer()
        client.refuse("there is no net1")
        client.answer()
        client.wait_for_leave()

    start("vm1", serve)
    lines = (Request("device_del"), qmp.STATUS, Await("DEVICE_DELETED", 30), Request("netdev_del"))
    began = time.monotonic()
    heard = hold(Talk("vm1", lines, LIMIT_S))["vm1"]
    assert time.monotonic() - began < 5
    assert heard == Heard("vm1", (Refused("there is no net1"), {}))


def test_a_talk_ends_when_its_time_is_up(start: Start) -> None:
    """`timeout` sends SIGTERM to the whole group: what waits for a guest ends at once."""
    start("vm1", after_the_greeting(b'{"id": "vmops-2", "return": {}}\n'))
    _, text = text_of(Talk("vm1", (qmp.POWER_DOWN, Await("", 60)), LIMIT_S))
    words = ["timeout", "-k", "10", "1", "dash", "-c", text]
    began = time.monotonic()
    done = subprocess.run(words, capture_output=True, timeout=30, check=False)
    assert done.returncode in (124, 125)
    assert time.monotonic() - began < 4


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


def test_a_talk_goes_on_only_where_an_answer_is_the_one_that_is_needed(start: Start) -> None:
    def serve(client: Client) -> None:
        client.say(GREETING)
        client.answer()
        client.answer({"qom-get": "52:54:00:00:00:01"})
        client.answer()
        client.wait_for_leave()

    for vm in ("vm1", "vm2"):
        start(vm, serve)
    asked = Request("qom-get", {"path": "/machine/x", "property": "mac"})
    heard = hold(
        Talk("vm1", (asked, Need("52:54:00:00:00:01"), qmp.STATUS), LIMIT_S),
        Talk("vm2", (asked, Need("52:54:00:00:00:02"), qmp.STATUS), LIMIT_S),
    )
    assert (heard["vm1"].ended, len(heard["vm1"].answers)) == ("whole", 2)
    assert (heard["vm2"].ended, len(heard["vm2"].answers)) == ("other", 1)
    assert "52:54:00:00:00:01" in why(heard["vm2"])


def test_one_of_several_texts_ends_a_wait(start: Start) -> None:
    def serve(client: Client) -> None:
        client.say(GREETING)
        client.answer()
        client.say({"event": "MIGRATION", "data": {"status": "active"}})
        client.say({"event": "MIGRATION", "data": {"status": "failed"}})
        client.answer()
        client.wait_for_leave()

    start("vm1", serve)
    either = ('"status": "completed"', '"status": "failed"')
    wait = Await("MIGRATION", 10, holding=either, then="go on")
    heard = hold(Talk("vm1", (wait, qmp.STATUS), LIMIT_S))["vm1"]
    assert (heard.ended, len(heard.answers)) == ("whole", 1)


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
