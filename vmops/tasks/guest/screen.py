"""Pictures of VMs' screens from the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.tasks import task

from vmops.errors import InventoryError
from vmops.tasks.frame.common import FORMAT_HELP, VM_HELP, text_of
from vmops.tasks.frame.common import each as on_each
from vmops.tasks.frame.output import check_format, finish, give, give_bytes, give_json, reporting
from vmops.tasks.frame.selection import groups_of_vms

if TYPE_CHECKING:
    from vmops.core.devices.pictures import Picture
    from vmops.ops.guest.screen import Shot
    from vmops.ops.route import Group
    from vmops.tasks.guest.picture_files import Targets

STANDARD_OUTPUT = "-"


@task(
    help={
        "vm": VM_HELP,
        "output": "Where the PNG goes: a file, a folder, or - for standard output.",
        "each": "With several VMs: save each one's picture beside the contact sheet too.",
        "force": "Replace a file that is there.",
        "format": FORMAT_HELP,
    }
)
@reporting
def screenshot(
    c: Any,
    vm: str | None = None,
    output: str = "",
    each: bool = False,
    force: bool = False,
    format: str = "text",
) -> None:
    """
    Save a VM's screen as PNG and print the file's name; of several VMs, one contact sheet.

    Without --output the file is named by the VM and the time. A VM that has no picture gets an
    empty field on the sheet, with the reason, and the exit code is 1.
    Example: fab screenshot --vm vm1 --output vm1.png
    """
    from vmops.ops.guest.screen import screenshots
    from vmops.tasks.guest import picture_files

    as_json = check_format(format)
    groups = groups_of_vms(c, vm, task="screenshot")
    names = [item.name for group in groups for item in group.vms]
    targets = None
    if output == STANDARD_OUTPUT:
        _check_stdout(as_json=as_json, each=each)
    else:
        targets = picture_files.targets(names, output, each=each, force=force)
    if c.config.run.dry:
        _show_dump(groups)
        return
    shots: list[Shot] = on_each(groups, lambda g: screenshots(g.route, g.vms))
    if targets is None:
        _write(_whole(shots))
    else:
        saved = _save(shots, targets)
        if as_json:
            give_json([_as_dict(shot, targets) for shot in shots])
        else:
            for path in saved:
                give(str(path))
    finish([shot.error for shot in shots if shot.error is not None])


def _check_stdout(*, as_json: bool, each: bool) -> None:
    if as_json or each:
        raise InventoryError("--output - writes one picture alone: no --format json, no --each")
    if sys.stdout.isatty():
        raise InventoryError("--output -: a terminal cannot show a PNG", cure="send it to a file")


def _show_dump(groups: Sequence[Group]) -> None:
    from vmops.core.devices import screen
    from vmops.ops.dry import asked

    for group in groups:
        for vm in group.vms:
            path = screen.picture_path(vm.name, "NONCE")
            fetch = screen.fetch(vm.name, path)
            give(asked(group.route, vm.name, [screen.dump(path, png=True)], [fetch]))


def _whole(shots: Sequence[Shot]) -> Picture | None:
    """The picture of the only VM, None where it has none; the contact sheet of several."""
    from vmops.core.devices.pictures import Tile, contact_sheet

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
        "error": text_of(shot.error),
    }
