"""What has been changed on a worker, by whom: a line for each change that vmops made there."""

from __future__ import annotations

from typing import NamedTuple

from vmops.core.facts.question import Question, lines_of
from vmops.core.script.command import FACT_BYTES, StepResult, command


class Entry(NamedTuple):
    """One change. `time` is UTC as ISO 8601 has it. `user` is who had logged in and `address` where
    from, "-" where that is not known. `result` is done, or failed and undone."""

    time: str
    user: str
    address: str
    action: str
    vm: str
    result: str


def _read(said: StepResult) -> tuple[Entry, ...]:
    """A line that was cut, by a full disk for one, is left out."""
    rows = (line.split("\t") for line in lines_of(said))
    return tuple(Entry(*row) for row in rows if len(row) == len(Entry._fields))


HISTORY = Question("history", (command("history_facts", most_bytes=FACT_BYTES),), _read)
