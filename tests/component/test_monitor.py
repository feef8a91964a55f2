"""Talks with monitors that misbehave: always bounded, and always an error in words."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vmops.core.inventory.model import Settings
from vmops.core.tools import qmp
from vmops.errors import CommandTimeout, ConnectionLost, MonitorError, VmopsError
from vmops.remote import monitor as monitors
from vmops.remote.monitor import Monitor, SocketRefused, Unanswered, talk

from .fake_qemu import GREETING, Client, FakeQemu, Serve

WORKER = Settings().worker("w1", address="192.0.2.1")
LIMIT_S = 1.0
RUNNING = {"query-status": {"status": "running"}}

Start = Callable[..., FakeQemu]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a fake monitor of a VM, on the first of its sockets or another one."""
    started: list[FakeQemu] = []

    def here(path: str) -> Path:
        return tmp_path / path.removeprefix("/run/vmops/").replace("/", "-")

    def open_socket_of(_: object, __: str, path: str, **___: Any) -> socket.socket:
        stream = socket.socket(socket.AF_UNIX)
        try:
            stream.connect(str(here(path)))
        except OSError as error:
            raise MonitorError(f"{path}: {error}") from error
        return stream

    def start_one(vm: str, serve: Serve, name: str = "qmp.sock") -> FakeQemu:
        started.append(FakeQemu(here(f"/run/vmops/{vm}/{name}"), serve))
        return started[-1]

    opened = SimpleNamespace(transport=SimpleNamespace(is_active=lambda: True))
    monkeypatch.setattr(monitors, "connection", lambda *_, **__: opened)
    monkeypatch.setattr(monitors, "open_socket_of", open_socket_of)
    yield start_one
    for fake in started:
        fake.close()


def healthy(client: Client) -> None:
    client.say(GREETING)
    while True:
        client.answer(RUNNING)


def silent(client: Client) -> None:
    client.wait_for_leave()


def garbage_for_a_greeting(client: Client) -> None:
    client.say(b"SSH-2.0-" + 10_000 * b"x" + b"\r\n")
    client.wait_for_leave()


def another_protocol(client: Client) -> None:
    client.say({"hello": "world"})
    client.wait_for_leave()


def gone_before_the_greeting(client: Client) -> None:
    pass


def gone_after_the_greeting(client: Client) -> None:
    client.say(GREETING)
    client.heard()


def deaf_after_the_greeting(client: Client) -> None:
    client.say(GREETING)
    client.wait_for_leave()


def refusing(client: Client) -> None:
    client.say(GREETING)
    client.answer()
    client.refuse("the disk is locked")
    client.wait_for_leave()


def dying_in_the_middle(client: Client) -> None:
    client.say(GREETING)
    client.answer()
    client.heard()
    client.say(b'{"return": {"sta')


def garbage_for_an_answer(client: Client) -> None:
    client.say(GREETING)
    client.answer()
    client.heard()
    client.say(b"\x00\xff{]\r\n")
    client.wait_for_leave()


def an_answer_of_another_shape(client: Client) -> None:
    client.say(GREETING)
    while True:
        client.answer({"query-status": ["running"]})


async def status(monitor: Monitor) -> str:
    return qmp.read_status((await monitor.ask(qmp.STATUS))[0])


