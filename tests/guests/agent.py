"""The small Linux with QEMU's guest agent, and ext4, in it. It needs `-m 128`."""

from __future__ import annotations

import gzip
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from .cache import built_once
from .disk import syslinux_disk
from .linux import _INITTAB, _entry, linux_image, unpacked_module
from .packages import Packages, newest_kernel
from .tools import run

_HERE = Path(__file__).parent
_START = _HERE / "agent.sh"
_DISK_MIB = 32

_LIBRARIES = {
    "libatomic1": ("libatomic.so.1",),
    "libcap2": ("libcap.so.2",),
    "libc6": ("libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2"),
    "libglib2.0-0t64|libglib2.0-0": ("libglib-2.0.so.0", "libgmodule-2.0.so.0"),
    "libnuma1": ("libnuma.so.1",),
    "libpcre2-8-0": ("libpcre2-8.so.0",),
    "libudev1": ("libudev.so.1",),
    "liburing2": ("liburing.so.2",),
}
"""What the agent is linked to, by package: the first two in Debian 13 alone, where one has another
name."""

_EXT4 = ("crc16", "crc32c_generic", "mbcache", "jbd2", "ext4")
"""A file system that can be frozen, as what the guest has in memory cannot. The guest loads them in
this order."""

_SYSLINUX = """\
default linux
label linux
  linux vmlinuz
  initrd initrd
  append console=tty0 console=ttyS0 quiet nokaslr no_timer_check
"""


def agent_image(cache: Path) -> Path:
    """A qcow2 of 32 MiB. Raises GuestBuildError as `linux_image` does.

    Its initrd is that of the small Linux, and a second archive behind it.
    """
    base = linux_image(cache)

    def build(work: Path) -> Path:
        packages, root = Packages(cache / "packages"), work / "packages"
        packages.unpack("qemu-guest-agent", root, "./usr/sbin/qemu-ga")
        for package, names in _LIBRARIES.items():
            packages.unpack(packages.first(package), root, *(f"*/{name}*" for name in names))
        _unpack_modules(packages, root)
        packages.unpack("mtools", work / "tools")
        raw = work / "base.raw"
        run("qemu-img", "convert", "-O", "raw", base, raw)
        env = {"PATH": f"{work / 'tools' / 'usr' / 'bin'}:{os.environ['PATH']}"}
        for name in ("vmlinuz", "initrd"):
            run("mcopy", "-i", raw, f"::{name}", work / f"base-{name}", env=env)
        more = gzip.compress(b"".join(_archive(root)), mtime=0)
        files = {
            "vmlinuz": (work / "base-vmlinuz").read_bytes(),
            "initrd": (work / "base-initrd").read_bytes() + more,
            "syslinux.cfg": _SYSLINUX.encode(),
        }
        return syslinux_disk(work, packages, files, size_mib=_DISK_MIB)

    return built_once(cache, "agent", inputs=[base.name, _START, _HERE / "agent.py"], build=build)


def _unpack_modules(packages: Packages, root: Path) -> None:
    """Those that the kernel has not built in."""
    kernel = newest_kernel()
    packages.unpack(kernel, root, "./*lib/modules/*/modules.builtin")
    (listed,) = root.rglob("modules.builtin")
    built_in = {Path(line).stem for line in listed.read_text().splitlines()}
    wanted = [name for name in _EXT4 if name not in built_in]
    packages.unpack(kernel, root, *(f"./*lib/modules/*/{name}.ko*" for name in wanted))


def _archive(root: Path) -> Iterator[bytes]:
    program = stat.S_IFREG | 0o755
    for folder in ("lib64", "lib", "var", "tmp"):
        yield _entry(folder, b"", mode=stat.S_IFDIR | 0o755)
    yield _entry("bin/qemu-ga", (root / "usr/sbin/qemu-ga").read_bytes(), mode=program)
    for name in (name for names in _LIBRARIES.values() for name in names):
        file = next(path for path in root.rglob(name) if path.exists())
        folder = "lib64" if name.startswith("ld-") else "lib"
        yield _entry(f"{folder}/{name}", file.read_bytes(), mode=program)
    found = {path.name.partition(".")[0]: path for path in root.rglob("*.ko*")}
    for name in (name for name in _EXT4 if name in found):
        yield _entry(f"lib/modules/{name}.ko", unpacked_module(found[name]), mode=program)
    yield _entry("etc/agent", _START.read_bytes(), mode=program)
    yield _entry("etc/inittab", f"{_INITTAB}::respawn:/etc/agent\n".encode(), mode=program)
    yield _entry("TRAILER!!!", b"", mode=0)
