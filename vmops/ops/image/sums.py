"""The sha256 of an image's file here, made once for each content.

It is kept in the user's cache beside what tells the file from what it was. A cache that cannot be
read or written costs the time of making the sum again, nothing else.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path

from vmops.core.images.names import is_digest
from vmops.remote.image.image_file import ImageFile

_SETTLED_NS = 2_000_000_000
"""A file that was changed within the resolution of its time may change again unseen."""

_MOST = 200


def digest_of(path: Path, image: ImageFile) -> str:
    """The sha256 of the file that is open as `image`. Raises OSError and ValueError."""
    key, identity = str(path.resolve()), image.identity
    known = _read()
    if known.get(key, {}).get("identity") == identity and is_digest(known[key].get("sha256", "")):
        return str(known[key]["sha256"])
    digest = image.digest()
    if time.time_ns() - image.changed_ns > _SETTLED_NS and image.identity == identity:
        known.pop(key, None)
        _write({**known, key: {"identity": identity, "sha256": digest}})
    return digest


def _file() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "vmops" / "images.json"


def _read() -> dict[str, dict[str, str]]:
    with suppress(OSError, ValueError, RuntimeError):
        found = json.loads(_file().read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return {key: value for key, value in found.items() if isinstance(value, dict)}
    return {}


def _write(known: dict[str, dict[str, str]]) -> None:
    newest = dict(list(known.items())[-_MOST:])
    with suppress(OSError, RuntimeError):
        file = _file()
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = file.with_suffix(f".{os.getpid()}.new")
        new.write_text(json.dumps(newest), encoding="utf-8")
        new.replace(file)
