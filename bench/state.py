"""What every way must leave behind: TAPs, ports with their VLANs, QEMU; and then nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence

from bench.errors import BenchFailed
from bench.place import Place
from vmops.core.inventory.model import VM


def check_up(place: Place, vms: Sequence[VM]) -> None:
    """Raise BenchFailed unless each VM runs with all its interfaces on their VLANs."""
    faults = []
    for worker in _workers(vms):
        seen = _Seen(place, worker)
        for vm in _of(vms, worker):
            if not seen.runs(vm):
                faults.append(f"{vm.name}: no QEMU")
            for nic in vm.connected:
                if nic.tap not in seen.taps:
                    faults.append(f"{vm.name}: no TAP {nic.tap}")
                if seen.tags.get(nic.tap) != nic.vlan_id:
                    faults.append(f"{vm.name}: {nic.tap} has tag {seen.tags.get(nic.tap)}")
    _complain("after the launch", faults)


def check_down(place: Place, vms: Sequence[VM]) -> None:
    """Raise BenchFailed when anything of a VM is left."""
    faults = []
    for worker in _workers(vms):
        seen = _Seen(place, worker)
        for vm in _of(vms, worker):
            if seen.runs(vm):
                faults.append(f"{vm.name}: QEMU still runs")
            left = [nic.tap for nic in vm.connected if nic.tap in seen.taps | seen.tags.keys()]
            faults += [f"{vm.name}: {tap} is left" for tap in left]
    _complain("after the stop", faults)


def clean(place: Place, worker: str) -> None:
    """Remove every VM from a worker, whichever way it came."""
    place.inside(worker, ["sh", "-c", _CLEAN])


class _Seen:
    """One worker, looked at past all ways."""

    def __init__(self, place: Place, worker: str) -> None:
        columns = ("ovs-vsctl", "--format=json", "--columns=name,tag", "list", "Port")
        ports = json.loads(place.inside(worker, columns))["data"]
        self.tags: dict[str, object] = dict(ports)
        self.taps = set(place.inside(worker, ["sh", "-c", _TAPS]).split())
        self._processes = place.inside(worker, ["sh", "-c", _QEMUS])

    def runs(self, vm: VM) -> bool:
        """True when a QEMU there has the TAP of the VM's first interface, or its MAC: libvirt opens
        the TAP itself and names it nowhere."""
        nic = vm.nics[0]
        return f"ifname={nic.tap}," in self._processes or nic.mac in self._processes


_TAPS = "cd /sys/class/net; for file in */tun_flags; do echo ${file%/*}; done"

_QEMUS = "cat $(grep -lsz qemu-system /proc/[0-9]*/cmdline) 2>/dev/null; true"

_CLEAN = """
for file in $(grep -lsz qemu-system /proc/[0-9]*/cmdline); do
    pid=${file%/cmdline}; pid=${pid#/proc/}
    case $(readlink /proc/$pid/exe) in */qemu-system*) kill -9 "$pid" ;; esac
done
for port in $(ovs-vsctl list-ports br-int); do
    case $port in tap*) ovs-vsctl --if-exists del-port "$port" ;; esac # the trunk is the lab's
done
for tap in $(cd /sys/class/net; ls -d tap* 2>/dev/null); do ip link del "$tap"; done
for log in /run/vmops/*/log; do [ ! -d "$log" ] || umount -l "$log"; done
rm -rf /run/vmops
"""


def _workers(vms: Sequence[VM]) -> list[str]:
    return list(dict.fromkeys(str(vm.worker) for vm in vms))


def _of(vms: Sequence[VM], worker: str) -> list[VM]:
    return [vm for vm in vms if vm.worker == worker]


def _complain(when: str, faults: Sequence[str]) -> None:
    if faults:
        raise BenchFailed(f"{when}: {'; '.join(faults[:4])}")
