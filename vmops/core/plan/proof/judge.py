"""From what was learned of the probes to who reaches whom, and to what is wrong."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from vmops.core.facts.proof.probes import Site
from vmops.core.inventory.complaints import typed
from vmops.core.inventory.model import Worker
from vmops.core.plan.network import mesh
from vmops.core.plan.proof import logical
from vmops.core.plan.proof.carried import carried_faults
from vmops.core.plan.proof.doubles import cards_elsewhere, doubles
from vmops.core.plan.proof.ends import End, vlans_of
from vmops.core.plan.proof.evidence import Evidence, Pair, Proof
from vmops.core.plan.proof.paths import Lacking, Seen, broken_ways, passes
from vmops.core.tools import ovs
from vmops.core.tools.proof.probe import Probe, Sighting
from vmops.errors import WorkFailed


def judge(evidence: Evidence, *, known: Collection[str] = ()) -> Proof:
    """Compare what was learned with what hosts.toml wants.

    `known` are names and globs of ports that may be in the VLANs beside those of VMs.
    """
    seen = _seen(evidence.learned)
    found = logical.finder(evidence.hearing)
    pairs = [
        Pair(one, other, logical.is_wanted(one, other, evidence.hearing), found(one, other))
        if one.port or other.port
        else Pair(one, other, bool(_shared(one, other)), _reaches(one, other, seen))
        for one in evidence.ends
        for other in evidence.ends
        if one is not other
    ]
    in_vlans = [end for end in evidence.ends if not end.port]
    faults = [
        *_dead_switches(evidence),
        *doubles(evidence.drawn, evidence.sites),
        *_faulty_ends(evidence.ends),
        *_broken_tunnels(evidence),
        *carried_faults(evidence, pairs),
        *broken_ways(in_vlans, evidence.sites, evidence.workers, seen, _lacking(evidence)),
        *_leaks(evidence.ends, seen),
        *_loops(evidence),
        *_strangers(evidence, known),
    ]
    return Proof(evidence.ends, pairs, faults or _unexplained(pairs))


def is_complete(evidence: Evidence) -> bool:
    """True where every probe has come to wherever it is to come: there is no need to wait."""
    return _all_learned(evidence) and logical.is_complete(evidence.ends, evidence.hearing)


def _all_learned(evidence: Evidence) -> bool:
    seen = _seen(evidence.learned)
    able = [end for end in evidence.ends if end.asked and not end.fault]
    return all(
        passes(one, other.worker, vlan, seen)
        for one in able
        for other in able
        for vlan in _shared(one, other)
    )


def _shared(one: End, other: End) -> list[int]:
    """The VLANs that both are to be in."""
    return [vlan for vlan in one.vlans if vlan in other.vlans]


def _seen(learned: Mapping[str, Sequence[Sighting]]) -> Seen:
    found: dict[str, dict[str, set[int]]] = {}
    for worker, sightings in learned.items():
        there = found.setdefault(worker, {})
        for each in sightings:
            there.setdefault(each.mac, set()).add(each.vlan_id)
    return found


def _reaches(one: End, other: End, seen: Seen) -> bool | None:
    if not (one.asked and other.asked and other.worker in seen and one.worker in seen):
        return None
    if one.dead:
        return False
    at = seen[other.worker]
    if shared := _shared(one, other):
        return all(passes(one, other.worker, v, seen) and other.gives_out([v]) for v in shared)
    return any(other.gives_out(at.get(probe.mac, ())) for probe in one.drawn.probes)


def _dead_switches(evidence: Evidence) -> list[WorkFailed]:
    """A worker where nothing passes: its interfaces are not told one by one."""
    used = {end.worker for end in evidence.ends}
    in_vlans = {end.worker for end in evidence.ends if not end.port}
    found = []
    for name, site in evidence.sites.items():
        worker = evidence.workers[name]
        bridge = worker.bridge
        why = site.wiring.switch.dead
        if name in in_vlans:
            why = site.wiring.switch.lifeless(bridge) or site.fault
            if bridge not in site.wiring.switch.bridges:
                why = f"there is no bridge {bridge}"
        if why and name in used:
            found.append(
                WorkFailed(f"nothing passes its switch: {why}", worker=name, cure="fab doctor")
            )
    return found


def _broken_tunnels(evidence: Evidence) -> list[WorkFailed]:
    """Tunnels that are not as they should be, whatever passes meanwhile."""
    found = []
    for name, wanted in evidence.meshes.items():
        if site := evidence.sites.get(name):
            worker, wiring = evidence.workers[name], site.wiring
            found += mesh.faults(worker, wanted, wiring.switch, wiring.taps)
    return found


def _lacking(evidence: Evidence) -> Lacking:
    """By worker and peer, what is wrong with the tunnel between them, or empty."""
    found: dict[tuple[str, str], str] = {}
    for name, wanted in evidence.meshes.items():
        site = evidence.sites.get(name)
        broken = mesh.broken(wanted, site.wiring.switch) if site is not None else {}
        found |= {(name, one.peer): broken.get(one.peer, "") for one in wanted.tunnels}
    return found


def _faulty_ends(ends: Iterable[End]) -> list[WorkFailed]:
    return [
        WorkFailed(
            end.fault,
            worker=end.worker,
            vm=end.drawn.vm.name,
            interface=end.drawn.nic.name,
            cure=end.cure,
        )
        for end in ends
        if end.fault
    ]


def _leaks(ends: Sequence[End], seen: Seen) -> list[WorkFailed]:
    """Frames of an interface that is plugged as it is wanted, in a VLAN which is not its own."""
    found = []
    for end in ends:
        if not end.asked or end.fault:
            continue
        for worker, at in seen.items() if not end.port else ():
            for probe in end.drawn.probes:
                for vlan in sorted(at.get(probe.mac, set()) - {probe.vlan_id}):
                    found.append(_leak(end, _stray(probe, worker, vlan)))
    return found


def _stray(probe: Probe, worker: str, vlan: int) -> str:
    if probe.vlan_id is None:
        return f"its guest gets into VLAN {vlan} by tagging its frames: they come to {worker}"
    return f"its frames, of VLAN {probe.vlan_id}, come to {worker} in VLAN {vlan}"


def _leak(end: End, what: str) -> WorkFailed:
    return WorkFailed(
        what,
        worker=end.worker,
        vm=end.drawn.vm.name,
        interface=end.drawn.nic.name,
        cure=f"see the way: fab trace --from {end.name} --to VM",
    )


def _loops(evidence: Evidence) -> list[WorkFailed]:
    """A probe that was learned at its own bridge, from another port than the one it was sent at."""
    found: dict[tuple[str, str], WorkFailed] = {}
    for end in evidence.ends:
        if end.ofport is None or end.port:
            continue
        for each in evidence.learned.get(end.worker, ()):
            mine = {probe.mac for probe in end.drawn.own}
            if each.mac in mine and each.ofport != end.ofport:
                site = evidence.sites[end.worker]
                port = _port_name(evidence.workers[end.worker], site, each.ofport)
                found[end.worker, port] = WorkFailed(
                    f"frames of its VMs come back to it by port {port}: there is a loop",
                    worker=end.worker,
                    cure=f"look for a second way between port {port} and the switch",
                )
    return list(found.values())


def _port_name(worker: Worker, site: Site, ofport: int | None) -> str:
    if ofport is None:
        return worker.bridge
    bridge = site.wiring.switch.real(worker.bridge)
    names = [
        port.name
        for port in site.wiring.switch.ports.values()
        if port.bridge == bridge and port.ofport == ofport
    ]
    return names[0] if names else str(ofport)


def _strangers(evidence: Evidence, known: Collection[str]) -> list[WorkFailed]:
    """Ports in the VLANs of hosts.toml that are no interface of it, where it says they are."""
    vlans = vlans_of(end.drawn.nic for end in evidence.ends)
    mine = {(end.worker, end.drawn.nic.tap) for end in evidence.ends}
    mine |= cards_elsewhere(evidence.drawn, evidence.sites)
    found = []
    for name, site in evidence.sites.items():
        switch = site.wiring.switch
        bridge = switch.real(evidence.workers[name].bridge)
        for port in switch.ports.values():
            if port.bridge != bridge or (name, port.name) in mine or port.name in switch.bridges:
                continue
            heard = _heard_by(port, vlans, is_tap=port.name in site.wiring.taps)
            if not heard or any(fnmatchcase(port.name, each) for each in known):
                continue
            found.append(_stranger(name, port, heard))
    return found


def _heard_by(port: ovs.Port, vlans: Iterable[int], *, is_tap: bool) -> list[int]:
    """The VLANs of ours that a port is in. One without a VLAN of its own leads to other workers,
    unless it is a TAP; and what vmops made for another purpose than a VM's is known."""
    if any(key.startswith("vmops-") and key != ovs.OWNER for key in port.external_ids):
        return []
    if port.tag is not None and port.vlan_mode in ("", "access", "dot1q-tunnel"):
        return [vlan for vlan in vlans if vlan == port.tag]
    if not is_tap and port.tag is None:
        return []
    return [v for v in vlans if v == port.tag or not port.trunks or v in port.trunks]


def _stranger(worker: str, port: ovs.Port, vlans: Sequence[int]) -> WorkFailed:
    many = ", ".join(map(str, vlans))
    which = f"VLAN {many}" if len(vlans) == 1 else f"VLANs {many}"
    whose = f" (owner {port.owner})" if port.owner else ""
    return WorkFailed(
        f"port {port.name}{whose} is in {which}, and no VM that hosts.toml has here",
        worker=worker,
        cure=f"see whose it is: {typed('sudo', 'ovs-vsctl', 'list', 'Interface', port.name)};"
        f" if it may be there: {typed('fab', 'verify', '--known', port.name)}",
    )


def _unexplained(pairs: Iterable[Pair]) -> list[WorkFailed]:
    """What differs where nothing else says why."""
    names = [
        f"{p.source.name} to {p.target.name}" for p in pairs if not p.ok and p.found is not None
    ]
    if not names:
        return []
    return [
        WorkFailed(f"it is not as hosts.toml has it: {', '.join(names[:4])}", cure="fab doctor")
    ]
