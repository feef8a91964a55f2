"""How far images are on their way to workers: bars on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vmops.tasks.frame.harmless import one_line
from vmops.tasks.frame.output import say

if TYPE_CHECKING:
    from vmops.core.images.progress import Progress
    from vmops.ops.image.transfers import Tell

EVERY_S = 5.0
"""Between two lines about one image, where there is no terminal."""


def size(number: float) -> str:
    """Bytes as people read them."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit in ("B", "kB") else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def words(progress: Progress) -> str:
    """A transfer in words: what is done, of how much, how fast, how long it will take."""
    if progress.doing == "checking":
        return "checking"
    done = size(progress.done)
    if progress.total:
        done = f"{progress.done * 100 // progress.total} % of {size(progress.total)}"
    if progress.doing == "mirroring":
        return f"mirroring: {done}"
    left = progress.seconds_left
    rest = "" if left is None else f", {_time(left)} left"
    return f"{progress.doing}: {done}, {size(progress.rate)}/s{rest}"


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


@contextmanager
def shown() -> Iterator[Tell]:
    """While images are on their way. All goes to standard error; the bars leave no trace."""
    if sys.stderr.isatty():
        with _bars() as tell:
            yield tell
    else:
        yield in_lines()


def in_lines() -> Tell:
    """A line as soon as one begins, then every few seconds, and when it is checked."""
    told: dict[tuple[str, str], tuple[str, float]] = {}
    lock = threading.Lock()

    def tell(image: str, worker: str, progress: Progress | None) -> None:
        if progress is None:
            return
        with lock:
            now = time.monotonic()
            doing, at = told.get((image, worker), ("", 0.0))
            if progress.doing == doing and now - at < EVERY_S:
                return
            told[image, worker] = progress.doing, now
            say(one_line(f"{image} on {worker}: {words(progress)}"))

    return tell


@contextmanager
def _bars() -> Iterator[Tell]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[said]}", markup=False),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        known: dict[tuple[str, str], object] = {}
        lock = threading.Lock()

        def tell(image: str, worker: str, progress: Progress | None) -> None:
            with lock:
                bar = known.get((image, worker))
                if progress is None:
                    if bar is not None:
                        bars.remove_task(known.pop((image, worker)))  # type: ignore[arg-type]
                    return
                if bar is None:
                    name = one_line(f"{image} on {worker}")
                    bar = known[image, worker] = bars.add_task(name, total=None, said="")
                bars.update(
                    bar,  # type: ignore[arg-type]
                    completed=progress.done,
                    total=progress.total or None,
                    said=words(progress),
                )

        yield tell
