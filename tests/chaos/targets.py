"""The VMs that are operated on, and their hosts.toml: written by hand, as an operator would."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vmops.core.images.names import Base

from .states import File


@dataclass(frozen=True)
class Target:
    """A small VM with one interface, eth1 and on, for each VLAN.

    A VLAN that is None is a network that OVN carries. With `disk_gb` its disk is made of that
    image, otherwise it is a file of its own. `further` are the names of further disks. With a
    `network` its first interface is in that, and the VLAN is the network's.
    `seeded` is that its guest is told something at its first boot.
    """

    name: str
    vm_id: int
    vlans: tuple[int | None, ...]
    deaf: bool = False
    disk_gb: int = 0
    further: tuple[str, ...] = ()
    network: str = ""
    ram_mb: int = 32
    base: str = "sent"
    seeded: bool = False

    @property
    def taps(self) -> dict[str, int | None]:
        """Each TAP with the only VLAN that it may be in; None in OVN, which has none."""
        return {f"tap_{self.vm_id}_eth{n}": vlan for n, vlan in enumerate(self.vlans, start=1)}

    @property
    def seats(self) -> dict[str, str]:
        """Each TAP with the port that OVN is to have for it, and its bridge; empty in a VLAN."""
        return {
            f"tap_{self.vm_id}_eth{n}": "" if vlan else f"{self.name}:eth{n} on br-ovn"
            for n, vlan in enumerate(self.vlans, start=1)
        }

    @property
    def image(self) -> str:
        """The name of its disk's file."""
        return f"disk-{self.name}-root.qcow2" if self.disk_gb else f"{self.name}.qcow2"

    def file_of(self, further: str) -> str:
        """The name of a further disk's file."""
        return f"disk-{self.name}-{further}.qcow2"

    def moved(self) -> Target:
        """The same with its first interface in another VLAN."""
        return replace(self, vlans=((self.vlans[0] or 0) + 100, *self.vlans[1:]))

    def grown(self) -> Target:
        """The same with a larger disk."""
        return replace(self, disk_gb=self.disk_gb + 1)

    def with_disk(self) -> Target:
        """The same with a further disk."""
        return replace(self, further=("data",))

    def toml(self, worker: str) -> str:
        """Its part of hosts.toml; without a worker it is placed."""
        lines = [
            f"[vms.{self.name}]",
            *((f'worker = "{worker}"',) if worker else ()),
            f"vm_id = {self.vm_id}",
            f"ram_mb = {self.ram_mb}",
            "cores = 1",
            f"vnc_port = {5900 + self.vm_id}",
        ]
        if self.disk_gb:
            lines += [f'image = "{self.base}"', f"disk_gb = {self.disk_gb}"]
        else:
            lines.append(f'qcow_image = "~/vm_images/{self.image}"')
        if self.seeded:
            lines.append('cloud_init = { packages = ["vim"] }')
        for name in self.further:
            lines += [f"[[vms.{self.name}.disks]]", f'name = "{name}"', "size_gb = 1"]
        for number, vlan in enumerate(self.vlans, start=1):
            lines += [
                f"[[vms.{self.name}.interfaces]]",
                f'name = "eth{number}"',
                f'network = "{self.network}"' if self.network else f"vlan_id = {vlan}",
            ]
        return "\n".join(lines) + "\n"


TARGETS = (
    Target("web1", 1, (101, 102)),
    Target("web2", 2, (102,)),
    Target("web3", 3, (103,)),
    Target("deaf1", 4, (104,), deaf=True),
    Target("disk1", 5, (105,), disk_gb=1),
    Target("plug1", 6, (106,)),
    Target("disk2", 7, (107,), disk_gb=1, further=("data",)),
    Target("seed1", 12, (112,), seeded=True),
)
GUESTS = (Target("net1", 8, (110,), network="blue"),)
"""In the files of networks alone."""
OVER_GUESTS = (Target("over1", 9, (None,), network="over"),)
"""In the files of OVN alone."""
TALKING = (Target("agent1", 11, (109,), disk_gb=1, further=("data",), ram_mb=128, base="agent"),)
"""In the file of agents alone: a Linux with an agent, and a file system that can be frozen."""
EVERY = (*TARGETS, *GUESTS, *OVER_GUESTS, *TALKING)
PLAIN = tuple(target for target in EVERY if not target.disk_gb)
"""Their disks are files with nothing but a boot sector."""
_CHANGES = {"web1": Target.moved, "disk1": Target.grown, "plug1": Target.with_disk}
CHANGED = tuple(
    _CHANGES[target.name](target) if target.name in _CHANGES else target for target in TARGETS
)
"""The same in the changed hosts.toml."""
NEIGHBOUR = Target("web10", 10, (101,))
"""In nobody's selection, by a name and on a VLAN that come close."""


WEB_PORT = 8099


