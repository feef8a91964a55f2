"""Blocks of steps to one POSIX script, and the script's output back to results.

The only place that writes shell. A script prints frames around each step, on standard output and
on standard error alike, so a step's two streams come back apart, byte for byte, without a
temporary file on the worker:

    @@NONCE b BLOCK STEP          the step begins
    @@NONCE e BLOCK STEP CODE     the step ended
    @@NONCE u BLOCK STEP CODE     its undo ended
    @@NONCE x BLOCK OUTCOME       the block ended

Where blocks run at once, a step or an undo comes whole in one line:

    @@NONCE E BLOCK STEP CODE WHAT IT SAID
    @@NONCE U BLOCK STEP CODE WHAT IT SAID

The nonce is the caller's, random and 32 hex digits long: no output can imitate a frame.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import cast

from vmops.core.names import RunDirectory
from vmops.core.script import fact_library, functions, joint, library
from vmops.core.script.command import (
    Batch,
    Block,
    BlockResult,
    Command,
    OnlyIf,
    Outcome,
    Step,
    StepResult,
)

LOCK_WAIT_S = 30
"""How long a script waits for another operator's work on the same VM."""


def render(blocks: Sequence[Block], *, nonce: str, lanes: int = 1) -> str:
    """The script which runs the blocks, `lanes` of them at once; a failing block stops no other.

    With several lanes only the first 900 bytes of what a step prints come back, both streams
    together and without empty lines; and joint steps of different blocks are done together. Where
    that fails it is taken back, and each block does its own.
    """
    lines = [library.SHELL, *_talk(blocks), _AT_ITS_TIME, f"N={nonce}"]
    if min(lanes, len(blocks)) < 2:
        alone = (_block(number, block, nonce) for number, block in enumerate(blocks))
        return "\n".join(chain(lines, *alone)) + "\n"
    lines.extend((f"LINE_END='{_LINE_END}'", library.LANES))
    groups = list(joint.groups(blocks))
    texts = [_group([(n, blocks[n]) for n in numbers], nonce) for numbers in groups]
    for lane in joint.lanes(groups, lanes):
        lines.extend((f"( {_AT_ITS_TIME}", *chain(*(texts[number] for number in lane)), ") &"))
    return "\n".join((*lines, _WAIT)) + "\n"


def _talk(blocks: Sequence[Block]) -> list[str]:
    """What the blocks need to talk to monitors: nothing where they do not."""
    steps = (step for block in blocks for step in block.numbered())
    commands = (entry for step in steps for entry in (*step.commands, *step.undo))
    return [functions.talk()] if any(functions.TALK in entry.argv for entry in commands) else []


_AT_ITS_TIME = "trap gone=1 TERM"
"""For each shell of its own: a trap does not reach into a subshell."""

_WAIT = "until wait; do :; done"
"""A signal that is trapped ends a `wait`."""


def _group(members: Sequence[tuple[int, Block]], nonce: str) -> list[str]:
    """Blocks that begin at once, after what they do together; one alone is just that block."""
    if len(members) == 1:
        return _block(*members[0], nonce)
    lines = [f"( {_AT_ITS_TIME}", "joined="]
    for place, (_, block) in enumerate(members):
        lines.extend(_function(f"guards_{place}", block.guards, nonce))
        lock = f"{joint.FIRST_DESCRIPTOR + place} {shlex.quote(block.lock)}"
        joins = f"f_{joint.flag(place)}"
        lines.append(f"{joins}=; join {lock} guards_{place} && {joins}=1")
    steps = [found[1] for _, block in members if (found := joint.step_of(block))]
    lines.extend(_function("jointly", joint.commands(steps), nonce))
    lines.extend(_function("undo_jointly", joint.undo(steps), nonce, every=True))
    lines.append("if quietly jointly; then joined=1; else")
    lines.extend(("[ $? -ne 142 ] || deaf=1", "quietly undo_jointly", "fi"))
    for place, (number, block) in enumerate(members):
        lines.extend((*_block(number, block, nonce, place=place)[:-1], ") &"))
    return [*lines, _LET_GO, _WAIT, ")"]


_LET_GO = "exec " + " ".join(f"{joint.FIRST_DESCRIPTOR + n}>&-" for n in range(joint.MOST))
"""The locks of a group: each of its blocks keeps its own, the group itself none."""


def _block(number: int, block: Block, nonce: str, *, place: int | None = None) -> list[str]:
    """A block; `place` is that in its group. There its lock is taken already, and its guards hold,
    where it has joined."""
    steps = block.numbered()
    finishes = "" if any(step.undo for step in steps) else "1"
    lines = [f"( {_AT_ITS_TIME}", f"B={number} kept= gone= finishes={finishes}"]
    shared, unless = None, ""
    if place is not None and (found := joint.step_of(block)):
        joins = f'"$f_{joint.flag(place)}"'
        shared, unless = found[0], f"[ -n {joins} ] || "
        lines.append(f"[ -z {joins} ] || exec 9>&{joint.FIRST_DESCRIPTOR + place}")
        lines.extend((_LET_GO, f"{unless}joined="))
    for index, step in enumerate(steps):
        done = index == shared
        lines.extend(_function(f"s_{index}", step.commands, nonce, unless_joined=done))
        lines.extend(_function(f"u_{index}", step.undo, nonce, every=True))
    lines.extend(_function("guards", block.guards, nonce))
    if block.lock:
        lock = f"take_lock {shlex.quote(block.lock)} {LOCK_WAIT_S}"
        lines.append(f"{unless}{lock} || finish locked")
    if block.guards:
        lines.append(f"{unless}guards </dev/null >/dev/null 2>&1 9>&- || finish changed")
    index = 0
    for entry in block.steps:
        if isinstance(entry, Batch):
            lines.extend(_batch(index, entry))
            index += 1 + len(entry.apart)
        else:
            lines.extend(_step(index, entry))
            index += 1
    lines.extend(["end", ")"])
    return lines


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
    if entry.stdin is None:
        return [*lines, f"{line} {otherwise}"]
    end = f"END_{nonce}"
    return [*lines, f"{line} <<'{end}' {otherwise}", entry.stdin.rstrip("\n"), end]


