"""What is wrong in networks that OVN carries, each cause once, with its cure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from vmops.core.devices.network.logical import SWITCH
from vmops.core.facts.network.central import Central
from vmops.core.facts.proof.bindings import Bindings
from vmops.core.inventory.complaints import typed
from vmops.core.names import OVN_BRIDGE
from vmops.core.plan.checks import OVN_CURE, ovn_cure
from vmops.core.plan.network import logical as networks
from vmops.core.plan.proof import logical
from vmops.core.plan.proof.ends import End
from vmops.core.plan.proof.evidence import Evidence, Pair
from vmops.core.plan.proof.logical import DHCP, DNS, GATEWAY, INTERNET, KEPT, Hearing, Place, Sent
from vmops.core.tools.ovn import CHASSIS, Key
from vmops.errors import WorkFailed

TUNNEL_PORT = 6081
"""Of Geneve, by UDP."""

_SETUP = "fab ovn.setup"
_STUCK_CURE = (
    "fab net.up; fab doctor; then see that the gateways' devices are up, and that the next hop"
    " answers them"
)


def carried_faults(evidence: Evidence, pairs: Sequence[Pair]) -> list[WorkFailed]:
    """The faults, from the workers and OVN's central to single ports and what passes between
    them."""
    ends = [end for end in evidence.ends if end.port]
    if not ends:
        return []
    of_workers = list(_of_workers(ends, evidence))
    known = [*of_workers, *_deaf(ends, evidence.hearing), *_of_central(ends, evidence)]
    faulty = {fault.worker for fault in of_workers}
    of_ends = list(_of_ends(ends, evidence))
    told = {logical.whose(end) for end in ends if end.fault}
    told |= {(fault.worker, f"{fault.vm}:{fault.interface}") for fault in of_ends}
    silent = [pair for pair in pairs if _is_unexplained(pair, told)]
    in_vlans = [pair for pair in silent if _vlan(pair, evidence.hearing) is not None]
    silent = [pair for pair in silent if pair not in in_vlans]
    apart = [pair for pair in silent if not {pair.source.worker, pair.target.worker} & faulty]
    found = [*known, *of_ends, *_cut(apart, pairs), *_cut_in_vlans(in_vlans, evidence.hearing)]
    found += _leaks(pairs)
    return [*found, *_of_services(evidence.hearing, told, is_told=bool(found))]


def _is_unexplained(pair: Pair, told: set[logical.Whose]) -> bool:
    both = {logical.whose(pair.source), logical.whose(pair.target)}
    is_cut = pair.wanted and pair.found is False
    return bool(pair.source.port or pair.target.port) and is_cut and not both & told


def _vlan(pair: Pair, hearing: Hearing) -> int | None:
    """The VLAN by which OVN brings frames from the one to the other; None where it is a tunnel, or
    nothing but itself."""
    near = pair.source.worker == pair.target.worker and pair.source.port and pair.target.port
    places = (hearing.places.get(end.port) for end in (pair.source, pair.target))
    vlans = (place.network.vlan_id for place in places if place is not None)
    return None if near else next(vlans, None)


def _cut_in_vlans(cut: Sequence[Pair], hearing: Hearing) -> Iterator[WorkFailed]:
    """Each VLAN once between two workers, whichever way."""
    shut: set[tuple[object, ...]] = set()
    for pair in cut:
        vlan, here, there = _vlan(pair, hearing), pair.source.worker, pair.target.worker
        if (vlan, *sorted((here, there))) in shut:
            continue
        shut.add((vlan, *sorted((here, there))))
        where = f"{here} and {there}" if here != there else f"OVN and others of {here}"
        yield WorkFailed(
            f"VLAN {vlan} does not pass between {where}: {pair.source.name} does not reach"
            f" {pair.target.name}",
            cure="fab ovn.setup; then see that switches between carry that VLAN",
        )


def _of_workers(ends: Sequence[End], evidence: Evidence) -> Iterator[WorkFailed]:
    """A controller that has gone leaves its flows: what is there may still pass."""
    for name in dict.fromkeys(end.worker for end in ends):
        site = evidence.sites.get(name)
        if site is None or site.wiring.switch.dead:
            continue
        if OVN_BRIDGE not in site.wiring.switch.bridges:
            yield WorkFailed(
                f"there is no bridge {OVN_BRIDGE}: nothing passes", worker=name, cure=_SETUP
            )
        elif site.wiring.switch.ovn:
            why = site.wiring.switch.ovn
            yield WorkFailed(why, worker=name, cure=ovn_cure(name, why))


def _deaf(ends: Sequence[End], hearing: Hearing) -> Iterator[WorkFailed]:
    for end in ends:
        ear = hearing.ears.get(end.worker)
        why = dict(ear.deaf).get(end.drawn.nic.tap) if ear is not None and not end.dead else None
        if why is not None:
            yield _of_end(end, f"what comes to it cannot be heard: {why}", "fab verify")


def _of_central(ends: Sequence[End], evidence: Evidence) -> Iterator[WorkFailed]:
    hearing = evidence.hearing
    middle = hearing.middle
    if middle is None:
        return
    if middle.north is None or middle.south is None:
        yield WorkFailed(
            f"OVN's central cannot be asked: {middle.fault}",
            worker=hearing.northbound,
            cure="there: sudo systemctl restart ovn-central; then fab doctor",
        )
        return
    chassis = _chassis(middle.north, evidence)
    for end in {end.worker: end for end in ends}.values():
        site = evidence.sites.get(end.worker)
        behind = middle.south.behind.get(chassis.get(end.worker, ""), 0)
        if behind and site is not None and not site.wiring.switch.ovn:
            yield WorkFailed(
                f"its ovn-controller says that it is connected, and has not followed OVN's last"
                f" {'change' if behind == 1 else f'{behind} changes'}",
                worker=end.worker,
                cure=OVN_CURE,
            )
    yield from _drift(ends, hearing, middle.north)


def _drift(ends: Sequence[End], hearing: Hearing, north: Central) -> Iterator[WorkFailed]:
    """Networks that OVN has otherwise than they are wanted, but for the ports that are told one by
    one."""
    mine = {end.port for end in ends if end.asked and not end.fault}
    here = {end.drawn.nic.interface.network for end in ends}
    for name, differs in _differences(hearing, north).items():
        fields = [field for field in differs if not {field, field.partition(".")[0]} & _parts(mine)]
        if name not in here:
            continue
        if Key(name, SWITCH) not in north.rows:
            what = "OVN does not have it"
        elif fields:
            more = f" and {len(fields) - 3} more" if len(fields) > 3 else ""
            what = f"OVN has it otherwise than hosts.toml: {', '.join(fields[:3])}{more}"
        else:
            continue
        yield WorkFailed(f"network {name}: {what}", worker=hearing.northbound, cure="fab net.up")


def _differences(hearing: Hearing, north: Central) -> dict[str, list[str]]:
    wanted = {place.network.name: place.network for place in hearing.places.values()}
    found = {name: networks.drift(one, north) for name, one in wanted.items()}
    return {name: [each.field for each in those] for name, those in found.items()}


def _parts(ports: Iterable[str]) -> set[str]:
    return {f"port {port}" for port in ports}


def _of_ends(ends: Sequence[End], evidence: Evidence) -> Iterator[WorkFailed]:
    """What is wrong with single ports, where the worker itself says nothing of it."""
    hearing = evidence.hearing
    late: list[End] = []
    for end in ends:
        if not end.asked or end.fault:
            continue
        why = hearing.refused.get(end.worker, {}).get(end.drawn.nic.tap)
        if why is not None:
            yield _of_end(end, f"the switch took no frame from its port: {why}", end.cure)
        elif twin := _twin(end, evidence):
            worker, tap = twin
            yield _of_end(
                end,
                f"port {tap} of {worker} says that it is {end.port} as well: the two workers fight"
                " for it",
                f"on {worker}: {typed('sudo', 'ovs-vsctl', 'del-port', tap)}",
            )
        elif hearing.middle is not None and hearing.middle.north and hearing.middle.south:
            what = _unbound(end, hearing.middle.north, hearing.middle.south, evidence)
            if what == _LATE:
                late.append(end)
            elif what:
                yield _of_end(end, *what)
    if late:
        names = ", ".join(end.port for end in late)
        yield WorkFailed(
            f"OVN has ports that no worker is told of: {names}: does ovn-northd run?",
            worker=hearing.northbound,
            cure="there: sudo systemctl restart ovn-northd",
        )


_LATE = ("late", "")


def _unbound(
    end: End, north: Central, south: Bindings, evidence: Evidence
) -> tuple[str, str] | None:
    place, part = evidence.hearing.places.get(end.port), f"port {end.port}"
    if place is None or Key(place.network.name, SWITCH) not in north.rows:
        return None
    network = place.network
    if Key(network.name, part) not in north.rows:
        return f"OVN has no port {end.port}", "fab net.up"
    fields = [each.field for each in networks.drift(network, north)]
    mine = [field.removeprefix(f"{part}.") for field in fields if field.startswith(f"{part}.")]
    # What is only written down of it lets nothing pass, and stops nothing.
    differs = [field for field in mine if not field.startswith("external_ids")]
    if differs:
        return f"OVN has its port otherwise than hosts.toml: {', '.join(differs)}", "fab net.up"
    bound = south.ports.get(end.port)
    if bound is None:
        return _LATE
    chassis = _chassis(north, evidence).get(end.worker, "")
    if not bound.chassis:
        return "OVN has its port at no worker: nobody has taken it", end.cure
    if chassis and bound.chassis != chassis:
        at = {name: worker for worker, name in _chassis(north, evidence).items()}
        where = at.get(bound.chassis, f"chassis {bound.chassis}")
        return f"OVN has its port at {where}, and it is plugged here", "fab net.up"
    return None if bound.up else ("OVN says that its port is not up", end.cure)


def _chassis(north: Central, evidence: Evidence) -> dict[str, str]:
    """The name in OVN of each worker that was asked, by its end of the tunnels."""
    found = {
        name: north.chassis.get(worker.tunnel_ip or "") for name, worker in evidence.workers.items()
    }
    return {name: chassis for name, chassis in found.items() if chassis}


def _twin(end: End, evidence: Evidence) -> tuple[str, str] | None:
    for name, site in evidence.sites.items():
        for port in site.wiring.switch.ports.values():
            is_other = (name, port.name) != (end.worker, end.drawn.nic.tap)
            is_of_ovn = port.bridge == OVN_BRIDGE
            says_so = is_of_ovn and port.external_ids.get("iface-id") == end.port
            is_going = name != end.worker and name in _places(end, evidence)
            if is_other and says_so and not is_going:
                return name, port.name
    return None


def _places(end: End, evidence: Evidence) -> set[str]:
    """The workers for which OVN has its port: two while its VM goes from one to the other."""
    place, middle = evidence.hearing.places.get(end.port), evidence.hearing.middle
    if place is None or middle is None or middle.north is None:
        return set()
    found = middle.north.rows.get(Key(place.network.name, f"port {end.port}"))
    options = found.columns.get("options", "") if found is not None else ""
    asked = (options.get(CHASSIS) or "") if isinstance(options, Mapping) else ""
    names = _chassis(middle.north, evidence)
    return {worker for worker, name in names.items() if name in asked.split(",")}


def _cut(cut: Sequence[Pair], pairs: Sequence[Pair]) -> Iterator[WorkFailed]:
    """Pairs that are cut although nothing else says why: a port, a tunnel, or just these."""
    dead = [end for end in _ends_of(cut) if _is_dead(end, pairs)]
    for end in dead:
        yield _of_end(
            end,
            "nothing passes its port, though OVN says that it is up: OVN takes a TAP that was made"
            " anew by a new port only",
            f"fab unplug --vm {end.drawn.vm.name}; fab plug --vm {end.drawn.vm.name}"
            f"  # one that runs: fab restart --vm {end.drawn.vm.name}",
        )
    buried = set(map(id, dead))
    rest = [p for p in cut if not {id(p.source), id(p.target)} & buried]
    shut: set[tuple[str, str]] = set()
    for one, other in dict.fromkeys((p.source.worker, p.target.worker) for p in rest):
        between = [p for p in pairs if (p.source.worker, p.target.worker) == (one, other)]
        wanted = [p.found for p in between if p.wanted and p.source.port]
        if one != other and not any(wanted) and (other, one) not in shut:
            shut.add((one, other))
            yield WorkFailed(
                f"OVN's tunnel from {one} to {other} carries nothing",
                cure="fab doctor; then see that nothing between their tunnel addresses drops UDP"
                f" port {TUNNEL_PORT}",
            )
    for pair in rest:
        way = (pair.source.worker, pair.target.worker)
        if way not in shut and way[::-1] not in shut:
            yield _of_end(
                pair.source,
                f"its packets do not come to {pair.target.name}",
                f"fab trace --from {pair.source.name} --to {pair.target.name}",
            )


def _ends_of(pairs: Iterable[Pair]) -> list[End]:
    return list({id(e): e for p in pairs for e in (p.source, p.target)}.values())


def _is_dead(end: End, pairs: Sequence[Pair]) -> bool:
    """True where nothing comes from it, and nothing to it, of all that should, and that is not the
    tunnel's fault: others of its worker use that, or are cut from it too."""
    mine = [p for p in pairs if p.wanted and (p.source is end or p.target is end)]
    if any(p.found for p in mine):
        return False
    others = [p for p in pairs if p.wanted and p.source is not end and p.target is not end]
    beside = any(p.source.worker == p.target.worker for p in mine)
    return beside or any(
        p.found and end.worker in (p.source.worker, p.target.worker) for p in others
    )


