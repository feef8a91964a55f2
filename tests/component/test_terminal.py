"""A terminal and a line joined: with a pseudo-terminal on one side and a socket on the other."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import socket
import termios
import threading
import time
from collections.abc import Iterator

import pytest

from vmops.tasks.guest.escape import ESCAPE
from vmops.tasks.guest.terminal import Ending, RawTerminal, Talk

SOON_S = 5


@pytest.fixture
def line() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Our end of a line, and the guest's."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """The side of a terminal that a person has, and that of a program."""
    person, program = pty.openpty()
    yield person, program
    os.close(person)
    os.close(program)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe's end to read from, and the one to write to."""
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


def is_raw(fd: int) -> bool:
    modes = termios.tcgetattr(fd)
    return not modes[3] & (termios.ICANON | termios.ECHO | termios.ISIG)


def test_a_terminal_is_raw_inside_and_as_before_after_an_error(terminal: tuple[int, int]) -> None:
    _, program = terminal
    before = termios.tcgetattr(program)

    def fail() -> None:
        with RawTerminal(program, program):
            assert is_raw(program)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert termios.tcgetattr(program) == before


def test_what_was_typed_for_the_guest_does_not_reach_the_shell(terminal: tuple[int, int]) -> None:
    person, program = terminal
    with RawTerminal(program, program):
        os.write(person, b"rm -rf /\r")
        select.select([program], [], [], SOON_S)
    os.write(person, b"ls\n")
    assert os.read(program, 100) == b"ls\n"


def test_a_terminal_that_is_gone_is_no_second_error() -> None:
    person, program = pty.openpty()
    with RawTerminal(program, program):
        os.close(person)
    os.close(program)


def test_the_escape_is_found_when_the_line_takes_nothing(
    line: tuple[socket.socket, socket.socket], terminal: tuple[int, int], pipe: tuple[int, int]
) -> None:
    ours, _ = line
    person, program = terminal
    with RawTerminal(program, program) as raw:
        talk = Talk(ours, program, pipe[1], terminal=raw)

        def type_much() -> None:
            for _ in range(1000):
                os.write(person, b"x" * 1000)
            os.write(person, ESCAPE)

        typing = threading.Thread(target=type_much)
        typing.start()
        since = time.monotonic()
        assert talk.carry() is Ending.LEFT
        typing.join()
    assert time.monotonic() - since < SOON_S


def test_the_escape_is_found_in_a_flood(
    line: tuple[socket.socket, socket.socket], terminal: tuple[int, int]
) -> None:
    ours, theirs = line
    person, program = terminal

    def flood() -> None:
        try:
            while True:
                theirs.sendall(b"y\n" * 1000)
        except OSError:
            return

    flooding = threading.Thread(target=flood)
    flooding.start()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with RawTerminal(program, program) as raw:
        os.write(person, b"typed" + ESCAPE + b"and not sent")
        assert Talk(ours, program, nowhere, terminal=raw).carry() is Ending.LEFT
    os.close(nowhere)
    ours.close()
    flooding.join(SOON_S)
    assert not flooding.is_alive()
    assert theirs.recv(100) == b"typed"


