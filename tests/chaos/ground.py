"""One worker to try things on: the VMs that are operated on, and strangers to leave alone."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.guests import PowerButton, boot_sector_image, cache_directory
from vmops.core.images.names import Base
from vmops.lab import Lab, WorkerStatus

from .operations import State
from .outside import Look, differences, is_same, look
from .tags import TagWatch
from .targets import CHANGED, NEIGHBOUR, TARGETS, WEB_PORT, Image, Target, hosts_toml

ROOT = Path(__file__).parents[2]
FAB = str(Path(sys.executable).parent / "fab")
HANG_S = 120.0
"""No command may take longer, whatever becomes of the network."""
SETTLE_S = 60.0
"""So long a worker may go on after its operator has left."""

STRANGERS = """
set -e
cd /home/ubuntu/vm_images
ip tuntap add mode tap name tap_900_eth1
ip link set tap_900_eth1 up
ovs-vsctl add-port br-int tap_900_eth1 tag=102
qemu-img create -q -f qcow2 foreign.qcow2 1M
qemu-system-x86_64 -accel tcg -m 32 -display none -serial none -name web1x -daemonize \\
    -netdev tap,id=net0,ifname=tap_900_eth1,script=no,downscript=no -device e1000,netdev=net0 \\
    -drive file=foreign.qcow2,format=qcow2
ip tuntap add mode tap name tap_901_eth1
ip link set tap_901_eth1 alias somebody
ovs-vsctl add-port br-int gone0 tag=103 -- set Interface gone0 external_ids:note=somebody
setsid bash -c 'exec -a "qemu-system-x86_64 -name web1" sleep infinity' </dev/null >/dev/null 2>&1 &
cd /var/tmp/images
setsid python3 -m http.server --bind 127.0.0.1 "$1" </dev/null >/dev/null 2>&1 &
"""
"""A QEMU that a hand has started, its TAP and port; a TAP of nobody's; a port without a device; a
process that `pgrep -f 'qemu.*web1'` finds; and a server with an image."""

FOLDER = "/home/ubuntu/vm_images/.vmops"
PRISTINE = "/var/tmp/images"
"""What images and disks are brought from."""

DOCUMENTED = """
set -e
ip tuntap add mode tap name tap_1_eth1
ip tuntap add mode tap name tap_1_eth2
ip link set dev tap_1_eth1 up
ip link set dev tap_1_eth2 up
ovs-vsctl --may-exist add-port br-int tap_1_eth1 tag=101
ovs-vsctl --may-exist add-port br-int tap_1_eth2 tag=102
qemu-system-x86_64 -m 32 -smp 1 -vnc 127.0.0.1:1 \\
    -netdev tap,id=net0,ifname=tap_1_eth1,script=no,downscript=no -device e1000,netdev=net0 \\
    -netdev tap,id=net1,ifname=tap_1_eth2,script=no,downscript=no -device e1000,netdev=net1 \\
    -drive file=/home/ubuntu/vm_images/web1.qcow2,format=qcow2 -daemonize
"""
"""web1 as the documented system starts it."""

BRING = """
set -e
cd /home/ubuntu/vm_images/.vmops
head -c "$3" "/var/tmp/images/$1" >"$2"
chown ubuntu:ubuntu "$2"
chmod "$4" "$2"
"""
"""An image, or its beginning, past vmops."""

WIPE = """
for t in "$@"; do
    ovs-vsctl --timeout=10 --if-exists del-port "$t"
    ip link del "$t" 2>/dev/null
done
for vm in web1 web2 web3 deaf1 disk1 plug1; do
    umount -l /run/vmops/$vm/log 2>/dev/null
    rm -rf /run/vmops/$vm
done
true
"""

FORGET = """
for t in "$@"; do ip link del "$t"; done
rm -rf /run/vmops/web1
"""


class Hung(Exception):
    """Something did not come to its end in time."""


def await_it(
    condition: Callable[[], bool], what: str, *, seconds: float, every: float = 0.05
) -> None:
    """Return when the condition holds. Raises Hung."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Hung(f"{what}, still after {seconds:.0f} s")
        time.sleep(every)


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    words: tuple[str, ...]
    code: int
    out: str
    err: str
    began: float
    seconds: float

    def __str__(self) -> str:
        return f"fab {' '.join(self.words)}: exit {self.code}; {self.out}{self.err}".strip()


