"""An image as the stream that `receive.pl` reads: the parts with data, each behind its place.

A record is an offset and a length, 8 bytes each, and so many bytes of data. Records come in the
order of their offsets, so a receiver's file is good up to its end wherever the stream was cut.
Zeros are not sent: a file is sparse where nothing was written.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

BLOCK = 2**20
"""Bytes that are read at a time."""

PIECE = 2**16
"""Zeros are left out where this many stand together, at a multiple of it."""

_HEADER = struct.Struct(">QQ")
_END = 2**64 - 1
_ZEROS = bytes(BLOCK)


class Extent(NamedTuple):
    """Bytes of a file that may be other than zero."""

    offset: int
    length: int


def data_bytes(extents: Sequence[Extent]) -> int:
    """The bytes of all of them."""
    return sum(extent.length for extent in extents)


def blocks(extents: Sequence[Extent], start: int) -> Iterator[Extent]:
    """What is to be read, in order, from `start` on: `BLOCK` bytes at most at a time."""
    for offset, length in extents:
        end = offset + length
        at = max(offset, start)
        while at < end:
            until = min(end, at - at % BLOCK + BLOCK)
            yield Extent(at, until - at)
            at = until


def runs(block: bytes, offset: int) -> Iterator[tuple[int, int]]:
    """Where the block holds something else than zeros: from, to, counted from its beginning.

    `offset` is the block's place in the file.
    """
    if block == _ZEROS[: len(block)]:
        return
    begun = None
    at = 0
    while at < len(block):
        until = min(len(block), at + PIECE - (offset + at) % PIECE)
        if block.startswith(_ZEROS[: until - at], at, until):
            if begun is not None:
                yield begun, at
            begun = None
        elif begun is None:
            begun = at
        at = until
    if begun is not None:
        yield begun, len(block)


def header(offset: int, length: int) -> bytes:
    """What stands before the data of a record."""
    return _HEADER.pack(offset, length)


def filler(length: int) -> bytes:
    """What stands before so many bytes that are passed over: they say that the sender lives."""
    return _HEADER.pack(_END, length)


def end(size: int) -> bytes:
    """The last record: the file is `size` bytes long."""
    return _HEADER.pack(size, _END)
