"""The programs that the builders run, and the Debian packages that bring them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

PACKAGES = {
    "apt-cache": "apt",
    "apt-get": "apt",
    "as": "binutils",
    "chromedriver": "chromium-driver",
    "chromium": "chromium",
    "dpkg-deb": "dpkg",
    "ld": "binutils",
    "mke2fs": "e2fsprogs",
    "mmdebstrap": "mmdebstrap",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "sfdisk": "fdisk",
    "tar": "tar",
}


class GuestBuildError(Exception):
    """A program that a builder needs is missing, or failed; the text says which and how."""


def require_tools(*tools: str) -> None:
    """Skip the running test when one of the tools is missing; fail it where CI is set."""
    import pytest

    absent = [tool for tool in tools if shutil.which(tool) is None]
    if not absent:
        return
    packages = " ".join(sorted({PACKAGES[tool] for tool in absent}))
    reason = f"{', '.join(absent)} not found; cure: apt-get install {packages}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def run(*argv: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> bytes:
    """Standard output of the command. Raises GuestBuildError when it is missing or fails.

    `env` is added to the environment of this process.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env=os.environ | (env or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
        )
    except FileNotFoundError as error:
        package = PACKAGES.get(words[0], words[0])
        raise GuestBuildError(f"{words[0]} not found; cure: apt-get install {package}") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip()
        raise GuestBuildError(f"{' '.join(words)} ended with {error.returncode}: {said}") from error
    return done.stdout


def to_qcow2(raw: Path, target: Path) -> Path:
    """Convert a raw disk. Not compressed: that makes an IDE boot three times slower."""
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, target)
    return target
