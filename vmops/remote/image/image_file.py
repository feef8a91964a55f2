"""An image on this machine: where it holds data, its blocks, its checksum."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from vmops.core.images.stream import BLOCK, Extent, blocks

_ZEROS = memoryview(bytes(BLOCK))


class ImageFile:
    """A file, open for reading. Its holes are known where the file system tells of them.

    Opening raises OSError, and ValueError for what is no plain file.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if not path.is_file():
                raise ValueError(f"{path} is no plain file")
            self.size = os.fstat(self._file).st_size
            self.extents = tuple(_extents(self._file, self.size))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> ImageFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it; it may be closed already."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    @property
    def identity(self) -> str:
        """What tells the file from others, and from what it was, as far as can be told unread."""
        found = os.fstat(self._file)
        return f"{found.st_dev}:{found.st_ino} {found.st_size} {found.st_mtime_ns}"

    @property
    def changed_ns(self) -> int:
        """When it was changed last, in nanoseconds since 1970."""
        found = os.fstat(self._file)
        return max(found.st_mtime_ns, found.st_ctime_ns)

    def head(self, length: int) -> bytes:
        """Its first bytes. Raises OSError."""
        return os.pread(self._file, length, 0)

    def read(self, start: int = 0) -> Iterator[Block]:
        """Its data from `start` on, block by block, without the holes.

        Raises OSError, and ValueError when the file has become shorter.
        """
        for offset, length in blocks(self.extents, start):
            data = os.pread(self._file, length, offset)
            if len(data) < length:
                raise ValueError("it became shorter while it was read")
            yield Block(offset, data)

    def samples(self, number: int) -> Iterator[bytes]:
        """So many blocks of its data at most, from all over it. Raises OSError."""
        whole = list(blocks(self.extents, 0))
        for offset, length in whole[:: max(1, len(whole) // number)][:number]:
            yield os.pread(self._file, length, offset)

    def digest(self, on_read: Callable[[int], None] | None = None) -> str:
        """Its sha256. `on_read` is told how many bytes are behind."""
        sha = hashlib.sha256()
        at = 0
        for offset, data in self.read():
            _zeros_into(sha.update, offset - at)
            sha.update(data)
            at = offset + len(data)
            if on_read is not None:
                on_read(at)
        _zeros_into(sha.update, self.size - at)
        return sha.hexdigest()


class Block(NamedTuple):
    """Some bytes of a file, and their place in it."""

    offset: int
    data: bytes


def _zeros_into(update: Callable[[memoryview], None], length: int) -> None:
    while length > 0:
        update(_ZEROS[:length])
        length -= len(_ZEROS)


def _extents(file: int, size: int) -> Iterator[Extent]:
    """Where there is data. All of it, where the file system does not know."""
    at = 0
    while at < size:
        try:
            start = os.lseek(file, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole from here on
                return
            yield Extent(at, size - at)
            return
        at = os.lseek(file, start, os.SEEK_HOLE)
        yield Extent(start, min(at, size) - start)
