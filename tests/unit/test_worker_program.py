"""A program on a worker that ends before it is asked: what it said is heard all the same."""

from __future__ import annotations

from typing import Any, cast

import pytest

from vmops.errors import WorkFailed
from vmops.remote.image.program import Program
from vmops.remote.ssh.transport import WorkerTransport


class Ended:
    """The transport and the channel of a program that has ended, with what it had said by then."""

    def __init__(self, out: bytes, err: bytes) -> None:
        self.out, self.err = out, err

    def open_command(self, _limit_s: float) -> Ended:
        return self

    def is_active(self) -> bool:
        return True

    def settimeout(self, _limit_s: float) -> None:
        pass

    def send_input(self, _channel: Ended, _data: memoryview) -> int:
        raise OSError("Socket is closed")

    def recv_ready(self) -> bool:
        return bool(self.out)

    def recv(self, _most: int) -> bytes:
        said, self.out = self.out, b""
        return said

    def recv_stderr(self, _most: int) -> bytes:
        return self.err


def ended(out: bytes = b"", err: bytes = b"") -> Program:
    return Program(cast(WorkerTransport, cast(Any, Ended(out, err))), "w1", ["receive.pl"])


def test_its_last_line_is_heard() -> None:
    program = ended(b"lacks sshd\n")
    program.ask("a key")
    assert program.hear(1) == ["lacks", "sshd"]


@pytest.mark.parametrize("before", [b"at 7 plain\n", b"waits\nat 7 plain\n"])
def test_a_line_that_came_with_the_one_before_is_heard(before: bytes) -> None:
    program = ended(before + b"lacks sshd\n")
    assert program.hear(1) == ["at", "7", "plain"]
    program.ask("a key")
    assert program.hear(1) == ["lacks", "sshd"]


@pytest.mark.parametrize(
    ("err", "words"), [(b"", "it says nothing"), (b"\x1b[1mno perl\n", "no perl")]
)
def test_one_that_says_nothing_more_has_ended(err: bytes, words: str) -> None:
    with pytest.raises(WorkFailed, match=words):
        ended(err=err).ask("a key")
