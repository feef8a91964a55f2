"""The VMs that are operated on, and their hosts.toml: written by hand, as an operator would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Target:
    """A small VM with one interface, eth1 and on, for each VLAN."""

    name: str
    vm_id: int
    vlans: tuple[int, ...]
    deaf: bool = False

    @property
    def taps(self) -> dict[str, int]:
        """Each TAP with the only VLAN that it may be in."""
        return {f"tap_{self.vm_id}_eth{n}": vlan for n, vlan in enumerate(self.vlans, start=1)}

    @property
    def image(self) -> str:
        """The name of its disk's file."""
        return f"{self.name}.qcow2"

    def moved(self) -> Target:
        """The same with its first interface in another VLAN."""
        return replace(self, vlans=(self.vlans[0] + 100, *self.vlans[1:]))

    def toml(self, worker: str) -> str:
        """Its part of hosts.toml."""
        lines = [
            f"[vms.{self.name}]",
            f'worker = "{worker}"',
            f"vm_id = {self.vm_id}",
            "ram_mb = 32",
            "cores = 1",
            f"vnc_port = {5900 + self.vm_id}",
            f'qcow_image = "~/vm_images/{self.image}"',
        ]
        for number, vlan in enumerate(self.vlans, start=1):
            lines += [
                f"[[vms.{self.name}.interfaces]]",
                f'name = "eth{number}"',
                f"vlan_id = {vlan}",
            ]
        return "\n".join(lines) + "\n"


TARGETS = (
    Target("web1", 1, (101, 102)),
    Target("web2", 2, (102,)),
    Target("web3", 3, (103,)),
    Target("deaf1", 4, (104,), deaf=True),
)
NEIGHBOUR = Target("web10", 10, (101,))
"""In nobody's selection, by a name and on a VLAN that come close."""


def hosts_toml(lab_inventory: str, targets: Sequence[Target], worker: str) -> str:
    """One of the lab's workers, and these VMs on it.

    Without the other workers: VMs of these names run there too, and an operator who has both in one
    inventory is rightly refused a second copy.
    """
    head = lab_inventory.partition("\n[vms.")[0]
    defaults, *workers = head.split("\n[workers.")
    own = next(text for text in workers if text.startswith(f"{worker}]"))
    return "\n".join([f"{defaults}\n[workers.{own}", *(target.toml(worker) for target in targets)])
