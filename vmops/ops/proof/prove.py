"""The proof of a network by frames: probes are sent at every port, and looked for at every worker.

The guests have no part in it. All workers are asked at once, twice: to send, and to look.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from vmops.core.devices.network.mesh import Mesh, share
from vmops.core.facts.proof import bindings, ears
from vmops.core.facts.proof import probes as facts
from vmops.core.facts.proof.bindings import Middle
from vmops.core.facts.proof.probes import Site
from vmops.core.facts.question import Question, Unanswered
from vmops.core.facts.vms import RunningVM
from vmops.core.inventory.inventory import Inventory
from vmops.core.inventory.model import Worker
from vmops.core.inventory.networks.model import Network
from vmops.core.plan.proof import logical
from vmops.core.plan.proof.ends import Drawn, End, draw, ends, vlans_of
from vmops.core.plan.proof.evidence import Evidence, Proof
from vmops.core.plan.proof.judge import is_complete, judge
from vmops.core.plan.proof.logical import Hearing, Place, Sent
from vmops.core.plan.proof.pings import Ping
from vmops.core.plan.proof.services import Passage
from vmops.core.tools.proof.packet import Ear
from vmops.core.tools.proof.probe import Sighting
from vmops.errors import FleetFailed, VmopsError
from vmops.ops.act import ask, unreadable
from vmops.ops.fleet import on_each
from vmops.ops.proof import services as serving
from vmops.ops.proof.pings import ping_all
from vmops.ops.route import Group, Route
from vmops.wait import wait_for

PATIENCE_S = 2.0
"""How long a frame may take from one worker to another."""

SENDS_AGAIN_AFTER = 2
"""Looks after which what has not come is sent once more: the first frame into a tunnel is lost."""

_PAUSE_S = 0.1


class Proven(NamedTuple):
    """The proof, and why workers could not be asked.

    `passages` are what each network lets its guests do; `crowded` networks were not tried, as no
    address of theirs is free. `pings` are the guests that were asked for an echo; `silent` VMs had
    no agent that could ask others.
    """

    proof: Proof
    unasked: Sequence[VmopsError] = ()
    passages: Sequence[Passage] = ()
    crowded: Sequence[str] = ()
    pings: Sequence[Ping] = ()
    silent: Sequence[str] = ()

    @property
    def errors(self) -> list[VmopsError]:
        """Workers that could not be asked, and what differs."""
        return [*self.unasked, *self.proof.faults]

    @property
    def error(self) -> VmopsError | None:
        """All of `errors` as one, None where nothing is wrong."""
        errors = self.errors
        return FleetFailed(errors) if len(errors) > 1 else next(iter(errors), None)


def show(group: Group, listed: Inventory, *, services: bool = True) -> None:
    """What would be asked of a worker, for a dry run."""
    networks = listed.networks.values()
    drawn = draw([(group.route.worker, group.vms)], run=0, networks=networks)
    places = logical.places(listed)
    tried = _services(listed) if services else ()
    taps = _taps(drawn, places) + _outer(listed, group.route.worker.name, tried)
    plugged = [End(each) for each in drawn]
    sent = logical.packets(plugged, places, run=0, first=_marks(drawn), services=tried)
    asked = _Asked(0, _is_central(group, listed, places))
    _send(group.route, drawn, taps, run=0)
    _look(group.route, asked, sent, hears=bool(taps))
    if taps:
        _hang_up(group.route, 0)
    serving.show(group.route, networks)


def prove(
    groups: Sequence[Group],
    *,
    listed: Inventory,
    known: Collection[str] = (),
    services: bool = True,
    ping: bool = False,
    parallel: int,
) -> Proven:
    """Who of these workers' VMs and of the gateways of networks reaches whom, against what
    hosts.toml wants.

    `known` are names and globs of ports that may be in the VLANs besides. With `services` it is
    also tried what each network lets its guests do, and who gives leases there, which takes 2 s;
    with `ping` the guests of VMs that run are asked for echoes. Never raises a VmopsError. Nothing
    is left behind but addresses of the probes in the switches' tables, and of a guest that is none
    in a gateway's, which forget them by themselves.
    """
    networks = listed.networks.values()
    evidence, unasked = gather(
        groups, listed=listed, networks=networks, services=services, parallel=parallel
    )
    proof = judge(evidence, known=known)
    proven = Proven(proof, unasked)
    able = [group for group in groups if group.route.worker.name in evidence.sites]
    if services:
        found = serving.prove_services(able, proof, listed=listed, parallel=parallel)
        passages = [*found.passages, *logical.passages(evidence.hearing)]
        proven = _and(proven, found.faults)._replace(passages=passages, crowded=found.crowded)
    if ping:
        said = ping_all(able, networks, _running(evidence), parallel=parallel)
        proven = _and(proven, said.faults)._replace(pings=said.pings, silent=said.unasked)
    return proven


def meshes_of(groups: Sequence[Group], listed: Inventory) -> dict[str, Mesh]:
    """The tunnels that these workers are to have."""
    names = [group.route.worker.name for group in groups]
    found = {name: share(listed, name) for name in names}
    return {name: mesh for name, mesh in found.items() if mesh is not None}


def _and(proven: Proven, faults: Iterable[VmopsError]) -> Proven:
    proof = proven.proof
    return proven._replace(proof=proof._replace(faults=[*proof.faults, *faults]))


def _running(evidence: Evidence) -> dict[str, str]:
    """The worker of each VM that runs."""
    return {
        end.drawn.vm.name: end.worker
        for end in evidence.ends
        if end.asked and (found := _process(evidence, end)) is not None and found.process
    }


def _process(evidence: Evidence, end: End) -> RunningVM | None:
    site = evidence.sites.get(end.worker)
    return None if site is None else site.running.get(end.drawn.vm.name)


class _Asked(NamedTuple):
    """A run, and whether this worker's OVN central is asked as well."""

    run: int
    is_central: bool = False


