"""The ways between workers, VLAN by VLAN: which are cut, and where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from vmops.core.facts.proof.probes import Site
from vmops.core.inventory.complaints import typed
from vmops.core.inventory.model import Worker
from vmops.core.plan.proof.ends import End
from vmops.core.tools import ovs
from vmops.errors import WorkFailed

Seen = Mapping[str, Mapping[str, set[int]]]
"""By worker and address of a probe: the VLANs in which it was learned there."""

Lacking = Mapping[tuple[str, str], str]
"""By worker and another one to which it is to have a tunnel: what is wrong with it, or empty."""


def passes(end: End, worker: str, vlan: int, seen: Seen) -> bool:
    """True where the interface's frames of that VLAN come to that worker in it."""
    at = seen.get(worker, {})
    return any(vlan in at.get(probe.mac, ()) for probe in end.drawn.own if probe.vlan_id == vlan)


class _Ways(NamedTuple):
    """What is known of the ways: the interfaces that work, by worker and VLAN, what came, and the
    tunnels of a mesh."""

    ends: Mapping[tuple[str, int], Sequence[End]]
    seen: Seen
    lacking: Lacking

    def way(self, one: str, other: str, vlan: int) -> bool:
        """True where frames of that VLAN come from one worker to the other."""
        return any(passes(end, other, vlan, self.seen) for end in self.ends[one, vlan])

    def crosses(self, worker: str, vlan: int) -> bool:
        """True where any frame of the VLAN has left the worker or come to it."""
        return any(
            passes(end, at, vlan, self.seen)
            for (home, its), ends in self.ends.items()
            if its == vlan
            for end in ends
            for at in self.seen
            if at != home and worker in (at, home)
        )

    def crossing(self, worker: str) -> list[int]:
        """The VLANs that do."""
        return sorted({vlan for _, vlan in self.ends if self.crosses(worker, vlan)})


def broken_ways(
    ends: Iterable[End],
    sites: Mapping[str, Site],
    workers: Mapping[str, Worker],
    seen: Seen,
    lacking: Lacking = MappingProxyType({}),
) -> list[WorkFailed]:
    """Interfaces whose frames get nowhere, and each VLAN that does not pass between workers which
    both have interfaces in it, once."""
    able: dict[tuple[str, int], list[End]] = {}
    found = []
    for end in ends:
        site = sites.get(end.worker)
        if site is None or end.fault or end.worker not in seen:
            continue
        if site.wiring.switch.lifeless(end.drawn.worker.bridge) or site.fault:
            continue
        if any(probe.mac in at for probe in end.drawn.own for at in seen.values()):
            for vlan in end.vlans:
                able.setdefault((end.worker, vlan), []).append(end)
        else:
            what = "the switch drops what comes from its port: its flows do not let it pass"
            found.append(_of_end(end, what))
    ways = _Ways(able, seen, lacking)
    for vlan in sorted({vlan for _, vlan in able}):
        at = [worker for worker, its in able if its == vlan and worker in seen]
        cut = {(a, b) for a in at for b in at if a != b and not ways.way(a, b, vlan)}
        lonely = [w for w in at if not ways.crosses(w, vlan) and any(w in way for way in cut)]
        for worker in lonely if len(at) > 2 or len(lonely) == 1 else ():
            others = [each for each in at if each != worker]
            found.append(_cut(vlan, worker, others, ways, sites[worker], workers[worker]))
            cut -= {way for way in cut if worker in way}
        found += [_between(vlan, a, b, cut, ways, sites, workers) for a, b in _once(cut)]
        found += _single(at, vlan, ways)
    return found


def _single(at: Sequence[str], vlan: int, ways: _Ways) -> list[WorkFailed]:
    """Interfaces whose frames do not come to a worker to which those of others come."""
    return [
        _of_end(end, f"its frames do not come to {other}, and others of VLAN {vlan} do")
        for one in at
        for other in at
        if ways.way(one, other, vlan)
        for end in ways.ends[one, vlan]
        if not passes(end, other, vlan, ways.seen)
    ]


def _of_end(end: End, what: str) -> WorkFailed:
    return WorkFailed(
        what,
        worker=end.worker,
        vm=end.drawn.vm.name,
        interface=end.drawn.nic.name,
        cure=f"see where it ends: fab trace --from {end.name} --to VM",
    )


