"""What several blocks do at once before they begin: one process where each would start its own.

An ovs-vsctl spends most of its time on starting, and the switch follows one change at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from vmops.core.script.command import Block, Command, OnlyIf, Step, Word

FIRST_DESCRIPTOR = 3
MOST = 6
"""Blocks that join. Each one's lock is held on a file descriptor of its own meanwhile, 3 to 8: a
POSIX shell knows those of one digit only, and 9 is for a block that takes its lock by itself."""


def flag(place: int) -> str:
    """The flag of the block at that place in its group: it has joined."""
    return f"j{place}"


def step_of(block: Block) -> tuple[int, Step] | None:
    """The step that the block can have in common with others, and its number."""
    found = ((n, step) for n, step in enumerate(block.numbered()) if step.joint)
    return next(found, None) if block.lock else None


def groups(blocks: Sequence[Block]) -> Iterator[tuple[int, ...]]:
    """The numbers of the blocks that join, at most `MOST` together, and of each other one alone."""
    able = [number for number, block in enumerate(blocks) if step_of(block)]
    yield from (tuple(able[n : n + MOST]) for n in range(0, len(able), MOST))
    yield from ((number,) for number in range(len(blocks)) if number not in able)


def lanes(groups: Sequence[tuple[int, ...]], at_once: int) -> list[list[int]]:
    """For each lane the numbers of the groups that it runs, one after the other.

    Groups of several blocks and single blocks have lanes of their own, for about `at_once` blocks
    together.
    """
    several = [number for number, group in enumerate(groups) if len(group) > 1]
    single = [number for number, group in enumerate(groups) if len(group) == 1]
    share = at_once // 2 if single else at_once
    for_several = min(len(several), max(1, share // MOST))
    for_single = min(len(single), max(1, at_once - for_several * MOST))
    found = [several[n::for_several] for n in range(for_several)]
    return found + [single[n::for_single] for n in range(for_single)]


def commands(steps: Sequence[Step]) -> tuple[Command, ...]:
    """The work of these steps: what they have in common and begin with, then what is each one's
    own, then what they have in common and end with."""
    first: dict[tuple[Word, ...], list[Word]] = {}
    own: list[Command] = []
    last: dict[tuple[Word, ...], list[Word]] = {}
    for place, step in enumerate(steps):
        common = first
        for entry in step.commands:
            if entry.common:
                words = common.setdefault(entry.argv[: entry.common], [])
                words.append(OnlyIf(flag(place), entry.words()[entry.common :]))
            else:
                common = last
                own.append(_only_if(place, entry))
    return (*_joined(first), *own, *_joined(last))


def _joined(common: Mapping[tuple[Word, ...], Sequence[Word]]) -> Iterator[Command]:
    return (Command((*first, *words)) for first, words in common.items())


def undo(steps: Sequence[Step]) -> tuple[Command, ...]:
    """What takes all of it back."""
    return tuple(_only_if(n, entry) for n, step in enumerate(steps) for entry in step.undo)


def _only_if(place: int, entry: Command) -> Command:
    return entry._replace(argv=("only_if", flag(place), *entry.argv))
