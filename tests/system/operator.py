"""An operator at the shell: an inventory of their own on the lab's workers, and `fab` as a process.

Everything is seen from outside: exit codes, both streams, and what is there on the worker.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vmops.core.inventory.model import VM, Interface, impairing
from vmops.lab import Lab

ROOT = Path(__file__).parents[2]
FAB = str(Path(sys.executable).parent / "fab")
COMMAND_LIMIT_S = 90


@dataclass(frozen=True)
class Said:
    """How a command ended: exit code and both streams."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Operator:
    """Somebody with a lab, a hosts.toml and a shell. `vms` are removed by `clean_up`."""

    lab: Lab
    folder: Path
    vms: list[tuple[VM, str]] = field(default_factory=list)
    extra: str = ""

    @property
    def hosts_toml(self) -> Path:
        return self.folder / "hosts.toml"

    def add(self, vm: VM, worker: str = "worker1", *, image: bool = True) -> VM:
        """Put a VM into the inventory, pinned to the worker, and make its empty disk there."""
        self.vms.append((vm, worker))
        if image:
            self.lab.make_image(worker, vm.qcow_image, size_mb=1)
        self.write()
        return vm

    def write(self) -> None:
        """Write hosts.toml: the lab's workers and these VMs."""
        head = self.lab.inventory.read_text().partition("\n[vms.")[0]
        self.hosts_toml.write_text("\n".join([head, self.extra, *map(_entry, self.vms)]))

    def environment(self) -> dict[str, str]:
        return {**os.environ, "VMOPS_HOSTS": str(self.hosts_toml), "NO_COLOR": "1"}

    def fab(self, *words: str, env: dict[str, str] | None = None) -> Said:
        """Run fab in a process of its own."""
        done = subprocess.run(
            [FAB, *words],
            cwd=ROOT,
            env={**self.environment(), **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT_S,
            check=False,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def begin(self, *words: str, **variables: str) -> subprocess.Popen[str]:
        """Run fab in the background, with these variables besides; `communicate` ends it."""
        return subprocess.Popen(
            [FAB, *words],
            cwd=ROOT,
            env=self.environment() | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ok(self, *words: str) -> Said:
        """Run fab; it must succeed."""
        said = self.fab(*words)
        assert said.code == 0, f"fab {' '.join(words)}: {said}"
        return said

    def on(self, worker: str, *argv: str) -> str:
        """What a command prints as root on the worker, run past vmops."""
        return self.lab.run(worker, list(argv)).stdout.decode()

    def address(self, worker: str) -> str:
        return next(w.address for w in self.lab.status().workers if w.name == worker)

    def port(self, worker: str, name: str) -> dict[str, Any] | None:
        """A port's row, its bridge and its interface's external_ids, from OVSDB; None if absent."""
        vsctl = ("ovs-vsctl", "--timeout=10")
        if name not in self.on(worker, *vsctl, "--bare", "--columns=name", "list", "Port").split():
            return None
        return {
            "tag": self.on(worker, *vsctl, "get", "Port", name, "tag").strip(),
            "bridge": self.on(worker, *vsctl, "port-to-br", name).strip(),
            "external_ids": self.on(worker, *vsctl, "get", "Interface", name, "external_ids"),
        }

    def taps(self, worker: str) -> set[str]:
        """The names of the worker's TAP devices; the switch's own is not one of them."""
        out = self.on(worker, "ip", "-json", "tuntap", "show")
        return {entry["ifname"] for entry in json.loads(out)} - {"ovs-netdev", "br-int"}

    def qemus(self, worker: str) -> dict[str, int]:
        """The PID of every QEMU on the worker by its -name."""
        found = {}
        show = "printf '%s\\t' ${p#/proc/}; tr '\\0' '\\t' <$p/cmdline; echo"
        script = f"for p in /proc/[0-9]*; do {show}; done"
        for line in self.on(worker, "sh", "-c", script).splitlines():
            pid, *argv = line.rstrip("\t").split("\t")
            if argv and "qemu-system" in argv[0]:
                name = argv[argv.index("-name") + 1] if "-name" in argv else f"PID {pid}"
                found[name] = int(pid)
        return found

    def clean_up(self, workers: Iterable[str] = ()) -> None:
        """Kill what is left, past vmops, so that no test sees another's VMs: on the workers of its
        own VMs, and on these."""
        for worker in {*(worker for _, worker in self.vms), *workers}:
            pids = " ".join(map(str, self.qemus(worker).values()))
            script = (
                # It holds its image's lock until it is gone.
                f"for p in {pids}; do kill -9 $p; while [ -e /proc/$p ]; do sleep 0.01; done; done;"
                " for t in /sys/class/net/tap*; do [ -e $t ] || continue; t=${t##*/};"
                " ovs-vsctl --timeout=10 --if-exists del-port $t; ip link del $t; done;"
                " for d in /run/vmops/*/log; do umount -l $d 2>/dev/null; done; rm -rf /run/vmops;"
                " cd /home/ubuntu/vm_images/.vmops 2>/dev/null &&"
                " rm -rf disk-* memory-* moving-* arrived-*"
            )
            self.lab.run(worker, ["sh", "-c", script], check=False)


def _entry(placed: tuple[VM, str]) -> str:
    vm, worker = placed
    lines = [f"[vms.{json.dumps(vm.name)}]", f"worker = {json.dumps(worker)}"]
    ports = () if vm.vnc_port is None else ("vnc_port",)
    for key in ("vm_id", "ram_mb", "cores", *ports, "image" if vm.image else "qcow_image"):
        lines.append(f"{key} = {json.dumps(getattr(vm, key))}")
    for key in ("disk", "disk_gb", "cpu", "disk_model", "boot", "iso", "machine"):
        lines += [f"{key} = {json.dumps(getattr(vm, key))}"] if getattr(vm, key) else []
    lines += ["balloon = true"] if vm.balloon else []
    lines += [f"extra_args = {json.dumps(list(vm.extra_args))}"] if vm.extra_args else []
    told = None if vm.cloud_init is None else vm.cloud_init.to_dict()
    lines += [] if told is None else [f"cloud_init = {in_toml(told)}"]
    for disk in vm.disks:
        lines.append(f"[[vms.{json.dumps(vm.name)}.disks]]")
        lines += [f'name = "{disk.name}"', f"size_gb = {disk.size_gb}", f'format = "{disk.format}"']
    for nic in vm.interfaces:
        lines.append(f"[[vms.{json.dumps(vm.name)}.interfaces]]")
        lines += [f"name = {json.dumps(nic.name)}", f'model = "{nic.model}"']
        lines += [f"vlan_id = {nic.vlan_id}"] if nic.vlan_id is not None else []
        lines += [f'mac = "{nic.mac}"'] if nic.mac else []
        lines += [f'address = "{nic.address}"'] if nic.address else []
        lines += [f"trunks = {list(nic.trunks)}"] if nic.trunks else []
        lines += [f"{key} = {json.dumps(value)}" for key, value in impairing(nic).items()]
    return "\n".join(lines)


def in_toml(value: Any) -> str:
    """A value as TOML has it on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {in_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(in_toml, value)) + "]"
    return json.dumps(value)


def small_vm(name: str, vm_id: int, *vlans: int | None, ram_mb: int = 32) -> VM:
    """A VM of 32 MiB with one interface, eth1 and on, for each VLAN."""
    nics = tuple(Interface(f"eth{n}", vlan_id=vlan) for n, vlan in enumerate(vlans, start=1))
    return VM(
        name,
        vm_id=vm_id,
        ram_mb=ram_mb,
        cores=1,
        vnc_port=5900 + vm_id,
        qcow_image=f"~/vm_images/{name}.qcow2",
        interfaces=nics,
    )
