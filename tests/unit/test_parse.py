"""A script's output, back to results: bounded, and never a traceback."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.core.script import script
from vmops.core.script.command import SAID_BYTES, Block, Step, StepResult, command

NONCE = "0123456789abcdef" * 2
MARK = "5c3a0f0e-8f0b-4d0e-9a53-6f6b1f1c7a10"
BLOCKS = (
    Block("a", (Step("one", (command("x"),)), Step("two", (command("x"),)))),
    Block("b", (Step("one", (command("x", most_bytes=5),)),)),
)
WHOLE = (
    f"@@{NONCE} {MARK}\n"
    f"@@{MARK} b 0 0\nfirst@@{MARK} e 0 0 0\n@@{MARK} b 0 1\n@@{MARK} p x\n1@@{MARK} p y z\n2"
    f"@@{MARK} e 0 1 3\nundone@@{MARK} u 0 1 0\n@@{MARK} x 0 failed\n"
    f"@@{MARK} b 1 0\n123456@@{MARK} p q\n123456789@@{MARK} e 1 0 0\n@@{MARK} x 1 done\n"
).encode()


def read(stdout: bytes, stderr: bytes = b"") -> tuple[object, ...]:
    return script.parse(BLOCKS, nonce=NONCE, stdout=stdout, stderr=stderr)


def test_every_frame_has_its_meaning() -> None:
    a, b = script.parse(BLOCKS, nonce=NONCE, stdout=WHOLE, stderr=b"")
    one, two = BLOCKS[0].steps
    assert (a.outcome, b.outcome) == ("failed", "done")
    assert isinstance(one, Step)
    assert isinstance(two, Step)
    assert a.steps == (
        StepResult(one, 0, b"first"),
        StepResult(two, 3, b"", parts=(("x", b"1"), ("y z", b"2"))),
    )
    assert a.undone == (StepResult(two, 0, b"undone"),)


def test_of_more_than_is_kept_it_is_the_end() -> None:
    (result,) = script.parse(BLOCKS, nonce=NONCE, stdout=WHOLE, stderr=b"")[1].steps
    assert (result.stdout, result.parts, result.cut) == (b"23456", (("q", b"56789"),), True)
    assert not script.parse(BLOCKS, nonce=NONCE, stdout=WHOLE, stderr=b"")[0].steps[0].cut


def test_a_step_without_commands_may_fail_in_words_too() -> None:
    stderr = f"@@{NONCE} {MARK}\n@@{MARK} b 0 0\n{'x' * SAID_BYTES}\nwhy@@{MARK} e 0 0 1\n".encode()
    blocks = [Block("a", (Step("one", ()),))]
    (result,) = script.parse(blocks, nonce=NONCE, stdout=stderr, stderr=stderr)
    assert result.steps[0].reason() == "why"
    assert len(result.steps[0].stderr) == SAID_BYTES


@pytest.mark.parametrize("cut", range(len(WHOLE)))
def test_an_answer_that_is_cut_short_is_never_more_than_it_was(cut: int) -> None:
    a, b = script.parse(BLOCKS, nonce=NONCE, stdout=WHOLE[:cut], stderr=WHOLE[:cut])
    assert a.outcome in ("lost", "failed")
    assert b.outcome == "lost"


FRAMES = st.sampled_from(
    [
        "b 0 0",
        "e 0 0 0",
        "e 0 0",
        "e 0 0 -1",
        "e 0 0 9999",
        "u 0 0 0",
        "x 0",
        "x 0 done",
        "x 0 lost",
        "x 7 done",
        "x 0 done done",
        "p",
        "p ",
        "p \u2028",
        "",
        "x",
        "ä 0 0",
    ]
)


@given(st.lists(FRAMES | st.text() | st.binary(), max_size=12), st.booleans())
def test_whatever_stands_in_an_answer_it_is_read(parts: list[str | bytes], ends: bool) -> None:
    raw = f"@@{NONCE} {MARK}\n".encode()
    for part in parts:
        text = part if isinstance(part, bytes) else part.encode()
        raw += f"@@{MARK} ".encode() + text + (b"\n" if ends else b"")
    for entry in script.parse(BLOCKS, nonce=NONCE, stdout=raw, stderr=raw):
        assert entry.outcome in ("done", "lost")


@given(st.binary())
def test_an_answer_without_its_mark_is_lost(raw: bytes) -> None:
    for entry in script.parse(BLOCKS, nonce=NONCE, stdout=raw, stderr=raw):
        assert (entry.outcome, entry.steps) == ("lost", ())
