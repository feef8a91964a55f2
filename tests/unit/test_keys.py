"""Names of keys and text to chords, and chords to what the monitor is sent."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.core.devices.keyboard import CODES, MOST_KEYS, Chord, bursts, chords, typed, unescaped
from vmops.errors import InventoryError

TYPEABLE = string.ascii_letters + string.digits + string.punctuation + " \n\t\b\x1b"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("ctrl-alt-delete", [("ctrl", "alt", "delete")]),
        ("ret", [("ret",)]),
        ("ctrl-alt-f2 ret", [("ctrl", "alt", "f2"), ("ret",)]),
        ("a,b, c", [("a",), ("b",), ("c",)]),
        ("Ctrl+Alt+Del", [("ctrl", "alt", "delete")]),
        ("win-r enter space", [("meta_l", "r"), ("ret",), ("spc",)]),
        ("ctrl-/ ctrl-minus", [("ctrl", "slash"), ("ctrl", "minus")]),
        ("kp_0 shift_r-1", [("kp_0",), ("shift_r", "1")]),
    ],
)
def test_names_of_keys(said: str, meant: list[Chord]) -> None:
    assert list(chords(said)) == meant


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ("", "no key to press"),
        (" , ", "no key to press"),
        ("delte", "'delte' is no key; did you mean \"delete\"?"),
        ("ctrl-alt-foobar", "'foobar' (in 'ctrl-alt-foobar') is no key"),
        ("ctrl--a", "'ctrl--a' lacks a key; a hyphen itself is minus"),
        ("ctrl--", "'ctrl--' lacks a key; a hyphen itself is minus, a plus shift-equal"),
        ("é", "'é' is no key"),
        ("unmapped", "'unmapped' is no key"),
    ],
)
def test_a_word_that_is_no_key_is_refused(said: str, complaint: str) -> None:
    with pytest.raises(InventoryError) as refused:
        chords(said)
    assert complaint in str(refused.value)
    assert refused.value.exit_code == 2


def test_every_wrong_word_is_told_at_once() -> None:
    with pytest.raises(InventoryError) as refused:
        chords("foo ret bar-ctrl")
    assert [c.partition(" is")[0] for c in refused.value.complaints] == [
        "'foo'",
        "'bar' (in 'bar-ctrl')",
    ]


@pytest.mark.parametrize("code", sorted(CODES))
def test_each_code_is_its_own_name(code: str) -> None:
    assert chords(code) == ((code,),)


@pytest.mark.parametrize(
    ("text", "pressed"),
    [
        ("root\n", [("r",), ("o",), ("o",), ("t",), ("ret",)]),
        ("A b", [("shift", "a"), ("spc",), ("b",)]),
        ("2@", [("2",), ("shift", "2")]),
        ("'\"", [("apostrophe",), ("shift", "apostrophe")]),
        ("\\|", [("backslash",), ("shift", "backslash")]),
        ("`~", [("grave_accent",), ("shift", "grave_accent")]),
        ("\t\b\x1b", [("tab",), ("backspace",), ("esc",)]),
    ],
)
def test_text_on_a_us_keyboard(text: str, pressed: list[Chord]) -> None:
    assert list(typed(text)) == pressed


def test_no_two_characters_are_the_same_chord() -> None:
    assert len(set(typed(TYPEABLE))) == len(TYPEABLE)


@given(st.text(TYPEABLE))
def test_all_of_ascii_is_typed_with_codes_that_qemu_knows(text: str) -> None:
    pressed = typed(text)
    assert len(pressed) == len(text)
    assert {code for chord in pressed for code in chord} <= CODES


@pytest.mark.parametrize("text", ["é", "naïve", "日本", "a\r", "\x00", "\x7f", "€ 5"])
def test_what_cannot_be_typed_is_refused_and_named(text: str) -> None:
    with pytest.raises(InventoryError) as refused:
        typed(text)
    odd = next(char for char in text if char not in TYPEABLE)
    assert repr(odd) in str(refused.value)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (r"root\n", "root\n"),
        (r"a\tb\\n", "a\tb\\n"),
        (r"\b\e", "\b\x1b"),
        ("plain\nline", "plain\nline"),
    ],
)
def test_escapes_in_a_text(said: str, meant: str) -> None:
    assert unescaped(said) == meant


@pytest.mark.parametrize("said", [r"C:\Windows", "end\\", r"\x41"])
def test_a_stray_backslash_is_refused(said: str) -> None:
    with pytest.raises(InventoryError, match="means nothing here"):
        unescaped(said)


@given(st.text(TYPEABLE, max_size=400), st.integers(1, 1000))
def test_bursts_have_every_chord_in_order_and_fit_the_queue(text: str, hold_ms: int) -> None:
    pressed = typed(text)
    made = list(bursts(pressed, hold_ms=hold_ms))
    sent = [
        tuple(key["data"] for key in request.arguments["keys"])
        for burst in made
        for request in burst.requests
        if request.arguments is not None
    ]
    assert sent == list(pressed)
    for burst in made:
        keys = sum(len(r.arguments["keys"]) for r in burst.requests if r.arguments is not None)
        assert 0 < keys <= MOST_KEYS
        assert burst.lasts_s == pytest.approx(2 * keys * hold_ms / 1000)


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("\x01", "for a control key as in: fab sendkey --keys ctrl-c"),
        ("é", "types printable ASCII, Enter, Tab, Backspace and Escape; nothing was sent"),
    ],
)
def test_a_text_that_cannot_be_typed_names_the_way_that_can(text: str, cure: str) -> None:
    with pytest.raises(InventoryError) as refused:
        typed(text)
    assert cure in str(refused.value)
