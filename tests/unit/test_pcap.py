"""Counting the frames of a stream, in whatever pieces it comes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.core.tools.proof.pcap import Counter


def stream(order: str, frames: list[bytes]) -> bytes:
    head = struct.pack(f"{order}IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
    return head + b"".join(
        struct.pack(f"{order}IIII", 0, 0, len(frame), len(frame)) + frame for frame in frames
    )


@given(
    st.sampled_from("<>"),
    st.lists(st.binary(max_size=50), max_size=6),
    st.lists(st.integers(1, 40), min_size=1, max_size=10),
)
def test_whole_frames_are_counted_in_any_pieces(
    order: str, frames: list[bytes], sizes: list[int]
) -> None:
    data, counter, at = stream(order, frames), Counter(), 0
    turn = 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        counter.feed(data[at : at + size])
        at, turn = at + size, turn + 1
    assert counter.frames == len(frames)


@pytest.mark.parametrize("cut", [1, 10])
def test_a_frame_that_is_cut_does_not_count(cut: int) -> None:
    counter = Counter()
    counter.feed(stream("<", [b"x" * 20, b"y" * 20])[:-cut])
    assert counter.frames == 1


@given(st.binary(max_size=200))
def test_what_is_no_capture_counts_nothing_and_hurts_nobody(data: bytes) -> None:
    counter = Counter()
    counter.feed(b"\0\0\0\0" + data)
    assert counter.frames == 0