class _Seen(NamedTuple):
    """What one look has found on a worker. `ear` is None where nobody listens there."""

    learned: tuple[Sighting, ...] = ()
    ear: Ear | None = None
    refused: Mapping[str, str] = {}
    middle: Middle | None = None


def gather(
    groups: Sequence[Group],
    *,
    listed: Inventory,
    networks: Iterable[Network] = (),
    services: bool = False,
    parallel: int,
) -> tuple[Evidence, Sequence[VmopsError]]:
    """Send the probes of all these VMs, and of the gateways of `networks`, and look where they
    come; and why workers could not be asked."""
    run = secrets.randbelow(1 << 16)
    placed = [(group.route.worker, group.vms) for group in groups]
    drawn = draw(placed, run=run, networks=networks)
    mine = {
        group.route.worker.name: [d for d in drawn if d.worker == group.route.worker]
        for group in groups
    }
    places = logical.places(listed)
    tried = _services(listed) if services and places else ()
    taps = {
        name: _taps(those, places) + _outer(listed, name, tried) for name, those in mine.items()
    }

    def all_at_once(work: Callable[[Group], object], on: Iterable[Group]) -> dict[str, object]:
        found = on_each(list(on), work, parallel=parallel)
        return {group.route.worker.name: result for group, result in found}

    def send(group: Group) -> object:
        name = group.route.worker.name
        return _tried(lambda: _send(group.route, mine[name], taps[name], run=run))

    sent = all_at_once(send, groups)
    unasked = {name: error for name, error in sent.items() if isinstance(error, VmopsError)}
    sites = {name: site for name, site in sent.items() if isinstance(site, Site)}
    able = [group for group in groups if group.route.worker.name in sites]
    workers: dict[str, Worker] = {group.route.worker.name: group.route.worker for group in groups}
    there = ends(drawn, sites)
    packets = logical.packets(there, places, run=run, first=_marks(drawn), services=tried)
    outer = _heard_outside(listed, sites)
    is_all = listed.way_out is not None and len(outer) == len(listed.way_out.gateways)
    hearing = Hearing(
        places, packets, northbound=listed.northbound or "", outer=outer, is_all=is_all
    )
    evidence = Evidence(there, workers, sites, {}, hearing, meshes_of(groups, listed), drawn)
    looks = 0

    def look() -> bool | None:
        nonlocal looks, evidence, able
        again = looks == SENDS_AGAIN_AFTER
        if again:
            all_at_once(
                lambda g: _tried(lambda: _send(g.route, mine[g.route.worker.name], (), run=run)),
                able,
            )
        sends = packets if again or looks == 0 else []
        looks += 1

        def see(group: Group) -> object:
            name = group.route.worker.name
            asked = _Asked(run, _is_central(group, listed, places))
            own = [each for each in sends if each.source[0] == name]
            return _tried(lambda: _look(group.route, asked, own, hears=bool(taps[name])))

        seen = all_at_once(see, able)
        lost = {name: error for name, error in seen.items() if isinstance(error, VmopsError)}
        unasked.update(lost)
        able = [group for group in able if group.route.worker.name not in lost]
        evidence = _with(evidence, drawn, seen, lost)
        # What must not pass may come late, by a tunnel that was cold.
        is_over = is_complete(evidence) and (looks > SENDS_AGAIN_AFTER or not packets)
        return True if is_over else None

    if able:
        wait_for(look, PATIENCE_S, pauses=iter([_PAUSE_S] * int(PATIENCE_S / _PAUSE_S)))
        listening = [group for group in able if taps[group.route.worker.name]]
        all_at_once(lambda g: _tried(lambda: _hang_up(g.route, run)), listening)
    return evidence, [error for error in unasked.values() if isinstance(error, VmopsError)]


