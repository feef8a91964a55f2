"""The best shell script that the same work allows: for root, for all VMs of one worker."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from bench.ways.documented import BRIDGE, pidfile, qemu
from vmops.core.inventory.model import VM, Nic

_GROUP = 4242


def launch_script(vms: Sequence[VM]) -> str:
    """One `ip` batch for all TAPs, one OVS transaction for all ports, then QEMU after QEMU."""
    nics = _nics(vms)
    batch = [f"tuntap add mode tap name {nic.tap}\nlink set dev {nic.tap} up" for nic in nics]
    ports = [f"-- add-port {BRIDGE} {nic.tap} tag={nic.vlan_id}" for nic in nics]
    machines = [f"{shlex.join(qemu(vm))}\ncat {pidfile(vm)}" for vm in vms]
    return "\n".join(
        ["set -e", *_batch(batch), f"ovs-vsctl {' '.join(ports)}", *machines, ""],
    )


def stop_script(vms: Sequence[VM]) -> str:
    """Kill, remove the ports without waiting for the switch and the TAPs as one link group."""
    nics = _nics(vms)
    ports = [f"-- --if-exists del-port {nic.tap}" for nic in nics]
    batch = [f"link set dev {nic.tap} group {_GROUP}" for nic in nics]
    return "\n".join(
        [
            "set -e",
            *(f'read -r pid <{pidfile(vm)}\npids="$pids $pid"' for vm in vms),
            "kill -9 $pids",
            f"ovs-vsctl --no-wait {' '.join(ports)}",
            *_batch([*batch, f"link del group {_GROUP}"]),
            "for pid in $pids; do while kill -0 $pid 2>/dev/null; do sleep 0.01; done; done",
            "",
        ]
    )


def _nics(vms: Sequence[VM]) -> list[Nic]:
    return [nic for vm in vms for nic in vm.connected]


def _batch(lines: Sequence[str]) -> list[str]:
    return ["ip -batch - <<'END'", *lines, "END"]
