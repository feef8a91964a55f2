"""What the lab needs from this machine: Linux, root, and a few programs; and running them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from vmops.errors import WorkFailed

PACKAGES = {
    "cp": "coreutils",
    "dnsmasq": "dnsmasq-base",
    "ip": "iproute2",
    "kill": "procps",
    "nft": "nftables",
    "nsenter": "util-linux",
    "ovs-vsctl": "openvswitch-switch",
    "ovs-vswitchd": "openvswitch-switch",
    "ovsdb-server": "openvswitch-switch",
    "ovsdb-tool": "openvswitch-switch",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "runuser": "util-linux",
    "setpriv": "util-linux",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
    "sudo": "sudo",
    "unshare": "util-linux",
}
"""Each program that a lab runs, and the Debian package that has it."""

OVN_PACKAGES = {
    "ovn-controller": "ovn-host",
    "ovn-nbctl": "ovn-common",
    "ovn-northd": "ovn-central",
    "ovn-sbctl": "ovn-common",
}
"""The same for a lab with OVN."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8"}

PACKAGE_ROOT = Path(__file__).parents[2]
"""Where `python -m vmops...` finds this package, installed or not."""


def missing_packages(tools: Mapping[str, str] = PACKAGES) -> list[str]:
    """The packages whose programs are not on this machine."""
    return sorted({p for tool, p in tools.items() if shutil.which(tool, path=PATH) is None})


def require_tools() -> None:
    """Raise WorkFailed, with the cure, where this machine cannot hold a lab."""
    if sys.platform != "linux":
        raise WorkFailed(
            "a lab needs Linux: its workers are namespaces", cure="run it in a Linux machine or VM"
        )
    if os.geteuid() != 0:
        raise WorkFailed("a lab needs root: it makes namespaces and mounts", cure="use sudo")
    _require(PACKAGES)


def require_ovn() -> None:
    """Raise WorkFailed, with the cure, where this machine has no OVN."""
    _require(OVN_PACKAGES)


def _require(tools: Mapping[str, str]) -> None:
    packages = missing_packages(tools)
    if packages:
        raise WorkFailed(
            f"a lab needs programs that are not here, from {', '.join(packages)}",
            cure=f"apt-get install -y --no-install-recommends {' '.join(packages)}",
        )


def call(*argv: str, stdin: str = "") -> None:
    """Run a program to its end, in a plain environment. Raises WorkFailed with its last words.

    A daemon that keeps its standard error open is waited for.
    """
    done = subprocess.run(
        argv,
        input=stdin.encode(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        reason = "; ".join(said[-2:]) or f"exit code {done.returncode}"
        raise WorkFailed(f"{' '.join(argv[:2])} failed: {reason}")


def make_key(path: Path) -> None:
    """An SSH key pair at that path, unless it is there."""
    if not path.exists():
        call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "vmops lab", "-f", str(path))


def last_words(log: Path) -> str:
    """The last line of a log."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it gave no reason"
