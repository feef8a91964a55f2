"""Input for a command leaves in several packets at once: in order, within the window, none lost."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Any, cast

import paramiko
import pytest
from paramiko.common import cMSG_CHANNEL_DATA, cMSG_IGNORE

from vmops.remote.ssh.packets import MOST_TOGETHER, Packets, Together, together
from vmops.remote.ssh.transport import WorkerTransport

PACKET = 2**15
USED = PACKET - 64
"""paramiko leaves so much of a packet for what stands before the data."""


class Line:
    """A stream that takes `most` bytes at a time, and knows how it was asked."""

    def __init__(self, most: int = 2**30) -> None:
        self.most = most
        self.calls: list[bytes] = []

    def send(self, data: bytes | memoryview) -> int:
        self.calls.append(bytes(data[: self.most]))
        return len(self.calls[-1])

    def said(self) -> list[bytes]:
        """The messages, out of their packets; nothing is encrypted."""
        rest, found = b"".join(self.calls), []
        while rest:
            length, padding = struct.unpack(">IB", rest[:5])
            found.append(rest[5 : 4 + length - padding])
            rest = rest[4 + length :]
        return found


def message(text: bytes) -> paramiko.Message:
    return paramiko.Message(cMSG_IGNORE + text)


def packets(line: Line) -> Packets:
    return Packets(cast(socket.socket, line))


@pytest.mark.parametrize("most", [2**30, 7, 1])
@pytest.mark.parametrize("number", [1, 2, MOST_TOGETHER])
def test_messages_leave_together_and_in_order(number: int, most: int) -> None:
    line = Line(most)
    texts = [b"%d" % n * n for n in range(1, number + 1)]
    packets(line).send_message(Together(tuple(map(message, texts)), 0))
    assert line.said() == [cMSG_IGNORE + text for text in texts]
    if most == 2**30:
        assert len(line.calls) == 1


def test_what_another_thread_says_meanwhile_keeps_its_place() -> None:
    """Each packet has a number on both sides: none may overtake another."""
    line = Line()
    ours = packets(line)

    class Interrupted(paramiko.Message):
        def asbytes(self) -> bytes:
            ours.send_message(message(b"theirs"))
            return super().asbytes()

    second = Interrupted(cMSG_IGNORE + b"b")
    ours.send_message(Together((message(b"a"), second, message(b"c")), 0))
    assert line.said() == [cMSG_IGNORE + text for text in (b"a", b"theirs", b"b", b"c")]
    ours.send_message(message(b"d"))
    assert line.said()[-1] == cMSG_IGNORE + b"d"


def test_a_message_alone_does_not_wait_for_others() -> None:
    line = Line()
    packets(line).send_message(message(b"a"))
    assert line.said() == [cMSG_IGNORE + b"a"]


@pytest.fixture
def transport() -> Iterator[WorkerTransport]:
    near, far = socket.socketpair()
    made = WorkerTransport(near)
    yield made
    made.active = False
    near.close()
    far.close()


def opened(transport: WorkerTransport, window: int) -> Any:
    channel: Any = paramiko.Channel(1)
    channel._set_transport(transport)
    channel._set_window(2**20, PACKET)
    channel._set_remote_channel(7, window, PACKET)
    channel.settimeout(0.01)
    return channel


@pytest.mark.parametrize(
    ("window", "length", "lengths"),
    [
        (2**20, 5, [5]),
        (2**20, USED + 1, [USED, 1]),
        (USED + 3, 2 * USED, [USED, 3]),
        (2**20, 2**20, [USED] * MOST_TOGETHER),
    ],
)
def test_no_more_than_the_window_has_room_for(
    transport: WorkerTransport, window: int, length: int, lengths: list[int]
) -> None:
    channel = opened(transport, window)
    data = bytes(range(256)) * (length // 256 + 1)
    found = together(channel, memoryview(data)[:length])
    assert found.length == sum(lengths)
    assert channel.out_window_size == window - found.length
    said = [one.asbytes() for one in found.messages]
    assert b"".join(each[9:] for each in said) == data[: found.length]
    heads = [cMSG_CHANNEL_DATA + struct.pack(">II", 7, each) for each in lengths]
    assert [each[:9] for each in said] == heads


def test_room_is_waited_for_as_long_as_the_channel_says(transport: WorkerTransport) -> None:
    with pytest.raises(TimeoutError):
        together(opened(transport, 0), memoryview(b"x"))


def test_a_channel_that_was_closed_takes_nothing(transport: WorkerTransport) -> None:
    channel = opened(transport, 9)
    channel.eof_sent = True
    assert together(channel, memoryview(b"x")) == Together((), 0)
    assert transport.send_input(channel, memoryview(b"x")) == 0
    channel.closed = True
    with pytest.raises(OSError, match="closed"):
        together(channel, memoryview(b"x"))
