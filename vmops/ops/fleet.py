"""The same work on many workers at once, capped; one dead worker never stops or hides the rest."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

from vmops.errors import InventoryError
from vmops.ops.route import Group

DEFAULT_PARALLEL = 32
"""Workers at once: near ones keep two cores busy at 8 already, far ones are faster the more."""

T = TypeVar("T")


def connect_early(groups: Sequence[Group], *, parallel: int = 0) -> None:
    """Begin to connect to those workers that `on_each` would begin with, in the background.

    What goes wrong is raised by the first use. Raises InventoryError where it is one worker alone;
    of several each has to say that for itself.
    """
    first = [group.route for group in groups[: parallel or DEFAULT_PARALLEL]]
    for route in first:
        route.ask_early()
    for route in first:
        with nullcontext() if len(groups) == 1 else suppress(InventoryError):
            route.connect_early()


def on_each(
    groups: Sequence[Group], work: Callable[[Group], T], *, parallel: int = DEFAULT_PARALLEL
) -> Iterator[tuple[Group, T]]:
    """Run `work` for each group, at most `parallel` at once, and give the results as they come.

    `work` reports failures in its result. What it raises all the same is raised here. When the
    caller leaves early nothing else begins; what has begun goes on in threads that do not keep the
    process alive.
    """
    if len(groups) == 1:
        yield groups[0], work(groups[0])
        return
    waiting = deque(groups)
    ended: SimpleQueue[tuple[Group, T] | BaseException] = SimpleQueue()

    def take_turns() -> None:
        while waiting:
            try:
                group = waiting.popleft()
            except IndexError:
                return
            try:
                ended.put((group, work(group)))
            except BaseException as error:
                ended.put(error)

    try:
        for _ in range(max(1, min(parallel, len(groups)))):
            Thread(target=take_turns, daemon=True).start()
        for _ in groups:
            result = ended.get()
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        waiting.clear()
