"""Blocks of steps to one POSIX script.

The only place that writes shell; the functions that it calls are in `shell/`. A script prints
frames around each step, on standard output and on standard error alike, so a step's two streams
come back apart, byte for byte:

    @@NONCE MARK                  first of all: the mark of the frames that follow
    @@MARK b BLOCK STEP           the step begins
    @@MARK p NAME                 what follows in the step's output is on NAME
    @@MARK e BLOCK STEP CODE      the step ended
    @@MARK u BLOCK STEP CODE      its undo ended
    @@MARK x BLOCK OUTCOME        the block ended

The nonce is the caller's, random and 32 hex digits long. The worker's shell chooses the mark: who
reads the script in a list of processes knows the nonce, and may be somebody whose words are printed
by a step. Where blocks run at once, each one's output is kept on the worker until all have ended.
"""

from __future__ import annotations

import shlex
from base64 import b64encode
from collections.abc import Sequence
from itertools import chain
from typing import cast

from vmops.core.script import functions, groups
from vmops.core.script.command import Batch, Block, Command, OnlyIf, Step

PRIVATE = ": private\n"
"""How a script begins that brings what no other user of the worker may see: it does not travel
where a list of processes would show it."""

LOCK_WAIT_S = 30
"""How long a script waits for another operator's work on the same VM."""


def render(blocks: Sequence[Block], *, nonce: str, lanes: int = 1) -> str:
    """The script which runs the blocks, `lanes` of them at once; a failing block stops no other.

    With several lanes, joint steps of different blocks are done together. Where that fails it is
    taken back, and each block does its own.
    """
    if min(lanes, len(blocks)) < 2:
        work = list(chain(*(_block(n, block, nonce) for n, block in enumerate(blocks))))
    else:
        work = _lanes(blocks, nonce, lanes)
    if any(block.change for block in blocks):
        work = [_TRIM, *([_OPEN] if len(blocks) > 1 else []), *work]
    work = [_AT_ITS_TIME, f"open_frames {nonce}", *work]
    head = (f"{name}={shlex.quote(value)}" for name, value in functions.settings().items())
    text = "\n".join((*_START, *head, functions.needed("\n".join(work)), *work)) + "\n"
    return PRIVATE + text if any(map(_is_private, blocks)) else text


def _is_private(block: Block) -> bool:
    return any(entry.private for step in block.numbered() for entry in (*step.commands, *step.undo))


_TRIM = "trim_history </dev/null >/dev/null 2>&1 &"

_OPEN = "open_history </dev/null 2>/dev/null"
"""What the lines of several blocks have in common is found before they begin."""


def _lanes(blocks: Sequence[Block], nonce: str, lanes: int) -> list[str]:
    """The blocks in lanes, after what those of a group do together."""
    lines = ["open_lanes"]
    found = list(groups.groups(blocks))
    texts = [_group([(n, blocks[n]) for n in numbers], nonce) for numbers in found]
    for lane in groups.lanes(found, lanes):
        lines.extend((f"( {_AT_ITS_TIME}", *chain(*(texts[number] for number in lane)), ") &"))
    return [*lines, "close_lanes"]


_START = (
    "PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin LC_ALL=C",
    "export PATH LC_ALL",
    "umask 077",
    "trap '' PIPE HUP",
    "said= deaf= joined= came= day=",
)
"""A script goes on when nobody reads what it prints. Messages of tools are in English, and lengths
are in bytes."""

_AT_ITS_TIME = "trap gone=1 TERM"
"""For each shell of its own: a trap does not reach into a subshell."""


def _group(members: Sequence[tuple[int, Block]], nonce: str) -> list[str]:
    """Blocks that begin at once, after what they do together; one alone is just that block."""
    if len(members) == 1:
        return _block(*members[0], nonce, apart=True)
    lines = [f"( {_AT_ITS_TIME}", "joined="]
    for place, (_, block) in enumerate(members):
        lines.extend(_function(f"guards_{place}", block.guards, nonce))
        lock = f"{groups.FIRST_DESCRIPTOR + place} {shlex.quote(block.lock)}"
        joins = f"f_{groups.flag(place)}"
        lines.append(f"{joins}=; join {lock} guards_{place} && {joins}=1")
    steps = [found[1] for _, block in members if (found := groups.step_of(block))]
    lines.extend(_function("jointly", groups.commands(steps), nonce))
    lines.extend(_function("undo_jointly", groups.undo(steps), nonce, every=True))
    lines.append("if quietly jointly; then joined=1; else")
    lines.extend(("[ $? -ne 142 ] || deaf=1", "quietly undo_jointly", "fi"))
    for place, (number, block) in enumerate(members):
        lines.extend((*_block(number, block, nonce, place=place, apart=True)[:-1], ") &"))
    return [*lines, _LET_GO, "until wait; do :; done", ")"]


_LET_GO = "exec " + " ".join(f"{groups.FIRST_DESCRIPTOR + n}>&-" for n in range(groups.MOST))
"""The locks of a group: each of its blocks keeps its own, the group itself none."""


