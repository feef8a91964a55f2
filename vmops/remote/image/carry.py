"""A file from one worker to another, by way of this machine: without its holes, checked there.

Both ends are programs on channels of the two connections that are there anyway, so the workers need
not know or trust each other, and nothing of it is kept here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import fabric

from vmops.core.images.progress import Doing, Progress
from vmops.core.inventory.complaints import printable
from vmops.core.inventory.model import Worker
from vmops.errors import CommandTimeout, UnexpectedOutput, WorkFailed
from vmops.remote.image.program import CHECKS_AT_BYTES_S, PATIENCE_S, Program, is_count
from vmops.remote.image.transfer import RECEIVER
from vmops.remote.ssh.bridge import FAILURES
from vmops.remote.ssh.connection import connection

SENDER = ("send.pl",)

_WAITS_S = 150.0
_LOOKS_S = 600.0
"""How long finding out where a file has holes may take."""

_TELL_S = 0.1

_MOST_HEADS = 16 << 20
"""Bytes of a stream beside its data: heads of records, and what says that the sender lives."""


class Where(NamedTuple):
    """A file of that `digest` at `path` of one worker; it becomes `name` in `folder` of another."""

    path: str
    digest: str
    folder: str
    name: str


Report = Callable[[Progress], None]


def carry(
    source: Worker,
    destination: Worker,
    file: Where,
    *,
    on_progress: Report | None = None,
    config: fabric.Config | None = None,
) -> int:
    """Bring the file there, unless it is there already. Gives the bytes that were sent.

    It has its name there only when its sha256 is found to be `file.digest`; what is cut stays as
    NAME.part, and the next time goes on behind it. Raises what `connection` raises, ConnectionLost,
    CommandTimeout where an end stands still, and WorkFailed where there is no room, it cannot be
    read or written, or came as another one.
    """
    opened = [connection(each, config=config) for each in (source, destination)]
    sender = Program(opened[0].live_transport, source.name, SENDER)
    try:
        receiver = Program(opened[1].live_transport, destination.name, RECEIVER)
        try:
            return _Carrying(sender, receiver, source, destination, on_progress).run(file)
        finally:
            receiver.close()
    finally:
        sender.close()


class _Carrying:
    def __init__(
        self,
        sender: Program,
        receiver: Program,
        source: Worker,
        destination: Worker,
        on_progress: Report | None,
    ) -> None:
        self._sender = sender
        self._receiver = receiver
        self._source = source.name
        self._destination = destination.name
        self._on_progress = on_progress
        self._began = time.monotonic()

    def run(self, file: Where) -> int:
        """See `carry`."""
        size, data = self._size_of(file.path)
        self._receiver.start([file.folder, file.name, file.digest, str(size), str(data), "0"])
        match self._receiver.hear(_WAITS_S):
            case ["there"]:
                return 0
            case ["at", offset, "plain"] if is_count(offset):
                self._sender.ask(f"from {offset}")
            case words:
                raise self._receiver.refusal(words)
        answer = self._pump(data) or self._receiver.hear(PATIENCE_S)
        if answer == ["checks"]:
            self._tell(data, data, checking=True)
            answer = self._receiver.hear(PATIENCE_S + size / CHECKS_AT_BYTES_S)
        match answer:
            case ["done"]:
                return self._receiver.sent
            case ["differs", found]:
                raise WorkFailed(
                    f"{file.path} arrived as another one: its sha256 there is"
                    f" {printable(found)[:64]}",
                    worker=self._destination,
                    cure=f"something has written to it on {self._source} meanwhile; once more",
                )
            case words:
                raise self._receiver.refusal(words)

    def _size_of(self, path: str) -> tuple[int, int]:
        self._sender.start([path])
        match self._sender.hear(_LOOKS_S):
            case ["file", size, data] if is_count(size) and is_count(data):
                return int(size), int(data)
            case words:
                why = printable(" ".join(words[1:]))[:200]
                raise WorkFailed(f"{path} cannot be read: {why}", worker=self._source)

    def _pump(self, data: int) -> list[str] | None:
        """All of the stream; the receiver's answer where it gave one before the end."""
        told = time.monotonic()
        most = data + data // 16 + _MOST_HEADS
        while True:
            try:
                piece = self._sender.take(PATIENCE_S)
            except TimeoutError:
                raise CommandTimeout(
                    f"it has sent nothing of the file for {PATIENCE_S:g} s",
                    worker=self._source,
                    cure="does its disk hang? the same command goes on where this one ended",
                ) from None
            try:
                if not piece:
                    if cut := self._sender.was_cut():
                        raise cut
                    self._receiver.no_more()
                    return None
                if self._receiver.sent > most:
                    raise UnexpectedOutput(
                        "it sends more than the file holds by its own word", worker=self._source
                    )
                self._receiver.put(piece)
            except TimeoutError:
                raise CommandTimeout(
                    f"it has taken no data for {PATIENCE_S:g} s",
                    worker=self._destination,
                    cure="does its disk hang? the same command goes on where this one ended",
                ) from None
            except FAILURES as error:
                if cut := self._receiver.was_cut():
                    raise cut from error
                return self._receiver.hear(PATIENCE_S)
            if time.monotonic() - told > _TELL_S:
                told = time.monotonic()
                self._tell(min(self._receiver.sent, data), data)

    def _tell(self, done: int, data: int, *, checking: bool = False) -> None:
        if self._on_progress is not None:
            seconds = time.monotonic() - self._began
            doing: Doing = "checking" if checking else "sending"
            self._on_progress(Progress(doing, done, data, 0, self._receiver.sent, seconds))
