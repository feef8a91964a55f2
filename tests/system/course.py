"""The four exercises of a course on VLANs, as examples/ has them, on the lab's workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import vmops
from vmops.core.inventory.inventory import Inventory
from vmops.inventory_file import load
from vmops.lab import Lab

from .net_guests import Guest
from .operator import ROOT, Operator

NODE = "worker3"
OUTSIDE = "203.0.113.254"
"""The lab's internet."""


def networks_of(path: Path) -> str:
    """A file of examples/ from its networks on: what stands before is about its workers."""
    _, begin, rest = path.read_text().partition("[networks.")
    return begin + rest


class Course:
    """An operator who does the exercises, and the guests of all of them."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.operator = Operator(lab, folder)
        self.lab = lab
        self.guests: dict[str, Guest] = {}
        self.defaults = ""

    def write(self, body: str, *, node: str = NODE) -> Inventory:
        """hosts.toml: the lab's workers and these networks and VMs."""
        head = self.lab.inventory.read_text().partition("\n[vms.")[0]
        head = head.replace('network_node = "worker1"', f'network_node = "{node}"')
        head = head.replace("[defaults]\n", f"[defaults]\n{self.defaults}")
        self.operator.hosts_toml.write_text(f"{head}\n{body}")
        return load(self.operator.hosts_toml)

    def exercise(self, number: int) -> dict[str, str]:
        """Go to an exercise: the action for each network."""
        self.write(networks_of(ROOT / "examples" / f"exercise-{number}.toml"))
        return self.up()

    def up(self) -> dict[str, str]:
        """Serve what hosts.toml says: the action for each network. In this process: a `fab` takes
        most of its time to start."""
        return {one.network: one.action for one in vmops.raise_for_errors(self.fleet.networks_up())}

    def plan(self) -> dict[str, str]:
        """What net.up would change: each network with its fields, in text."""
        return {
            one.network: " ".join(drift.field for drift in one.drift)
            for one in vmops.raise_for_errors(self.fleet.networks_plan())
            if one.to_do
        }

    @property
    def fleet(self) -> vmops.Fleet:
        """What hosts.toml says now."""
        return vmops.Fleet(vmops.load(self.operator.hosts_toml))

    def status(self) -> dict[str, Any]:
        """What the nodes serve, by network."""
        said = self.operator.ok("net.status", "--format", "json").json
        return {one["network"]: one for one in said}

    def counted(self, network: str, counter: str) -> int:
        """The packets of a counter."""
        packets: int = self.status()[network]["counters"][counter]["packets"]
        return packets

    def plug(self, listed: Inventory) -> None:
        """A guest for each VM, on its worker, in its VLAN."""
        for vm in listed.vms.values():
            (nic,) = vm.nics
            assert vm.worker is not None
            assert nic.vlan_id is not None
            guest = Guest(self.lab, vm.worker, vm.name, nic.mac, nic.vlan_id)
            guest.plug()
            self.guests[vm.name] = guest

    def on_node(self, script: str) -> str:
        """What a script prints as root on the network node."""
        return self.operator.on(NODE, "sh", "-c", script)

    def clean_up(self) -> None:
        for guest in self.guests.values():
            guest.unplug()
        for worker in ("worker1", "worker2", "worker3"):
            names = self.operator.on(worker, "sh", "-c", "ls /run/vmops-net 2>/dev/null; true")
            if names.split():
                self.operator.fab("-H", worker, "net.down", "--network", ",".join(names.split()))

    def lease(self, guest: str) -> dict[str, Any]:
        """Its lease, which it takes as its address."""
        found = self.guests[guest].lease()
        assert found is not None, f"{guest} gets no lease"
        self.guests[guest].configure(f"{found['address']}/24", found["router"])
        return found

    def set_static(self, guest: str, address: str) -> None:
        self.guests[guest].configure(f"{address}/24", address.rpartition(".")[0] + ".1")
