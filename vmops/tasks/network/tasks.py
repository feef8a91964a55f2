"""The services of networks from the command line: net.up, net.down, net.status."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vmops.errors import InventoryError
from vmops.tasks.frame import options
from vmops.tasks.frame.context import Context, is_dry
from vmops.tasks.frame.options import Option
from vmops.tasks.frame.output import give_table, say, table
from vmops.tasks.frame.selection import groups_of_workers, inventory, worker_at
from vmops.tasks.frame.task import task
from vmops.tasks.frame.work import Report, Work
from vmops.tasks.network.serving import agreed, as_dict, nodes, row

if TYPE_CHECKING:
    from vmops.core.devices.network.mesh import Mesh
    from vmops.core.facts.network.state import Count
    from vmops.ops.network.serving import NetworkOutcome
    from vmops.ops.network.status import NetworkStatus
    from vmops.ops.route import Group

NETWORK = Option(
    "Only these networks: names separated by commas, or a glob such as 'lab*'. Default: all.",
    names="networks",
)


@task({"network": NETWORK, "format": options.FORMAT})
def up(c: Context, network: str | None = None, format: str = "text") -> Work[NetworkOutcome]:
    """
    Serve the networks of the inventory on their nodes: DHCP, DNS, the way out, what they reach.

    One that is served as asked is left alone, and a change takes no other network down.
    Example: fab net.up --network blue
    """
    found = nodes(c, network)
    _check_some(c, found.groups)
    found = agreed(c, found)
    return Work(
        found.groups,
        found.bring,
        Report(table(("NETWORK", "WORKER", "RESULT"), row), as_dict),
    )


@task({"network": NETWORK, "format": options.FORMAT})
def down(c: Context, network: str | None = None, format: str = "text") -> Work[NetworkOutcome]:
    """
    Remove what nodes serve of networks; VMs and their VLANs stay as they are.

    With -H it may be a network that hosts.toml does not have. Example: fab net.down --network blue
    """
    from vmops.ops.network.serving import remove

    groups, names = _to_remove(c, network)
    northbound = inventory(c).northbound
    meshes = {} if network is not None else _meshes(c, groups)

    def merged(outcomes: Sequence[NetworkOutcome]) -> list[NetworkOutcome]:
        return [one for one in outcomes if one.action != "nothing"]

    def tell(outcomes: Sequence[NetworkOutcome]) -> None:
        if outcomes:
            give_table(("NETWORK", "WORKER", "RESULT"), [row(one) for one in outcomes])
        else:
            say("no network was there")

    return Work(
        groups,
        lambda g: remove(
            g.route, names, northbound=northbound, mesh=meshes.get(g.route.worker.name)
        ),
        Report(tell, as_dict, merged=merged),
    )


def _meshes(c: Context, groups: Sequence[Group]) -> dict[str, Mesh]:
    """For each worker the tunnels that go with everything else: all that are there."""
    from vmops.core.devices.network.mesh import Mesh, share

    listed = inventory(c)
    workers = [group.route.worker for group in groups]
    return {w.name: share(listed, w.name) or Mesh(w.bridge) for w in workers}


def _to_remove(c: Context, network: str | None) -> tuple[list[Group], list[str]]:
    listed = inventory(c)
    groups = [group._replace(vms=()) for group in groups_of_workers(c, None, early=False)]
    if network is None:
        return groups, list(listed.networks)
    words = [word.strip() for word in network.split(",")]
    if worker_at(c, listed) is None:
        return groups, [one.name for one in listed.select_networks(network)]
    lost = [word for word in words if _is_lost(word, listed.networks)]
    known = [word for word in words if word not in lost]
    names = [one.name for one in listed.select_networks(",".join(known))] if known else []
    return groups, [*names, *lost]


def _check_some(c: Context, groups: Sequence[Group]) -> None:
    if not groups and not is_dry(c):
        raise InventoryError(f"{inventory(c).source} has no networks", cure="see docs/networks.md")


def _is_lost(word: str, known: Any) -> bool:
    from vmops.core.inventory.normal_form import name

    return name(word) is not None and word not in known


@task({"network": NETWORK, "format": options.FORMAT})
def status(c: Context, network: str | None = None, format: str = "text") -> Work[NetworkStatus]:
    """
    Show the networks that nodes serve: services, leases, counters, and what differs.

    Example: fab net.status --format json
    """
    from vmops.ops.network.status import status as look

    found = nodes(c, network)
    _check_some(c, found.groups)
    pattern = network is not None

    def merged(states: Sequence[NetworkStatus]) -> list[NetworkStatus]:
        chosen = {name for share in found.shares.values() for name in share.wanted}
        chosen |= {n for s in found.shares.values() if s.carried for n in s.carried.wanted}
        return [one for one in states if one.network in chosen or not pattern]

    return Work(
        found.groups,
        lambda g: look(
            g.route,
            found.shares[g.route.worker.name].wanted,
            carried=found.shares[g.route.worker.name].carried,
            mesh=found.shares[g.route.worker.name].mesh,
        ),
        Report(_table_of_states, _state_as_dict, merged=merged),
    )


_HEADINGS = (
    "NETWORK",
    "WORKER",
    "STATE",
    "VLAN",
    "SUBNET",
    "SERVICES",
    "LEASES",
    "COUNTERS",
    "DRIFT",
)


def _table_of_states(found: Sequence[NetworkStatus]) -> None:
    if found:
        give_table(_HEADINGS, [_row_of_state(one) for one in found])
    else:
        say("no node serves a network")


def _row_of_state(found: NetworkStatus) -> list[str]:
    return [
        found.network,
        found.worker,
        found.state if found.known else f"{found.state} (not in hosts.toml)",
        _vlan(found),
        _subnet(found) or "-",
        " ".join(_services(found)) or "-",
        " ".join(f"{lease.address}={lease.name or lease.mac}" for lease in found.leases) or "-",
        " ".join(f"{name}:{count.packets}" for name, count in _counters(found)) or "-",
        "; ".join(map(str, found.drift)) or "-",
    ]


def _vlan(found: NetworkStatus) -> str:
    if found.is_of_ovn:
        into = found.logical.vlan_id if found.logical else None
        return "ovn" if into is None else f"ovn:{into}"
    return str(found.asked.vlan_id) if found.asked else "-"


def _counters(found: NetworkStatus) -> list[tuple[str, Count]]:
    return [(name.replace(" ", "-"), c) for name, c in sorted(found.counters.items()) if c.packets]


def _subnet(found: NetworkStatus) -> str:
    asked = found.logical if found.is_of_ovn else found.asked
    return asked.subnet if asked else ""


def _services(found: NetworkStatus) -> list[str]:
    asked = found.asked
    if found.is_of_ovn:
        carried = found.logical
        up = sum(found.ports.values())
        return [
            *(("dhcp",) if carried and carried.dhcp else ()),
            *(("dns",) if carried and carried.hosts is not None else ()),
            *(("internet",) if carried and carried.internet else ()),
            *(("forward",) if carried and carried.doors else ()),
            *(f"reach:{name}" for name, _ in (carried.reach if carried else ())),
            *((f"ports:{up}/{len(found.ports)}",) if found.state == "up" else ()),
        ]
    if found.tunnels:
        return [f"tunnels:{sum(found.tunnels.values())}/{len(found.tunnels)}"]
    if asked is None:
        return []
    return [
        *(("dhcp",) if asked.leases is not None else ()),
        *(("dns",) if asked.hosts is not None else ()),
        *(("internet",) if asked.internet else ()),
        *(("forward",) if asked.forward else ()),
        *(f"reach:{peer.network}" for peer in asked.reach),
    ]


def _state_as_dict(found: NetworkStatus) -> dict[str, Any]:
    asked = found.asked
    return {
        "network": found.network,
        "worker": found.worker,
        "state": found.state,
        "managed": found.known,
        "engine": "ovn" if found.is_of_ovn else "vlan",
        "vlan_id": asked.vlan_id if asked else found.logical.vlan_id if found.logical else None,
        "subnet": _subnet(found) or None,
        "gateway": _gateway(found) or None,
        "ports": {name: "up" if up else "down" for name, up in sorted(found.ports.items())},
        "tunnels": {name: "up" if up else "down" for name, up in sorted(found.tunnels.items())},
        "services": _services(found),
        "dnsmasq_pid": found.pid,
        "leases": [
            {"mac": one.mac, "address": one.address, "name": one.name or None, "until": one.until}
            for one in found.leases
        ],
        "counters": {
            name: {"packets": count.packets, "bytes": count.bytes}
            for name, count in sorted(found.counters.items())
        },
        "drift": [
            {"field": d.field, "running": d.running, "wanted": d.wanted} for d in found.drift
        ],
    }


def _gateway(found: NetworkStatus) -> str:
    asked = found.logical if found.is_of_ovn else found.asked
    return asked.gateway if asked else ""
