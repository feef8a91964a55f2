"""VMs' keyboards from the command line: sendkey and type."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vmops.errors import InventoryError
from vmops.tasks.frame import options
from vmops.tasks.frame.context import Context
from vmops.tasks.frame.harmless import one_line
from vmops.tasks.frame.options import Option, between
from vmops.tasks.frame.output import say
from vmops.tasks.frame.selection import groups_of_vms
from vmops.tasks.frame.task import task
from vmops.tasks.frame.work import Report, Work

if TYPE_CHECKING:
    from vmops.core.devices.keyboard import Chord
    from vmops.ops.guest.keyboard import Pressed

STANDARD_INPUT = "-"
LONGEST_HOLD_MS = 1000
_HOLD = "Milliseconds between two movements of a key; more for a guest that loses some."
_HOLD_RULE = between(1, LONGEST_HOLD_MS, "(milliseconds)")


@task(
    {
        "vm": options.VM,
        "keys": Option("Chords such as ctrl-alt-f2, separated by spaces or commas.", required=True),
        "hold": Option(f"{_HOLD} Default 100.", _HOLD_RULE),
        "format": options.FORMAT,
    }
)
def sendkey(
    c: Context,
    vm: str | None = None,
    keys: str | None = None,
    hold: int = 100,
    format: str = "text",
) -> Work[Pressed]:
    """
    Press keys on a VM's keyboard, using QEMU's names for them.

    Example: fab sendkey --vm vm1 --keys ctrl-alt-delete
    """
    from vmops.core.devices.keyboard import chords

    return _press(c, vm, chords(keys or ""), hold, "sendkey")


@task(
    {
        "vm": options.VM,
        "text": Option(
            r"The text; \n, \t, \b, \e and \\ as in C. With - it is standard input.", required=True
        ),
        "enter": Option("Press Enter afterwards."),
        "hold": Option(f"{_HOLD} Default 20.", _HOLD_RULE),
        "format": options.FORMAT,
    },
    name="type",
)
def type_text(
    c: Context,
    vm: str | None = None,
    text: str | None = None,
    enter: bool = False,
    hold: int = 20,
    format: str = "text",
) -> Work[Pressed]:
    r"""
    Type a text on a VM's keyboard, which is taken for a US one.

    A text that such a keyboard cannot type is refused before anything is sent.
    Example: fab type --vm vm1 --text 'root\n'
    """
    from vmops.core.devices.keyboard import typed, unescaped

    plain = _standard_input() if text == STANDARD_INPUT else unescaped(text or "")
    pressed = typed(plain + ("\n" if enter else ""))
    if not pressed:
        raise InventoryError("nothing to type", cure=r"as in: --text 'root\n'")
    return _press(c, vm, pressed, hold, "type")


def _standard_input() -> str:
    """All of it; nothing where this process was started without one."""
    try:
        return sys.stdin.read() if sys.stdin else ""
    except UnicodeDecodeError as error:
        raise InventoryError("--text -: standard input is not text in UTF-8") from error


def _press(
    c: Context, vm: str | None, pressed: Sequence[Chord], hold: int, name: str
) -> Work[Pressed]:
    from vmops.ops.guest import keyboard

    def tell(done: Sequence[Pressed]) -> None:
        for one in done:
            if one.error is None:
                word = "chord" if one.chords == 1 else "chords"
                say(one_line(f"{one.vm} on {one.worker}: {one.chords} {word} pressed"))
            elif one.chords:
                only = f"only {one.chords} of {len(pressed)} were pressed"
                say(one_line(f"{one.vm} on {one.worker}: {only}"))

    return Work(
        groups_of_vms(c, vm, task=name),
        lambda g: keyboard.press(g.route, g.vms, pressed, hold_ms=hold),
        Report(tell, _as_dict),
    )


def _as_dict(one: Pressed) -> dict[str, Any]:
    return {"vm": one.vm, "worker": one.worker, "chords": one.chords}
