"""Bootable disks without root, loop devices or mounts: a FAT file system that SYSLINUX boots."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from .packages import Packages
from .tools import run, to_qcow2


def syslinux_disk(
    work: Path, packages: Packages, files: Mapping[str, bytes], *, size_mib: int
) -> Path:
    """A qcow2 in `work`: SYSLINUX and the given files, `syslinux.cfg` among them, in its root.

    The tools that make it (mtools, syslinux) are unpacked into `work`. Raises GuestBuildError.
    """
    tools = work / "tools"
    packages.unpack("mtools", tools)
    packages.unpack("syslinux", tools)
    packages.unpack("syslinux-common", tools, "*/modules/bios/ldlinux.c32")
    programs = tools / "usr" / "bin"
    env = {"PATH": f"{programs}:{os.environ['PATH']}"}

    raw = work / "disk.raw"
    sectors = size_mib * 2048
    run("mformat", "-C", "-i", raw, "-T", str(sectors), "-h", "16", "-s", "63", "::", env=env)
    run("syslinux", "--install", raw, env=env)
    for name, content in files.items():
        (work / name).write_bytes(content)
        run("mcopy", "-i", raw, work / name, f"::{name}", env=env)
    return to_qcow2(raw, work / "disk.qcow2")
