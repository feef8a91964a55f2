"""A real Debian with the real cloud-init, made of packages: as small as one can be that has both.

It is a cloud image: nobody in it, the root on the last partition, to be grown, and a guest agent.
Virtio only. It needs `-m 384`; under TCG it takes a minute to boot.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .cache import built_once
from .packages import Packages
from .tools import run, to_qcow2

SUITE = "bookworm"

_PACKAGES = (
    "systemd-sysv",
    "udev",
    "dbus",
    "linux-image-cloud-amd64",
    "zstd",
    "cloud-init",
    "cloud-guest-utils",
    "fdisk",
    "e2fsprogs",
    "ifupdown",
    "iproute2",
    "iputils-ping",
    "netbase",
    "openssh-server",
    "qemu-guest-agent",
    "sudo",
)
_MIB = 1 << 20
_BOOT_MIB, _ROOT_MIB = 96, 900
_BOOT_AT, _ROOT_AT = 1, 1 + _BOOT_MIB

_SYSLINUX = """\
default linux
label linux
  linux vmlinuz
  initrd initrd
  append root=/dev/vda2 ro console=tty0 console=ttyS0 quiet no_timer_check net.ifnames=0
"""

_INTERFACES = "source-directory /etc/network/interfaces.d\\nauto lo\\niface lo inet loopback\\n"

_FINISH = f"""
set -eu
root=$1
printf '{_INTERFACES}' >"$root/etc/network/interfaces"
echo '/dev/vda2 / ext4 defaults 0 1' >"$root/etc/fstab"
rm -f "$root"/etc/ssh/ssh_host_*
: >"$root/etc/machine-id"
# systemd would take this one, and all guests would have it.
rm -f "$root/var/lib/dbus/machine-id"
echo 'locale: C.UTF-8' >"$root/etc/cloud/cloud.cfg.d/01_image.cfg"
for folder in usr/share/doc usr/share/man var/lib/apt/lists var/cache/apt; do
    rm -rf "$root/$folder"/*
done
cp "$root"/boot/vmlinuz-* vmlinuz
cp "$root"/boot/initrd.img-* initrd
rm -f "$root"/boot/initrd.img-*
# What mmdebstrap has mounted there is none of it.
cp --archive --one-file-system "$root" tree
mke2fs -q -t ext4 -L root -d tree root.ext4 {_ROOT_MIB}M
rm -rf --one-file-system tree
"""


def debian_image(cache: Path) -> Path:
    """A qcow2 of 1 GB. It takes two minutes and fetches some 150 MB when it has to be built.

    Raises GuestBuildError when a tool is missing (mmdebstrap, mke2fs, sfdisk) or fails.
    """

    def build(work: Path) -> Path:
        finish = work / "finish"
        finish.write_text(f"#!/bin/sh\ncd {work}\n{_FINISH}")
        finish.chmod(0o755)
        run(
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            f"--include={','.join(_PACKAGES)}",
            f'--customize-hook={finish} "$1"',
            SUITE,
            "/dev/null",
            cwd=work,
        )
        return _disk(work, Packages(cache / "packages"))

    inputs = [Path(__file__), Path(__file__).with_name("packages.py")]
    return built_once(cache, "debian-12-cloud", inputs=inputs, build=build)


def _disk(work: Path, packages: Packages) -> Path:
    """A partition that SYSLINUX boots, with kernel and initrd, and the root behind it."""
    tools = work / "tools"
    for package in ("mtools", "syslinux"):
        packages.unpack(package, tools)
    packages.unpack("syslinux-common", tools, "*/modules/bios/ldlinux.c32", "*/mbr/mbr.bin")
    programs = tools / "usr" / "bin"
    env = {"PATH": f"{programs}:{os.environ['PATH']}"}
    raw, offset = work / "disk.raw", _BOOT_AT * _MIB
    os.truncate(_made(raw), (_ROOT_AT + _ROOT_MIB + 1) * _MIB)
    table = work / "table"
    table.write_text(
        f"start={_BOOT_AT}MiB, size={_BOOT_MIB}MiB, type=c, bootable\n"
        f"start={_ROOT_AT}MiB, size={_ROOT_MIB}MiB, type=83\n"
    )
    run("sh", "-c", f"sfdisk --quiet --label dos {raw} <{table}")
    boot = f"{raw}@@{offset}"
    sectors = _BOOT_MIB * 2048
    run(
        "mformat",
        "-i",
        boot,
        "-T",
        str(sectors),
        "-h",
        "64",
        "-s",
        "32",
        "-H",
        "2048",
        "::",
        env=env,
    )
    run("syslinux", "--offset", str(offset), "--install", raw, env=env)
    (work / "syslinux.cfg").write_text(_SYSLINUX)
    for name in ("vmlinuz", "initrd", "syslinux.cfg"):
        run("mcopy", "-i", boot, work / name, f"::{name}", env=env)
    (boot_code,) = tools.rglob("syslinux/mbr/mbr.bin")
    with raw.open("r+b") as disk:
        disk.write(boot_code.read_bytes()[:440])
        disk.seek(_ROOT_AT * _MIB)
        with (work / "root.ext4").open("rb") as root:
            shutil.copyfileobj(root, disk, _MIB)
    return to_qcow2(raw, work / "disk.qcow2")


def _made(path: Path) -> Path:
    path.touch()
    return path
