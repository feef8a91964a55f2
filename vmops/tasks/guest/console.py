"""The serial port of one VM, in this terminal or in a pipe."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from vmops.errors import InventoryError, NotRunning, WorkFailed
from vmops.tasks.frame import options
from vmops.tasks.frame.context import Context
from vmops.tasks.frame.options import Option
from vmops.tasks.frame.output import say
from vmops.tasks.frame.selection import groups_with_lost, in_place
from vmops.tasks.frame.task import task
from vmops.tasks.frame.work import each, show_dry

if TYPE_CHECKING:
    from vmops.ops.guest.console import Line
    from vmops.ops.route import Group
    from vmops.tasks.guest.terminal import Ending

AFTER_INPUT_S = 5


@task(
    {
        "vm": options.ONE_VM,
        "lines": Option(
            "On a terminal: how many of its last lines to show first (default 20).",
            options.at_least(0),
        ),
        "force": Option("End the SSH session of whoever else is at this console."),
        "timeout": Option(
            f"In a pipe: seconds to go on after the input's end (default {AFTER_INPUT_S}).",
            options.at_least(0, "seconds"),
        ),
        "until": Option("Leave when the guest prints this; exit code 1 if it never does."),
    },
    asks_again=True,
)
def console(
    c: Context,
    vm: str | None = None,
    lines: int = 20,
    force: bool = False,
    timeout: int = AFTER_INPUT_S,
    until: str | None = None,
) -> None:
    """
    Sit at a VM's serial port; Ctrl-] leaves.

    Every other key goes to the guest. In a pipe, standard input goes to the guest, and what the
    guest prints goes to standard output.
    Example: fab console --vm vm1; echo reboot | fab console --vm vm1 --until login: --timeout 60
    """
    _check_sense(timeout)
    group, name = _only_one(groups_with_lost(c, vm, task="console", early=False), asked=vm)
    from vmops.ops.guest.console import ending, open_line

    if show_dry(c, [group], lambda g: open_line(g.route, name, lines=lines)):
        return
    from vmops.tasks.guest.terminal import Ending

    try:
        ((group, line),) = each(
            [group], lambda g: [(g, open_line(g.route, name, lines=lines, take_over=force))]
        )
    except NotRunning as error:
        raise in_place(c, name, error) from error
    with line.socket:
        ended = _talk(line, group, until=until or "", timeout=timeout)
    if ended is Ending.CLOSED:
        say(f"{group.route.worker.name}: {ending(group.route, line)}")
    in_vain = (Ending.CLOSED, Ending.LATE, *((Ending.LEFT,) if _at_a_terminal() else ()))
    if until and ended in in_vain:
        raise WorkFailed(f"{name} did not print {until!r}", worker=group.route.worker.name)


def _check_sense(timeout: int) -> None:
    """Raise InventoryError for what would be ignored."""
    if timeout != AFTER_INPUT_S and _at_a_terminal():
        raise InventoryError(
            "--timeout counts from the input's end, and a terminal's input has none: Ctrl-] leaves",
            cure="fab console --vm ... --timeout ... </dev/null",
        )


def _at_a_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _only_one(chosen: list[Group], *, asked: str | None) -> tuple[Group, str]:
    names = [vm.name for group in chosen for vm in group.vms]
    if len(names) != 1:
        raise InventoryError(
            f"a console shows one VM; --vm {asked} names {len(names)}: {', '.join(names)}",
            cure="fab logs --vm shows several",
        )
    return chosen[0], names[0]


def _talk(line: Line, group: Group, *, until: str, timeout: int) -> Ending:
    """Join the line with this terminal, or with the pipes that are in its place."""
    from vmops.tasks.guest.terminal import Ending, RawTerminal, Talk

    source = 0 if sys.stdin else os.open(os.devnull, os.O_RDONLY)
    text = until.encode()
    if not os.isatty(source):
        sys.stdout.flush()
        return Talk(line.socket, source, 1, until=text).carry(after_end_s=timeout)
    where = f"{line.vm} on {group.route.worker.name}"
    say(f"at the console of {where}; Ctrl-] leaves it")
    _show_recent(line.recent)
    with RawTerminal(source, 1) as terminal:
        ended = Talk(line.socket, source, 1, terminal=terminal, until=text).carry()
    say(f"\n{'end of' if ended is Ending.CLOSED else 'left'} the console of {where}")
    return ended


def _show_recent(printed: bytes) -> None:
    from vmops.tasks.frame import harmless

    sys.stdout.write(harmless.printed(printed))
    sys.stdout.flush()