def _block(
    number: int, block: Block, nonce: str, *, place: int | None = None, apart: bool = False
) -> list[str]:
    """A block; `place` is that in its group. There its lock is taken already, and its guards hold,
    where it has joined. `apart` is that others run at the same time."""
    steps = block.numbered()
    finishes = "" if any(step.undo for step in steps) else "1"
    noted = shlex.quote(f"note_change {block.change} {block.subject}") if block.change else ""
    lines = [f"( {_AT_ITS_TIME}", f"B={number} kept= gone= finishes={finishes} noted={noted}"]
    lines.extend([_APART] if apart else [])
    shared, unless = None, ""
    if place is not None and (found := groups.step_of(block)):
        joins = f'"$f_{groups.flag(place)}"'
        shared, unless = found[0], f"[ -n {joins} ] || "
        lines.append(f"[ -z {joins} ] || exec 9>&{groups.FIRST_DESCRIPTOR + place}")
        lines.extend((_LET_GO, f"{unless}joined="))
    for index, step in enumerate(steps):
        done = index == shared
        lines.extend(_function(f"s_{index}", step.commands, nonce, unless_joined=done))
        lines.extend(_function(f"u_{index}", step.undo, nonce, every=True))
    lines.extend(_function("guards", block.guards, nonce))
    for index, step in enumerate(block.before):
        lines.extend(_step(index, step))
    if block.lock:
        lock = f"take_lock {shlex.quote(block.lock)} {LOCK_WAIT_S}"
        lines.append(f"{unless}{lock}")
    if block.guards:
        lines.append(f"{unless}guards </dev/null >/dev/null 2>&1 9>&- || finish changed")
    index = len(block.before)
    for entry in block.steps:
        if isinstance(entry, Batch):
            lines.extend(_batch(index, entry))
            index += 1 + len(entry.apart)
        else:
            lines.extend(_step(index, entry))
            index += 1
    lines.extend(["end", ")"])
    return lines


_APART = 'exec <&1 >"$said/$B.out" 2>"$said/$B.err"'
"""Output into files; the way to the operator stays on descriptor 0, which no step reads."""


def _function(
    name: str,
    commands: Sequence[Command],
    nonce: str,
    *,
    every: bool = False,
    unless_joined: bool = False,
) -> list[str]:
    """A shell function: the commands up to the first that fails, or `every` one of them."""
    lines = [f"{name}() {{", '[ -z "$joined" ] || return 0' if unless_joined else ":"]
    worst = "code=$?" if every else "return $?"
    if every:
        lines.append("code=0")
    for entry in commands:
        lines.extend(_command(entry, nonce, f"|| {worst}"))
    lines.extend(["return $code" if every else "return 0", "}"])
    return lines


def _command(entry: Command, nonce: str, otherwise: str) -> list[str]:
    limit = ("timeout", "-k", "2", str(entry.time_limit_s)) if entry.time_limit_s else ()
    if any(isinstance(word, OnlyIf) for word in entry.argv):
        lines = [f"set -- {shlex.join(limit)}"]
        for word in entry.argv:
            if isinstance(word, OnlyIf):
                lines.append(f'[ -z "${{f_{word.flag}}}" ] || set -- "$@" {shlex.join(word.words)}')
            else:
                lines.append(f'set -- "$@" {shlex.quote(word)}')
        line = '"$@"'
    else:
        lines = []
        line = shlex.join([*limit, *cast("tuple[str, ...]", entry.argv)])
    if not entry.stdin:
        return [*lines, f"{line} {otherwise}"]
    end = f"END_{nonce}"
    if (text := _lines_of(entry.stdin, end)) is not None:
        return [*lines, f"{line} <<'{end}' {otherwise}", *text, end]
    encoded = b64encode(entry.stdin).decode()
    return [*lines, f"base64 -d <<'{end}' | {line} {otherwise}", encoded, end]


def _lines_of(stdin: bytes, end: str) -> list[str] | None:
    """The lines of an input that a script can hold as they are; None for any other."""
    try:
        *lines, rest = stdin.decode().split("\n")
    except UnicodeDecodeError:
        return None
    return lines if not rest and end not in lines and b"\0" not in stdin else None


def _step(index: int, step: Step) -> list[str]:
    if step.may_fail:
        return [f"if run_step {index}; then", *_keep(index, step), f"else undo_one {index}; fi"]
    return [f"run_step {index} || fail {index}", *_keep(index, step)]


def _batch(index: int, batch: Batch) -> list[str]:
    lines = [
        f"if run_step {index}; then",
        *_keep(index, batch.together),
        "else",
        f"undo_one {index}",
    ]
    for offset, step in enumerate(batch.apart, start=1):
        lines.extend(_step(index + offset, step))
    return [*lines, "fi"]


def _keep(index: int, step: Step) -> list[str]:
    """What a step that succeeded leaves for later: its undo, and its flags."""
    return [f'kept="{index} $kept"', *(f"f_{flag}=1" for flag in step.sets)]
