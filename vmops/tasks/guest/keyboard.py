"""VMs' keyboards from the command line: sendkey and type."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from invoke.tasks import task

from vmops.errors import InventoryError
from vmops.tasks.frame.common import FORMAT_HELP, VM_HELP, each, text_of
from vmops.tasks.frame.output import check_format, finish, give, give_json, reporting, say
from vmops.tasks.frame.selection import groups_of_vms

if TYPE_CHECKING:
    from vmops.core.devices.keyboard import Chord
    from vmops.ops.guest.keyboard import Pressed
    from vmops.ops.route import Group

STANDARD_INPUT = "-"
LONGEST_HOLD_MS = 1000
HOLD_HELP = "Milliseconds between two movements of a key; more for a guest that loses some."


@task(
    help={
        "vm": VM_HELP,
        "keys": "Chords such as ctrl-alt-f2, several separated by spaces or commas.",
        "hold": f"{HOLD_HELP} Default 100.",
        "format": FORMAT_HELP,
    }
)
@reporting
def sendkey(
    c: Any, vm: str | None = None, keys: str = "", hold: int = 100, format: str = "text"
) -> None:
    """
    Press keys of a VM's keyboard, by the names that QEMU has for them.

    Example: fab sendkey --vm vm1 --keys ctrl-alt-delete
    """
    from vmops.core.devices.keyboard import chords

    _press(c, vm, chords(keys), hold, check_format(format), "sendkey")


@task(
    name="type",
    help={
        "vm": VM_HELP,
        "text": r"The text; \n, \t, \b, \e and \\ are read as in C. With - it is standard input.",
        "enter": "Press Enter behind it.",
        "hold": f"{HOLD_HELP} Default 20.",
        "format": FORMAT_HELP,
    },
)
@reporting
def type_text(
    c: Any,
    vm: str | None = None,
    text: str = "",
    enter: bool = False,
    hold: int = 20,
    format: str = "text",
) -> None:
    r"""
    Type a text on a VM's keyboard, as on a US one.

    A text that such a keyboard cannot type is refused before anything is sent.
    Example: fab type --vm vm1 --text 'root\n'
    """
    from vmops.core.devices.keyboard import typed, unescaped

    as_json = check_format(format)
    plain = sys.stdin.read() if text == STANDARD_INPUT else unescaped(text)
    pressed = typed(plain + ("\n" if enter else ""))
    if not pressed:
        raise InventoryError("nothing to type", cure=r"as in: --text 'root\n'")
    _press(c, vm, pressed, hold, as_json, "type")


def _press(
    c: Any, vm: str | None, pressed: Sequence[Chord], hold: int, as_json: bool, name: str
) -> None:
    if not 1 <= hold <= LONGEST_HOLD_MS:
        raise InventoryError(f"--hold {hold}: must be 1 to {LONGEST_HOLD_MS} (milliseconds)")
    from vmops.ops.guest import keyboard

    groups = groups_of_vms(c, vm, task=name)
    if c.config.run.dry:
        _show(groups, pressed, hold)
        return
    done: list[Pressed] = each(
        groups, lambda g: keyboard.press(g.route, g.vms, pressed, hold_ms=hold)
    )
    if as_json:
        give_json([_as_dict(one) for one in done])
    for one in done:
        if one.error is None and not as_json:
            say(f"{one.vm} on {one.worker}: {one.chords} {_word(one.chords)} pressed")
        elif one.error is not None and one.chords:
            say(f"{one.vm} on {one.worker}: only {one.chords} of {len(pressed)} were pressed")
    finish([one.error for one in done if one.error is not None])


def _as_dict(one: Pressed) -> dict[str, Any]:
    error = text_of(one.error)
    return {"vm": one.vm, "worker": one.worker, "chords": one.chords, "error": error}


def _word(count: int) -> str:
    return "chord" if count == 1 else "chords"


def _show(groups: Sequence[Group], pressed: Sequence[Chord], hold: int) -> None:
    """For `--dry`."""
    from vmops.core.devices.keyboard import bursts
    from vmops.ops.dry import asked

    requests = [request for burst in bursts(pressed, hold_ms=hold) for request in burst.requests]
    for group in groups:
        for vm in group.vms:
            give(asked(group.route, vm.name, requests))
