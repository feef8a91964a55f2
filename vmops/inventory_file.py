"""hosts.toml from disk; core/ itself reads no files."""

from __future__ import annotations

from pathlib import Path

from vmops.core.inventory.inventory import Inventory, parse
from vmops.errors import InventoryError


def load(path: Path | str) -> Inventory:
    """The inventory in the file at `path`, which messages call as it was given.

    Raises InventoryError: no such file, not readable, not UTF-8, or every fault inside it.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        cure = "write one (docs/inventory.md), or point VMOPS_HOSTS at it"
        raise InventoryError(f"{path}: there is no such file", cure=cure) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        what = f"{path}: line {line} is not UTF-8: byte 0x{error.object[error.start]:02x}"
        raise InventoryError(what, cure="save it as UTF-8") from error
    except OSError as error:
        cure = "VMOPS_HOSTS has to name a file that you can read"
        raise InventoryError(f"{path}: cannot be read: {error.strerror}", cure=cure) from error
    return parse(text, source=str(path))
