"""The topology's page on this machine: the picture anew, for who knows the word."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator

import pytest

from vmops.errors import MonitorError
from vmops.tasks.proof.graph_web import PICTURE, Picture, PictureServer


class Drawings:
    """One after the other, and how often one was asked for."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> str:
        self.made += 1
        return f"<svg>{self.made}</svg>"


@pytest.fixture
def drawings() -> Drawings:
    return Drawings()


@pytest.fixture
def server(drawings: Drawings) -> Iterator[PictureServer]:
    with PictureServer(Picture(drawings, every_s=0), title="a<b") as running:
        yield running


def get(server: PictureServer, path: str, method: str = "GET") -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), answer.read().decode()
    finally:
        connection.close()


def test_the_page_and_its_picture(server: PictureServer, drawings: Drawings) -> None:
    status, headers, page = get(server, server.prefix)
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "<title>a&lt;b</title>" in page
    assert PICTURE in page
    rule = headers["Content-Security-Policy"]
    assert rule.startswith("default-src 'none'; img-src 'self' data:; ")
    assert page.count(rule.rpartition("nonce-")[2].rstrip("'")) == 2
    assert drawings.made == 0
    for turn in (1, 2):
        status, headers, picture = get(server, f"{server.prefix}{PICTURE}?{turn}")
        assert (status, picture) == (200, f"<svg>{turn}</svg>")
        assert headers["Content-Type"] == "image/svg+xml"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(
    "path", ["/", "/lab.svg", "/{half}/", "/{word}", "/{word}/hosts.toml", "/{word}//", "/wrong/"]
)
def test_there_is_nothing_else_and_nothing_without_the_word(
    server: PictureServer, drawings: Drawings, path: str
) -> None:
    said = path.format(word=server.word, half=server.word[:-1])
    assert get(server, said)[0] == 404
    assert get(server, server.prefix, "POST")[0] == 501
    assert drawings.made == 0


def test_many_who_look_cost_one_look(drawings: Drawings) -> None:
    picture = Picture(drawings, every_s=3600)
    seen: list[str] = []
    threads = [threading.Thread(target=lambda: seen.append(picture.now())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == ["<svg>1</svg>"] * 8


def test_a_taken_port_is_told_and_none_is_open_afterwards(drawings: Drawings) -> None:
    taken = "port .* of this machine cannot be used"
    with (
        PictureServer(Picture(drawings), title="") as server,
        pytest.raises(MonitorError, match=taken),
    ):
        PictureServer(Picture(drawings), title="", port=server.port)
    with pytest.raises(ConnectionRefusedError), socket.socket() as caller:
        caller.connect(("127.0.0.1", server.port))
