"""Where built disks are kept, so that each is built once and never seen half-built."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path


def cache_directory() -> Path:
    """`vmops/guests` under $XDG_CACHE_HOME, under ~/.cache, or in CI under the temporary folder.

    It need not exist: the first disk makes it.
    """
    home = os.environ.get("XDG_CACHE_HOME")
    if home:
        return Path(home) / "vmops" / "guests"
    if os.environ.get("CI"):
        return Path(tempfile.gettempdir()) / f"vmops-{os.getuid()}" / "guests"
    return Path.home() / ".cache" / "vmops" / "guests"


def built_once(
    cache: Path, name: str, *, inputs: Iterable[Path | str], build: Callable[[Path], Path]
) -> Path:
    """The file `name-<hash of the inputs>.qcow2` in `cache`, made by `build` when it is not there.

    `inputs` are files (their contents count) and strings. `build` gets an empty directory to work
    in and returns the finished file. Two processes build one after the other. When `build` fails
    or is interrupted the directory goes with all in it, and `cache` is as it was.
    """
    target = cache / f"{name}-{_digest(inputs)}.qcow2"
    if target.exists():
        return target
    cache.mkdir(mode=0o755, parents=True, exist_ok=True)
    with (cache / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=cache) as work:
                build(Path(work)).replace(target)
    return target


def _digest(inputs: Iterable[Path | str]) -> str:
    whole = hashlib.sha256()
    for item in inputs:
        content = item.read_bytes() if isinstance(item, Path) else item.encode()
        whole.update(hashlib.sha256(content).digest())
    return whole.hexdigest()[:16]