@pytest.mark.parametrize(
    "pieces", [[b"\x1b[93;5u"], [b"\x1b", b"[93;", b"5u"]], ids=["whole", "cut"]
)
def test_the_escape_is_found_as_a_sequence_while_the_guest_prints(
    line: tuple[socket.socket, socket.socket], terminal: tuple[int, int], pieces: list[bytes]
) -> None:
    ours, theirs = line
    person, program = terminal
    over = threading.Event()

    def print_on() -> None:
        while not over.wait(0.001):
            theirs.send(b".")

    def type_it() -> None:
        for piece in pieces:
            os.write(person, piece)
            over.wait(0.03)

    threads = [threading.Thread(target=work) for work in (print_on, type_it)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with RawTerminal(program, program) as raw:
        for thread in threads:
            thread.start()
        assert Talk(ours, program, nowhere, terminal=raw).carry() is Ending.LEFT
    over.set()
    for thread in threads:
        thread.join(SOON_S)
    os.close(nowhere)


def test_esc_alone_reaches_the_guest_soon(
    line: tuple[socket.socket, socket.socket], terminal: tuple[int, int]
) -> None:
    ours, theirs = line
    person, program = terminal
    got: list[bytes] = []

    def guest() -> None:
        got.append(theirs.recv(10))
        os.write(person, ESCAPE)

    answering = threading.Thread(target=guest)
    answering.start()
    with RawTerminal(program, program) as raw:
        os.write(person, b"\x1b")
        assert Talk(ours, program, program, terminal=raw).carry() is Ending.LEFT
    answering.join(SOON_S)
    assert got == [b"\x1b"]


@pytest.mark.parametrize("error", [None, RuntimeError])
def test_what_the_guest_switched_on_is_switched_off(
    terminal: tuple[int, int], error: type[Exception] | None
) -> None:
    person, program = terminal
    with contextlib.suppress(RuntimeError), RawTerminal(program, program) as raw:
        raw.shown(b"\x1b[?1049h\x1b[?25l")
        if error:
            raise error
    assert os.read(person, 100) == b"\x1b[?1049l\x1b[?25h"


def test_what_came_last_is_shown_before_the_end(
    line: tuple[socket.socket, socket.socket], pipe: tuple[int, int]
) -> None:
    """Even when there is still something to send."""
    ours, theirs = line
    reader, writer = os.pipe()
    os.write(writer, b"input")
    theirs.sendall(b"last words")
    theirs.close()
    assert Talk(ours, reader, pipe[1]).carry(after_end_s=SOON_S) is Ending.CLOSED
    assert os.read(pipe[0], 100) == b"last words"
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize(
    ("pieces", "ending"),
    [
        ([b"login: "], Ending.SEEN),
        ([b"...lo", b"gi", b"n:\r\n"], Ending.SEEN),
        ([b"logout: ", b"log", b"in;"], Ending.LATE),
    ],
)
def test_until_a_text_comes_in_pieces(
    line: tuple[socket.socket, socket.socket], pieces: list[bytes], ending: Ending
) -> None:
    ours, theirs = line
    nothing, nowhere = os.open(os.devnull, os.O_RDONLY), os.open(os.devnull, os.O_WRONLY)

    def say() -> None:
        for piece in pieces:
            theirs.sendall(piece)
            time.sleep(0.05)
        theirs.recv(1)
        theirs.close()

    saying = threading.Thread(target=say)
    saying.start()
    talk = Talk(ours, nothing, nowhere, until=b"login:")
    assert talk.carry(after_end_s=0.5) is ending
    saying.join()
    os.close(nothing)
    os.close(nowhere)


def test_all_input_goes_out_before_the_line_is_hung_up(
    line: tuple[socket.socket, socket.socket], pipe: tuple[int, int]
) -> None:
    ours, theirs = line
    data = os.urandom(50_000)
    os.write(pipe[1], data)
    os.close(pipe[1])
    got = bytearray()

    def take() -> None:
        while piece := theirs.recv(1000):
            got.extend(piece)
        theirs.close()

    taking = threading.Thread(target=take)
    taking.start()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    assert Talk(ours, pipe[0], nowhere).carry(after_end_s=0) is Ending.LATE
    taking.join()
    os.close(nowhere)
    assert bytes(got) == data


def test_nobody_who_reads_the_output_ends_it(
    line: tuple[socket.socket, socket.socket], pipe: tuple[int, int]
) -> None:
    ours, theirs = line
    theirs.sendall(b"for nobody")
    os.close(pipe[0])
    reader, writer = os.pipe()
    assert Talk(ours, reader, pipe[1]).carry(after_end_s=SOON_S) is Ending.LEFT
    os.close(reader)
    os.close(writer)


def test_a_platform_without_pipe2(
    terminal: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """macOS: the pipe that wakes is as it is elsewhere."""
    monkeypatch.delattr(os, "pipe2", raising=False)
    with RawTerminal(terminal[1], terminal[1]) as raw:
        assert not os.get_blocking(raw.waking)
        assert not os.get_inheritable(raw.waking)
