"""The topology's page on this machine: the picture anew, for who knows the word."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator

import pytest

from vmops.core.plan.graph.svg import Picture, Spot
from vmops.errors import MonitorError, WorkerUnreachable
from vmops.tasks.proof.graph_web import LINKS, PICTURE, SCREEN, Look, PictureServer, Shown

SPOTS = (Spot("a b/c", 1, 2, 30, 40), Spot("idle", 5, 6, 30, 40))


class Drawings:
    """One after the other, and how often one was asked for."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> Shown:
        self.made += 1
        picture = Picture(f"<svg>{self.made}</svg>", 400, 300, SPOTS)
        return Shown(picture, frozenset({"a b/c"}))


def screen(vm: str) -> str:
    if vm == "a b/c":
        return "http://127.0.0.1:1/word/vnc.html#password=secret"
    raise AssertionError("only those that are shown are asked for")


@pytest.fixture
def drawings() -> Drawings:
    return Drawings()


@pytest.fixture
def server(drawings: Drawings) -> Iterator[PictureServer]:
    with PictureServer(Look(drawings, every_s=0), title="a<b", screen=screen) as running:
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


def test_links_lie_at_the_cards_of_vms_that_have_a_screen_and_lead_there(
    server: PictureServer, drawings: Drawings
) -> None:
    get(server, f"{server.prefix}{PICTURE}?1")
    status, headers, links = get(server, f"{server.prefix}{LINKS}?1")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert json.loads(links) == {
        "width": 400,
        "height": 300,
        "screens": [{"vm": "a b/c", "x": 1, "y": 2, "width": 30, "height": 40}],
    }
    status, headers, nothing = get(server, f"{server.prefix}{SCREEN}a%20b%2Fc")
    assert (status, nothing) == (303, "")
    assert headers["Location"] == screen("a b/c")
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert get(server, f"{server.prefix}{SCREEN}idle")[0] == 404
    assert get(server, f"/{SCREEN}a%20b%2Fc")[0] == 404
    assert drawings.made == 1


def test_a_screen_that_cannot_be_reached_is_told_in_the_page(drawings: Drawings) -> None:
    def lost(vm: str) -> str:
        raise WorkerUnreachable(f"<b>{vm}", worker="worker1")

    with PictureServer(Look(drawings), title="", screen=lost) as server:
        status, headers, said = get(server, f"{server.prefix}{SCREEN}a%20b%2Fc")
    assert (status, headers["Content-Type"]) == (502, "text/plain; charset=utf-8")
    assert "worker1: <b>a b/c" in said


def test_many_who_look_cost_one_look(drawings: Drawings) -> None:
    look = Look(drawings, every_s=3600)
    seen: list[str] = []
    threads = [
        threading.Thread(target=lambda: seen.append(look.now().picture.text)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == ["<svg>1</svg>"] * 8


def test_a_taken_port_is_told_and_none_is_open_afterwards(drawings: Drawings) -> None:
    taken = "port .* of this machine cannot be used"
    with (
        PictureServer(Look(drawings), title="") as server,
        pytest.raises(MonitorError, match=taken),
    ):
        PictureServer(Look(drawings), title="", port=server.port)
    with pytest.raises(ConnectionRefusedError), socket.socket() as caller:
        caller.connect(("127.0.0.1", server.port))