def _once(cut: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """Each pair of workers once, whether one way is cut or both."""
    return sorted(way for way in cut if way[::-1] not in cut or way < way[::-1])


def _cut(
    vlan: int, worker: str, others: Sequence[str], ways: _Ways, site: Site, of: Worker
) -> WorkFailed:
    why, cure = _of_tunnels(ways, {(worker, o) for o in others}) or _why(
        vlan, ways, {worker: site}, {worker: of}
    )
    between = f"{worker} and {', '.join(others)}"
    return WorkFailed(f"VLAN {vlan} does not pass between {between}: {why}", cure=cure)


def _between(
    vlan: int,
    one: str,
    other: str,
    cut: set[tuple[str, str]],
    ways: _Ways,
    sites: Mapping[str, Site],
    workers: Mapping[str, Worker],
) -> WorkFailed:
    both = (other, one) in cut
    how = f"between {one} and {other}" if both else f"from {one} to {other}, the other way it does"
    why, cure = _of_tunnels(ways, {(one, other)}) or _why(
        vlan, ways, {n: sites[n] for n in (one, other)}, workers
    )
    return WorkFailed(f"VLAN {vlan} does not pass {how}: {why}", cure=cure)


def _of_tunnels(ways: _Ways, pairs: set[tuple[str, str]]) -> tuple[str, str] | None:
    """Why the tunnels between these pairs of workers carry nothing, and the cure; None where there
    are to be none."""
    both = {*pairs, *((b, a) for a, b in pairs)}
    there = {pair: ways.lacking[pair] for pair in sorted(both) if pair in ways.lacking}
    for (one, other), why in there.items():
        if why:
            return f"{one}'s tunnel to {other}: {why}", "fab net.up"
    if not there:
        return None
    return (
        "their tunnels are as they should be, and nothing comes by them",
        "see that UDP port 4789 is open between their addresses for tunnels, and that packets of"
        " full size pass: ping -M do -s 1472 ADDRESS",
    )


def _why(
    vlan: int, ways: _Ways, sites: Mapping[str, Site], workers: Mapping[str, Worker]
) -> tuple[str, str]:
    """Why a VLAN does not pass between these workers and others, and the cure."""
    for name, site in sites.items():
        bridge = site.wiring.switch.real(workers[name].bridge)
        out = uplinks(site, bridge)
        if not out:
            return (
                f"no port of {bridge} leads out of {name}",
                f"on {name}: {typed('sudo', 'ovs-vsctl', 'add-port', bridge, 'NIC')}",
            )
        if all(port.trunks and vlan not in port.trunks for port in out):
            port = out[0]
            add = typed("sudo", "ovs-vsctl", "add", "Port", port.name, "trunks", vlan)
            return (
                f"port {port.name} of {name} carries only {_listed(port.trunks)}",
                f"on {name}: {add}",
            )
    names = " and ".join(sites)
    passing = [vlans for name in sites if (vlans := ways.crossing(name))]
    if len(passing) == len(sites):
        others = sorted({each for vlans in passing for each in vlans} - {vlan})
        if others:
            return (
                f"the switch between does not carry it, as {_listed(others)} "
                f"{'passes' if len(others) == 1 else 'pass'}",
                f"allow VLAN {vlan} on the switch's ports of {names}",
            )
    return (
        f"nothing passes between {names} and the switch"
        if len(sites) == 1
        else f"nothing passes between {names}",
        "see that the cable is in and the port up, there: ip -br link; and what VLANs the"
        " switch's ports carry",
    )


def uplinks(site: Site, bridge: str) -> list[ovs.Port]:
    """The ports of a bridge that may lead to other workers: no VLAN of their own, and no TAP."""
    switch = site.wiring.switch
    return [
        port
        for port in switch.ports.values()
        if port.bridge == bridge
        and port.tag is None
        and port.name not in site.wiring.taps
        and port.name not in switch.bridges
    ]


def _listed(vlans: Iterable[int]) -> str:
    found = sorted(vlans)
    return f"VLAN{'s' if len(found) > 1 else ''} {', '.join(map(str, found))}"
