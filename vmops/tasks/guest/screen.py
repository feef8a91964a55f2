"""Pictures of VMs' screens from the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vmops.errors import InventoryError
from vmops.tasks.frame import options
from vmops.tasks.frame.context import Context
from vmops.tasks.frame.options import Option
from vmops.tasks.frame.output import give, give_bytes
from vmops.tasks.frame.selection import groups_with_lost
from vmops.tasks.frame.task import task
from vmops.tasks.frame.work import Report, Work
from vmops.tasks.written import FORCE

if TYPE_CHECKING:
    from vmops.core.devices.picture import Picture
    from vmops.ops.guest.screen import Shot
    from vmops.tasks.guest.picture_files import Targets

STANDARD_OUTPUT = "-"


@task(
    {
        "vm": options.VM,
        "output": Option("Where the PNG goes: a file, a folder, or - for standard output."),
        "each": Option("With several VMs: save each one's picture too, beside the contact sheet."),
        "force": FORCE,
        "format": options.FORMAT,
    }
)
def screenshot(
    c: Context,
    vm: str | None = None,
    output: str | None = None,
    each: bool = False,
    force: bool = False,
    format: str = "text",
) -> Work[Shot]:
    """
    Save a VM's screen as PNG and print the file's name; of several VMs, one contact sheet.

    Without --output the file is named after the VM and the time. A VM without a picture gets an
    empty field on the sheet, with the reason, and the exit code is 1.
    Example: fab screenshot --vm vm1 --output vm1.png
    """
    from vmops.ops.guest.screen import screenshots
    from vmops.tasks.guest import picture_files

    groups = groups_with_lost(c, vm, task="screenshot", early=False)
    names = [item.name for group in groups for item in group.vms]
    if output == STANDARD_OUTPUT:
        _check_stdout(as_json=format == options.JSON, each=each)
        report: Report[Shot] = Report(lambda shots: _write(_whole(shots)))
    else:
        files = picture_files.targets(names, output or "", each=each, force=force)
        saved: list[Path] = []

        def save(shots: Sequence[Shot]) -> Sequence[Shot]:
            saved.extend(_save(shots, files))
            return shots

        report = Report(
            lambda _: give("\n".join(map(str, saved))) if saved else None,
            lambda shot: _as_dict(shot, files),
            merged=save,
        )
    return Work(groups, lambda g: screenshots(g.route, g.vms), report)


def _check_stdout(*, as_json: bool, each: bool) -> None:
    if as_json or each:
        raise InventoryError("--output - writes one picture alone: no --format json, no --each")
    if sys.stdout.isatty():
        raise InventoryError("--output -: a terminal cannot show a PNG", cure="send it to a file")


def _whole(shots: Sequence[Shot]) -> Picture | None:
    """The picture of the only VM, None where it has none; the contact sheet of several."""
    from vmops.tasks.guest.contact_sheet import Tile, contact_sheet

    if len(shots) == 1:
        return shots[0].picture
    return contact_sheet(
        [Tile(s.vm, s.worker, s.picture, s.error.what if s.error else "") for s in shots]
    )


def _write(picture: Picture | None) -> None:
    if picture is not None:
        give_bytes(picture.png)


def _save(shots: Sequence[Shot], targets: Targets) -> list[Path]:
    """Write the files that there are pictures for, and give their names."""
    from vmops.tasks.guest.picture_files import save

    pictures = {targets.main: _whole(shots)}
    pictures |= {targets.each[s.vm]: s.picture for s in shots if s.vm in targets.each}
    found = {path: picture for path, picture in pictures.items() if picture is not None}
    for path, picture in found.items():
        save(path, picture.png)
    return list(found)


def _as_dict(shot: Shot, targets: Targets) -> dict[str, Any]:
    own = targets.each.get(shot.vm, None if targets.is_sheet else targets.main)
    picture = shot.picture
    return {
        "vm": shot.vm,
        "worker": shot.worker,
        "width": picture.width if picture else None,
        "height": picture.height if picture else None,
        "file": str(own) if own and picture else None,
        "sheet": str(targets.main) if targets.is_sheet else None,
    }
