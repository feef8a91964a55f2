"""A worker's share of the mesh: its tunnels to the other workers, as they are to be."""

from __future__ import annotations

from typing import NamedTuple

from vmops.core.inventory.inventory import Inventory
from vmops.core.inventory.networks.mesh import overhead, vlans_of_mesh
from vmops.core.tools.lines.tunnels import Tunnel

NAME = "(mesh)"
"""Where networks are listed: no network can be called so."""


class Mesh(NamedTuple):
    """The tunnels of one worker, on its `bridge`. `mtu` is the largest of a network's, 0 where none
    says one. Those to the workers that are `held` are to stay as they are, as these are not fit for
    their own: a wrong address must not turn a tunnel that works."""

    bridge: str
    tunnels: tuple[Tunnel, ...] = ()
    mtu: int = 0
    held: tuple[str, ...] = ()

    @property
    def local(self) -> str:
        """Where they begin; empty without any."""
        return self.tunnels[0].local if self.tunnels else ""

    @property
    def needs_mtu(self) -> int:
        """How large a packet between the workers becomes, in bytes."""
        return self.mtu + overhead(self.local)


def share(listed: Inventory, worker: str) -> Mesh | None:
    """The share of a worker; None where the inventory has no mesh."""
    if listed.mesh is None:
        return None
    here = listed.workers.get(worker)
    if here is None:
        return None
    return Mesh(here.bridge, *_tunnels(listed, worker))


def _tunnels(listed: Inventory, worker: str) -> tuple[tuple[Tunnel, ...], int]:
    there = listed.mesh_workers
    if worker not in there:
        return (), 0
    networks = {name: network.to_dict() for name, network in listed.networks.items()}
    vlans = vlans_of_mesh(networks, {name: vm.to_dict() for name, vm in listed.vms.items()})
    local = listed.workers[worker].tunnel_ip or ""
    found = tuple(
        Tunnel(peer, local, listed.workers[peer].tunnel_ip or "", vlans)
        for peer in there
        if peer != worker
    )
    return found, max((each.mtu or 0 for each in listed.networks.values()), default=0)