@dataclass(frozen=True)
class Image:
    """An image of hosts.toml: a file here, or what a server in the worker has by its name."""

    name: str
    base: Base
    file: str = ""

    def toml(self) -> str:
        """Its part of hosts.toml."""
        url = f"http://127.0.0.1:{WEB_PORT}/{self.name}"
        source = f"file = {json.dumps(self.file)}" if self.file else f'url = "{url}"'
        more = f'sha256 = "{self.base.digest}"\nformat = "{self.base.format}"'
        return f"[images.{self.name}]\n{source}\n{more}\n"


@dataclass(frozen=True)
class Network:
    """A network that the worker serves."""

    name: str
    vlan: int
    services: tuple[str, ...]

    def toml(self) -> str:
        """Its part of hosts.toml."""
        head = [f"[networks.{self.name}]", f"vlan_id = {self.vlan}"]
        head.append(f'subnet = "192.168.{self.vlan}.0/24"')
        return "\n".join([*head, *self.services]) + "\n"


BLUE, RED = 110, 120
NETS = (
    Network("blue", BLUE, ("dhcp = true", "dns = true", "internet = true")),
    Network("red", RED, ("dhcp = true", 'reach = ["blue"]')),
)
CHANGED_NETS = (
    Network(
        "blue", BLUE, ("dhcp = true", "mtu = 1400", 'forward = [{ port = 8022, to = "net1:22" }]')
    ),
    Network("red", RED, ("dhcp = true", "internet = true")),
)


@dataclass(frozen=True)
class Logical:
    """A network that OVN carries."""

    name: str
    services: tuple[str, ...]

    def toml(self) -> str:
        """Its part of hosts.toml."""
        return "\n".join([f"[networks.{self.name}]", 'engine = "ovn"', *self.services]) + "\n"


OVER_NETS = (
    Logical("over", ('subnet = "192.168.130.0/24"', "dhcp = true", 'reach = ["side"]')),
    Logical("side", ('subnet = "192.168.140.0/24"',)),
)
CHANGED_OVER_NETS = (
    Logical("over", ('subnet = "192.168.130.0/24"', "dhcp = true", "mtu = 1400", "dns = true")),
    Logical("side", ('subnet = "192.168.141.0/24"', "dhcp = true", 'reach = ["over"]')),
)

Part = Target | Image | Network | Logical


def contents(images: Sequence[Image]) -> dict[File, Sequence[Part]]:
    """What is in each hosts.toml beside the workers, but for those of two workers without more."""
    return {
        "hosts": (*images, *TARGETS),
        "changed": (*images, *CHANGED),
        "networks": (*NETS, *GUESTS),
        "changed-networks": (*CHANGED_NETS, *GUESTS),
        "ovn": (*OVER_NETS, *OVER_GUESTS),
        "changed-ovn": (*CHANGED_OVER_NETS, *OVER_GUESTS),
        "pair": (*images, *(target for target in TARGETS if target.name == "disk1")),
    }


ENDS = ("198.51.100.1", "198.51.100.2")
"""The addresses of two workers that have nothing but those in common."""


def mesh_toml(lab_inventory: str, parts: Sequence[Target], *workers: str) -> str:
    """Two of the lab's workers with tunnels between them, and one of these VMs on each."""
    text = hosts_toml(lab_inventory, (), *workers)
    text = text.replace("[defaults]\n", '[defaults]\nmesh = "vxlan"\n')
    for worker, end in zip(workers, ENDS, strict=True):
        head = f"[workers.{worker}]\n"
        text = text.replace(head, f'{head}encap_ip = "{end}"\n')
    own = (part.toml(worker) for part, worker in zip(parts, workers, strict=True))
    return "\n".join([text, *own])


def overlaid(text: str, worker: str) -> str:
    """The same inventory, of a worker that has OVN's central."""
    head = f"[workers.{worker}]\n"
    central = f'[ovn]\nnorthbound = "{worker}"\n\n{head}encap_ip = "{ENDS[0]}"\n'
    return text.replace(head, central)


def sharing(text: str) -> str:
    """The same inventory, of workers that share the folder of their disks."""
    return re.sub(r"(?m)^(\[workers\..*\])$", r'\1\nshared_images = "nas"', text)


def hosts_toml(lab_inventory: str, parts: Sequence[Part], *workers: str) -> str:
    """One or two of the lab's workers, and these VMs, networks and images. Of two, VMs have none.

    Without the other workers: VMs of these names run there too, and an operator who has both in one
    inventory is rightly refused a second copy.
    """
    head = lab_inventory.partition("\n[vms.")[0]
    defaults, *all_workers = head.split("\n[workers.")
    defaults = re.sub(r"(?m)^network_node = .*$", f'network_node = "{workers[0]}"', defaults)
    own = [text for text in all_workers if text.split("]")[0] in workers]
    home = workers[0] if len(workers) == 1 else ""
    told = (part.toml(home) if isinstance(part, Target) else part.toml() for part in parts)
    return "\n".join([defaults, *(f"[workers.{text}" for text in own), *told])
