"""The way of a frame between two interfaces: what bridges do with it, and how far it comes."""

from __future__ import annotations

from collections.abc import Sequence

from vmops.core.facts.proof.trace import tracing
from vmops.core.facts.question import Unanswered
from vmops.core.inventory.model import VM, Nic
from vmops.core.plan.proof import story
from vmops.core.plan.proof.ends import End
from vmops.core.plan.proof.judge import Evidence, judge
from vmops.core.plan.proof.story import Found, Story
from vmops.core.tools.proof.trace import Frame, Traced
from vmops.errors import NotRunning, VmopsError
from vmops.ops.act import ask, unreadable
from vmops.ops.proof.prove import gather
from vmops.ops.route import Group, Route

Place = tuple[VM, Nic]
"""An interface of a VM."""


def trace(groups: Sequence[Group], one: Place, other: Place, *, flow: str = "") -> Story:
    """The way of a frame from one interface to the other. `flow` is more of the frame.

    Raises what a worker of theirs that cannot be asked raises, and NotRunning for an interface that
    is not plugged.
    """
    evidence, unasked = gather(groups, parallel=len(groups))
    routes = {group.route.worker.name: group.route for group in groups}
    source, target = (_end(evidence, unasked, place) for place in (one, other))
    proof = judge(evidence)
    found = None if source.dead else _found(routes, source, target, evidence, flow)
    return story.tell(source, target, found, evidence, proof)


def show(group: Group, one: Place, other: Place, *, flow: str = "") -> None:
    """What would be asked of a worker about its part of the way, for a dry run."""
    (vm, nic), (_, far) = one, other
    if vm in group.vms:
        frame = Frame(nic.tap, nic.mac, far.mac, flow=flow)
        ask(group.route, tracing(group.route.worker.bridge, frame))


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
