"""The networks of a node as they are: services, leases, counters."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from vmops.core.devices.drift import Drift
from vmops.core.devices.network import logical
from vmops.core.devices.network.dnsmasq import Leased
from vmops.core.devices.network.logical import Logical
from vmops.core.devices.network.mesh import NAME, Mesh
from vmops.core.devices.network.service import Service
from vmops.core.facts.network.state import COUNTS, NETWORKS, Count, Counts
from vmops.core.facts.question import Unanswered
from vmops.core.facts.wiring import SWITCH
from vmops.core.names import NetworkNames
from vmops.core.plan.network import serving
from vmops.core.tools import ovs
from vmops.errors import VmopsError
from vmops.ops.act import ask, unreadable
from vmops.ops.route import Route


class NetworkStatus(NamedTuple):
    """One network on its node. `state` is up, down or unknown; then the `error` says why.

    `asked` is what it was made of, None where it is down. `pid` is that of its dnsmasq. `counters`
    has what went out, what was dropped, and by the name of each network that it reaches what went
    there. `known` is that hosts.toml has it there. One `is_of_ovn` where OVN carries it: `logical`
    is what hosts.toml has of it then, and `ports` are those of guests, by name, and whether up. The
    mesh of a worker has `tunnels`, by the worker at the other end, and whether each is there.
    """

    network: str
    worker: str
    state: str
    asked: Service | None = None
    pid: int | None = None
    leases: tuple[Leased, ...] = ()
    counters: Mapping[str, Count] = MappingProxyType({})
    drift: tuple[Drift, ...] = ()
    known: bool = True
    error: VmopsError | None = None
    is_of_ovn: bool = False
    logical: Logical | None = None
    ports: Mapping[str, bool] = MappingProxyType({})
    tunnels: Mapping[str, bool] = MappingProxyType({})


def status(
    route: Route,
    wanted: Mapping[str, Service],
    *,
    carried: logical.Share | None = None,
    mesh: Mesh | None = None,
) -> list[NetworkStatus]:
    """Each of these networks, and whatever else the node serves; its tunnels to other workers, of
    the `mesh` and any others of ours; and the networks that OVN has `carried`, where that is asked.
    Never raises a VmopsError."""
    if carried is None:
        return _served(route, wanted, mesh)
    from vmops.ops.network import logical as by_ovn

    return [*_served(route, wanted, mesh), *by_ovn.status(route, carried.wanted)]


def _served(route: Route, wanted: Mapping[str, Service], mesh: Mesh | None) -> list[NetworkStatus]:
    from vmops.ops.network.mesh import of_status

    worker = route.worker.name
    laid = (NAME,) if mesh is not None and mesh.tunnels else ()
    try:
        answers = ask(route, SWITCH, NETWORKS, COUNTS)
        if route.transcript is not None:
            return []
        node, counts = answers[NETWORKS], answers[COUNTS]
    except Unanswered as error:
        failed: VmopsError = unreadable(route, error)
        return [NetworkStatus(n, worker, "unknown", error=failed) for n in (*wanted, *laid)]
    except VmopsError as error:
        return [NetworkStatus(n, worker, "unknown", error=error) for n in (*wanted, *laid)]
    try:
        switch = answers[SWITCH]
    except Unanswered as why:
        switch = ovs.Switch(fault=str(why))
    found = []
    for name in dict.fromkeys([*wanted, *node.networks]):
        served = node.networks.get(name)
        if served is None:
            found.append(NetworkStatus(name, worker, "down"))
            continue
        asked = served.asked
        against = wanted.get(name) or asked
        drift = serving.drift(against, served, switch) if against is not None else ()
        count = counts.get(name, Counts())
        found.append(
            NetworkStatus(
                network=name,
                worker=worker,
                state="up",
                asked=asked,
                pid=served.pid,
                leases=count.leases,
                counters=_by_name(asked, count),
                drift=drift,
                known=name in wanted,
            )
        )
    return [*found, *of_status(worker, mesh, switch)]


def _by_name(asked: Service | None, count: Counts) -> dict[str, Count]:
    links = {NetworkNames(peer.network).link: peer.network for peer in asked.reach} if asked else {}
    return {
        f"to {links[key]}" if key in links else key: found for key, found in count.counters.items()
    }
