"""What VMs printed: on their serial ports, and QEMU's own messages."""

from __future__ import annotations

import select
import sys
import threading
from collections.abc import Iterator, Sequence
from queue import Empty, Queue
from typing import TYPE_CHECKING

from invoke.exceptions import Exit

from vmops.errors import FleetFailed, NotRunning, VmopsError
from vmops.tasks.frame import options
from vmops.tasks.frame.context import Context
from vmops.tasks.frame.options import Option
from vmops.tasks.frame.output import complain, drop_output
from vmops.tasks.frame.selection import groups_with_lost, in_place
from vmops.tasks.frame.task import task
from vmops.tasks.frame.work import each, show_dry, where_they_are

if TYPE_CHECKING:
    from vmops.ops.guest.logs import Reading
    from vmops.ops.route import Group
    from vmops.tasks.guest.log_display import LogDisplay

LINES = 100
_LOOK_AT_READER_S = 0.5
_MOST_WAITING = 16
"""Readings that nobody has looked at yet. No more are made while the terminal stands still."""


@task(
    {
        "vm": options.VM,
        "follow": Option("Go on with what is printed from now on, until Ctrl-C or the VM's end."),
        "lines": Option(
            f"How many of the last lines to begin with (default {LINES}).", options.at_least(0)
        ),
        "qemu": Option("Show QEMU's own messages only."),
        "raw": Option("Let the guest's control characters through to this terminal."),
    },
    asks_again=True,
)
def logs(
    c: Context,
    vm: str | None = None,
    follow: bool = False,
    lines: int = LINES,
    qemu: bool = False,
    raw: bool = False,
) -> None:
    """
    Show what VMs printed on their serial ports.

    QEMU's own messages go to standard error. This works while the run directory exists, so after a
    crash too. With several VMs each line begins with the VM's name.
    Example: fab logs --vm vm1 -f
    """
    from vmops.tasks.guest.log_display import LogDisplay

    groups = groups_with_lost(c, vm, task="logs")
    from vmops.ops.guest.logs import read

    def read_one(group: Group) -> list[Reading]:
        return read(group.route, _names(group), lines=lines)

    if show_dry(c, groups, read_one):
        return
    display = LogDisplay(
        several=sum(len(group.vms) for group in groups) > 1,
        for_terminal=sys.stdout.isatty() and not raw,
        only_qemu=qemu,
    )
    found = _followed(where_they_are(c, groups), lines) if follow else iter(each(groups, read_one))
    placed = (_placed(c, reading) for reading in found)
    errors = _show(display, placed, following=follow)
    if errors:
        raise Exit(code=FleetFailed(errors).exit_code)


def _names(group: Group) -> list[str]:
    return [vm.name for vm in group.vms]


def _placed(c: Context, reading: Reading) -> Reading:
    if not isinstance(reading.error, NotRunning):
        return reading
    return reading._replace(error=in_place(c, reading.vm, reading.error))


def _show(
    display: LogDisplay, found: Iterator[Reading], *, following: bool
) -> Sequence[VmopsError]:
    """Show the readings as they come, and each failure once; give the failures."""
    errors: dict[str, VmopsError] = {}
    try:
        for reading in found:
            if reading.error is None:
                display.show(reading)
                if not following:
                    display.finish(reading.vm)
            elif str(reading.error) not in errors:
                errors[str(reading.error)] = reading.error
                complain([reading.error])
        display.end()
    except BrokenPipeError:
        drop_output()
    except KeyboardInterrupt:
        if not following:
            raise
        display.end()
    return list(errors.values())


def _followed(groups: list[Group], lines: int) -> Iterator[Reading]:
    """What all workers have to say, in the order in which it comes.

    Raises BrokenPipeError when the reader of standard output has left.
    """
    from vmops.ops.guest.logs import follow

    news: Queue[list[Reading] | None] = Queue(_MOST_WAITING)

    def listen(group: Group) -> None:
        try:
            for readings in follow(group.route, _names(group), lines=lines):
                news.put(readings)
        finally:
            news.put(None)

    for group in groups:
        threading.Thread(target=listen, args=(group,), daemon=True).start()
    listening = len(groups)
    while listening:
        try:
            readings = news.get(timeout=_LOOK_AT_READER_S)
        except Empty:
            readings = []
        listening -= readings is None
        yield from readings or []
        if _reader_is_gone():
            raise BrokenPipeError


def _reader_is_gone() -> bool:
    """True when nobody can read standard output any more, which a guest that prints nothing would
    not let us notice."""
    watched = select.poll()
    watched.register(sys.stdout.fileno(), 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in watched.poll(0))