class Command:
    """A `fab` that runs."""

    def __init__(self, ground: Ground, words: Sequence[str], *, changed: bool) -> None:
        self.words = tuple(words)
        self.began = time.monotonic()
        self._files = [ground.fresh_file() for _ in range(2)]
        inventory = ground.changed_toml if changed else ground.hosts_toml
        with self._files[0].open("wb") as out, self._files[1].open("wb") as err:
            self.process = subprocess.Popen(
                [FAB, *words],
                cwd=ROOT,
                env={**os.environ, "VMOPS_HOSTS": str(inventory), "NO_COLOR": "1"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def runs_at(self, moment: float) -> bool:
        """Wait until so many seconds after its start; False when it has ended before."""
        try:
            self.process.wait(max(0.0, self.began + moment - time.monotonic()))
        except subprocess.TimeoutExpired:
            return True
        return False

    def end(self) -> Said:
        """Wait for its end. Raises Hung, and kills it, when that takes too long."""
        try:
            code = self.process.wait(HANG_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Hung(f"hang: fab {' '.join(self.words)} took over {HANG_S:.0f} s") from None
        out, err = (file.read_text(errors="replace") for file in self._files)
        for file in self._files:
            file.unlink()
        return Said(self.words, code, out, err, self.began, time.monotonic() - self.began)


IMAGE_BYTES = 3 << 20


def _made_image(folder: Path, name: str) -> Image:
    """The boot sector as a raw image of some size that cannot be packed."""
    path = folder / name
    source = boot_sector_image(cache_directory(), PowerButton.ONCE)
    argv = ("qemu-img", "convert", "-O", "raw", str(source), str(path))
    subprocess.run(argv, check=True, timeout=60)
    begin = path.read_bytes()
    rest = random.Random(name).randbytes(IMAGE_BYTES - len(begin))
    path.write_bytes(begin + rest)
    base = Base(hashlib.sha256(begin + rest).hexdigest(), "raw")
    return Image(name, base, str(path) if name == "sent" else "")


class Ground:
    """A worker of a lab, for one user at a time. `fresh` makes it; `end` stops listening to it."""

    def __init__(self, lab: Lab, worker: str, folder: Path) -> None:
        self.lab = lab
        self.worker = worker
        self.folder = folder
        self.hosts_toml = folder / "hosts.toml"
        self.changed_toml = folder / "changed.toml"
        self.images = tuple(_made_image(folder, name) for name in ("sent", "fetched"))
        self.baseline: Look
        self._files = itertools.count()
        self._build()
        self.tags = TagWatch(lab, worker)
        self.baseline = self.look()

    def end(self) -> None:
        """Stop listening."""
        self.tags.end()

    def fresh_file(self) -> Path:
        """A name that no command has used yet."""
        return self.folder / f"said{next(self._files)}"

    def fab(self, *words: str, changed: bool = False) -> Said:
        """Run a command to its end. Raises Hung."""
        return Command(self, words, changed=changed).end()

    def status(self) -> WorkerStatus:
        """What the relay has counted, and its fault."""
        return next(w for w in self.lab.status().workers if w.name == self.worker)

    def look(self) -> Look:
        """The worker as it is."""
        return look(self.lab, self.worker, TARGETS, self.images)

    def touched(self, seen: Look) -> list[str]:
        """A line for everything that is not as it was, and belongs to no target."""
        return differences(self.baseline.others, seen.others)

    def settled(self, *, sessions: bool = True) -> tuple[Look, list[str]]:
        """The worker when it has come to rest, with a line for each reason why it has not.

        Without `sessions` it may keep SSH sessions open, and what waits in them; what is there has
        to stay as it is for a moment, then.
        """
        seen = [self.look()]

        def is_so() -> bool:
            seen.append(self.look())
            calm = not self._unrest(seen[-1], sessions=sessions)
            return calm and (sessions or is_same(seen[-1], seen[-2]))

        if not sessions or self._unrest(seen[0], sessions=True):
            try:
                await_it(is_so, "no rest", seconds=SETTLE_S, every=0.1 if sessions else 0.5)
            except Hung:
                return seen[-1], self._unrest(seen[-1], sessions=sessions)
        return seen[-1], []

    def _unrest(self, seen: Look, *, sessions: bool) -> list[str]:
        lines = [f"lock held: {path}" for path in seen.flocks]
        for name, found in seen.qemus.items():
            if len(found) > 1:
                lines.append(f"two QEMUs of {name}: {found}")
        touched = self.touched(seen)
        if sessions:
            lines += [f"{seen.sessions} SSH sessions are left"] if seen.sessions else []
        else:
            touched = [line for line in touched if not line.startswith("new: process")]
        return lines + [f"stranger touched: {line}" for line in touched]

    def prepare(self, state: State, vms: Sequence[str], *, sessions: bool = True) -> Look:
        """Bring these VMs into a state, the others to nothing. Raises Hung, RuntimeError.

        Without `sessions` those that are open may stay.
        """
        self.wipe()
        self._bring(state, vms)
        plug = ("plug",)
        tasks = {"plugged": plug, "rebooted": plug, "paused": ("launch", "pause")}
        tasks |= dict.fromkeys(("gone", "documented", "absent", "partial", "whole"), ())
        for task in tasks.get(state, ("launch",)):
            said = self.fab(task, "--vm", ",".join(vms))
            if said.code != 0:
                raise RuntimeError(f"cannot prepare {state}: {said}")
        if state == "crashed":
            self._kill_qemus()
        if state == "kept":
            self._kill_qemus()
            self._remove_remains()
        if state == "documented":
            self.lab.run(self.worker, ("sh", "-c", DOCUMENTED))
        if state == "rebooted":
            taps = [tap for target in TARGETS if target.name in vms for tap in target.taps]
            self.lab.run(self.worker, ("sh", "-c", FORGET, "sh", *taps))
        seen, unrest = self.settled(sessions=sessions)
        if unrest:
            raise RuntimeError(f"cannot prepare {state}: {'; '.join(unrest)}")
        self.tags.take()
        return seen

    def wipe(self) -> None:
        """Remove every target past vmops: QEMUs, ports, TAPs, run directories, images.

        Their own disks are as they were made then, without the snapshots of an operation before.
        """
        self._kill_qemus()
        self._remove_remains()
        disks = [f"{PRISTINE}/{target.image}" for target in TARGETS if not target.disk_gb]
        restore = f'rm -f {FOLDER}/*; cp "$@" {FOLDER}/..'
        self.lab.run(self.worker, ("sh", "-c", restore, "sh", *disks))

    def _remove_remains(self) -> None:
        taps = [tap for target in TARGETS for tap in target.taps]
        self.lab.run(self.worker, ("sh", "-c", WIPE, "sh", *taps))

    def _bring(self, state: State, vms: Sequence[str]) -> None:
        """The image that is in that state; and whole, for a VM whose disk is made of it."""
        for image in self.images:
            mine = image.name in vms
            stands = image.file and "disk1" in vms
            if state == "absent" or not (mine or stands):
                continue
            part = mine and state == "partial"
            size = IMAGE_BYTES // 2 if part else IMAGE_BYTES
            name = f"{image.base.name}.part" if part else image.base.name
            mode = "0600" if part else "0400"
            words = ("sh", "-c", BRING, "sh", image.name, name, str(size), mode)
            self.lab.run(self.worker, words)

    def _kill_qemus(self) -> None:
        def none_left() -> bool:
            pids = [str(pid) for found in self.look().qemus.values() for pid, _ in found]
            if pids:
                self.lab.run(self.worker, ("kill", "-9", *pids), check=False)
            return not pids

        await_it(none_left, "a QEMU that does not die", seconds=SETTLE_S)

    def _build(self) -> None:
        """Inventories, disks, and the strangers."""
        inventory = self.lab.inventory.read_text()
        neighbour = self.folder / "neighbour.toml"
        for path, vms in ((self.hosts_toml, TARGETS), (self.changed_toml, CHANGED)):
            path.write_text(hosts_toml(inventory, (*self.images, *vms), self.worker))
        neighbour.write_text(hosts_toml(inventory, [NEIGHBOUR], self.worker))
        make = f"mkdir -p {PRISTINE}; install -d -m 0700 -o ubuntu -g ubuntu {FOLDER}"
        self.lab.run(self.worker, ("sh", "-c", make))
        for target in (*TARGETS, NEIGHBOUR):
            if not target.disk_gb:
                self._make_disk(target)
        for image in self.images:
            data = (self.folder / image.name).read_bytes()
            self.lab.run(self.worker, ("sh", "-c", f"cat >{PRISTINE}/{image.name}"), stdin=data)
        said = subprocess.run(
            [FAB, "launch", "--vm", NEIGHBOUR.name],
            cwd=ROOT,
            env={**os.environ, "VMOPS_HOSTS": str(neighbour)},
            check=False,
            capture_output=True,
            text=True,
        )
        if said.returncode != 0:
            raise RuntimeError(f"cannot launch the neighbour: {said.stderr}")
        self.lab.run(self.worker, ("bash", "-c", STRANGERS, "bash", str(WEB_PORT)))

    def _make_disk(self, target: Target) -> None:
        button = PowerButton.DEAF if target.deaf else PowerButton.ONCE
        data = boot_sector_image(cache_directory(), button).read_bytes()
        path, kept = f"/home/ubuntu/vm_images/{target.image}", f"{PRISTINE}/{target.image}"
        write = f"cat >{kept} && cp {kept} {path} && chown ubuntu:ubuntu {path}"
        self.lab.run(self.worker, ("sh", "-c", write), stdin=data)
