"""A VM that runs gets an interface, and goes to another worker with its disk: by vmops and by
virsh, in turns, in one lab.

virsh has libvirtd send memory and disk from worker to worker over a network of their own, by ports
that it opens there; vmops sends both through two SSH connections and this machine.
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

from bench.errors import BenchFailed
from bench.machines import DISK, machine
from bench.place import Place
from bench.processes import Call
from bench.tables import table
from bench.ways import virsh, vmops
from bench.ways.documented import label
from vmops.core.inventory.model import VM, Interface

DATA_MIB = 256
MORE = Interface("eth2", vlan_id=102)
_ENDS = ("198.51.100.1", "198.51.100.2")

_KEEP = f"""
set -e
cat >/tmp/disk.raw
head -c {DATA_MIB}M /dev/urandom >>/tmp/disk.raw
qemu-img convert -f raw -O qcow2 /tmp/disk.raw /var/tmp/pristine.qcow2
rm /tmp/disk.raw
mkdir -p /home/ubuntu/vm_images
chown ubuntu: /home/ubuntu/vm_images
"""
_UNDERLAY = """
ovs-vsctl add-port br-int underlay tag=4094 -- set Interface underlay type=internal
ip address add "$1/24" dev underlay
ip link set underlay up
"""
_CLEAR = """
rm -rf "$1" /home/ubuntu/vm_images/.vmops
[ "$2" = none ] || cp /var/tmp/pristine.qcow2 "$1"
[ "$2" != empty ] || qemu-img create -q -f qcow2 "$1" \\
    "$(qemu-img info /var/tmp/pristine.qcow2 | sed -n 's/^virtual size: .*(\\([0-9]*\\) .*/\\1/p')"
