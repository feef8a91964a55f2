"""The program that a person typed, fab or vmops, and its tasks' names as they are typed there."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

_PROGRAMS: Mapping[str, str] = MappingProxyType(
    {"fabric.main": "fab", "vmops.tasks.program": "vmops"}
)
"""Where the programs are that can run here, and what a person types for each."""

_COMMAND = re.compile(r"(?<![\w/.-])fab(?P<words>(?: (?!fab\b)\S+)*)")
_PUNCTUATION = ",;:"


class Program(NamedTuple):
    """Invoke's program of this process, and what a person types for it."""

    typed: str
    invoked: Any

    @property
    def hosts(self) -> str | None:
        """-H as it was given, None where it was not."""
        given = self.invoked.core[0].args.hosts.value
        return None if given is None else str(given)

    @property
    def words(self) -> Sequence[str]:
        """The tasks and their options as they were typed."""
        return list(self.invoked.core.unparsed)

    @property
    def collection(self) -> Any:
        """All its tasks, ours among them; None before it has loaded them."""
        return getattr(self.invoked, "collection", None)


def running() -> Program | None:
    """The program of this process, None in one that is neither fab nor vmops."""
    for module, typed in _PROGRAMS.items():
        program = getattr(sys.modules.get(module), "program", None)
        if getattr(program, "core", None):
            return Program(typed, program)
    return None


def hosts_option() -> str | None:
    """-H as the program was given it, None where it was not."""
    program = running()
    return program.hosts if program else None


def as_typed(text: str) -> str:
    """The text with its commands as the person would type them: `vmops launch` for who typed
    vmops, `fab vm.launch` where a fabfile has our tasks under a name of its own."""
    program = running()
    if program is None:
        return text
    names = _names(program.collection)

    def command(found: re.Match[str]) -> str:
        words = found["words"].split(" ")
        values = {n + 1 for n, word in enumerate(words) if word.startswith("--")}
        typed = [word if n in values else _word(word, names) for n, word in enumerate(words)]
        return program.typed + " ".join(typed)

    return _COMMAND.sub(command, text)


def _word(word: str, names: Mapping[str, str]) -> str:
    """A task's name as it is here; what follows a name, a comma say, stays behind it."""
    bare = word.rstrip(_PUNCTUATION)
    return names.get(bare, bare) + word[len(bare) :]


def _names(collection: Any) -> Mapping[str, str]:
    """Our own names of our tasks, and those that they have in the program's collection."""
    from vmops.tasks import ns
    from vmops.tasks.later import home_of

    if collection is None or collection is ns:
        return {}
    ours = {home_of(ns[name]): name for name in ns.task_names}
    there = {home_of(collection[name]): name for name in collection.task_names}
    return {ours[home]: name for home, name in there.items() if home in ours}
