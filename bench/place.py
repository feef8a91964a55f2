"""The bench's own lab: its workers, the inventory and the disks, and the ways into a worker."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchFailed
from bench.machines import DISK
from vmops.core.inventory.model import VM, Nic
from vmops.lab import Lab, WorkerStatus

ROOT = Path(__file__).parents[1]
PORT = 2222


@dataclass(frozen=True, slots=True)
class Traffic:
    """What passed between the operator and all workers since the lab began.

    A turn is an answer after a request, a round trip; a login takes several.
    """

    connections: int
    turns: int
    bytes: int

    def __sub__(self, earlier: Traffic) -> Traffic:
        return Traffic(
            self.connections - earlier.connections,
            self.turns - earlier.turns,
            self.bytes - earlier.bytes,
        )


class Place:
    """A lab in a directory of its own, with or without OVN. Use it as a context: at the end all of
    it is removed."""

    def __init__(self, *, ovn: bool = False) -> None:
        self._ovn = ovn
        self.directory = Path(tempfile.mkdtemp(prefix="vmops-bench-", dir="/run"))
        self.lab = Lab(self.directory / "lab")
        self.inventory = self.directory / "hosts.toml"
        self._network = free_network()
        self._workers: dict[str, WorkerStatus] = {}

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *failure: object) -> None:
        self.lab.down()
        shutil.rmtree(self.directory, ignore_errors=True)

    def grow(self, workers: int) -> tuple[str, ...]:
        """Have at least so many workers; gives the names of the first so many."""
        status = self.lab.up(workers, network=self._network, port=PORT, ovn=self._ovn)
        self._workers = {worker.name: worker for worker in status.workers}
        return tuple(self._workers)[:workers]

    def prepare(self, vms: Sequence[VM]) -> None:
        """Write the inventory of just these VMs, and make their disks."""
        head = self.lab.inventory.read_text().partition("\n[vms.")[0]
        self.inventory.write_text("\n\n".join([head, *map(_entry, vms)]) + "\n")
        for worker in dict.fromkeys(vm.worker for vm in vms):
            images = [vm.qcow_image for vm in vms if vm.worker == worker]
            self.inside(str(worker), ["sh", "-c", _MAKE_DISKS, "sh", *images], stdin=DISK)

    def inside(self, worker: str, argv: Sequence[str], *, stdin: bytes = b"") -> str:
        """What a command prints that is run as root in the worker. Raises BenchFailed."""
        done = self.lab.run(worker, argv, stdin=stdin, check=False, timeout=120)
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace")
            raise BenchFailed(f"{worker}: {argv}: exit {done.returncode}\n{said}")
        return done.stdout.decode(errors="replace")

    def worker(self, name: str) -> WorkerStatus:
        """Where a worker is."""
        return self._workers[name]

    def ssh(self, name: str) -> tuple[str, ...]:
        """The words of OpenSSH's client up to the command, with the lab's key and known hosts."""
        options = (*self.ssh_options(), "-i", str(self.lab.private_key))
        return ("ssh", *options, "-p", str(PORT), f"ubuntu@{self.worker(name).address}")

    def ssh_options(self) -> tuple[str, ...]:
        """What every OpenSSH client of the bench is told, but not the key."""
        settings = (
            "BatchMode=yes",
            "StrictHostKeyChecking=yes",
            "GlobalKnownHostsFile=none",
            f"UserKnownHostsFile={self.lab.known_hosts}",
            "IdentitiesOnly=yes",
        )
        return ("-F", "none", *(word for setting in settings for word in ("-o", setting)))

    def environment(self) -> Mapping[str, str]:
        """What vmops needs to find this lab, and nothing else."""
        return {"VMOPS_HOSTS": str(self.inventory), "NO_COLOR": "1"}

    def delay(self, rtt_ms: float) -> None:
        """Make every round trip to every worker that much longer."""
        for name in self._workers:
            self.lab.delay(name, rtt_ms)

    def traffic(self) -> Traffic:
        """All workers together."""
        workers = self.lab.status().workers
        return Traffic(
            sum(worker.connections for worker in workers),
            sum(worker.turns for worker in workers),
            sum(worker.bytes_to_worker + worker.bytes_to_operator for worker in workers),
        )


_MAKE_DISKS = """
set -e
cat >/tmp/disk.raw
for image in "$@"; do
    mkdir -p "${image%/*}"
    [ -e "$image" ] || qemu-img convert -f raw -O qcow2 /tmp/disk.raw "$image"
    chown ubuntu: "${image%/*}" "$image"
done
rm /tmp/disk.raw
"""


def _entry(vm: VM) -> str:
    keys = ("vm_id", "worker", "ram_mb", "cores", "vnc_port", "qcow_image")
    lines = [f"[vms.{json.dumps(vm.name)}]"]
    lines += [f"{key} = {json.dumps(getattr(vm, key))}" for key in keys]
    for nic in vm.nics:
        lines += [f"[[vms.{json.dumps(vm.name)}.interfaces]]"]
        lines += [f"name = {json.dumps(nic.name)}", f"vlan_id = {nic.vlan_id}"]
        lines += [f"mac = {json.dumps(_mac_of(vm, nic))}"]
    return "\n".join(lines)


def _mac_of(vm: VM, nic: Nic) -> str:
    """VMs of one number on several workers have the same derived MACs, which one network forbids:
    the worker's number takes the third byte."""
    number = int("".join(filter(str.isdigit, vm.worker or "")) or 0)
    return f"52:54:{number % 256:02x}{nic.mac[8:]}"


def free_network() -> str:
    """Three octets under which nobody listens. Raises BenchFailed when there are none."""
    for step in range(200):
        network = f"127.0.{50 + (os.getpid() + step) % 200}"
        try:
            with socket.create_server((f"{network}.1", PORT)):
                return network
        except OSError:
            continue
    raise BenchFailed("no free address for a lab in 127.0.0.0/16")