@pytest.mark.parametrize(
    ("serve", "kind", "words"),
    [
        (silent, Unanswered, "is busy or does not answer: no greeting within 1 s"),
        (garbage_for_a_greeting, MonitorError, "does not greet"),
        (another_protocol, MonitorError, "does not greet"),
        (gone_before_the_greeting, MonitorError, "does not greet: QEMU ended, or hung up"),
        (deaf_after_the_greeting, Unanswered, "does not answer query-status within 1 s"),
        (refusing, MonitorError, "QEMU refuses query-status: the disk is locked"),
        (dying_in_the_middle, MonitorError, "the answer is cut short, or no QMP"),
        (garbage_for_an_answer, MonitorError, "the answer is cut short, or no QMP"),
        (gone_after_the_greeting, MonitorError, "QEMU ended, or hung up"),
        (an_answer_of_another_shape, MonitorError, "what QEMU said cannot be read"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_bad_monitor_is_a_bounded_error_and_spoils_no_other(
    start: Start, serve: Serve, kind: type[VmopsError], words: str
) -> None:
    start("vm1", serve)
    start("vm1", serve, "qmp-human.sock")
    start("vm2", healthy)
    began = time.monotonic()
    heard = talk(WORKER, ["vm1", "vm2"], status, time_limit=LIMIT_S)
    assert time.monotonic() - began < 4 * LIMIT_S
    error = heard["vm1"]
    assert type(error) is kind
    assert words in str(error)
    assert str(error).startswith("w1: vm1: ")
    assert len(str(error)) < 300
    assert heard["vm2"] == "running"


@pytest.mark.parametrize("serve", [gone_before_the_greeting, gone_after_the_greeting])
def test_a_session_that_ended_with_the_connection_says_nothing_of_qemu(
    start: Start, monkeypatch: pytest.MonkeyPatch, serve: Serve
) -> None:
    start("vm1", serve)
    gone = SimpleNamespace(transport=SimpleNamespace(is_active=lambda: False))
    monkeypatch.setattr(monitors, "connection", lambda *_, **__: gone)
    error = talk(WORKER, ["vm1"], status, time_limit=LIMIT_S)["vm1"]
    assert isinstance(error, ConnectionLost)
    assert str(error).startswith("w1: the connection was lost\n")


@pytest.mark.parametrize("known", [True, False])
def test_silence_is_doubted_before_the_second_socket_is_tried(start: Start, known: bool) -> None:
    start("vm1", silent)
    start("vm1", healthy, "qmp-human.sock")
    held = MonitorError("vm1: held", worker="w1")
    asked: list[str] = []

    def doubt(vm: str) -> VmopsError | None:
        asked.append(vm)
        return held if known else None

    heard = talk(WORKER, ["vm1"], status, time_limit=LIMIT_S, doubt=doubt)
    assert heard["vm1"] == (held if known else "running")
    assert asked == ["vm1"]


def test_nobody_there_is_a_refused_socket(start: Start) -> None:
    start("vm2", healthy)
    heard = talk(WORKER, ["vm1", "vm2"], status, time_limit=LIMIT_S)
    assert isinstance(heard["vm1"], SocketRefused)
    assert heard["vm2"] == "running"


@pytest.mark.parametrize("first", [silent, None], ids=["busy", "full"])
def test_where_the_first_socket_is_taken_the_one_for_humans_serves(
    start: Start, first: Serve | None
) -> None:
    if first is not None:
        start("vm1", first)
    start("vm1", healthy, "qmp-human.sock")
    assert talk(WORKER, ["vm1"], status, time_limit=LIMIT_S) == {"vm1": "running"}


@pytest.mark.parametrize("first", [silent, healthy], ids=["busy", "free"])
def test_the_way_to_a_far_worker_is_not_counted_as_qemus_time(
    start: Start, monkeypatch: pytest.MonkeyPatch, first: Serve
) -> None:
    start("vm1", first)
    start("vm1", healthy, "qmp-human.sock")
    opened: Callable[..., socket.socket] = vars(monitors)["open_socket_of"]

    def opened_late(*words: Any, **limits: Any) -> socket.socket:
        time.sleep(1.2)
        return opened(*words, **limits)

    monkeypatch.setattr(monitors, "open_socket_of", opened_late)
    assert talk(WORKER, ["vm1"], status, time_limit=LIMIT_S) == {"vm1": "running"}


def test_a_way_that_does_not_open_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*_: object, **__: object) -> socket.socket:
        raise CommandTimeout("sshd opened no channel within 5 s", worker="w1")

    monkeypatch.setattr(monitors, "connection", lambda *_, **__: SimpleNamespace(transport=None))
    monkeypatch.setattr(monitors, "open_socket_of", late)
    heard = talk(WORKER, ["vm1"], status, time_limit=LIMIT_S)
    assert isinstance(heard["vm1"], Unanswered)
    assert "w1: vm1: its monitor cannot be reached: sshd opened no channel" in str(heard["vm1"])


def test_all_monitors_are_asked_at_the_same_time(start: Start) -> None:
    """Each answers when all have been asked: one after the other, none ever would."""
    together = threading.Barrier(5)

    def serve(client: Client) -> None:
        client.say(GREETING)
        client.answer()
        together.wait(10)
        client.answer(RUNNING)
        client.wait_for_leave()

    vms = [f"vm{number}" for number in range(5)]
    for vm in vms:
        start(vm, serve)
    heard = talk(WORKER, vms, status, time_limit=10)
    assert heard == dict.fromkeys(vms, "running")


def test_requests_go_out_together_and_answers_keep_their_order(start: Start) -> None:
    """This monitor says nothing before it has all four, and answers the last one first."""
    heard: list[dict[str, Any]] = []

    def serve(client: Client) -> None:
        client.say(GREETING)
        heard.extend(client.heard() for _ in range(4))
        for request in reversed(heard):
            client.say({"id": request["id"], "return": request["execute"]})
        client.wait_for_leave()

    start("vm1", serve)

    async def look(monitor: Monitor) -> list[Any]:
        return await monitor.ask(*qmp.LOOK)

    answers = talk(WORKER, ["vm1"], look, time_limit=LIMIT_S)
    assert heard[0]["execute"] == "qmp_capabilities"
    assert answers == {"vm1": ["query-status", "query-block", "query-blockstats"]}


@pytest.mark.parametrize(
    ("says_goodbye", "farewell"),
    [(True, {"guest": True, "reason": "guest-shutdown"}), (False, None)],
    ids=["QEMU says why", "QEMU is killed"],
)
def test_an_end_is_noticed_at_once_with_its_reason(
    start: Start, says_goodbye: bool, farewell: dict[str, Any] | None
) -> None:
    def serve(client: Client) -> None:
        client.say(GREETING)
        client.answer()
        client.answer()
        if says_goodbye:
            client.say({"event": "SHUTDOWN", "data": farewell, "timestamp": {}})

    async def power_down(monitor: Monitor) -> Any:
        await monitor.ask(qmp.POWER_DOWN)
        began = time.monotonic()
        assert await monitor.ended(20)
        return time.monotonic() - began < 10, monitor.farewell()

    start("vm1", serve)
    assert talk(WORKER, ["vm1"], power_down, time_limit=5) == {"vm1": (True, farewell)}


def test_a_session_ends_with_its_talk_and_leaves_no_thread(start: Start) -> None:
    left = threading.Event()

    def serve(client: Client) -> None:
        client.say(GREETING)
        client.answer()
        client.answer(RUNNING)
        client.wait_for_leave()
        left.set()

    start("vm1", serve)
    assert talk(WORKER, ["vm1"], status, time_limit=LIMIT_S) == {"vm1": "running"}
    assert left.wait(5), "the next client's turn"
