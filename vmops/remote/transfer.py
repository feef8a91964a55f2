"""An image to a worker: over one channel, without its zeros, packed where both sides have zstd.

A transfer that was cut goes on where it ended. The file gets its name when the worker's own
sha256sum has found it whole.
"""

from __future__ import annotations

import os
import shlex
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Protocol

import fabric

from vmops.core.images import stream
from vmops.core.images.names import FOLDER, Base
from vmops.core.images.progress import Doing, Progress
from vmops.core.inventory.complaints import printable
from vmops.core.inventory.model import Worker
from vmops.core.script.functions import without_comments
from vmops.errors import CommandTimeout, ConnectionLost, UnexpectedOutput, WorkFailed
from vmops.remote.image_file import ImageFile
from vmops.remote.session import encoded
from vmops.remote.ssh.bridge import FAILURES
from vmops.remote.ssh.connection import connection
from vmops.remote.ssh.translate import working
from vmops.remote.ssh.transport import WorkerTransport

if TYPE_CHECKING:
    import paramiko

PATIENCE_S = 60.0
"""How long a worker may take no data. Its own for a sender who sends none is the same."""

_WAITS_S = 150.0
_MOST_WAITS = 8
"""It waits for one sender, and anew when that one's file was renamed meanwhile."""

_CHECKS_AT_BYTES_S = 10_000_000
"""A slow disk: what is checked at less is given up."""

_PACKET = 2**15
_ALIVE_S = 5.0
_FILLER = 2**19
"""Bytes that nothing can pack: zstd reads 128 KiB before it gives a byte, and packs by blocks."""

_TELL_S = 0.1
_LEVEL = 1
_SAMPLES = 4
_WORTH_IT = 0.95
_LONGEST_LINE = 1000

_READ_BY_SH = 'program=$(printf %s "$1" | base64 -d) && shift && exec perl -e "$program" "$@"'
"""For every login shell: the program comes in base64, which none of them reads."""


class Pushed(NamedTuple):
    """What a transfer came to. `sent` bytes went over the line, from `resumed_at` of the file on;
    `was_there` is that nothing had to be sent at all."""

    sent: int = 0
    resumed_at: int = 0
    was_there: bool = False
    packed: bool = False


Report = Callable[[Progress], None]


def push(
    worker: Worker,
    image: ImageFile,
    *,
    base: Base,
    on_progress: Report | None = None,
    config: fabric.Config | None = None,
) -> Pushed:
    """Give the worker this image under the name of `base`, unless it is there already.

    A file that proves to have another sha256 is removed there. When the
    transfer is cut, what has come stays as NAME.part, and the next one goes on behind it. Raises
    what `connection` raises, ConnectionLost, CommandTimeout when the worker takes no data for 60 s,
    WorkFailed where there is no room or it cannot be written, and for an image that is not the
    promised one, OSError and ValueError where the image cannot be read.
    """
    opened = connection(worker, config=config)
    for last_try in (False, True):
        transfer = _Transfer(opened.live_transport, worker.name, image, on_progress)
        try:
            pushed = transfer.run(base)
        finally:
            transfer.close()
        if transfer.differs and pushed.resumed_at and not last_try:
            continue  # what lay there from before may have been bad
        if transfer.differs:
            raise WorkFailed(
                f"{base.name} arrived as another one: its sha256 there is {transfer.differs}",
                worker=worker.name,
                cure="was the image changed meanwhile, or is the sha256 another image's?",
            )
        return pushed
    raise AssertionError("the last try ends it")


