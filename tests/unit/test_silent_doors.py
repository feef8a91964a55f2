"""A door into a VLAN that somebody holds open, and that says nothing more."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from vmops.core.inventory.model import Worker
from vmops.core.tools.proof.door import Asked, Door
from vmops.errors import CommandTimeout
from vmops.ops.proof import door
from vmops.ops.proof.caller import Call
from vmops.ops.route import Route

from .bridged import vm

ROUTE = Route(Worker("w1", address="192.0.2.1"))


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    here, there = socket.socketpair()
    here.settimeout(20)
    connection: Any = None
    monkeypatch.setattr(door, "call", lambda *_: Call(here, connection))
    monkeypatch.setattr(door, "_SILENT_S", 0.05)
    yield there
    there.close()


def test_offers_are_not_waited_for_for_ever(there: socket.socket) -> None:
    there.sendall(b"offer 192.0.2.9 192.0.2.10\n")
    with pytest.raises(CommandTimeout, match=r"^w1: its door has said nothing"):
        door.offers(ROUTE, Asked(7, "52:54:00:00:00:01", 1))


def test_echoes_are_not_waited_for_for_ever(there: socket.socket) -> None:
    there.sendall(b"reply 1 0.5\nlost 2\n")
    echoes = door.ping(ROUTE, vm("a", 1, 7), Door(7, 24, ("192.0.2.9",)), ("192.0.2.7", 3))
    assert [next(echoes).turn, next(echoes).turn] == [1, 2]
    with pytest.raises(CommandTimeout, match=r"^w1: its door has said nothing"):
        next(echoes)
