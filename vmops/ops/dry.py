"""A dry run: the same plan, given to a transcript instead of a worker.

What an operation would ask a worker is answered by supposition (core/facts/supposed.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

from vmops.core.facts.question import Question, block_of
from vmops.core.facts.supposed import HOME
from vmops.core.inventory.model import Worker
from vmops.core.script import script
from vmops.core.script.command import Block


class Shown(Exception):
    """A dry run ends here: what would follow is no command, but a stream for a person."""


class _Entry(NamedTuple):
    """What would go to a worker: questions, blocks, or words about what is no command."""

    worker: Worker
    questions: tuple[Question[Any], ...] = ()
    blocks: tuple[Block, ...] = ()
    words: str = ""


class Transcript:
    """Keeps what would be sent to workers, and shows it as a person would type it."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []

    def asked(self, worker: Worker, questions: Sequence[Question[Any]]) -> None:
        """These questions would be asked."""
        self._entries.append(_Entry(worker, questions=tuple(questions)))

    def ran(self, worker: Worker, blocks: Sequence[Block]) -> None:
        """These blocks would run."""
        self._entries.append(_Entry(worker, blocks=tuple(blocks)))

    def noted(self, worker: Worker, words: str) -> None:
        """Something that is no command on the worker would be done."""
        self._entries.append(_Entry(worker, words=words))

    def __str__(self) -> str:
        """All of it. Where something is changed, looking at the worker before is one line."""
        changes = any(entry.blocks for entry in self._entries)
        parts = []
        for worker, entries in groupby(self._entries, key=lambda entry: entry.worker):
            head = f"# on {worker.name} ({worker.address}), as root:"
            text = "\n".join(_shown(entry, brief=changes) for entry in entries)
            note = [_NO_HOME] if f"file={HOME}/" in text else []
            parts += [head, *note, text]
        return "\n".join(parts)


_NO_HOME = f"# no shell expands file={HOME}/: write the path of the SSH user's home there"


def _shown(entry: _Entry, *, brief: bool) -> str:
    if entry.words:
        return entry.words
    if entry.blocks:
        return script.shown(entry.blocks)
    if brief:
        return f"# look at: {', '.join(question.name for question in entry.questions)}"
    return script.shown([block_of(entry.questions)])
