"""noVNC's gateway on this machine: for who knows the word there are files and VNC, else nothing."""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from websockify.websocket import WebSocket, WebSocketWantReadError

from vmops.errors import MonitorError, WorkerUnreachable, WorkFailed
from vmops.ops import private_web
from vmops.ops.guest import novnc
from vmops.ops.guest.novnc import Gateway
from vmops.wait import wait_for

PASSWORD = "sEcret12"


@dataclass
class Server:
    """In place of a VNC server: it sends back what it gets, in capitals."""

    ends: list[socket.socket] = field(default_factory=list)
    down: bool = False

    def connect(self) -> socket.socket:
        if self.down:
            raise WorkerUnreachable("nobody there", worker="worker1")
        near, far = socket.socketpair()
        self.ends.append(far)
        threading.Thread(target=self._answer, args=(far,), daemon=True).start()
        return near

    def _answer(self, far: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := far.recv(1024):
                far.sendall(data.upper())
        far.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("not to be served")
    files = tmp_path / "novnc"
    (files / "app").mkdir(parents=True)
    (files / "vnc.html").write_text("<!doctype html>the page")
    (files / "app" / "ui.js").write_text("export default 1;")
    return files


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def gateway(folder: Path, server: Server) -> Iterator[Gateway]:
    with Gateway(folder, server.connect) as running:
        yield running


def word(gateway: Gateway) -> str:
    return urlsplit(gateway.url("")).path.split("/")[1]


def get(gateway: Gateway, path: str, method: str = "GET") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def websocket(gateway: Gateway, path: str) -> WebSocket:
    client = WebSocket()
    client.connect(f"ws://127.0.0.1:{gateway.port}{path}")
    return client


def received(client: WebSocket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        try:
            data += client.recvmsg()
        except WebSocketWantReadError:
            assert select.select([client], [], [], 10)[0], f"{len(data)} bytes of {count}"
    return data


def test_who_knows_the_word_gets_the_page_and_its_files(gateway: Gateway) -> None:
    assert get(gateway, urlsplit(gateway.url(PASSWORD)).path) == (200, b"<!doctype html>the page")
    assert get(gateway, f"/{word(gateway)}/app/ui.js") == (200, b"export default 1;")
    assert get(gateway, f"/{word(gateway)}/vnc.html", "HEAD") == (200, b"")


@pytest.mark.parametrize(
    "path",
    ["/", "/vnc.html", "/wrong/vnc.html", "/{half}/vnc.html", "/{word}"],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_who_does_not_know_the_word_gets_nothing(gateway: Gateway, path: str, method: str) -> None:
    said = path.format(word=word(gateway), half=word(gateway)[:-1])
    assert get(gateway, said, method)[0] == 404


@pytest.mark.parametrize("path", ["../secret", "%2e%2e/secret", "app/../../secret", "app/", ""])
def test_no_other_file_and_no_listing_is_served(gateway: Gateway, path: str) -> None:
    status, body = get(gateway, f"/{word(gateway)}/{path}")
    assert status == 404
    assert b"not to be served" not in body


def test_the_password_is_where_browsers_send_it_to_nobody(gateway: Gateway) -> None:
    parts = urlsplit(gateway.url(PASSWORD))
    assert PASSWORD not in parts.path + parts.query
    options = parse_qs(parts.fragment)
    assert options["password"] == [PASSWORD]
    assert options["path"] == [f"{word(gateway)}/websockify"]
    assert "password" not in gateway.url("")


def test_bytes_go_both_ways(gateway: Gateway) -> None:
    client = websocket(gateway, f"/{word(gateway)}/websockify")
    client.sendmsg(b"rfb 003.008\n")
    assert received(client, 12) == b"RFB 003.008\n"
    much = bytes(range(256)) * 1000
    client.sendmsg(much)
    assert received(client, len(much)) == much.upper()


def test_a_websocket_without_the_word_never_reaches_the_server(
    gateway: Gateway, server: Server
) -> None:
    for path in ("/websockify", "/wrong/websockify"):
        with pytest.raises(Exception, match="404"):
            websocket(gateway, path)
    assert server.ends == []


def test_a_browser_that_goes_away_ends_its_connection(gateway: Gateway, server: Server) -> None:
    client = websocket(gateway, f"/{word(gateway)}/websockify")
    client.sendmsg(b"x")
    assert client.recvmsg() == b"X"
    client.socket.close()
    assert wait_for(lambda: server.ends[0].fileno() == -1 or None, 10)


def test_the_end_closes_the_port_and_every_connection(folder: Path, server: Server) -> None:
    with Gateway(folder, server.connect) as gateway:
        client = websocket(gateway, f"/{word(gateway)}/websockify")
        client.sendmsg(b"x")
        assert client.recvmsg() == b"X"
    assert wait_for(lambda: server.ends[0].fileno() == -1 or None, 10)
    with pytest.raises(ConnectionRefusedError):
        get(gateway, "/")


def test_a_server_that_is_not_there_ends_the_websocket(
    gateway: Gateway, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.down = True
    client = websocket(gateway, f"/{word(gateway)}/websockify")
    assert client.recvmsg() is None
    assert "nobody there" in caplog.text


def test_nothing_is_logged_of_what_is_asked_for(
    gateway: Gateway, capfd: pytest.CaptureFixture[str]
) -> None:
    get(gateway, f"/{word(gateway)}/vnc.html")
    get(gateway, "/wrong")
    assert capfd.readouterr() == ("", "")


def test_two_gateways_have_different_words_and_a_port_is_one_ones(
    gateway: Gateway, folder: Path, server: Server
) -> None:
    with Gateway(folder, server.connect) as other:
        assert word(other) != word(gateway)
        assert len(word(other)) >= 32
    with pytest.raises(MonitorError, match=f"port {gateway.port} of this machine"):
        Gateway(folder, server.connect, port=gateway.port)


def test_the_port_is_on_loopback_alone(gateway: Gateway) -> None:
    with (
        socket.socket() as elsewhere,
        pytest.raises(ConnectionRefusedError),
    ):
        elsewhere.connect(("127.0.0.2", gateway.port))


def test_where_novnc_is_may_be_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(novnc.VARIABLE, str(folder))
    assert novnc.files() == folder
    monkeypatch.setenv(novnc.VARIABLE, str(tmp_path))
    with pytest.raises(WorkFailed, match=r"has no vnc\.html"):
        novnc.files()
    monkeypatch.delenv(novnc.VARIABLE)
    monkeypatch.setattr(novnc, "_FOLDERS", (str(tmp_path), str(folder)))
    assert novnc.files() == folder
    monkeypatch.setattr(novnc, "_FOLDERS", (str(tmp_path),))
    with pytest.raises(WorkFailed, match="apt install novnc"):
        novnc.files()


def test_idle_connections_keep_neither_threads_nor_the_browsers_place(gateway: Gateway) -> None:
    before = threading.active_count()
    idle = [socket.create_connection(("127.0.0.1", gateway.port), timeout=10) for _ in range(200)]
    try:
        client = websocket(gateway, f"/{word(gateway)}/websockify")
        client.sendmsg(b"hello")
        assert received(client, 5) == b"HELLO"
        assert wait_for(
            lambda: threading.active_count() - before <= private_web.MOST_STRANGERS + 4 or None, 10
        )
        assert get(gateway, f"/{word(gateway)}/vnc.html")[0] == 200
        idle += [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(50)]
        client.sendmsg(b"still")
        assert received(client, 5) == b"STILL", "who has shown the word makes room for nobody"
    finally:
        for one in idle:
            one.close()


def test_a_stranger_that_says_nothing_is_shown_out(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private_web, "STRANGER_LIMIT_S", 0.2)
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as silent:
        assert silent.recv(1) == b""


def test_a_websocket_may_be_silent_for_longer(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private_web, "STRANGER_LIMIT_S", 0.2)
    client = websocket(gateway, f"/{word(gateway)}/websockify")
    assert not select.select([client], [], [], 0.5)[0]
    client.sendmsg(b"here")
    assert received(client, 4) == b"HERE"
