from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.remote.framing import FramedStream

NONCE = "0123456789abcdef" * 2


def framed(content: bytes, code: int, before: bytes = b"", after: bytes = b"") -> bytes:
    return before + f"{NONCE} b\n".encode() + content + f"{NONCE} e {code}\n".encode() + after


@given(
    content=st.binary(max_size=300),
    code=st.integers(0, 255),
    before=st.binary(max_size=50),
    after=st.binary(max_size=50),
    cuts=st.lists(st.integers(0, 500), max_size=12),
)
def test_the_content_comes_back_however_it_is_cut(
    content: bytes, code: int, before: bytes, after: bytes, cuts: list[int]
) -> None:
    whole = framed(content, code, before, after)
    data = bytearray(b"left over from the last script")
    stream = FramedStream(data, NONCE)
    complete_at = len(whole) - len(after)
    places = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    for start, end in pairwise(places):
        data += whole[start:end]
        assert stream.is_complete() is (end >= complete_at)
    assert (stream.content(), stream.code) == (content, code)


def test_the_frame_of_another_script_does_not_end_this_one() -> None:
    data = bytearray()
    stream = FramedStream(data, NONCE)
    data += framed(b"", 0).replace(b"0123", b"ffff")
    assert not stream.is_complete()
    assert not stream.has_begun()


def test_a_script_that_has_begun_is_known_before_it_ends() -> None:
    data = bytearray()
    stream = FramedStream(data, NONCE)
    assert not stream.has_begun()
    data += f"noise{NONCE} b\nhalf".encode()
    assert stream.has_begun()
    assert not stream.is_complete()


@pytest.mark.parametrize(
    "code",
    [b"x", b"", b"-1", b"256 ", b"1000", b"1_0", b" 0", "٣".encode(), b"9" * 5000, b"\0"],
    ids=repr,
)
def test_an_exit_code_that_is_none_is_refused(code: bytes) -> None:
    data = bytearray()
    stream = FramedStream(data, NONCE)
    data += f"{NONCE} b\n{NONCE} e ".encode() + code + b"\n"
    with pytest.raises(ValueError, match="an exit code cannot be"):
        stream.is_complete()


PIECES = [
    NONCE.encode(),
    b" b\n",
    b" e ",
    b"0\n",
    b"\n",
    b" ",
    b"7",
    f"{NONCE} b\n".encode(),
    f"{NONCE} e 12\n".encode(),
]


@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=40), max_size=30))
def test_whatever_comes_is_a_frame_or_none_or_refused(pieces: list[bytes]) -> None:
    data = bytearray()
    stream = FramedStream(data, NONCE)
    for piece in pieces:
        data += piece
        try:
            complete = stream.is_complete()
        except ValueError:
            return
        if complete:
            assert f"{NONCE} b\n".encode() + stream.content() in data
            assert 0 <= stream.code <= 999
            return


def test_what_comes_byte_by_byte_is_not_searched_again_and_again() -> None:
    data = bytearray()
    stream = FramedStream(data, NONCE)
    began = time.monotonic()
    for _ in range(20_000):
        data += b"x" * 200
        assert not stream.is_complete()
    assert time.monotonic() - began < 2
