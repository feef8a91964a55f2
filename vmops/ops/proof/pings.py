"""Echoes that guests answer: asked from the gateways of their networks, and by other guests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from vmops.core.facts.question import Question, Unanswered, text_of
from vmops.core.inventory.networks.model import Network
from vmops.core.plan.proof import pings
from vmops.core.plan.proof.pings import Ping
from vmops.core.script.command import StepResult
from vmops.core.tools.proof import echo
from vmops.core.tools.proof.echo import Heard
from vmops.errors import MonitorError, VmopsError
from vmops.ops.act import ask, unreadable
from vmops.ops.fleet import on_each
from vmops.ops.guest import agent
from vmops.ops.route import Group, Route

GUEST_LIMIT_S = 20.0
_LIMIT_S = 30.0


class Pinged(NamedTuple):
    """Who answered whom, what is wrong, and VMs that could not be asked to ask: they have no agent,
    or no ping."""

    pings: Sequence[Ping] = ()
    faults: Sequence[VmopsError] = ()
    unasked: Sequence[str] = ()


def ping_all(
    groups: Sequence[Group],
    networks: Iterable[Network],
    running: Mapping[str, str],
    *,
    parallel: int,
) -> Pinged:
    """Ask the guests of all VMs that run, at all workers at once. `running` has each one's worker.

    Never raises a VmopsError.
    """
    listed = list(networks)
    names = {group.route.worker.name for group in groups}
    asked = [
        *pings.from_gateways(listed, running, names),
        *pings.from_guests(listed, running),
    ]

    def on_one(group: Group) -> Pinged:
        mine = [each for each in asked if each.worker == group.route.worker.name]
        at_gateways = _by_gateways(group.route, [p for p in mine if p.is_from_gateway])
        by_guests = _by_guests(group, [p for p in mine if not p.is_from_gateway])
        return Pinged([*at_gateways.pings, *by_guests.pings], at_gateways.faults, by_guests.unasked)

    found = [said for _, said in on_each(groups, on_one, parallel=parallel)] if groups else []
    order = {ping[:4]: number for number, ping in enumerate(asked)}
    all_pings = sorted((p for one in found for p in one.pings), key=lambda p: order[p[:4]])
    lost = [fault for one in found for fault in one.faults]
    silent = sorted(name for one in found for name in one.unasked)
    return Pinged(all_pings, [*lost, *pings.faults(all_pings)], silent)


def _by_gateways(route: Route, asked: Sequence[Ping]) -> Pinged:
    if not asked:
        return Pinged()
    targets: dict[str, list[str]] = {}
    for each in asked:
        targets.setdefault(each.source.partition(":")[0], []).append(each.address)
    question = Question("echoes", (echo.from_gateways(targets),), _heard, _LIMIT_S)
    try:
        heard = ask(route, question)[question]
    except Unanswered as error:
        return Pinged(asked, [unreadable(route, error)])
    except VmopsError as error:
        return Pinged(asked, [error])

    def judged(each: Ping) -> Ping:
        network = each.source.partition(":")[0]
        if network in heard.gone:
            return each
        return each._replace(found=each.address in heard.replies.get(network, ()))

    return Pinged([judged(each) for each in asked])


def _heard(said: StepResult) -> Heard:
    return echo.parse(text_of(said))


def _by_guests(group: Group, asked: Sequence[Ping]) -> Pinged:
    """All guests of a worker ask all addresses at once. One without an agent asks nobody."""
    sources = {each.source for each in asked}
    vms = [vm for vm in group.vms if vm.name in sources]
    if not vms:
        return Pinged()
    words = echo.from_a_guest(sorted({each.address for each in asked}))
    replies: dict[str, frozenset[str]] = {}
    faults: list[VmopsError] = []
    for ran in agent.execute(group.route, vms, words, timeout_s=GUEST_LIMIT_S):
        if ran.ended is not None and ran.ended.exit_code == 0:
            replies[ran.vm] = echo.parse_of_guest(ran.ended.stdout.decode(errors="replace"))
        elif ran.error is not None and not isinstance(ran.error, MonitorError):
            faults.append(ran.error)
    done = [
        each._replace(found=each.address in replies[each.source])
        for each in asked
        if each.source in replies
    ]
    return Pinged(done, faults, [vm.name for vm in vms if vm.name not in replies])