def _marks(drawn: Iterable[Drawn]) -> int:
    """How many addresses of a run its probes have taken."""
    return sum(len(each.own) + 1 for each in drawn)


def _taps(drawn: Iterable[Drawn], places: Mapping[str, Place]) -> list[tuple[str, str]]:
    """The TAPs that are listened to: all, where OVN carries any network. Of its own, and of the
    VLANs that it gets into, those that are in nobody's hand are opened, for which their VM is
    named."""
    if not places:
        return []
    vlans = {place.network.vlan_id for place in places.values()} - {None}
    return [
        (each.nic.tap, each.vm.name if each.nic.port or {*vlans_of([each.nic])} & vlans else "")
        for each in drawn
        if not each.is_gateway
    ]


def _services(listed: Inventory) -> tuple[str, ...]:
    """What is tried of networks of OVN."""
    return logical.SERVICES if listed.way_out is not None else logical.INSIDE


def _outer(listed: Inventory, worker: str, tried: Collection[str]) -> list[tuple[str, str]]:
    """The device by which networks of OVN get out on a gateway: it is listened to as well."""
    device = listed.way_out.device_of(worker) if listed.way_out is not None else ""
    return [(device, "")] if device and logical.INTERNET in tried else []


def _heard_outside(listed: Inventory, sites: Mapping[str, Site]) -> list[tuple[str, str]]:
    """Those of the gateways' devices that are listened to. What leaves by a bridge that is named
    there goes out by a port of it, and who knows by which."""
    gateways = listed.way_out.gateways if listed.way_out is not None else ()
    return [
        (worker, device)
        for worker, device in gateways
        if worker in sites
        and device in sites[worker].wiring.switch.ports
        and device not in sites[worker].wiring.switch.bridges
    ]


def _is_central(group: Group, listed: Inventory, places: Mapping[str, Place]) -> bool:
    return bool(places) and group.route.worker.name == listed.northbound


def _with(
    before: Evidence,
    drawn: Sequence[Drawn],
    seen: Mapping[str, object],
    lost: Mapping[str, VmopsError],
) -> Evidence:
    sites = {name: site for name, site in before.sites.items() if name not in lost}
    looks = {name: found for name, found in seen.items() if isinstance(found, _Seen)}
    middles = [found.middle for found in looks.values() if found.middle is not None]
    hearing = before.hearing._replace(
        ears={name: found.ear for name, found in looks.items() if found.ear is not None},
        refused={**before.hearing.refused, **{n: f.refused for n, f in looks.items() if f.refused}},
        middle=middles[0] if middles else before.hearing.middle,
    )
    learned = {name: found.learned for name, found in looks.items()}
    return before._replace(ends=ends(drawn, sites), sites=sites, learned=learned, hearing=hearing)


def _tried(work: Callable[[], object]) -> object:
    """What the work gives, or the error that ended it."""
    try:
        return work()
    except VmopsError as error:
        return error


def _send(
    route: Route, drawn: Sequence[Drawn], taps: Sequence[tuple[str, str]], *, run: int
) -> Site | None:
    """Begin to listen, and send the probes that switches learn."""
    probes = [probe for each in drawn for probe in each.probes]
    listening = (ears.listening(run, taps),) if taps else ()
    asked = facts.sending(route.worker.bridge, probes)
    answers = ask(route, *listening, *asked)
    if route.transcript is not None:
        return None
    try:
        for question in listening:
            answers[question]
        return facts.read(route.worker.name, answers, asked)
    except Unanswered as error:
        raise unreadable(route, error) from error


def _look(route: Route, asked: _Asked, sent: Sequence[Sent], *, hears: bool) -> _Seen:
    """Send packets into OVN, and look what has come of everything until now."""
    packets = ears.sending([each.packet for each in sent])
    learned = facts.learned(route.worker.bridge, asked.run)
    hearing = ears.hearing(asked.run)
    questions: list[Question[Any]] = [packets] if sent else []
    questions += [learned, *([hearing] if hears else [])]
    questions += bindings.OF_CENTRAL if asked.is_central else ()
    answers = ask(route, *questions)
    if route.transcript is not None:
        return _Seen()
    found = _Seen(middle=bindings.middle(answers) if asked.is_central else None)
    # Where its switch is dead, which is told by its site, nothing has come to it.
    with suppress(Unanswered):
        found = found._replace(learned=answers[learned])
    try:
        found = found._replace(refused=answers[packets] if sent else {})
    except Unanswered as error:
        found = found._replace(refused={each.packet.port: str(error) for each in sent})
    try:
        return found._replace(ear=answers[hearing] if hears else Ear())
    except Unanswered as error:
        raise unreadable(route, error) from error


def _hang_up(route: Route, run: int) -> None:
    ask(route, ears.over(run))
