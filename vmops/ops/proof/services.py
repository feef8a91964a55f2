"""The proof of what networks serve: leases, ways out, names, and what crosses between them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from vmops.core.facts.proof import guests as facts
from vmops.core.facts.question import Unanswered
from vmops.core.inventory.inventory import Inventory
from vmops.core.inventory.networks.model import Network
from vmops.core.plan.proof import services
from vmops.core.plan.proof.evidence import Proof
from vmops.core.plan.proof.leases import Asking, askings, lease_faults
from vmops.core.plan.proof.services import Outcome, Passage, Trial, trials
from vmops.core.tools.proof.door import Asked
from vmops.errors import VmopsError
from vmops.ops.act import ask, unreadable
from vmops.ops.fleet import on_each
from vmops.ops.proof.door import offers
from vmops.ops.route import Group, Route

LEASE_S = 2
"""How long offers of leases are listened to; our own, where it is wanted, three times as long."""


class Proved(NamedTuple):
    """What each network lets its guests do, what is wrong, and networks that could not be tried as
    no address of theirs is free."""

    passages: Sequence[Passage] = ()
    faults: Sequence[VmopsError] = ()
    crowded: Sequence[str] = ()


class _Work(NamedTuple):
    """One thing that is done on one worker, and what it comes to."""

    route: Route
    do: Callable[[Route], Proved]


def show(route: Route, networks: Iterable[Network]) -> None:
    """What would be asked of a worker, for a dry run."""
    for trial in trials(networks, [route.worker], [route.worker], run=0):
        ask(route, *facts.trying(0, trial.guests, trial.tries))


def prove_services(
    groups: Sequence[Group],
    proof: Proof,
    *,
    listed: Inventory,
    parallel: int,
) -> Proved:
    """Try on each network's node what its guests may do and what not, and ask each network for a
    lease; all at once. What follows from a fault of the `proof` is not told again. Never raises a
    VmopsError.
    """
    run = secrets.randbits(32)
    networks = list(listed.networks.values())
    routes = {group.route.worker.name: group.route for group in groups}
    told = {end.drawn.vm.name for end in proof.ends if end.drawn.is_gateway and end.fault}
    todo = [_Work(routes[each.worker], _lease(each)) for each in askings(networks, proof)]
    asked = [route.worker for route in routes.values()]
    for trial in trials(networks, asked, listed.workers.values(), run=run):
        todo.append(_Work(routes[trial.worker.name], _tried(trial, run, told)))
    kept = [Group(work.route) for work in todo]
    by_group: Mapping[int, _Work] = dict(zip(map(id, kept), todo, strict=True))

    def work(group: Group) -> Proved:
        return by_group[id(group)].do(group.route)

    found = [said for _, said in on_each(kept, work, parallel=parallel)] if kept else []
    order = {network.name: number for number, network in enumerate(networks)}
    passages = [passage for each in found for passage in each.passages]
    return Proved(
        sorted(passages, key=lambda passage: order.get(passage.network, 0)),
        [fault for each in found for fault in each.faults],
        [name for each in found for name in each.crowded],
    )


def _lease(asking: Asking) -> Callable[[Route], Proved]:
    network = asking.network
    vlan_id = network.vlan_id
    assert vlan_id is not None, "who is asked for a lease is in a VLAN"
    passage = Passage(network.name, "dhcp", wanted=network.dhcp)

    awaited = str(network.gateway) if network.dhcp else ""
    wanted = Asked(vlan_id, asking.mac, LEASE_S, awaited)

    def asked(route: Route) -> Proved:
        try:
            said = offers(route, wanted)
        except VmopsError as error:
            return Proved([passage], [error])
        found = passage._replace(found=bool(said))
        return Proved([found], lease_faults({network.name: (asking, said)}))

    return asked


def _tried(trial: Trial, run: int, told: Collection[str]) -> Callable[[Route], Proved]:
    def tried(route: Route) -> Proved:
        outcome, faults = _judged(route, trial, run, told)
        return Proved(outcome.passages, [*outcome.faults, *faults], trial.crowded)

    return tried


def _judged(
    route: Route, trial: Trial, run: int, told: Collection[str]
) -> tuple[Outcome, list[VmopsError]]:
    asked = facts.trying(run, trial.guests, trial.tries)
    try:
        answers = ask(route, *asked)
        found = facts.read(answers, asked)
    except Unanswered as error:
        return services.unknown(trial), [unreadable(route, error)]
    except VmopsError as error:
        return services.unknown(trial), [error]
    return services.judge(trial, found, told=told), []
