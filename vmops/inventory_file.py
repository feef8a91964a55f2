"""hosts.toml from disk; core/ itself reads no files."""

from __future__ import annotations

import gc
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from vmops.core.inventory.inventory import Inventory, parse
from vmops.errors import InventoryError

MAX_BYTES = 64 << 20
"""More than a hundred thousand VMs; a device that never ends is not read for ever."""


class _Identity(NamedTuple):
    """What tells a file from what it was, or from another, as far as can be told unread."""

    device: int
    inode: int
    changed_ns: int
    bytes: int


_reading = threading.RLock()
_from_pipes: dict[tuple[int, int], bytes] = {}
_inventories: dict[str, tuple[_Identity, Inventory]] = {}


def load(path: Path | str) -> Inventory:
    """The inventory in the file at `path`, which messages call as it was given.

    Relative paths inside it are taken from its folder, or where it is a pipe from the current one.
    A pipe, which gives what it holds only once, is read the first time and remembered.

    Raises InventoryError: no such file, not readable, not UTF-8, or every fault inside it.
    """
    try:
        with _reading:
            text = _content(Path(path)).decode("utf-8-sig")
    except FileNotFoundError as error:
        cure = "write one (docs/inventory.md), or point VMOPS_HOSTS at it; fab lab.up makes one"
        raise InventoryError(f"{path}: there is no such file", cure=cure) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        what = f"{path}: line {line} is not UTF-8: byte 0x{error.object[error.start]:02x}"
        raise InventoryError(what, cure="save it as UTF-8") from error
    except OSError as error:
        cure = "VMOPS_HOSTS has to name a file that you can read"
        raise InventoryError(f"{path}: cannot be read: {error.strerror}", cure=cure) from error
    with _no_collections():
        return parse(text, source=str(path), folder=str(_folder(Path(path))))


def load_once(path: Path | str) -> Inventory:
    """As `load`, for all who ask in this process: a file is read again only when it has changed."""
    with _reading:
        identity = _identity(Path(path))
        known = _inventories.get(str(path))
        if identity is not None and known is not None and known[0] == identity:
            return known[1]
        inventory = load(path)
        if identity is not None:
            _inventories[str(path)] = identity, inventory
        return inventory


def _content(path: Path) -> bytes:
    status = path.stat()
    is_pipe = stat.S_ISFIFO(status.st_mode)
    pipe = (status.st_dev, status.st_ino)
    if is_pipe and pipe in _from_pipes:
        return _from_pipes[pipe]
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise OSError(0, f"it holds more than {MAX_BYTES >> 20} MiB")
    if is_pipe and not content:
        raise OSError(0, "it is a pipe with nothing in it (was it read before?)")
    if is_pipe:
        _from_pipes[pipe] = content
    return content


def _folder(path: Path) -> Path:
    folder = path.absolute().parent
    is_nowhere = (
        not path.is_file() or folder.is_relative_to("/dev") or folder.is_relative_to("/proc")
    )
    return Path.cwd() if is_nowhere else folder


def _identity(path: Path) -> _Identity | None:
    """None where there is no such file, which is for `load` to say. A pipe has no time or size."""
    try:
        status = path.stat()
    except OSError:
        return None
    if stat.S_ISFIFO(status.st_mode):
        return _Identity(status.st_dev, status.st_ino, 0, 0)
    return _Identity(status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)


@contextmanager
def _no_collections() -> Iterator[None]:
    """A large file becomes a million objects, none of them garbage: looking for it costs a third
    of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
