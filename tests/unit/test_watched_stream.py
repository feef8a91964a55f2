from __future__ import annotations

import errno

import pytest

from vmops.remote.ssh.watched import LOST_AFTER_S, PING_AFTER_S, WatchedStream


class Peer:
    """A stream whose peer says what is in `said`: bytes, or None for a tick of silence."""

    def __init__(self, *said: bytes | None) -> None:
        self.said = list(said)
        self.takes = True

    def recv(self, nbytes: int) -> bytes:
        word = self.said.pop(0) if self.said else None
        if word is None:
            raise TimeoutError
        return word

    def send(self, data: bytes) -> int:
        if not self.takes:
            raise TimeoutError
        return len(data)

    def settimeout(self, seconds: float | None) -> None:
        pass

    def close(self) -> None:
        pass


def listen(stream: WatchedStream, seconds: float, tick: float = 0.1) -> None:
    """Receive for so many seconds of ticks; a lost peer raises."""
    for _ in range(round(seconds / tick)):
        try:
            stream.recv(100)
        except TimeoutError:
            continue


def watched(peer: Peer) -> tuple[WatchedStream, list[str]]:
    pings: list[str] = []
    stream = WatchedStream(peer)  # type: ignore[arg-type]
    stream.settimeout(0.1)
    stream.watch(lambda: pings.append("ping"))
    return stream, pings


def test_a_silent_peer_is_asked_and_then_given_up() -> None:
    stream, pings = watched(Peer())
    listen(stream, LOST_AFTER_S - 0.5)
    assert len(pings) == int((LOST_AFTER_S - 0.5) / PING_AFTER_S)
    with pytest.raises(ConnectionAbortedError, match="stopped answering") as caught:
        listen(stream, 1)
    assert caught.value.errno == errno.ECONNABORTED


def test_a_peer_that_answers_is_never_given_up() -> None:
    seconds_of_silence: list[bytes | None] = [None] * round(10 * (LOST_AFTER_S - 1))
    stream, pings = watched(Peer(*seconds_of_silence, b"pong", *seconds_of_silence, b"pong"))
    listen(stream, 2 * LOST_AFTER_S - 1.8)
    assert pings


def test_before_it_is_watched_silence_is_only_a_time_out() -> None:
    stream = WatchedStream(Peer())  # type: ignore[arg-type]
    stream.settimeout(0.1)
    listen(stream, 10 * LOST_AFTER_S)


def test_a_peer_that_takes_nothing_is_given_up() -> None:
    peer = Peer()
    stream, _ = watched(peer)
    assert stream.send(b"abc") == 3
    peer.takes = False
    with pytest.raises(ConnectionAbortedError, match="stopped taking data"):
        stream.send(b"abc")