[ ! -e "$1" ] || chown ubuntu: "$1"
"""


class Taken(NamedTuple):
    """Seconds of each, and how long the guest stood still for the move, as each way says itself."""

    plug_s: float
    move_s: float
    dark_ms: float


class Mover(Protocol):
    """One way to do it. The VM does not run before `start`, nor after `end`."""

    lands_on: str
    """What has to lie there before: `none`, or an `empty` disk."""

    def start(self) -> None:
        """On the first worker."""

    def plug(self) -> None:
        """One interface more."""

    def move(self) -> float:
        """To the second worker; gives the milliseconds that its guest stood still."""

    def end(self) -> None:
        """Wherever it runs."""


def moving(place: Place, rounds: int, *, say: Callable[[str], None]) -> str:
    """The table. Raises BenchFailed when something fails."""
    here, there = place.grow(2)
    vm = machine("moves", worker=here, interfaces=1)
    for worker, address in zip((here, there), _ENDS, strict=True):
        place.inside(worker, ["sh", "-c", _KEEP], stdin=DISK)
        place.inside(worker, ["sh", "-ec", _UNDERLAY, "sh", address])
    ways: dict[str, Mover] = {"vmops": ByVmops(place, vm, there)}
    missing = "" if (by := ByVirsh.of(place, vm, there)) else virsh.CURE
    if by:
        ways["virsh"] = by
    taken: dict[str, list[Taken]] = {way: [] for way in ways}
    for number in range(rounds):
        for name, way in ways.items():
            say(f"round {number + 1}: {name}")
            taken[name].append(_round(place, vm, there, way))
    load = f"Load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, {rounds} rounds; medians."
    parts = [load, f"A VM of {vm.ram_mb} MiB whose guest halts, with {DATA_MIB} MiB on its disk"]
    parts.append(table(("way", "an interface, s", "move, s", "dark, ms"), list(_rows(taken))))
    return "\n\n".join([*parts, *([f"virsh: {missing}"] if missing else [])])


def _rows(taken: Mapping[str, Sequence[Taken]]) -> list[list[str]]:
    return [
        [
            way,
            f"{statistics.median(one.plug_s for one in found):.2f}",
            f"{statistics.median(one.move_s for one in found):.2f}",
            f"{statistics.median(one.dark_ms for one in found):.0f}",
        ]
        for way, found in taken.items()
    ]


def _round(place: Place, vm: VM, there: str, way: Mover) -> Taken:
    for worker, disk in ((str(vm.worker), "pristine"), (there, way.lands_on)):
        place.inside(worker, ["sh", "-ec", _CLEAR, "sh", vm.qcow_image, disk])
    way.start()
    began = time.monotonic()
    way.plug()
    plugged = time.monotonic()
    way.end()
    way.start()
    moves = time.monotonic()
    dark = way.move()
    moved = time.monotonic()
    way.end()
    return Taken(plugged - began, moved - moves, dark)


class ByVmops:
    """`fab launch` of what hosts.toml has by then, and `fab migrate`."""

    lands_on = "none"

    def __init__(self, place: Place, vm: VM, there: str) -> None:
        self._place, self._vm, self._there = place, vm, there

    def start(self) -> None:
        """On the first worker."""
        self._place.prepare([self._vm])
        self._fab("launch", "--vm", self._vm.name)

    def plug(self) -> None:
        """One interface more."""
        more = replace(self._vm, interfaces=(*self._vm.interfaces, MORE))
        self._place.prepare([more])
        self._fab("launch", "--vm", self._vm.name)

    def move(self) -> float:
        """To the second worker."""
        said = self._fab("migrate", "--vm", self._vm.name, "--to", self._there)
        return _figure(r"stood still for (\d+) ms", said)

    def end(self) -> None:
        """Wherever it runs."""
        self._place.prepare([self._vm])
        stop = ("stop", "--force", "--vm", self._vm.name)
        self._fab("-H", str(self._vm.worker), *stop)
        self._fab("-H", self._there, *stop, "--elsewhere")

    def _fab(self, *words: str) -> str:
        return _said(vmops.fab(self._place, *words))


class ByVirsh:
    """`virsh attach-device` and `virsh migrate`, by libvirtd of both workers."""

    lands_on = "empty"

    def __init__(self, place: Place, vm: VM, there: str) -> None:
        self._place, self._vm = place, vm
        self._here = virsh.words(place, vm)
        self._there = virsh.words(place, replace(vm, worker=there))

    @classmethod
    def of(cls, place: Place, vm: VM, there: str) -> ByVirsh | None:
        """None where libvirt is not installed."""
        if not (shutil.which("virsh") and shutil.which("libvirtd")):
            return None
        for worker in (str(vm.worker), there):
            virsh.start_libvirtd(place, worker)
        return cls(place, vm, there)

    def start(self) -> None:
        """On the first worker."""
        _said(Call((*self._here, "create", str(virsh.domain_file(self._place, self._vm)))))

    def plug(self) -> None:
        """One interface more."""
        more = replace(self._vm, interfaces=(*self._vm.interfaces, MORE))
        file = virsh.interface_file(self._place, more.connected[-1])
        _said(Call((*self._here, "attach-device", label(self._vm), str(file), "--live")))

    def move(self) -> float:
        """To the second worker."""
        name, (*_, to) = label(self._vm), self._there
        options = ("--live", "--copy-storage-all", "--unsafe", "--listen-address", "0.0.0.0")
        ways = ("--migrateuri", f"tcp://{_ENDS[1]}")
        _said(Call((*self._here, "migrate", *options, *ways, name, to)))
        said = _said(Call((*self._there, "domjobinfo", name, "--completed")))
        return _figure(r"Total downtime:\s+(\d+)", said)

    def end(self) -> None:
        """Wherever it runs."""
        for words in (self._here, self._there):
            subprocess.run((*words, "destroy", label(self._vm)), capture_output=True, check=False)


def _said(call: Call) -> str:
    done = subprocess.run(
        call.argv,
        cwd=call.directory or None,
        env={**os.environ, **call.environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BenchFailed(f"{' '.join(map(str, call.argv))[-120:]}: {done.stderr[-300:]}")
    return done.stdout + done.stderr


def _figure(pattern: str, said: str) -> float:
    found = re.search(pattern, said)
    if found is None:
        raise BenchFailed(f"no {pattern} in what was said: {said[-300:]}")
    return float(found[1])
