"""Ctrl-] is found in every way in which it is sent, and nothing else is taken for it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.tasks.guest.escape import EscapeFinder

ESCAPES = [
    b"\x1d",
    b"\x1b[93;5u",
    b"\x1b[93;133u",
    b"\x1b[93;69u",
    b"\x1b[93;5:1u",
    b"\x1b[93;5:2u",
    b"\x1b[93:125;5u",
    b"\x1b[93::93;5u",
    b"\x1b[43:42:93;5u",
    b"\x1b[43::93;133:1u",
    b"\x1b[93;5;29u",
    b"\x1b[27;5;93~",
    b"\x1b[27;133;93~",
]
OTHERS = [
    b"\x1b",
    b"\x1b[A",
    b"\x1b[93;1u",
    b"\x1b[93;6u",
    b"\x1b[93;7u",
    b"\x1b[93;5:3u",
    b"\x1b[94;5u",
    b"\x1b[193;5u",
    b"\x1b[43:93;5u",
    b"\x1b[27;5;94~",
    b"\x1b[27;6;93~",
    b"\x1b[27;5u",
    b"]",
    b"\x1b]",
    b"\x1bOP",
    "\u00dd".encode(),
]


def typed(pieces: list[bytes]) -> tuple[bytes, bool]:
    """What reaches the guest of these pieces, with time enough after the last, and whether it is
    left."""
    finder = EscapeFinder()
    data = b""
    for piece in pieces:
        found = finder.feed(piece)
        data += found.data
        if found.leaves:
            return data, True
    return data + finder.release(), False


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(ends)]


PLACES = st.lists(st.integers(0, 60), max_size=6)


@pytest.mark.parametrize("escape", ESCAPES, ids=repr)
@given(places=PLACES)
def test_it_is_found_however_it_is_cut(escape: bytes, places: list[int]) -> None:
    assert typed(cut(b"ls\r" + escape + b"rest", places)) == (b"ls\r", True)


@pytest.mark.parametrize("other", OTHERS, ids=repr)
@given(places=PLACES)
def test_every_other_key_reaches_the_guest(other: bytes, places: list[int]) -> None:
    assert typed(cut(b"a" + other, places)) == (b"a" + other, False)
    assert typed(cut(other + b"b", places)) == (other + b"b", False)


@given(st.lists(st.binary(max_size=5), max_size=10))
def test_nothing_is_lost_or_made_up(pieces: list[bytes]) -> None:
    data, left = typed(pieces)
    whole = b"".join(pieces)
    assert whole.startswith(data)
    assert left or data == whole


def test_little_is_held_back_and_only_for_a_moment() -> None:
    finder = EscapeFinder()
    assert finder.feed(b"vi\x1b").data == b"vi"
    assert finder.holds
    assert finder.release() == b"\x1b"
    assert not finder.holds
    assert finder.feed(b"\x1b[" + b"1" * 100).data == b"\x1b[" + b"1" * 100
