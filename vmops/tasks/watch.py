"""Looking again and again, as top does: a screen on a terminal, a block for each look in a pipe."""

from __future__ import annotations

import json
import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from vmops.tasks.output import give, give_table, reader_has_left
from vmops.tasks.status_table import Before, drawn, key, plain
from vmops.wait import wait_for

if TYPE_CHECKING:
    from rich.console import Group

    from vmops.core.status import VMStatus
    from vmops.ops.status import Survey

Look = Callable[[], "Survey"]


def watch_text(look: Look, interval_s: float, *, detailed: bool) -> None:
    """Show the tables until q is typed, Ctrl-C, or nobody reads any more."""

    def give_block(seen: Survey, before: Before) -> None:
        give_table(*plain(seen.vms, detailed=detailed, before=before))
        give("")

    if not sys.stdout.isatty():
        _repeat(look, interval_s, give_block)
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(), screen=True, auto_refresh=False) as live:

        def draw(seen: Survey, before: Before) -> None:
            live.update(_screen(seen, interval_s, detailed, before), refresh=True)

        _repeat(look, interval_s, draw)


def watch_json(look: Look, interval_s: float, as_dict: Callable[[VMStatus], Any]) -> None:
    """One JSON array on a line of its own for each look, until Ctrl-C or nobody reads any more."""
    _repeat(
        look, interval_s, lambda seen, _: give(json.dumps([as_dict(item) for item in seen.vms]))
    )


def _screen(seen: Survey, interval_s: float, detailed: bool, before: Before) -> Group:
    from rich.console import Group
    from rich.text import Text

    title = Text(f"every {interval_s:g} s; q ends, any other key looks at once", style="dim")
    failures = [Text(str(error), style="red") for error in seen.errors]
    notes = [Text(note) for note in seen.notes]
    table = drawn(seen.vms, detailed=detailed, before=before)
    return Group(title, table, *notes, *failures)


def _repeat(look: Look, interval_s: float, show: Callable[[Survey, Before], None]) -> None:
    """Look and show, with the look before, until there is to be none."""
    before: Before = {}
    with suppress(KeyboardInterrupt), _keys() as quits:
        while True:
            seen = look()
            show(seen, before)
            before = {key(item): item for item in seen.vms}
            if reader_has_left() or quits(interval_s):
                return


@contextmanager
def _keys() -> Iterator[Callable[[float], bool]]:
    """A function that waits so many seconds or until a key is typed, and is True for a q.

    Keys are read one by one while this lasts; afterwards the terminal is as before. Without a
    terminal to type at it only waits.
    """
    if not sys.stdin.isatty():
        yield lambda seconds: wait_for(lambda: None, seconds, pauses=[seconds]) or False
        return
    import termios
    import tty

    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)

    def quits(seconds: float) -> bool:
        typed, _, _ = select.select([keyboard], [], [], seconds)
        return bool(typed) and os.read(keyboard, 1) in (b"q", b"Q", b"")

    try:
        tty.setcbreak(keyboard)
        yield quits
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
