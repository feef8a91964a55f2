"""Commands as values: an argv, never a string, until `script.py` writes the one script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

ALARM = 142
"""The exit code of a tool that SIGALRM has ended: ovs-vsctl and its like, which gave up waiting."""

SAID_BYTES = 64 * 1024
"""What is kept of a command's output where it does not say otherwise."""

FACT_BYTES = 4 << 20
"""What is kept of an answer with facts. A switch with a thousand ports takes about one MiB."""


class OnlyIf(NamedTuple):
    """Words that belong to the command only where the step that sets `flag` has succeeded."""

    flag: str
    words: tuple[str, ...]


Word = str | OnlyIf


class Command(NamedTuple):
    """One command: its words, what it reads on standard input, and its time limit in seconds.

    `stdin` arrives byte for byte; a command without it reads nothing. What a `private` one reads is
    for no other user of the worker to see. One without `time_limit_s` bounds itself. `common` is
    how many of its words it begins with that others begin with too, when one process can do the
    work of all: these words, and then what each of them adds. `most_bytes` is how much of what it
    prints is kept: the end of each stream.
    """

    argv: tuple[Word, ...]
    stdin: bytes | None = None
    time_limit_s: int | None = None
    common: int = 0
    most_bytes: int = SAID_BYTES
    private: bool = False

    def words(self) -> tuple[str, ...]:
        """The argv with every conditional word included."""
        words: list[str] = []
        for word in self.argv:
            words.extend(word.words if isinstance(word, OnlyIf) else (word,))
        return tuple(words)


def command(
    *argv: Word,
    stdin: bytes | None = None,
    time_limit_s: int | None = None,
    most_bytes: int = SAID_BYTES,
) -> Command:
    """A `Command` from its words."""
    return Command(tuple(argv), stdin, time_limit_s, most_bytes=most_bytes)


def only_if(flag: str, entry: Command) -> Command:
    """The command where the step that sets `flag` has succeeded, else nothing."""
    return entry._replace(argv=(OnlyIf(flag, entry.words()),))


class Step(NamedTuple):
    """Commands that belong together, and what takes them back.

    The commands run in order up to the first that fails. `undo` runs when this step or a later
    one fails: it must cope with a step that was half done, and touch only what the step made.
    `sets` names the flag that `OnlyIf` asks for. A step that `may_fail` stops nothing: its own
    undo runs, and the work goes on. A `joint` step may be done before the block begins, together
    with those of other blocks. `about` names the interfaces, disks or the like that it is for.
    """

    label: str
    commands: tuple[Command, ...]
    undo: tuple[Command, ...] = ()
    sets: tuple[str, ...] = ()
    may_fail: bool = False
    joint: bool = False
    about: tuple[str, ...] = ()


class Batch(NamedTuple):
    """The quick way to do several steps at once, and the same one by one where it fails."""

    together: Step
    apart: tuple[Step, ...]


class Block(NamedTuple):
    """The steps of one subject (a VM, or the worker itself) on one worker, in order.

    `lock` is a path that is held while the steps run, so two operators take turns. `guards` are
    looked at under the lock: when one fails, what was observed no longer holds, and nothing is
    done. Steps that can fail apart from the others run in a block of their own. What stands
    `before` is done first, without the lock: what may take long and changes nothing that the lock
    is for, or must not wait for whoever holds it. `change` is the word for it in the worker's
    history; without one it leaves no line there.
    """

    subject: str
    steps: tuple[Step | Batch, ...]
    lock: str = ""
    guards: tuple[Command, ...] = ()
    before: tuple[Step, ...] = ()
    change: str = ""

    def numbered(self) -> tuple[Step, ...]:
        """Every step that may run, in the order of its number in the script."""
        flat: list[Step] = [*self.before]
        for entry in self.steps:
            flat.extend((entry.together, *entry.apart) if isinstance(entry, Batch) else (entry,))
        return tuple(flat)


Outcome = Literal["done", "failed", "changed", "locked", "unlocked", "lost"]
"""`changed`: a guard failed; `locked`: the lock was not had in time; `unlocked`: it could not be
made; `lost`: no answer came."""


class StepResult(NamedTuple):
    """What one step did. `exit_code` is that of the first command that failed, else 0.

    `stdout` is what was printed before the first part, or all of it; `parts` what followed, each
    under the name that the worker gave it. `cut` is that more was said than is kept of it.
    """

    step: Step
    exit_code: int
    stdout: bytes = b""
    stderr: bytes = b""
    parts: tuple[tuple[str, bytes], ...] = ()
    cut: bool = False

    @property
    def ok(self) -> bool:
        """True when every command of the step ended with 0."""
        return self.exit_code == 0

    def reason(self) -> str:
        """The last words of the failing command, one line, or its exit code."""
        said = (self.stderr.strip() or self.stdout).decode(errors="replace").strip()
        lines = [line.strip() for line in said.split("\n") if line.strip()]
        if self.exit_code == ALARM and lines[-1:] in ([], ["Alarm clock"]):
            return "no answer in time: does its daemon hang?"
        return lines[-1] if lines else f"exit code {self.exit_code}"


class BlockResult(NamedTuple):
    """What came of one block: its outcome, the steps that ran, and the undos that ran.

    `why` has the worker's words where the lock could not be made.
    """

    subject: str
    outcome: Outcome
    steps: Sequence[StepResult] = ()
    undone: Sequence[StepResult] = ()
    why: str = ""

    def find(self, label: str) -> StepResult | None:
        """The last result of the step with that label."""
        found = [result for result in self.steps if result.step.label == label]
        return found[-1] if found else None

    @property
    def not_undone(self) -> tuple[StepResult, ...]:
        """The undos that failed: what they were to remove may be there still."""
        return tuple(undo for undo in self.undone if not undo.ok)

    @property
    def failure(self) -> StepResult | None:
        """The step that ended the block."""
        failed = [result for result in self.steps if not result.ok]
        return failed[-1] if failed and self.outcome == "failed" else None


_FRAMES_BYTES = 4 << 20


def most_bytes(blocks: Sequence[Block]) -> int:
    """What is kept of what the commands print, and room for frames and start-up files."""
    commands = [
        command
        for block in blocks
        for step in block.numbered()
        for command in (*step.commands, *step.undo)
    ]
    return _FRAMES_BYTES + sum(2 * command.most_bytes for command in commands)
