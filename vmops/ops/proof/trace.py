"""The way of a frame between two interfaces: what bridges or OVN do with it, how far it comes."""

from __future__ import annotations

from collections.abc import Sequence

from vmops.core.facts.proof.trace import tracing, tracing_in_ovn
from vmops.core.facts.question import Unanswered
from vmops.core.inventory.inventory import Inventory
from vmops.core.inventory.model import VM, Nic
from vmops.core.plan.proof import carried_story, logical, story
from vmops.core.plan.proof.ends import Drawn, End
from vmops.core.plan.proof.evidence import Evidence
from vmops.core.plan.proof.judge import judge
from vmops.core.plan.proof.logical import Hearing
from vmops.core.plan.proof.story import Found, Story
from vmops.core.tools.proof import ovn_trace
from vmops.core.tools.proof.ovn_trace import Flow
from vmops.core.tools.proof.trace import Frame, Traced
from vmops.errors import InventoryError, NotRunning, VmopsError
from vmops.ops.act import ask, unreadable
from vmops.ops.proof.prove import gather
from vmops.ops.route import Group, Route

Place = tuple[VM, Nic]
"""An interface of a VM."""

Way = tuple[Place, Place]
"""From where to where."""


def trace(groups: Sequence[Group], way: Way, *, listed: Inventory, flow: str = "") -> Story:
    """The way of a frame from one interface to the other. `flow` is more of the frame.

    Raises what a worker of theirs that cannot be asked raises, and NotRunning for an interface that
    is not plugged.
    """
    evidence, unasked = gather(groups, listed=listed, parallel=len(groups))
    routes = {group.route.worker.name: group.route for group in groups}
    source, target = (_end(evidence, unasked, place) for place in way)
    proof = judge(evidence)
    if bool(source.port) != bool(target.port):
        vlan_id = logical.shared_vlan(source, target, evidence.hearing)
        if vlan_id is not None:
            return carried_story.tell_joined(source, target, vlan_id, proof)
        return carried_story.tell_apart(source, target)
    if source.port:
        for error in unasked:
            raise error
        asked = carried_story.leaving(source, target, evidence.hearing, flow)
        central = routes.get(listed.northbound or "")
        traced = None if source.dead else _traced_in_ovn(central, asked, listed)
        return carried_story.tell(source, target, traced, evidence, proof)
    found = None if source.dead else _found(routes, source, target, evidence, flow)
    return story.tell(source, target, found, evidence, proof)


def show(group: Group, way: Way, *, listed: Inventory, flow: str = "") -> None:
    """What would be asked of a worker about its part of the way, for a dry run."""
    (vm, nic), (other, far) = way
    if nic.port and far.port and group.route.worker.name == listed.northbound:
        here, there = End(_drawn(group, vm, nic)), End(_drawn(group, other, far))
        hearing = Hearing(logical.places(listed))
        ask(group.route, tracing_in_ovn(carried_story.leaving(here, there, hearing, flow)))
    elif vm in group.vms and not nic.port:
        frame = Frame(nic.tap, nic.mac, far.mac, flow=flow)
        ask(group.route, tracing(group.route.worker.bridge, frame))


def _drawn(group: Group, vm: VM, nic: Nic) -> Drawn:
    return Drawn(group.route.worker, vm, nic, ())


def _traced_in_ovn(route: Route | None, flow: Flow, listed: Inventory) -> ovn_trace.Traced:
    if route is None:
        raise InventoryError(
            f"OVN's central is on {listed.northbound}, which is not asked", cure="leave out -H"
        )
    question = tracing_in_ovn(flow)
    answers = ask(route, question)
    try:
        return answers[question]
    except Unanswered as error:
        raise unreadable(route, error) from error


def _end(evidence: Evidence, unasked: Sequence[VmopsError], place: Place) -> End:
    vm, nic = place
    for end in evidence.ends:
        if end.drawn.vm.name == vm.name and end.drawn.nic.name == nic.name:
            if end.asked:
                return end
            for error in unasked:
                raise error
    for error in unasked:
        raise error
    raise NotRunning(
        f"{vm.name} has no plugged interface {nic.name}",
        vm=vm.name,
        cure=f"fab plug --vm {vm.name}",
    )


def _found(
    routes: dict[str, Route], one: End, other: End, evidence: Evidence, flow: str
) -> Found | None:
    switch = evidence.sites[one.worker].wiring.switch
    if switch.dead:
        return None
    near = _traced(routes[one.worker], story.leaving(one, other, flow))
    at = story.entry(one, other, evidence)
    if at is None or evidence.sites[other.worker].wiring.switch.dead:
        return Found(near, at)
    return Found(near, at, _traced(routes[other.worker], story.coming(one, other, at, flow)))


def _traced(route: Route, frame: Frame) -> Traced:
    question = tracing(route.worker.bridge, frame)
    answers = ask(route, question)
    try:
        return answers[question]
    except Unanswered as error:
        raise unreadable(route, error) from error
