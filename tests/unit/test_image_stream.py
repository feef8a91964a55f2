"""Images as a stream, their names, and how far a transfer is."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.core.images.names import FOLDER, Base, base_of
from vmops.core.images.progress import Progress
from vmops.core.images.stream import BLOCK, PIECE, Extent, blocks, data_bytes, end, filler, runs

DIGEST = "0123456789abcdef" * 4


def test_a_base_is_called_by_its_content() -> None:
    base = Base(DIGEST, "qcow2")
    assert base.path == f"{FOLDER}/base-{DIGEST}.qcow2"
    assert base_of(base.path) == base_of(base.name) == base
    assert base_of("base-x.qcow2") is None
    assert base_of(f"{base.name}.part") is None
    assert base_of(f"base-{DIGEST}.vmdk") is None


@given(
    st.lists(st.tuples(st.integers(0, 3 * BLOCK), st.integers(1, 3 * BLOCK)), max_size=5),
    st.integers(0, 20 * BLOCK),
)
def test_blocks_cover_the_data_from_the_start_on_and_nothing_else(
    parts: list[tuple[int, int]], start: int
) -> None:
    extents, at = [], 0
    for gap, length in parts:
        extents.append(Extent(at + gap, length))
        at += gap + length
    found = list(blocks(extents, start))
    assert all(0 < block.length <= BLOCK for block in found)
    left = [Extent(max(o, start), o + n - max(o, start)) for o, n in extents if o + n > start]
    joined: list[Extent] = []
    for block in found:
        if joined and sum(joined[-1]) == block.offset and block.offset not in {e[0] for e in left}:
            joined[-1] = Extent(joined[-1].offset, joined[-1].length + block.length)
        else:
            joined.append(block)
    assert joined == left
    assert data_bytes(found) == data_bytes(left)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 3 * PIECE)), max_size=8),
    st.integers(0, 3 * PIECE),
)
def test_what_is_left_out_is_zero_and_what_is_kept_begins_and_ends_with_data(
    parts: list[tuple[bool, int]], offset: int
) -> None:
    block = b"".join((b"\1" if full else b"\0") * length for full, length in parts)
    rebuilt = bytearray(len(block))
    last = -1
    for begun, ended in runs(block, offset):
        assert last < begun < ended
        rebuilt[begun:ended] = block[begun:ended]
        last = ended
        for edge in (begun, ended):
            assert edge in (0, len(block)) or (offset + edge) % PIECE == 0
        pieces = [block[begun : begun + PIECE - (offset + begun) % PIECE]]
        assert any(pieces[0][: ended - begun])
    assert rebuilt == block


def test_zeros_are_no_runs_and_data_is_one() -> None:
    assert list(runs(bytes(BLOCK), 0)) == []
    assert list(runs(b"x" * BLOCK, 7)) == [(0, BLOCK)]


def test_the_last_record_and_the_filler_are_no_data() -> None:
    assert struct.unpack(">QQ", end(5)) == (5, 2**64 - 1)
    assert struct.unpack(">QQ", filler(5)) == (2**64 - 1, 5)


def test_the_time_left_is_told_by_what_this_try_has_sent() -> None:
    half = Progress("sending", done=600, total=1000, resumed=400, sent=150, seconds=2.0)
    assert half.rate == 100
    assert half.seconds_left == 4
    for none in (half._replace(seconds=0.0), half._replace(done=400)):
        assert (none.rate, none.seconds_left) == (0, None)


@pytest.mark.parametrize("bad", ["", "0" * 63, "0" * 65, "G" * 64, f"{DIGEST}\n"])
def test_no_digest_no_base(bad: str) -> None:
    assert base_of(f"base-{bad}.raw") is None
