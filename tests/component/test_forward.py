from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator

import fabric
import pytest

from vmops.errors import MonitorError
from vmops.remote.forward import forward_port, open_port, open_socket
from vmops.wait import wait_for

from .fake_worker import FakeWorker

Start = Callable[..., FakeWorker]


@pytest.fixture
def echo() -> Iterator[int]:
    """A port where somebody says back what is said, until the caller is done."""

    def answer(caller: socket.socket) -> None:
        with caller:
            while data := caller.recv(65536):
                caller.sendall(data)

    def listen() -> None:
        while True:
            try:
                caller, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(caller,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=listen, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def said_back(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 5) as caller:
        threading.Thread(target=caller.sendall, args=(data,), daemon=True).start()
        answer = bytearray()
        while len(answer) < len(data):
            more = caller.recv(65536)
            assert more, "it ended early"
            answer += more
        return bytes(answer)


def test_a_port_of_the_worker_is_here(start: Start, echo: int, config: fabric.Config) -> None:
    fake = start()
    with forward_port(fake.worker(), "127.0.0.1", echo, config=config) as forward:
        assert said_back(forward.port, b"hello") == b"hello"
        assert said_back(forward.port, b"x" * 3_000_000) == b"x" * 3_000_000
    assert fake.forwards == [("127.0.0.1", echo)] * 2


def test_a_port_of_the_worker_is_a_socket_of_this_process(
    start: Start, echo: int, config: fabric.Config
) -> None:
    fake = start()
    with open_port(fake.worker(), "127.0.0.1", echo, config=config) as opened:
        opened.settimeout(5)
        opened.sendall(b"hello")
        assert opened.recv(5) == b"hello"
        opened.shutdown(socket.SHUT_WR)
        assert opened.recv(1) == b""
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    with pytest.raises(MonitorError, match=f"port {port} cannot be reached"):
        open_port(fake.worker(), "127.0.0.1", port, config=config)


def test_closing_ends_the_port_its_callers_and_its_threads(
    start: Start, echo: int, config: fabric.Config
) -> None:
    fake = start()
    forward = forward_port(fake.worker(), "127.0.0.1", echo, config=config)
    port = forward.port
    threads = threading.active_count()
    caller = socket.create_connection(("127.0.0.1", port), 5)
    caller.sendall(b"a")
    assert caller.recv(1) == b"a"
    forward.close()
    assert caller.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)
    caller.close()
    assert wait_for(lambda: threading.active_count() < threads or None, 5)


def test_a_caller_that_leaves_leaves_nothing(
    start: Start, echo: int, config: fabric.Config
) -> None:
    with forward_port(start().worker(), "127.0.0.1", echo, config=config) as forward:
        said_back(forward.port, b"warm up")
        assert wait_for(lambda: not forward._bridges or None, 5)
        threads = threading.active_count()
        for _ in range(5):
            said_back(forward.port, b"hello")
        assert wait_for(lambda: threading.active_count() <= threads or None, 5)


def test_nobody_listens_there(
    start: Start, config: fabric.Config, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with (
        caplog.at_level(logging.ERROR, "vmops"),
        forward_port(start().worker(), "127.0.0.1", port, config=config) as forward,
        socket.create_connection(("127.0.0.1", forward.port), 5) as caller,
    ):
        assert caller.recv(1) == b""
    assert f"w1: 127.0.0.1 port {port} cannot be reached from there" in caplog.text


def test_a_local_port_that_is_taken(start: Start, echo: int, config: fabric.Config) -> None:
    with pytest.raises(MonitorError, match=f"port {echo} of this machine cannot be used"):
        forward_port(start().worker(), "127.0.0.1", 5901, local_port=echo, config=config)


def test_an_sshd_that_forbids_sockets(start: Start, config: fabric.Config) -> None:
    with pytest.raises(MonitorError, match=r"w1: /run/x\.sock cannot be opened: administratively"):
        open_socket(start().worker(), "/run/x.sock", config=config)
