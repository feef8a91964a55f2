"""An image to a worker: over one channel, without its zeros, packed where both sides have zstd.

A transfer that was cut goes on where it ended. The file gets its name when the worker's own
sha256sum has found it whole.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import fabric

from vmops.core.images import stream
from vmops.core.images.names import FOLDER, Base
from vmops.core.images.progress import Doing, Progress
from vmops.core.inventory.complaints import printable
from vmops.core.inventory.model import Worker
from vmops.errors import CommandTimeout, WorkFailed
from vmops.remote.image.image_file import ImageFile
from vmops.remote.image.program import CHECKS_AT_BYTES_S, PATIENCE_S, Program, is_count
from vmops.remote.ssh.bridge import FAILURES
from vmops.remote.ssh.connection import connection
from vmops.remote.ssh.transport import WorkerTransport

_WAITS_S = 150.0
_ALIVE_S = 5.0
_FILLER = 2**19
"""Bytes that nothing can pack: zstd reads 128 KiB before it gives a byte, and packs by blocks."""

_TELL_S = 0.1
_LEVEL = 1
_SAMPLES = 4
_WORTH_IT = 0.95

RECEIVER = ("number.pl", "arrival.pl", "receive.pl")


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
    packs = _can_be_packed(image)  # before the login is waited for, which goes on meanwhile
    opened = connection(worker, config=config)
    for last_try in (False, True):
        transfer = _Transfer(opened.live_transport, worker.name, image, on_progress, packs=packs)
        try:
            pushed = transfer.run(base)
        finally:
            transfer.close()
        if transfer.differs and pushed.resumed_at and not last_try:
            continue  # what lay there from before may have been bad
        if transfer.differs:
            raise WorkFailed(
                f"{base.short} arrived as another one: its sha256 there is {transfer.differs}",
                worker=worker.name,
                cure="was the image changed meanwhile, or is the sha256 another image's?",
            )
        return pushed
    raise AssertionError("the last try ends it")


class _Packer(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


def _new_packer() -> _Packer:
    import zstandard

    return zstandard.ZstdCompressor(level=_LEVEL).compressobj()


def _can_be_packed(image: ImageFile) -> bool:
    """False where there is no zstandard here, and for an image that is packed in itself: it would
    cost time on both sides for nothing."""
    try:
        import zstandard
    except ImportError:
        return False
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
        *,
        packs: bool,
    ) -> None:
        self.differs = ""
        self._worker = worker
        self._image = image
        self._on_progress = on_progress
        self._packer = _new_packer() if packs else None
        self._program = Program(transport, worker, RECEIVER)

    def close(self) -> None:
        """Close the channel; the worker keeps what has come."""
        self._program.close()

    def run(self, base: Base) -> Pushed:
        """See `push`."""
        total = stream.data_bytes(self._image.extents)
        packs = "1" if self._packer else "0"
        size = str(self._image.size)
        self._program.start([FOLDER, base.name, base.digest, size, str(total), packs])
        match self._program.hear(_WAITS_S):
            case ["there"]:
                return Pushed(was_there=True)
            case ["at", offset, way] if is_count(offset) and way in ("zstd", "plain"):
                pushed = Pushed(resumed_at=int(offset), packed=way == "zstd")
            case words:
                raise self._program.refusal(words)
        if not pushed.packed:
            self._packer = None
        clock = _Clock(self._image, pushed.resumed_at)
        answer = self._send(clock, pushed.resumed_at) or self._program.hear(PATIENCE_S)
        if answer == ["checks"]:
            self._tell(clock.progress("checking", self._program.sent))
            answer = self._program.hear(PATIENCE_S + self._image.size / CHECKS_AT_BYTES_S)
        match answer:
            case ["done"]:
                return pushed._replace(sent=self._program.sent)
            case ["differs", found]:
                self.differs = printable(found)[:64]
                return pushed._replace(sent=self._program.sent)
            case words:
                raise self._program.refusal(words)

    def _send(self, clock: _Clock, start: int) -> list[str] | None:
        """All the data; the worker's answer where it gave one before the end."""
        try:
            for record in self._records(clock, start):
                self._program.put(record)
            self._program.no_more()
        except TimeoutError:
            raise CommandTimeout(
                f"it has taken no data for {PATIENCE_S:g} s",
                worker=self._worker,
                cure="does its disk hang? the same command goes on where this one ended",
            ) from None
        except FAILURES as error:
            if cut := self._program.was_cut():
                raise cut from error
            return self._program.hear(PATIENCE_S)
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
                self._tell(clock.progress("sending", self._program.sent))
                told = now
        yield self._packed(stream.end(self._image.size))
        if self._packer:
            yield self._packer.flush()

    def _packed(self, data: bytes) -> bytes:
        return self._packer.compress(data) if self._packer else data

    def _tell(self, progress: Progress) -> None:
        if self._on_progress is not None:
            self._on_progress(progress)


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
