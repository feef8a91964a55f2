"""What one thread still has to say of a channel that another has closed meanwhile is not sent: sshd
ends the whole connection when it knows the channel no more."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import paramiko
import pytest
from paramiko.common import (
    cMSG_CHANNEL_CLOSE,
    cMSG_CHANNEL_DATA,
    cMSG_CHANNEL_EOF,
    cMSG_CHANNEL_EXTENDED_DATA,
    cMSG_CHANNEL_REQUEST,
    cMSG_CHANNEL_WINDOW_ADJUST,
    cMSG_GLOBAL_REQUEST,
)

from vmops.remote.ssh.transport import WorkerTransport

THEIRS = 7


class Transport(WorkerTransport):
    """One over which a login stands, and that keeps what it would send."""

    def __init__(self, stream: socket.socket) -> None:
        super().__init__(stream)
        self.sent: list[bytes] = []
        self.active = True
        self.clear_to_send.set()

    def _send_message(self, message: paramiko.Message) -> None:
        self.sent.append(message.asbytes())

    def add(self, number: int, theirs: int) -> paramiko.Channel:
        """A channel that is open, and known there as `theirs`."""
        channel: Any = paramiko.Channel(number)
        channel._set_transport(self)
        channel._set_window(2**20, 2**15)
        channel._set_remote_channel(theirs, 2**20, 2**15)
        self._channels.put(number, channel)
        return channel  # type: ignore[no-any-return]


@pytest.fixture
def transport() -> Iterator[Transport]:
    near, far = socket.socketpair()
    made = Transport(near)
    yield made
    made.active = False
    near.close()
    far.close()


def about(kind: bytes, theirs: int = THEIRS) -> paramiko.Message:
    message = paramiko.Message()
    message.add_byte(kind)
    message.add_int(theirs)
    message.add_string("x")
    return message


SAID = [cMSG_CHANNEL_DATA, cMSG_CHANNEL_EXTENDED_DATA, cMSG_CHANNEL_EOF, cMSG_CHANNEL_REQUEST]


@pytest.mark.parametrize("kind", SAID, ids=["data", "stderr", "eof", "request"])
def test_of_a_closed_channel_nothing_is_said_after_its_close(
    transport: Transport, kind: bytes
) -> None:
    channel = transport.add(1, THEIRS)
    transport._send_user_message(about(kind))
    channel.close()
    transport._send_user_message(about(kind))
    assert [said[:1] for said in transport.sent] == [kind, cMSG_CHANNEL_CLOSE]


def test_a_channel_that_has_its_number_next_says_all(transport: Transport) -> None:
    first = transport.add(1, THEIRS)
    first.close()
    second = transport.add(2, THEIRS)
    second.sendall(b"here")
    second.shutdown_write()
    assert [said[:1] for said in transport.sent][-2:] == [cMSG_CHANNEL_DATA, cMSG_CHANNEL_EOF]


@pytest.mark.parametrize(
    "kind", [cMSG_GLOBAL_REQUEST, cMSG_CHANNEL_WINDOW_ADJUST], ids=["ping", "window"]
)
def test_what_ends_no_connection_is_sent_as_ever(transport: Transport, kind: bytes) -> None:
    transport._send_user_message(about(kind))
    assert [said[:1] for said in transport.sent] == [kind]


def test_a_child_waits_for_no_thread_of_its_parent_that_sends(transport: Transport) -> None:
    with transport._sending:
        transport.forget()
        transport._send_user_message(about(cMSG_CHANNEL_CLOSE))
    assert transport.sent == []
