"""How far the work on many VMs is: a bar on a terminal, elsewhere a line for each VM."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vmops.tasks.frame.harmless import one_line
from vmops.tasks.frame.output import say

Tell = Callable[[str, bool], None]
"""Say that one more VM is done: the line for it, and whether it failed."""


@contextmanager
def progress(task: str, total: int) -> Iterator[Tell]:
    """While `total` VMs are worked on. All goes to standard error; the bar leaves no trace."""
    if not sys.stderr.isatty():
        yield lambda line, failed: say(one_line(line))
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("[red]{task.fields[failed]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        count = bar.add_task(task, total=total, failed="")
        failures = 0

        def tell(line: str, failed: bool) -> None:
            nonlocal failures
            failures += failed
            bar.update(count, advance=1, failed=f"{failures} failed" if failures else "")

        yield tell
