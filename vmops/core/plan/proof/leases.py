"""Who serves DHCP in the networks of hosts.toml, and who should."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from vmops.core.inventory.networks.model import Network
from vmops.core.plan.proof.ends import End
from vmops.core.tools.proof.door import Offer
from vmops.errors import VmopsError, WorkFailed


class Asking(NamedTuple):
    """A network that is asked for a lease: at which worker, and for which MAC of its VMs."""

    network: Network
    worker: str
    mac: str


def askings(networks: Iterable[Network], ends: Sequence[End]) -> list[Asking]:
    """Each network once, at a worker that has a port in it; far from its node where that can be."""
    found = []
    for network in networks:
        here = [end for end in ends if network.vlan_id in end.vlans and end.asked and not end.dead]
        here.sort(key=lambda end: end.worker == network.network_node)
        if here and network.members:
            found.append(Asking(network, here[0].worker, network.members[0].mac))
    return found


def lease_faults(found: Mapping[str, tuple[Asking, Sequence[Offer]]]) -> list[VmopsError]:
    """Offers where none is wanted or by another server, and none where one is wanted."""
    faults: list[VmopsError] = []
    for asking, offers in found.values():
        network = asking.network
        wanted = network.gateway if network.dhcp else None
        strange = sorted({offer.server for offer in offers} - {wanted})
        for server in strange:
            what = f"{server} serves DHCP in network {network.name}, VLAN {network.vlan_id}"
            why = f"and only {wanted} should" if wanted else "where nobody should"
            faults.append(
                WorkFailed(
                    f"{what}, {why}",
                    worker=asking.worker,
                    cure="find it by its MAC: fab capture --vm VM --filter 'udp port 67'",
                )
            )
        if wanted and wanted not in {offer.server for offer in offers}:
            what = f"nobody offers {asking.mac} a lease in network {network.name}"
            if strange:
                what = f"{wanted} offers no lease in network {network.name}"
            faults.append(WorkFailed(what, worker=asking.worker, cure="fab net.up"))
    return faults