def _step(index: int, step: Step) -> list[str]:
    if step.may_fail:
        return [f"if r {index}; then", *_keep(index, step), f"else undo_one {index}; fi"]
    return [f"r {index} || fail {index}", *_keep(index, step)]


def _batch(index: int, batch: Batch) -> list[str]:
    lines = [f"if r {index}; then", *_keep(index, batch.together), "else", f"undo_one {index}"]
    for offset, step in enumerate(batch.apart, start=1):
        lines.extend(_step(index + offset, step))
    return [*lines, "fi"]


def _keep(index: int, step: Step) -> list[str]:
    """What a step that succeeded leaves for later: its undo, and its flags."""
    return [f'kept="{index} $kept"', *(f"f_{flag}=1" for flag in step.sets)]


def shown(blocks: Sequence[Block]) -> str:
    """The commands as a person would type them, for `--dry`: a comment for each step."""
    lines: list[str] = []
    for block in blocks:
        for entry in block.steps:
            step = entry.together if isinstance(entry, Batch) else entry
            lines.append(f"# {block.subject}: {step.label}" if block.subject else f"# {step.label}")
            lines.extend(_shown(entry) for entry in step.commands)
    return "\n".join(lines)


def _shown(entry: Command) -> str:
    words = entry.words()
    if words[0] == fact_library.WHERE_VMS:
        return f"# where there is a VM:\n{_shown(Command(words[1:]))}"
    if words[0] == library.VSCTL:
        return _shown(Command(("ovs-vsctl", "--timeout=10", *words[1:])))
    if words[0] == library.START_QEMU:
        return _shown(Command((*words[3:], "-runas", words[2])))
    if words[0] == functions.TALK:
        return _talk_shown(entry.stdin or "")
    if words[0] in library.PLAIN:
        return library.PLAIN[words[0]].format(*words)
    here = f" <<'.'\n{entry.stdin}\n." if entry.stdin else ""
    return f"sudo {shlex.join(words)}{here}"


def _talk_shown(stdin: str) -> str:
    """The talks as a person would hold them, line by line, from the input of their command."""
    said: list[str] = []
    for line in stdin.split("\n")[:-1]:
        what, _, rest = line.partition(" ")
        if what == "vm":
            vm = rest.split()[0]
        elif what == "say":
            said.append(f"# to the monitor of {vm} ({RunDirectory(vm).monitor}): {rest}")
        else:
            seconds, _, event, *_ = rest.split(" ")
            ending = "until QEMU has ended" if event == "-" else f"for {event}"
            said.append(f"# wait up to {seconds} s {ending}")
    return "\n".join(said)


_LINE_END = "\x1e"
"""What stands for a newline inside a line; ASCII calls it the record separator."""


def parse(
    blocks: Sequence[Block], *, nonce: str, stdout: bytes, stderr: bytes
) -> tuple[BlockResult, ...]:
    """One result for each block, in order; `lost` for a block whose end frame never came."""
    out, outcomes = _ended(nonce, stdout)
    err, _ = _ended(nonce, stderr)
    results = []
    for number, block in enumerate(blocks):
        steps: list[StepResult] = []
        undone: list[StepResult] = []
        for index, step in enumerate(block.numbered()):
            for kind, kept in (("e", steps), ("u", undone)):
                if (kind, number, index) in out:
                    code, said = out[kind, number, index]
                    _, complained = err.get((kind, number, index), (0, b""))
                    kept.append(StepResult(step, code, said, complained))
        results.append(
            BlockResult(
                block.subject,
                outcomes.get(number, "lost"),
                tuple(steps),
                tuple(undone),
            )
        )
    return tuple(results)


def _ended(
    nonce: str, stream: bytes
) -> tuple[dict[tuple[str, int, int], tuple[int, bytes]], dict[int, Outcome]]:
    """What each step and undo said, and its exit code; and each block's outcome."""
    ended: dict[tuple[str, int, int], tuple[int, bytes]] = {}
    outcomes: dict[int, Outcome] = {}
    for frame, before in _frames(nonce, stream):
        kind, block, *rest = frame.split(" ", 4)
        if kind == "x":
            outcomes[int(block)] = cast("Outcome", rest[0])
        elif kind in "eu":
            ended[kind, int(block), int(rest[0])] = (int(rest[1]), before)
        elif kind in "EU":
            said = rest[2].replace(_LINE_END, "\n").encode(errors="surrogateescape")
            ended[kind.lower(), int(block), int(rest[0])] = (int(rest[1]), said)
    return ended, outcomes


def _frames(nonce: str, stream: bytes) -> Iterator[tuple[str, bytes]]:
    """Each whole frame without its nonce, and what stands between it and the frame before."""
    before, *parts = stream.split(f"@@{nonce} ".encode())
    for part in parts:
        frame, newline, after = part.partition(b"\n")
        if newline:
            yield frame.decode(errors="surrogateescape"), before
        before = after
