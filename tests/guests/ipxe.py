"""Guests made of iPXE: one that answers ping, and an empty disk, where the NIC's own ROM runs.

With nothing to boot, SeaBIOS runs the ROM of the first NIC, which sends DHCP DISCOVER: the
cheapest proof of what is on the wire. That one needs no build and no memory beyond `-m 32`.
"""

from __future__ import annotations

import uuid
from pathlib import Path

from .cache import built_once
from .disk import syslinux_disk
from .packages import Packages
from .tools import run

_HERE = Path(__file__).parent
_DISK_MIB = 4

_COMMANDS = (
    "set net0/ip 10.78.${smbios/1.22.1:uint8}.${smbios/1.23.1:uint8}",
    "set net0/netmask 255.255.0.0",
    "ifopen net0",
    "echo VMOPS-GUEST-UP ${net0/ip}",
    "prompt",
)
"""SMBIOS structure 1 holds the UUID in bytes 8 to 23. `prompt` waits for ever, answering ping."""

_SYSLINUX = f"""\
default ipxe
label ipxe
  linux ipxe.lkrn
  append {" && ".join(_COMMANDS)}
"""


def ipxe_address(vm_uuid: str) -> str:
    """The address of the guest that QEMU started with this `-uuid`: 10.78 and its last two bytes.

    The prefix is 16. iPXE cannot cut the bytes out of a MAC, so the UUID gives them.
    """
    high, low = uuid.UUID(vm_uuid).bytes[-2:]
    return f"10.78.{high}.{low}"


def ipxe_image(cache: Path) -> Path:
    """A qcow2 of 4 MiB that answers ping on its first NIC, e1000 or virtio. It needs `-m 32`.

    Its banner is on the screen only: it has no serial console. It ignores the power button.
    Raises GuestBuildError when a tool is missing or fails, or a package cannot be fetched.
    """

    def build(work: Path) -> Path:
        packages = Packages(cache / "packages")
        packages.unpack("ipxe", work / "ipxe", "./*/ipxe.lkrn")
        (kernel,) = (work / "ipxe").rglob("ipxe.lkrn")
        files = {
            "ipxe.lkrn": kernel.read_bytes(),
            "syslinux.cfg": _SYSLINUX.encode(),
        }
        return syslinux_disk(work, packages, files, size_mib=_DISK_MIB)

    inputs = [_HERE / name for name in ("ipxe.py", "disk.py", "packages.py")]
    return built_once(cache, "ipxe", inputs=inputs, build=build)


def empty_image(path: Path) -> Path:
    """Make a qcow2 of 1 MiB with nothing on it at `path`, and give `path` back."""
    run("qemu-img", "create", "-q", "-f", "qcow2", path, "1M")
    return path