class _Packer(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


def _new_packer() -> _Packer | None:
    """None where there is no zstandard here."""
    try:
        import zstandard
    except ImportError:
        return None
    return zstandard.ZstdCompressor(level=_LEVEL).compressobj()


def _can_be_packed(image: ImageFile) -> bool:
    """False for one that is packed in itself: it would cost time on both sides for nothing."""
    import zstandard

    data = b"".join(image.samples(_SAMPLES))
    return len(zstandard.compress(data, _LEVEL)) < _WORTH_IT * len(data)


class _Transfer:
    """One try. `differs` is the sha256 that the worker found instead of the promised one."""

    def __init__(
        self,
        transport: WorkerTransport,
        worker: str,
        image: ImageFile,
        on_progress: Report | None,
    ) -> None:
        self.differs = ""
        self._worker = worker
        self._image = image
        self._on_progress = on_progress
        self._packer = _new_packer()
        self._heard = b""
        self._sent = 0
        with working(worker):
            self._channel: paramiko.Channel = transport.open_command(PATIENCE_S)
        self._channel.settimeout(PATIENCE_S)
        self._transport = transport

    def close(self) -> None:
        """Close the channel; the worker keeps what has come."""
        with suppress(*FAILURES):
            self._channel.close()

    def run(self, base: Base) -> Pushed:
        """See `push`."""
        total = stream.data_bytes(self._image.extents)
        packs = "1" if self._packer and _can_be_packed(self._image) else "0"
        self._start([FOLDER, base.name, base.digest, str(self._image.size), str(total), packs])
        match self._hear(_WAITS_S):
            case ["there"]:
                return Pushed(was_there=True)
            case ["at", offset, way] if offset.isdecimal() and way in ("zstd", "plain"):
                pushed = Pushed(resumed_at=int(offset), packed=way == "zstd")
            case words:
                raise self._refusal(words)
        if not pushed.packed:
            self._packer = None
        clock = _Clock(self._image, pushed.resumed_at)
        answer = self._send(clock, pushed.resumed_at) or self._hear(PATIENCE_S)
        if answer == ["checks"]:
            self._tell(clock.progress("checking", self._sent))
            answer = self._hear(PATIENCE_S + self._image.size / _CHECKS_AT_BYTES_S)
        match answer:
            case ["done"]:
                return pushed._replace(sent=self._sent)
            case ["differs", found]:
                self.differs = printable(found)[:64]
                return pushed._replace(sent=self._sent)
            case words:
                raise self._refusal(words)

    def _start(self, arguments: list[str]) -> None:
        code = b64encode(without_comments("receive.pl").encode()).decode()
        words = ["sh", "-c", _READ_BY_SH, "vmops", code, *arguments]
        line = encoded(f"exec {shlex.join(words)}", self._worker)
        with working(self._worker):
            self._transport.start_command(self._channel, line)

    def _send(self, clock: _Clock, start: int) -> list[str] | None:
        """All the data; the worker's answer where it gave one before the end."""
        try:
            for record in self._records(clock, start):
                self._put(record)
            self._channel.shutdown_write()
        except TimeoutError:
            raise CommandTimeout(
                f"it has taken no data for {PATIENCE_S:g} s",
                worker=self._worker,
                cure="does its disk hang? the same command goes on where this one ended",
            ) from None
        except FAILURES as error:
            if not self._transport.is_active():
                raise self._cut() from error
            return self._hear(PATIENCE_S)
        return None

    def _records(self, clock: _Clock, start: int) -> Iterator[bytes]:
        """What goes over the line, packed where that is agreed."""
        spoken = told = time.monotonic()
        for offset, data in self._image.read(start):
            for begun, ended in stream.runs(data, offset):
                yield self._packed(stream.header(offset + begun, ended - begun))
                yield self._packed(data[begun:ended])
                spoken = time.monotonic()
            clock.done += len(data)
            now = time.monotonic()
            if now - spoken > _ALIVE_S:
                yield self._packed(stream.filler(_FILLER) + os.urandom(_FILLER))
                spoken = now
            if now - told > _TELL_S:
                self._tell(clock.progress("sending", self._sent))
                told = now
        yield self._packed(stream.end(self._image.size))
        if self._packer:
            yield self._packer.flush()

    def _packed(self, data: bytes) -> bytes:
        return self._packer.compress(data) if self._packer else data

    def _put(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            sent = self._channel.send(bytes(rest[:_PACKET]))
            if not sent:
                raise EOFError
            self._sent += sent
            rest = rest[sent:]

    def _tell(self, progress: Progress) -> None:
        if self._on_progress is not None:
            self._on_progress(progress)

    def _hear(self, limit_s: float) -> list[str]:
        """The worker's next line, in words; that it waits for another sender is passed over."""
        deadline = time.monotonic() + limit_s
        for _ in range(_MOST_WAITS):
            line = self._line(deadline, limit_s)
            if line != b"waits":
                return line.decode(errors="replace").split(" ")
        raise UnexpectedOutput("it says over and over that it waits", worker=self._worker)

    def _line(self, deadline: float, limit_s: float) -> bytes:
        while b"\n" not in self._heard:
            self._channel.settimeout(max(0.1, deadline - time.monotonic()))
            try:
                more = self._channel.recv(_LONGEST_LINE)
            except TimeoutError:
                raise CommandTimeout(
                    f"it has not answered within {limit_s:g} s", worker=self._worker
                ) from None
            if not more:
                raise self._silence()
            self._heard += more
            if len(self._heard) > 10 * _LONGEST_LINE:
                raise UnexpectedOutput("it prints what nobody asked for", worker=self._worker)
        self._channel.settimeout(PATIENCE_S)
        line, _, self._heard = self._heard.partition(b"\n")
        return line

    def _silence(self) -> WorkFailed:
        """Why the receiver ended without a word."""
        if not self._transport.is_active():
            return self._cut()
        said = b""
        with suppress(*FAILURES):
            said = self._channel.recv_stderr(_LONGEST_LINE)
        lines = said.decode(errors="replace").strip().splitlines() or ["it says nothing"]
        return WorkFailed(
            f"the receiver there ended: {printable(lines[-1])}",
            worker=self._worker,
            cure="the same command goes on where this one ended",
        )

    def _cut(self) -> ConnectionLost:
        return ConnectionLost(
            "the connection was lost while an image was being sent",
            worker=self._worker,
            cure="the same command goes on where it was cut",
        )

    def _refusal(self, words: list[str]) -> WorkFailed:
        match words:
            case ["full", free, needed] if free.isdecimal() and needed.isdecimal():
                return WorkFailed(
                    f"the image needs {int(needed) / 2**20:.0f} MiB in {FOLDER},"
                    f" {int(free) / 2**20:.0f} MiB are free",
                    worker=self._worker,
                    cure="remove images that no disk stands on, or other files there",
                )
            case ["failed", *why]:
                return WorkFailed(
                    f"the image could not be written to {FOLDER}: {printable(' '.join(why))}",
                    worker=self._worker,
                    cure=f"see df -h {FOLDER} and ls -ld {FOLDER} there",
                )
            case ["busy"]:
                return WorkFailed("somebody else is sending this image there", worker=self._worker)
        said = printable(" ".join(words))[:100]
        return UnexpectedOutput(f"the receiver there answers {said!r}", worker=self._worker)


class _Clock:
    """What is done of an image, and since when."""

    def __init__(self, image: ImageFile, start: int) -> None:
        self._total = stream.data_bytes(image.extents)
        self._resumed = self._total - sum(
            length for _, length in stream.blocks(image.extents, start)
        )
        self._began = time.monotonic()
        self.done = self._resumed

    def progress(self, doing: Doing, sent: int) -> Progress:
        seconds = time.monotonic() - self._began
        return Progress(doing, self.done, self._total, self._resumed, sent, seconds)
