"""What a guest prints never acts on the operator's terminal, however its bytes are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.tasks.frame.harmless import Harmless, printed

TRICKY = st.sampled_from(
    [b"\x1b", b"[", b"0;31", b"m", b"\r", b"\n", b"\x9b", b"\xc2", b"\xe2\x80\xae", b"x", b"\x07"]
)
PIECES = st.lists(st.one_of(TRICKY, st.binary(max_size=6)), max_size=30)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"plain\ttext\n", "plain\ttext\n"),
        ("Grüße ☃".encode(), "Grüße ☃"),
        (b"line\r\nline\r\r\n", "line\nline\n"),
        (b"50%\r60%", "50%^M60%"),
        (b"\x1b[0;32m  OK  \x1b[0m done", "  OK   done"),
        (b"\x1b[2J\x1b[1;1H\x1b[?25l", ""),
        (b"\x1b]0;title\x07", "^[]0;title^G"),
        (b"\x1b\x1b[0m[31m", "^[[31m"),
        (b"\x1bP+q\x1b\\", "^[P+q^[\\"),
        (b"\x00\x08\x7f", "^@^H^?"),
        (b"\xff\xfe", "\\xff\\xfe"),
        (b"\xc2\x9b31m", "\\x9b31m"),
        ("\u202egnp.exe\u2066".encode(), "\\u202egnp.exe\\u2066"),
        (b"cut short \xe2\x98", "cut short \\xe2\\x98"),
    ],
)
def test_what_is_shown(raw: bytes, shown: str) -> None:
    assert printed(raw) == shown


@given(PIECES)
def test_nothing_that_acts_comes_through(pieces: list[bytes]) -> None:
    text = printed(b"".join(pieces))
    assert all(character.isprintable() or character in "\n\t" for character in text)


@given(PIECES)
def test_how_the_bytes_are_cut_makes_no_difference(pieces: list[bytes]) -> None:
    decoder = Harmless()
    text = "".join(map(decoder.feed, pieces)) + decoder.feed(b"", last=True)
    assert text == printed(b"".join(pieces))


def test_a_prompt_is_shown_at_once() -> None:
    assert Harmless().feed(b"login: ") == "login: "
