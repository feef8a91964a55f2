"""Looking again and again, as top does: a screen on a terminal, a block for each look in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from vmops.tasks.frame.harmless import harmless
from vmops.tasks.frame.output import give, give_json, give_table, in_words, reader_has_left
from vmops.tasks.vm.status_table import Before, drawn, key, plain
from vmops.tasks.vm.watch_keys import Keys

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.live import Live

    from vmops.core.plan.status import VMStatus
    from vmops.ops.vm.status import Survey

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

    console = Console()
    if console.is_dumb_terminal:
        _repeat(look, interval_s, give_block)
        return
    with Live(console=console, screen=True, auto_refresh=False) as live:

        def draw(seen: Survey, before: Before) -> None:
            table = drawn(seen.vms, detailed=detailed, before=before, width=console.width)
            live.update(_screen(seen, interval_s, table), refresh=True)

        _repeat(look, interval_s, draw, screen=live)


def watch_json(look: Look, interval_s: float, as_dict: Callable[[VMStatus], Any]) -> None:
    """One JSON array on a line of its own for each look, until Ctrl-C or nobody reads any more."""
    _repeat(
        look,
        interval_s,
        lambda seen, _: give_json([as_dict(item) for item in seen.vms], lines=False),
    )


class Fitted:
    """As much of a screen's content as there is room for, and a word on what there is not."""

    def __init__(self, *content: RenderableType) -> None:
        self._content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The lines, for rich."""
        from rich.console import Group
        from rich.segment import Segment
        from rich.style import Style

        lines = console.render_lines(Group(*self._content), options.reset_height(), pad=False)
        room = console.size.height
        if len(lines) > room:
            hidden = len(lines) - room + 1
            words = f"{hidden} more lines below: make the window larger, or name some with --vm"
            lines = [*lines[: room - 1], [Segment(words[: console.size.width], Style(dim=True))]]
        for line in lines:
            yield from line
            yield Segment.line()


def _screen(seen: Survey, interval_s: float, table: RenderableType) -> Fitted:
    """What went wrong comes first: a table may be longer than the screen."""
    from rich.text import Text

    title = Text(f"every {interval_s:g} s; q ends, any other key looks at once", style="dim")
    failures = [Text(harmless(in_words(error)), style="red") for error in seen.errors]
    notes = [Text(harmless(note)) for note in seen.notes]
    return Fitted(title, *failures, *notes, table)


def _repeat(
    look: Look,
    interval_s: float,
    show: Callable[[Survey, Before], None],
    *,
    screen: Live | None = None,
) -> None:
    """Look and show, with the look before, until there is to be none."""
    before: Before = {}
    with suppress(KeyboardInterrupt), Keys(screen) as keys:
        while (seen := keys.unless_quit(look)) is not None:
            show(seen, before)
            before = {key(item): item for item in seen.vms}
            if reader_has_left() or keys.quits_within(interval_s):
                return
