"""What a guest switched on is switched off when it is left, and nothing else is touched."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.tasks.guest.switched import Switched

CASES = [
    (b"plain text\r\n", b""),
    (b"\x1b[?1049h", b"\x1b[?1049l"),
    (b"\x1b[?25l", b"\x1b[?25h"),
    (b"\x1b[?7l", b"\x1b[?7h"),
    (b"\x1b[?1000;1003;1006h", b"\x1b[?1000l\x1b[?1003l\x1b[?1006l"),
    (b"\x1b[?2004h", b"\x1b[?2004l"),
    (b"\x1b[?1h\x1b=", b"\x1b[?1l\x1b>"),
    (b"\x1b[>1u", b"\x1b[<1u"),
    (b"\x1b[>1u\x1b[>5u\x1b[<u", b"\x1b[<1u"),
    (b"\x1b[=5u", b"\x1b[=0u"),
    (b"\x1b[>4;2m", b"\x1b[>4m"),
    (b"\x1b(0", b"\x1b(B"),
    (b"\x0e", b"\x0f"),
    (b"\x1b[31mred", b"\x1b[m"),
    (b"\x1b[31mred\x1b[0m", b""),
    (b"\x1b[5;20r", b"\x1b7\x1b[r\x1b8"),
    (b"\x1b[4h", b"\x1b[4l"),
    (b"\x1b[4 q", b"\x1b[ q"),
    (b"\x1b[?1049h\x1b[?1049l\x1b[?25l\x1b[?25h", b""),
    (b"\x1b[?1049h\x1b[?25l\x1b[31m\x1bc", b""),
]
PIECES = st.lists(
    st.one_of(st.sampled_from([case[0] for case in CASES]), st.binary(max_size=4)), max_size=12
)


@pytest.mark.parametrize(("printed", "undone"), CASES, ids=repr)
def test_what_is_undone(printed: bytes, undone: bytes) -> None:
    switched = Switched()
    switched.feed(printed)
    assert switched.undo() == undone


@given(PIECES)
def test_what_undoes_is_the_guests_last_word(pieces: list[bytes]) -> None:
    switched = Switched()
    switched.feed(b"".join(pieces) + b"x")
    switched.feed(switched.undo())
    assert switched.undo() == b""


@given(PIECES)
def test_how_it_is_cut_makes_no_difference(pieces: list[bytes]) -> None:
    whole, cut = Switched(), Switched()
    whole.feed(b"".join(pieces))
    for piece in pieces:
        for number in piece:
            cut.feed(bytes([number]))
    assert cut.undo() == whole.undo()
