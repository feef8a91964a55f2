"""A small Linux: Debian's kernel and busybox in a 16 MiB disk, all of it in memory once booted.

It has e1000 and virtio NICs, a root shell with the prompt `guest# ` on the serial port and on the
screen, and powers off at the ACPI button. It needs `-m 96`.
"""

from __future__ import annotations

import gzip
import lzma
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from .cache import built_once
from .disk import syslinux_disk
from .packages import Packages, newest_kernel
from .tools import GuestBuildError, run

PROMPT = "guest# "

_HERE = Path(__file__).parent
_INIT = _HERE / "linux_init.sh"
_SEED = _HERE / "linux_seed.sh"
_DISK_MIB = 16

SEED, TRAFFIC = "order-seed", "order-traffic"
"""Files that hold a list of modules each."""

_MODULES = (
    "button",
    "evdev",
    "e1000",
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "failover",
    "net_failover",
    "virtio_net",
    "virtio_blk",
    "virtio_console",
    "virtio_balloon",
)
"""In the order in which they are loaded: each after those it needs. A kernel may have some of them
built in."""

_SEED_MODULES = (
    "scsi_common",
    "scsi_mod",
    "libata",
    "ata_piix",
    "virtio_scsi",
    "cdrom",
    "sr_mod",
    "isofs",
)

_TRAFFIC_MODULES = (
    "llc",
    "stp",
    "bridge",
    "veth",
    "sch_netem",
    "sch_tbf",
    "sch_ingress",
    "cls_u32",
    "act_mirred",
    "ifb",
)

_SYSLINUX = """\
default linux
label linux
  linux vmlinuz
  initrd initrd
  append console=tty0 console=ttyS0 quiet nokaslr no_timer_check
"""

_INITTAB = """\
::sysinit:/etc/rc
ttyS0::respawn:-/bin/sh
tty1::respawn:-/bin/sh
::ctrlaltdel:/bin/reboot
"""

_INIT_SEED = "::once:/etc/seed\n"
_INIT_TRAFFIC = "::once:/etc/traffic\n"
_RUN_DISK = f"""\
#!/bin/sh
while read -r module; do
    insmod "/lib/modules/$module.ko"
done </lib/modules/{TRAFFIC}
exec /usr/sbin/sh /dev/vda >/dev/ttyS0 2>&1
"""

_POWER_BUTTON = "#!/bin/sh\nsync\npoweroff -f\n"


def linux_address(mac: str) -> str:
    """The address that the guest gives to the interface with this MAC: 10.P.H.L, prefix 16.

    P is the last byte of the MAC, H and L are the two before it: with a derived MAC, P is the
    position of the interface and H.L the `vm_id`. In the guest the interface is called ethP.
    """
    *_, high, low, position = (int(byte, 16) for byte in mac.split(":"))
    return f"10.{position}.{high}.{low}"


def linux_image(cache: Path) -> Path:
    """A qcow2 of 16 MiB. Fetches five Debian packages, 74 MB, when it has to be built.

    Raises GuestBuildError when a tool is missing or fails, or a package cannot be fetched.
    """
    return _image(cache, "linux", {})


def seed_image(cache: Path) -> Path:
    """The same Linux, which besides reads the CD of a first boot as linux_seed.sh has it: it takes
    hostname and addresses from there, says so on its serial port, and that it is ready.
    """
    return _image(cache, "linux-seed", {SEED: _SEED_MODULES})


def traffic_image(cache: Path) -> Path:
    """The same Linux with netem and the like, and this machine's own ip, tc, unshare and sh in
    /usr/sbin: busybox would run its own ones.

    What a disk holds that is its /dev/vda is run as a shell script.
    """
    return _image(
        cache, "linux-traffic", {TRAFFIC: _TRAFFIC_MODULES}, programs=("ip", "tc", "unshare", "sh")
    )


