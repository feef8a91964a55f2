"""What a script printed, back to results.

The marks around it are in `render`. Nothing of what stands between two frames is taken for one,
and what is no whole frame of ours is left out: its block is `lost`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

from vmops.core.script.command import SAID_BYTES, Block, BlockResult, Outcome, Step, StepResult

_STEP = re.compile(rb"([beu]) (\d{1,9}) (\d{1,9})(?: (\d{1,3}))?")
_END = re.compile(rb"x (\d{1,9}) (done|failed|changed|locked|unlocked)")
_PART = re.compile(rb"p (.*)", re.DOTALL)


class _Said(NamedTuple):
    """What one step or undo printed on one stream, by part, and its exit code."""

    code: int = 0
    parts: tuple[tuple[str, bytes], ...] = (("", b""),)


def parse(
    blocks: Sequence[Block], *, nonce: str, stdout: bytes, stderr: bytes
) -> tuple[BlockResult, ...]:
    """One result for each block, in order; `lost` for a block whose end frame never came."""
    out, outcomes = _read(nonce, stdout)
    err, endings = _read(nonce, stderr)
    results = []
    for number, block in enumerate(blocks):
        steps: list[StepResult] = []
        undone: list[StepResult] = []
        for index, step in enumerate(block.numbered()):
            for kind, kept in (("e", steps), ("u", undone)):
                key = kind, number, index
                if key in out:
                    kept.append(_result(step, out[key], err.get(key, _Said())))
        outcome, _ = outcomes.get(number, ("lost", b""))
        _, last = endings.get(number, ("lost", b""))
        words = _last_line(last) if outcome == "unlocked" else ""
        results.append(BlockResult(block.subject, outcome, tuple(steps), tuple(undone), words))
    return tuple(results)


def _last_line(said: bytes) -> str:
    return said[-SAID_BYTES:].decode(errors="replace").strip().rpartition("\n")[2]


def _result(step: Step, out: _Said, err: _Said) -> StepResult:
    """A step's own: of each stream the end, where there is more than it may say."""
    most = sum(entry.most_bytes for entry in (*step.commands, *step.undo)) or SAID_BYTES
    complaints = b"".join(data for _, data in err.parts)
    (_, first), *parts = out.parts
    cut = len(complaints) > most or any(len(data) > most for _, data in out.parts)
    named = tuple((name, data[-most:]) for name, data in parts)
    return StepResult(step, out.code, first[-most:], complaints[-most:], named, cut)


def _read(
    nonce: str, stream: bytes
) -> tuple[dict[tuple[str, int, int], _Said], dict[int, tuple[Outcome, bytes]]]:
    """What each step and undo said, and its exit code; and each block's outcome and last words."""
    said: dict[tuple[str, int, int], _Said] = {}
    outcomes: dict[int, tuple[Outcome, bytes]] = {}
    parts: list[tuple[str, bytes]] = []
    name = ""
    for frame, before in _frames(nonce, stream):
        parts.append((name, before))
        name = ""
        if part := _PART.fullmatch(frame):
            name = part[1].decode(errors="replace")
            continue
        if ended := _END.fullmatch(frame):
            outcomes[int(ended[1])] = cast("Outcome", ended[2].decode()), before
        elif (step := _STEP.fullmatch(frame)) and step[1] != b"b" and step[4]:
            key = step[1].decode(), int(step[2]), int(step[3])
            said[key] = _Said(int(step[4]), tuple(parts))
        parts = []
    return said, outcomes


def _frames(nonce: str, stream: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each whole frame without its mark, and what stands between it and the frame before.

    The script's first line has the mark of its frames, which nobody else knows.
    """
    _, _, rest = stream.partition(f"@@{nonce} ".encode())
    mark, newline, rest = rest.partition(b"\n")
    if not (mark and newline):
        return
    before, *frames = rest.split(b"@@" + mark + b" ")
    for text in frames:
        frame, newline, after = text.partition(b"\n")
        if newline:
            yield frame, before
        before = after