def _leaks(pairs: Sequence[Pair]) -> Iterator[WorkFailed]:
    for pair in pairs:
        if pair.found and not pair.wanted and (pair.source.port or pair.target.port):
            yield _of_end(
                pair.source,
                f"its packets come to {pair.target.name}, and hosts.toml keeps them apart",
                f"fab net.up; then fab trace --from {pair.source.name} --to {pair.target.name}",
            )


def _of_services(
    hearing: Hearing, told: set[logical.Whose], *, is_told: bool
) -> Iterator[WorkFailed]:
    for sent in hearing.sent:
        if not sent.service or logical.is_deaf(sent, hearing):
            continue
        place = hearing.places[sent.source[1]]
        network, said = place.network, logical.answers(sent, hearing)
        what = ""
        if sent.service != DHCP:
            what = _of_service(sent, place, said)
        elif not network.dhcp and said:
            what = f"somebody offers leases ({', '.join(said)}), where nobody should"
        elif network.dhcp and not said:
            what = f"nobody offers {place.seat.port} a lease"
        elif network.dhcp and said != [place.seat.address]:
            what = f"{place.seat.port} is offered {' and '.join(said)}, not {place.seat.address}"
        missing = not said and (is_told or sent.source in told)
        if what and not missing:
            is_stuck = sent.service == INTERNET and network.internet
            cure = _STUCK_CURE if is_stuck else "fab net.up"
            yield WorkFailed(f"network {network.name}: {what}", worker=sent.source[0], cure=cure)


def _of_service(sent: Sent, place: Place, said: Sequence[str]) -> str:
    """What is wrong with a service but DHCP; empty for nothing."""
    network = place.network
    if sent.service == GATEWAY:
        return "" if said else f"its gateway, {network.gateway}, does not answer"
    if sent.service == DNS:
        wanted = dict(network.hosts or ()).get(sent.asked, "")
        if not said:
            return f"nobody tells its guests the address of {sent.asked}" if wanted else ""
        told = " or ".join(said)
        if not wanted:
            return f"somebody tells its guests an address of {sent.asked}, {told}"
        return "" if list(said) == [wanted] else f"{sent.asked} is said to be {told}, not {wanted}"
    if logical.is_to_be(sent, network):
        return "" if said else "its guests do not get out: nothing leaves by a gateway of [ovn]"
    where = " and ".join(said)
    if sent.service == KEPT:
        return f"what its guests send to {sent.asked} leaves by {where}" if said else ""
    return f"its guests get out by {where}, where hosts.toml has no internet" if said else ""


def _of_end(end: End, what: str, cure: str) -> WorkFailed:
    return WorkFailed(
        what,
        worker=end.worker,
        vm=end.drawn.vm.name,
        interface=end.drawn.nic.name,
        cure=cure,
    )
