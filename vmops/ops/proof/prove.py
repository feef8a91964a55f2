"""The proof of a network by frames: probes are sent at every port, and looked for at every worker.

The guests have no part in it. All workers are asked at once, twice: to send, and to look.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from vmops.core.facts.proof import probes as facts
from vmops.core.facts.proof.probes import Site
from vmops.core.facts.question import Unanswered
from vmops.core.facts.vms import RunningVM
from vmops.core.inventory.inventory import Inventory
from vmops.core.inventory.model import Worker
from vmops.core.inventory.networks.model import Network
from vmops.core.plan.proof.ends import Drawn, End, draw, ends
from vmops.core.plan.proof.judge import Evidence, Proof, is_complete, judge
from vmops.core.plan.proof.pings import Ping
from vmops.core.plan.proof.services import Passage
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


def show(group: Group, networks: Iterable[Network] = ()) -> None:
    """What would be asked of a worker, for a dry run."""
    drawn = draw([(group.route.worker, group.vms)], run=0, networks=networks)
    _send(group.route, drawn)
    _look(group.route, 0)
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
    evidence, unasked = gather(groups, networks=networks, parallel=parallel)
    proof = judge(evidence, known=known)
    proven = Proven(proof, unasked)
    able = [group for group in groups if group.route.worker.name in evidence.sites]
    if services:
        found = serving.prove_services(able, proof, listed=listed, parallel=parallel)
        proven = _and(proven, found.faults)._replace(passages=found.passages, crowded=found.crowded)
    if ping:
        said = ping_all(able, networks, _running(evidence), parallel=parallel)
        proven = _and(proven, said.faults)._replace(pings=said.pings, silent=said.unasked)
    return proven


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


def gather(
    groups: Sequence[Group], *, networks: Iterable[Network] = (), parallel: int
) -> tuple[Evidence, Sequence[VmopsError]]:
    """Send the probes of all these VMs, and look where they come; and why workers could not be
    asked."""
    run = secrets.randbelow(1 << 16)
    placed = [(group.route.worker, group.vms) for group in groups]
    drawn = draw(placed, run=run, networks=networks)
    mine = {
        group.route.worker.name: [d for d in drawn if d.worker == group.route.worker]
        for group in groups
    }

    def all_at_once(work: Callable[[Group], object], on: Iterable[Group]) -> dict[str, object]:
        found = on_each(list(on), work, parallel=parallel)
        return {group.route.worker.name: result for group, result in found}

    sent = all_at_once(lambda g: _tried(_send, g.route, mine[g.route.worker.name]), groups)
    unasked = {name: error for name, error in sent.items() if isinstance(error, VmopsError)}
    sites = {name: site for name, site in sent.items() if isinstance(site, Site)}
    able = [group for group in groups if group.route.worker.name in sites]
    workers: dict[str, Worker] = {group.route.worker.name: group.route.worker for group in groups}
    looks = 0
    evidence = Evidence(ends(drawn, sites), workers, sites, {})

    def look() -> bool | None:
        nonlocal looks, evidence, able
        if looks == SENDS_AGAIN_AFTER:
            all_at_once(lambda g: _tried(_send, g.route, mine[g.route.worker.name]), able)
        looks += 1
        seen = all_at_once(lambda g: _tried(_look, g.route, run), able)
        lost = {name: error for name, error in seen.items() if isinstance(error, VmopsError)}
        unasked.update(lost)
        able = [group for group in able if group.route.worker.name not in lost]
        evidence = _with(evidence, drawn, seen, lost)
        return True if is_complete(evidence) else None

    if able:
        wait_for(look, PATIENCE_S, pauses=iter([_PAUSE_S] * int(PATIENCE_S / _PAUSE_S)))
    return evidence, [error for error in unasked.values() if isinstance(error, VmopsError)]


def _with(
    before: Evidence,
    drawn: Sequence[Drawn],
    seen: Mapping[str, object],
    lost: Mapping[str, VmopsError],
) -> Evidence:
    sites = {name: site for name, site in before.sites.items() if name not in lost}
    learned: dict[str, Sequence[Sighting]] = {
        name: found for name, found in seen.items() if isinstance(found, tuple)
    }
    return Evidence(ends(drawn, sites), before.workers, sites, learned)


def _tried(work: Callable[..., object], *args: object) -> object:
    """What the work gives, or the error that ended it."""
    try:
        return work(*args)
    except VmopsError as error:
        return error


def _send(route: Route, drawn: Sequence[Drawn]) -> Site | None:
    probes = [probe for each in drawn for probe in each.probes]
    asked = facts.sending(route.worker.bridge, probes)
    answers = ask(route, *asked)
    if route.transcript is not None:
        return None
    try:
        return facts.read(answers, asked)
    except Unanswered as error:
        raise unreadable(route, error) from error


def _look(route: Route, run: int) -> tuple[Sighting, ...]:
    question = facts.learned(route.worker.bridge, run)
    answers = ask(route, question)
    if route.transcript is not None:
        return ()
    try:
        return answers[question]
    except Unanswered:
        # Its switch is dead, which is told by its site: nothing has come to it.
        return ()
