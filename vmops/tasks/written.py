"""Files of the operator's that a task writes: never over another one unasked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vmops.core.inventory.complaints import show
from vmops.errors import InventoryError
from vmops.tasks.frame.options import Option

FORCE = Option("Replace a file that exists.")

STDOUT = "-"
"""In place of a file's name: standard output, as with other programs."""


def but_for_stdout(name: str | None) -> str | None:
    """The name of a file, None for standard output, whether or not that is said."""
    return None if name == STDOUT else name


def new_file(name: str, *, option: str, force: bool) -> Path:
    """The file that an option names. Raises InventoryError for one that exists, unless `force`, and
    for one that cannot be: before anything is contacted."""
    try:
        path = Path(name).expanduser()
        if path.is_dir():
            raise InventoryError(f"{option} {show(name)} is a folder", cure="name a file in it")
        if not path.parent.is_dir():
            raise InventoryError(f"there is no folder {path.parent}")
        check_new([path], option=option, force=force)
    except (OSError, RuntimeError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise InventoryError(f"{option} {show(name)}: {why}") from error
    return path


def check_new(paths: Sequence[Path], *, option: str, force: bool) -> None:
    """Raise InventoryError for files that exist, unless `force`.

    What is no file, such as /dev/null or a pipe, has nothing in it that could be lost.
    """
    there = [str(path) for path in paths if path.exists() and not _has_nothing(path)]
    if there and not force:
        verb, them = ("exist", "them") if len(there) > 1 else ("exists", "it")
        raise InventoryError(
            f"{', '.join(there)} {verb} already",
            cure=f"--force replaces {them}; or another {option}",
        )


def _has_nothing(path: Path) -> bool:
    return path.is_fifo() or path.is_char_device() or path.is_socket()
