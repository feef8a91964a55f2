from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import fabric
import pytest

from vmops.core.inventory.model import Worker
from vmops.errors import WorkerUnreachable
from vmops.remote.counters import counted
from vmops.remote.ssh import endpoint
from vmops.remote.ssh.connection import close_all, connection

from .conftest import with_login
from .fake_worker import FakeWorker

Start = Callable[..., FakeWorker]


def test_one_connection_whoever_asks(start: Start, config: fabric.Config) -> None:
    fake = start()
    before = counted()
    first = connection(fake.worker(), config=config)
    assert connection(fake.worker("another-name"), config=config.clone()) is first
    assert fake.connections == 1
    assert (counted() - before).connections == 1


def test_threads_that_ask_at_once_share_one(start: Start, config: fabric.Config) -> None:
    fake = start()
    together = threading.Barrier(16)

    def ask(_: int) -> int:
        together.wait()
        return id(connection(fake.worker(), config=config))

    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(ask, range(16)))) == 1
    assert fake.connections == 1


def test_workers_are_dialled_at_the_same_time(start: Start, config: fabric.Config) -> None:
    fakes = [start() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda fake: connection(fake.worker(), config=config), fakes))
    assert len({id(each) for each in opened}) == 4
    assert [fake.connections for fake in fakes] == [1, 1, 1, 1]


def test_a_connection_that_died_is_dialled_again(start: Start, config: fabric.Config) -> None:
    fake = start()
    first = connection(fake.worker(), config=config)
    died = first.live_transport
    fake.hang_up()
    died.join(5)
    assert connection(fake.worker(), config=config).live_transport is not died
    assert fake.connections == 2


def test_after_close_all_nothing_is_open(start: Start, config: fabric.Config) -> None:
    fake = start()
    closed = connection(fake.worker(), config=config)
    close_all()
    assert not closed.is_connected
    assert connection(fake.worker(), config=config).is_connected


def test_the_connection_is_fabrics_own(start: Start, config: fabric.Config) -> None:
    fake = start()
    result = connection(fake.worker(), config=config).run("echo hello", hide=True, in_stream=False)
    assert result.stdout == "hello\n"


def test_many_connections_do_not_pile_up_identities(start: Start, config: fabric.Config) -> None:
    fake = start()
    for _ in range(5):
        connection(fake.worker(), config=config)
        close_all()
    assert fake.offers == 5
    assert len(config.connect_kwargs.key_filename) == 1


def test_a_caller_that_was_hung_up_on_tries_again(start: Start, config: fabric.Config) -> None:
    fake = start(drop_first=3)
    assert connection(fake.worker(), config=config).is_connected
    assert fake.connections == 4


def test_after_six_tries_it_says_so(start: Start, config: fabric.Config) -> None:
    fake = start(drop_first=100)
    with pytest.raises(WorkerUnreachable, match="hung up before the login, every time"):
        connection(fake.worker(), config=config)
    assert fake.connections == 6


class TestGateways:
    def test_hops_are_dialled_in_their_order(self, start: Start, config: fabric.Config) -> None:
        outer, inner, fake = start(), start(), start()
        hops = f"root@127.0.0.1:{outer.port},root@127.0.0.1:{inner.port}"
        assert connection(fake.worker(gateway=hops), config=config).is_connected
        assert outer.forwards == [("127.0.0.1", inner.port)]
        assert inner.forwards == [("127.0.0.1", fake.port)]
        assert fake.forwards == []

    def test_workers_behind_one_gateway_share_it(self, start: Start, config: fabric.Config) -> None:
        gate, one, two = start(), start(), start()
        hop = f"root@127.0.0.1:{gate.port}"
        for fake in (one, two):
            connection(fake.worker(gateway=hop), config=config)
        assert gate.connections == 1
        assert len(gate.forwards) == 2

    def test_a_gateway_that_cannot_reach_the_worker(
        self, start: Start, config: fabric.Config
    ) -> None:
        gate = start()
        with free_port() as port:
            pass
        worker = Worker(
            "w1",
            address="127.0.0.1",
            port=port,
            gateway=f"root@127.0.0.1:{gate.port}",
            known_hosts=str(gate.home / "known_hosts"),
        )
        with pytest.raises(WorkerUnreachable, match=f"the gateway cannot reach .*port {port}"):
            connection(worker, config=config)

    def test_a_proxy_command(self, start: Start, home: Path, identity: Path) -> None:
        fake = start()
        relay = home / "relay.py"
        relay.write_text(
            "import socket, sys, threading, os\n"
            "there = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
            "def back():\n"
            "    while data := there.recv(65536): os.write(1, data)\n"
            "threading.Thread(target=back, daemon=True).start()\n"
            "while data := os.read(0, 65536): there.sendall(data)\n"
        )
        (home / ".ssh").mkdir()
        (home / ".ssh" / "config").write_text(f"Host *\n  ProxyCommand python3 {relay} %h %p\n")
        used = with_login(key_filename=[str(identity)])
        opened = connection(fake.worker(), config=used)
        assert opened.run("echo through", hide=True, in_stream=False).stdout == "through\n"

    def test_a_proxy_command_that_fails(self, start: Start, home: Path, identity: Path) -> None:
        (home / ".ssh").mkdir()
        (home / ".ssh" / "config").write_text("Host *\n  ProxyCommand false\n")
        used = with_login(key_filename=[str(identity)])
        with pytest.raises(WorkerUnreachable, match="the ProxyCommand ended: false"):
            connection(start().worker(), config=used)