def _image(
    cache: Path, name: str, more: Mapping[str, Sequence[str]], *, programs: Sequence[str] = ()
) -> Path:
    """`more` are lists of modules by the file that holds each; with SEED among them the guest knows
    a seed. `programs` are brought along with the libraries that they need.
    """
    brought = _with_libraries(programs)

    def build(work: Path) -> Path:
        packages, root = Packages(cache / "packages"), work / "packages"
        image = newest_kernel()
        packages.unpack(image, root, "./boot/vmlinuz-*", "./*lib/modules/*/modules.builtin")
        (listed,) = root.rglob("modules.builtin")
        built_in = {Path(line).stem for line in listed.read_text().splitlines()}
        lists = {"order": _MODULES, **more}
        orders = {
            file: [name for name in names if name not in built_in] for file, names in lists.items()
        }
        wanted = [name for names in orders.values() for name in names]
        packages.unpack(image, root, *(f"./*lib/modules/*/{name}.ko*" for name in wanted))
        packages.unpack("busybox-static", root, "./*bin/busybox")
        (kernel,) = root.glob("boot/vmlinuz-*")
        files = {
            "vmlinuz": kernel.read_bytes(),
            "initrd": gzip.compress(b"".join(_initramfs(root, orders, brought)), mtime=0),
            "syslinux.cfg": _SYSLINUX.encode(),
        }
        return syslinux_disk(work, packages, files, size_mib=_DISK_MIB * (2 if brought else 1))

    sources = [_HERE / source for source in ("linux.py", "disk.py", "packages.py")]
    inputs = [_INIT, *([_SEED] if more else []), *sources, *brought.values()]
    return built_once(cache, name, inputs=inputs, build=build)


def _with_libraries(programs: Sequence[str]) -> dict[str, Path]:
    """Where in the guest each program is to lie, and each library of it, and where it lies here."""
    found = {}
    for program in programs:
        here = shutil.which(program, path=f"/usr/sbin:/sbin:{os.environ['PATH']}")
        if here is None:
            raise GuestBuildError(f"{program} not found; cure: apt-get install iproute2")
        found[f"usr/sbin/{program}"] = Path(here)
        for line in run("ldd", here).decode().splitlines():
            if path := re.search(r"(/\S+) \(0x", line):
                found[path[1].lstrip("/")] = Path(path[1])
    return found


def _initramfs(
    root: Path, orders: Mapping[str, Sequence[str]], brought: Mapping[str, Path]
) -> Iterator[bytes]:
    """The parts of a cpio archive, form `newc`."""
    folders = {"bin", "dev", "etc/acpi/PWRF", "lib/modules", "proc", "sys", "run"}
    folders |= {str(Path(file).parent) for file in brought}
    parents = {str(parent) for folder in folders for parent in Path(folder).parents}
    for folder in sorted((folders | parents) - {"."}):
        yield _entry(folder, b"", mode=stat.S_IFDIR | 0o755)
    program = stat.S_IFREG | 0o755
    (busybox,) = root.rglob("bin/busybox")
    yield _entry("bin/busybox", busybox.read_bytes(), mode=program)
    for link in ("init", "bin/sh"):
        yield _entry(link, b"/bin/busybox", mode=stat.S_IFLNK | 0o777)
    yield _entry("etc/rc", _INIT.read_bytes(), mode=program)
    has_seed = SEED in orders
    inittab = _INITTAB + (_INIT_SEED if has_seed else "")
    inittab += _INIT_TRAFFIC if TRAFFIC in orders else ""
    yield _entry("etc/inittab", inittab.encode(), mode=program)
    if has_seed:
        yield _entry("etc/seed", _SEED.read_bytes(), mode=program)
    yield _entry("etc/profile", f"PS1='{PROMPT}'\n".encode(), mode=program)
    yield _entry("etc/acpi/PWRF/00000080", _POWER_BUTTON.encode(), mode=program)
    for place, here in brought.items():
        yield _entry(place, here.read_bytes(), mode=program)
    if TRAFFIC in orders:
        yield _entry("etc/traffic", _RUN_DISK.encode(), mode=program)
    for name in (name for names in orders.values() for name in names):
        (file,) = root.rglob(f"{name}.ko*")
        yield _entry(f"lib/modules/{name}.ko", unpacked_module(file), mode=program)
    for order, modules in orders.items():
        listed = "".join(f"{module}\n" for module in modules)
        yield _entry(f"lib/modules/{order}", listed.encode(), mode=program)
    yield _entry("TRAILER!!!", b"", mode=0)


def unpacked_module(file: Path) -> bytes:
    """What the kernel loads."""
    module = file.read_bytes()
    return lzma.decompress(module) if file.suffix == ".xz" else module


def _entry(name: str, content: bytes, *, mode: int) -> bytes:
    """One file: thirteen numbers of eight hex digits, then name and content, each filled to 4."""
    fields = [0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0]
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
    return _filled(head) + _filled(content)


def _filled(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
