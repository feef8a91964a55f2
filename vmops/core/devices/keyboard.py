"""A VM's keyboard: names of keys and text to QEMU's key codes, and those to the monitor's requests.

Text is typed as on a US keyboard: QEMU sends the place of a key, the guest decides what is on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from vmops.core.inventory.complaints import guess, printable, show
from vmops.core.tools.qmp import Request
from vmops.errors import InventoryError

Chord = tuple[str, ...]
"""QEMU's codes of keys that are pressed in this order, and then let go."""

_CODES = """
shift shift_r alt alt_r ctrl ctrl_r menu esc 1 2 3 4 5 6 7 8 9 0 minus equal backspace tab q w e r
t y u i o p bracket_left bracket_right ret a s d f g h j k l semicolon apostrophe grave_accent
backslash z x c v b n m comma dot slash asterisk spc caps_lock f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 f11
f12 num_lock scroll_lock kp_divide kp_multiply kp_subtract kp_add kp_enter kp_decimal kp_0 kp_1
kp_2 kp_3 kp_4 kp_5 kp_6 kp_7 kp_8 kp_9 less sysrq print home pgup pgdn end left up down right
insert delete meta_l meta_r pause power sleep wake
"""
CODES = frozenset(_CODES.split())
"""QEMU's codes for the keys of a PC keyboard."""

_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "altgr": "alt_r",
        "control": "ctrl",
        "del": "delete",
        "enter": "ret",
        "escape": "esc",
        "ins": "insert",
        "meta": "meta_l",
        "pagedown": "pgdn",
        "pageup": "pgup",
        "period": "dot",
        "return": "ret",
        "space": "spc",
        "super": "meta_l",
        "win": "meta_l",
    }
)

_PLAIN: Mapping[str, str] = MappingProxyType(
    {char: char for char in "abcdefghijklmnopqrstuvwxyz0123456789"}
    | {"\n": "ret", "\t": "tab", "\b": "backspace", "\x1b": "esc", " ": "spc", "`": "grave_accent"}
    | {"-": "minus", "=": "equal", "[": "bracket_left", "]": "bracket_right", "\\": "backslash"}
    | {";": "semicolon", "'": "apostrophe", ",": "comma", ".": "dot", "/": "slash"}
)
_SHIFTED: Mapping[str, str] = MappingProxyType(
    dict(zip('~!@#$%^&*()_+{}|:"<>?', "`1234567890-=[]\\;',./", strict=True))
    | {char.upper(): char for char in "abcdefghijklmnopqrstuvwxyz"}
)
_ESCAPES: Mapping[str, str] = MappingProxyType(
    {"n": "\n", "t": "\t", "b": "\b", "e": "\x1b", "\\": "\\"}
)


def chords(text: str) -> tuple[Chord, ...]:
    """`ctrl-alt-delete f2, ret` as chords, in order.

    Chords stand apart by spaces or commas, the keys of one by `-` or `+`. A key is one of QEMU's
    codes, a usual name for one, or the character on it without Shift. Raises InventoryError with
    every word that is no key.
    """
    words = text.replace(",", " ").split()
    if not words:
        raise InventoryError("no key to press", cure="as in: --keys 'ctrl-alt-f2 ret'")
    complaints = []
    found = []
    for word in words:
        names = word.casefold().replace("+", "-").split("-")
        found.append(tuple(_code(name) for name in names))
        complaints += [_no_key(name, word) for name in names if name and not _code(name)]
        if "" in names:
            complaints.append(
                f"{show(word)} lacks a key; a hyphen itself is minus, a plus shift-equal"
            )
    if complaints:
        cure = "keys are called as in QEMU: ctrl, alt, shift, meta_l, f1, ret, esc, tab, a, 1, ..."
        raise InventoryError(*dict.fromkeys(complaints), cure=cure)
    return tuple(found)


def _code(name: str) -> str:
    return name if name in CODES else _ALIASES.get(name, _PLAIN.get(name, ""))


def _no_key(name: str, word: str) -> str:
    inside = f" (in {show(word)})" if name != word else ""
    meant = guess(name, [*sorted(CODES), *_ALIASES])
    return f"{show(name)}{inside} is no key" + (f'; did you mean "{meant}"?' if meant else "")


def unescaped(text: str) -> str:
    """The text with `\\n`, `\\t`, `\\b`, `\\e` and a doubled backslash as the characters they mean.

    Raises InventoryError for a backslash before anything else.
    """
    parts = iter(text)
    read = []
    for char in parts:
        if char == "\\":
            escape = next(parts, "")
            if escape not in _ESCAPES:
                raise InventoryError(
                    f"{printable(char + escape)} means nothing here",
                    cure="there are \\n, \\t, \\b, \\e, and \\\\ for a backslash",
                )
            char = _ESCAPES[escape]
        read.append(char)
    return "".join(read)


def typed(text: str) -> tuple[Chord, ...]:
    """What is pressed to type the text on a US keyboard.

    Raises InventoryError that names every character which that keyboard does not have.
    """
    missing = [char for char in text if char not in _PLAIN and char not in _SHIFTED]
    if missing:
        few = ", ".join(show(char) for char in dict.fromkeys(missing))
        cure = "a US keyboard types printable ASCII, Enter, Tab, Backspace and Escape"
        if any(char < " " for char in missing):
            cure += "; for a control key as in: fab sendkey --keys ctrl-c"
        raise InventoryError(f"cannot be typed: {few}", cure=f"{cure}; nothing was sent")
    return tuple(
        (_PLAIN[char],) if char in _PLAIN else ("shift", _PLAIN[_SHIFTED[char]]) for char in text
    )


MOST_KEYS = 64
"""Keys of one burst. QEMU queues 1024 events, six for each key, and drops what exceeds them."""


class Burst(NamedTuple):
    """Requests that are sent at once, and the seconds until the guest has had all their keys."""

    requests: tuple[Request, ...]
    lasts_s: float


def bursts(pressed: Sequence[Chord], *, hold_ms: int) -> Iterator[Burst]:
    """The chords as bursts to be sent one after the other, each when the one before is over.

    `hold_ms` is between any two movements of a key.
    """
    waiting: list[Chord] = []
    for chord in pressed:
        if sum(map(len, waiting)) + len(chord) > MOST_KEYS and waiting:
            yield _burst(waiting, hold_ms)
            waiting = []
        waiting.append(chord)
    if waiting:
        yield _burst(waiting, hold_ms)


def _burst(pressed: Sequence[Chord], hold_ms: int) -> Burst:
    movements = 2 * sum(map(len, pressed))
    return Burst(tuple(_send(chord, hold_ms) for chord in pressed), movements * hold_ms / 1000)


def _send(chord: Chord, hold_ms: int) -> Request:
    keys = [{"type": "qcode", "data": code} for code in chord]
    return Request("send-key", {"keys": keys, "hold-time": hold_ms})