@contextmanager
def free_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


def served(answer: Callable[[socket.socket], None]) -> Worker:
    """A worker whose port is answered by that."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            caller, _ = listener.accept()
            with suppress(OSError):
                answer(caller)

    threading.Thread(target=serve, daemon=True).start()
    return Worker("w1", address="127.0.0.1", port=int(listener.getsockname()[1]))


class TestAWorkerThatMeansNoGood:
    """It costs its own login, no memory, and no more time than any other."""

    @pytest.mark.parametrize(
        ("sends", "said"),
        [
            (b"A" * 2**16, "first line has no end"),
            (b"SSH-2.0-x\r\n\xff\xff\xff\xf4" + b"A" * 2**16, "a packet of 42949"),
            (b"SSH-2.0-x\r\n\x00\x10\x00\x04" + b"A" * 2**16, "a packet of 10485"),
        ],
        ids=["no end of a banner", "a packet of 4 GB", "a packet of 1 MB"],
    )
    def test_what_it_sends_is_bounded(self, home: Path, sends: bytes, said: str) -> None:
        def answer(caller: socket.socket) -> None:
            for _ in range(2000):
                caller.sendall(sends)

        began = time.monotonic()
        with pytest.raises(WorkerUnreachable, match=said):
            connection(served(answer), config=with_login(timeout=5))
        assert time.monotonic() - began < 4

    @pytest.mark.parametrize("end", [b"", b"\r\n"], ids=["one line", "many lines"])
    def test_slow_bytes_do_not_stretch_the_time(self, home: Path, end: bytes) -> None:
        def answer(caller: socket.socket) -> None:
            while True:
                caller.sendall(b"A" + end)
                time.sleep(0.05)

        began = time.monotonic()
        with pytest.raises(WorkerUnreachable):
            connection(served(answer), config=with_login(timeout=1))
        assert time.monotonic() - began < 8


class TestASlowLogin:
    def test_it_has_as_long_as_t_says(
        self, start: Start, identity: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(endpoint, "LOGIN_LIMIT_S", 1.0)
        slow = start(login_after_s=2)
        login = with_login(key_filename=[str(identity)], timeout=6)
        opened = connection(slow.worker(), config=login)
        assert opened.live_transport.auth_timeout == 6

    def test_one_that_takes_longer_is_told_what_helps(
        self, start: Start, identity: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(endpoint, "LOGIN_LIMIT_S", 1.0)
        slow = start(login_after_s=3)
        login = with_login(key_filename=[str(identity)], timeout=1)
        with pytest.raises(WorkerUnreachable, match=r"login within 1 s\n.*-t SECONDS"):
            connection(slow.worker(), config=login)


class TestUnreachable:
    def test_nobody_listens(self) -> None:
        with free_port() as port:
            pass
        with pytest.raises(WorkerUnreachable, match="refuses connections"):
            connection(Worker("w1", address="127.0.0.1", port=port), config=fabric.Config())

    def test_somebody_listens_and_says_nothing(self) -> None:
        with free_port() as port:
            worker = Worker("w1", address="127.0.0.1", port=port)
            with pytest.raises(WorkerUnreachable, match=r"w1: .* says nothing for 1 s"):
                connection(worker, config=with_login(timeout=1))

    def test_no_such_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """No name server is asked: that is beyond loopback."""

        def unknown(*_: object) -> None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        worker = Worker("w1", address="no-such-host.invalid")
        with pytest.raises(WorkerUnreachable, match=r"no-such-host\.invalid cannot be resolved"):
            connection(worker, config=fabric.Config())

    def test_what_ssh_config_calls_a_host_and_is_none(self, home: Path) -> None:
        (home / ".ssh").mkdir()
        (home / ".ssh" / "config").write_text("Host w1\n  HostName a..b\n")
        with pytest.raises(WorkerUnreachable, match=r"a\.\.b cannot be resolved: it is no host"):
            connection(Worker("w1", address="w1"), config=fabric.Config())

    @pytest.mark.parametrize(
        ("line", "hangs_up", "said"),
        [
            ("Not allowed at this time", True, "turns this machine away: Not allowed at this"),
            ("Not allowed at this time", True, "PerSourcePenalties"),
            ("Exceeded MaxStartups", True, "no SSH banner, but says: 'Exceeded MaxStartups'"),
            ("220 mail.example ESMTP", False, "no SSH banner, but says: '220 mail.example ESMTP'"),
        ],
    )
    def test_what_is_said_instead_of_a_banner_is_quoted(
        self, line: str, hangs_up: bool, said: str
    ) -> None:
        kept: list[socket.socket] = []

        def answer() -> None:
            with suppress(OSError):
                while True:
                    caller, _ = listener.accept()
                    caller.sendall(line.encode() + b"\r\n")
                    if hangs_up:
                        caller.close()
                    kept.append(caller)

        with socket.create_server(("127.0.0.1", 0)) as listener:
            threading.Thread(target=answer, daemon=True).start()
            port = int(listener.getsockname()[1])
            with pytest.raises(WorkerUnreachable, match=said):
                connection(Worker("w1", address="127.0.0.1", port=port), config=with_login())
            listener.shutdown(socket.SHUT_RDWR)
        for caller in kept:
            caller.close()
