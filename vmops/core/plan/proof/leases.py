"""Who serves DHCP in the networks of hosts.toml, and who should."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from vmops.core.inventory.networks.model import Network
from vmops.core.inventory.rules import OVN
from vmops.core.plan.proof.ends import End
from vmops.core.plan.proof.evidence import Proof
from vmops.core.tools.proof.door import Offer
from vmops.errors import VmopsError, WorkFailed


class Asking(NamedTuple):
    """A network that is asked for a lease: at which worker, and for which MAC of its VMs.

    It is `cut` where the proof has said why the network's own lease cannot come there.
    """

    network: Network
    worker: str
    mac: str
    cut: bool = False


def askings(networks: Iterable[Network], proof: Proof) -> list[Asking]:
    """Each network but those of OVN once, at a worker that has a port in it; far from its node
    where that can be."""
    found = []
    for network in networks:
        if network.engine == OVN:
            continue
        mine = [end for end in proof.ends if network.vlan_id in end.vlans]
        here = [end for end in mine if end.asked and not end.dead]
        here.sort(key=lambda end: end.worker == network.network_node)
        if here and network.members:
            worker = here[0].worker
            cut = _is_cut(network, [end for end in here if end.worker == worker], proof)
            found.append(Asking(network, worker, network.members[0].mac, cut))
    return found


def _is_cut(network: Network, here: Sequence[End], proof: Proof) -> bool:
    """True where the gateway is broken, or no frame comes from one of these to it, or back."""
    for gateway in proof.ends:
        if not gateway.drawn.is_gateway or gateway.drawn.vm.name != network.name:
            continue
        there = [p.found for p in proof.pairs if p.source in here and p.target is gateway]
        back = [p.found for p in proof.pairs if p.source is gateway and p.target in here]
        return bool(gateway.fault) or any(
            found and all(each is False for each in found) for found in (there, back)
        )
    return False


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
        if wanted and not asking.cut and wanted not in {offer.server for offer in offers}:
            what = f"nobody offers {asking.mac} a lease in network {network.name}"
            if strange:
                what = f"{wanted} offers no lease in network {network.name}"
            faults.append(WorkFailed(what, worker=asking.worker, cure="fab net.up"))
    return faults
