"""The files that screenshots are saved to: named, never overwritten unasked, whole or absent."""

from __future__ import annotations

import itertools
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from vmops.core.inventory.complaints import show
from vmops.errors import InventoryError, WorkFailed
from vmops.tasks.written import check_new

SUFFIX = ".png"
SHEET = "screens"
"""What a contact sheet is called, before the time, when nobody names it."""


class Targets(NamedTuple):
    """The files to be written: the only VM's or the sheet, and each VM's own beside a sheet."""

    main: Path
    is_sheet: bool
    each: Mapping[str, Path] = MappingProxyType({})


def targets(vms: Sequence[str], output: str, *, each: bool, force: bool) -> Targets:
    """The files for pictures of these VMs. Raises InventoryError when one of them cannot be.

    An empty `output`, or a folder, gets a file that is named by the VM and the time.
    """
    try:
        return _targets(vms, output, each=each, force=force)
    except (OSError, RuntimeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise InventoryError(f"--output {show(output)}: {why}") from error


def _targets(vms: Sequence[str], output: str, *, each: bool, force: bool) -> Targets:
    main = Path(output).expanduser()
    if not output or main.is_dir():
        name = vms[0] if len(vms) == 1 else SHEET
        main = _unused(main / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}{SUFFIX}")
    if output.endswith(os.sep) and not main.is_dir():
        raise InventoryError(f"there is no folder {main}")
    if main.suffix.lower() != SUFFIX:
        raise InventoryError(f"--output {output!r}: a picture's name ends in {SUFFIX}")
    beside = {vm: main.with_stem(f"{main.stem}-{vm}") for vm in vms} if each else {}
    found = Targets(main, len(vms) > 1, beside if len(vms) > 1 else {})
    if not main.parent.is_dir():
        raise InventoryError(f"there is no folder {main.parent}")
    check_new([found.main, *found.each.values()], option="--output", force=force)
    return found


def _unused(path: Path) -> Path:
    """This name, or with a number behind it when there is one of the same second."""
    numbered = (path.with_stem(f"{path.stem}-{number}") for number in itertools.count(2))
    return next(each for each in itertools.chain([path], numbered) if not each.exists())


def save(path: Path, data: bytes) -> None:
    """Write the file whole, or leave what was there. Raises WorkFailed.

    It is written under a name that is nobody's yet: a link that others put there is not followed.
    """
    unfinished = path.with_name(f".vmops-{secrets.token_hex(8)}")
    try:
        try:
            with unfinished.open("xb") as file:
                file.write(data)
            unfinished.replace(path)
        finally:
            with suppress(FileNotFoundError):
                unfinished.unlink()
    except OSError as error:
        raise WorkFailed(f"cannot write {path}: {error.strerror}") from error
