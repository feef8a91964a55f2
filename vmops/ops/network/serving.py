"""Networks on one node: brought up, changed, removed, and what `up` would change about them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from vmops.core.devices.drift import Drift
from vmops.core.devices.network import logical, steps
from vmops.core.devices.network.mesh import NAME as MESH
from vmops.core.devices.network.mesh import Mesh
from vmops.core.devices.network.service import Service
from vmops.core.facts.network.state import DEVICES, MISSING_TOOLS, NETWORKS, Node, Served
from vmops.core.facts.question import Unanswered
from vmops.core.facts.wiring import SWITCH, VSWITCHD_IS_DEAD
from vmops.core.plan.network import mesh as planned_mesh
from vmops.core.plan.network import serving
from vmops.core.plan.network.mesh import Ground
from vmops.core.plan.network.serving import Change, Plan
from vmops.core.plan.phase import ACT_LIMIT_S
from vmops.core.script.command import BlockResult
from vmops.core.tools import ovs
from vmops.errors import ConnectionLost, VmopsError, WorkFailed
from vmops.ops.act import LOOKS, ask, perform, unreadable
from vmops.ops.network import mesh as by_mesh
from vmops.ops.route import Route

TOOLS_CURE = "there: sudo apt install dnsmasq-base nftables"


class NetworkOutcome(NamedTuple):
    """What came of one network. `action` is start, change, nothing or remove; held where only
    tunnels differ that are left as they are; refused or unknown with an `error`.

    `drift` are the fields that differed. `done` is that it was carried out, and not only planned.
    `held` are the workers to which a tunnel is left as it is, as they are not fit for theirs.
    """

    network: str
    worker: str
    action: str
    drift: tuple[Drift, ...] = ()
    done: bool = False
    error: VmopsError | None = None
    held: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """True where something was done."""
        return self.done and self.to_do

    @property
    def to_do(self) -> bool:
        """True where `up` would change something."""
        return self.error is None and self.action not in ("nothing", "held")


class _Seen(NamedTuple):
    """A node as it was looked at; `ground` is what its tunnels stand on, where that was asked."""

    node: Node
    switch: ovs.Switch
    missing: tuple[str, ...] = ()
    ground: Ground | None = None


class _Own(NamedTuple):
    """What a worker has to do for networks by itself, without OVN."""

    wanted: Mapping[str, Service]
    gone: Collection[str] = ()
    mesh: Mesh | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """What there is an outcome of, whatever happens."""
        laid = (MESH,) if self.mesh is not None and self.mesh.tunnels else ()
        return (*self.wanted, *laid)


def plan(
    route: Route,
    wanted: Mapping[str, Service],
    gone: Collection[str] = (),
    carried: logical.Share | None = None,
    mesh: Mesh | None = None,
) -> list[NetworkOutcome]:
    """What `bring` would do about each network. Nothing is done; never raises."""
    mine = _planned(route, _Own(wanted, gone, mesh))
    if carried is None:
        return mine
    from vmops.ops.network import logical as by_ovn

    return [*mine, *by_ovn.plan(route, carried)]


def _planned(route: Route, own: _Own) -> list[NetworkOutcome]:
    try:
        found, refused = _decided(route, _look(route, mesh=own.mesh), own)
    except VmopsError as error:
        return _all_failed(route, own.names, error)
    return _outcomes(route, found.changes, refused)


def bring(
    route: Route,
    wanted: Mapping[str, Service],
    gone: Collection[str] = (),
    carried: logical.Share | None = None,
    mesh: Mesh | None = None,
) -> list[NetworkOutcome]:
    """Serve each network as it is wanted, and remove those that are `gone`: an outcome for each.

    What runs so already is left alone, and a change takes no other network down. One that cannot be
    made is undone, one that cannot be changed is put back. `carried` is the share of OVN, on the
    worker that has its central; `mesh` are the tunnels to other workers, None where the inventory
    has none: then those that are there are left alone. Never raises a VmopsError.
    """
    own = _Own(wanted, gone, mesh)
    mine = _carry_out(route, own.names, lambda seen: _decided(route, seen, own), mesh=mesh)
    if carried is None:
        return mine
    from vmops.ops.network import logical as by_ovn

    return [*mine, *by_ovn.bring(route, carried)]


def remove(
    route: Route,
    names: Sequence[str],
    *,
    northbound: str | None = None,
    mesh: Mesh | None = None,
) -> list[NetworkOutcome]:
    """Remove networks and all that was made for them; one that is not there is no error.

    With a `mesh`, which a dry run takes for laid, all tunnels to other workers go as well. On the
    worker `northbound` what OVN has of them goes too. Never raises a VmopsError.
    """
    mine = _removed(route, names, mesh)
    if route.worker.name != northbound:
        return mine
    from vmops.ops.network import logical as by_ovn

    return [*mine, *by_ovn.remove(route, names)]


def _removed(route: Route, names: Sequence[str], mesh: Mesh | None) -> list[NetworkOutcome]:

    none = mesh._replace(tunnels=()) if mesh is not None else None

    def decide(seen: _Seen) -> tuple[Plan, Mapping[str, WorkFailed]]:
        if route.transcript is not None and mesh is not None:
            seen = seen._replace(ground=by_mesh.supposed(by_mesh.as_laid(mesh)))
        return _and_mesh(route, seen, serving.remove(names, seen.node), none, "net.down")

    # Whoever has no network has tunnels that may be there, or he would hear nothing of a failure.
    told = names or ([] if none is None else [MESH])
    return _carry_out(route, told, decide, supposed=names, mesh=none)


def _decided(route: Route, seen: _Seen, own: _Own) -> tuple[Plan, Mapping[str, WorkFailed]]:
    if seen.missing and own.wanted:
        what = f"a network node needs {' and '.join(seen.missing)}, which are not there"
        raise WorkFailed(what, worker=route.worker.name, cure=TOOLS_CURE)
    found, refused = serving.bring(route.worker, own.wanted, seen.node, seen.switch, gone=own.gone)
    with_mesh, more = _and_mesh(route, seen, found, own.mesh, "net.up")
    return with_mesh, {**refused, **more}


def _and_mesh(
    route: Route, seen: _Seen, plan: Plan, mesh: Mesh | None, change: str
) -> tuple[Plan, Mapping[str, WorkFailed]]:
    """The plan with what is to be done about tunnels, first, in the same block; or why that may not
    be done."""
    if mesh is None or seen.ground is None:
        return plan, {}
    found = planned_mesh.bring(route.worker, mesh, seen.ground)
    if found is None:
        return plan, {}
    if found.refused is not None:
        return plan, {MESH: found.refused}
    changes = (found.change, *plan.changes)
    if found.step is None:
        return plan._replace(changes=changes), {}
    steps_of = plan.block.steps if plan.block is not None else ()
    busy = [one.network for one in changes if one.action != "nothing"]
    block = serving.block_of([found.step, *steps_of], busy, seen.node, change)
    return Plan(changes, block), {}


def _carry_out(
    route: Route,
    names: Sequence[str],
    decide: Callable[[_Seen], tuple[Plan, Mapping[str, WorkFailed]]],
    *,
    supposed: Sequence[str] = (),
    mesh: Mesh | None = None,
) -> list[NetworkOutcome]:
    try:
        for _ in range(LOOKS):
            decided, refused = decide(_look(route, supposed=supposed, mesh=mesh))
            found = _outcomes(route, decided.changes, refused)
            if decided.block is None:
                return found
            (result,) = perform(route, [decided.block], time_limit_s=ACT_LIMIT_S)
            if result.outcome != "changed":
                return [_came_of(one, result) for one in found]
    except VmopsError as error:
        return _all_failed(route, names, error)
    meanwhile = WorkFailed("its networks were changed by somebody else", worker=route.worker.name)
    return _all_failed(route, names, meanwhile)


def _look(route: Route, *, supposed: Sequence[str] = (), mesh: Mesh | None = None) -> _Seen:
    """The node; in a dry run one that serves those that are `supposed`."""
    questions = (VSWITCHD_IS_DEAD, SWITCH, MISSING_TOOLS, DEVICES, NETWORKS)
    answers = ask(route, *questions, *by_mesh.questions(mesh))
    if route.transcript is not None:
        there = {name: Served(name, None) for name in supposed}
        switch = ovs.Switch({route.worker.bridge: ""})
        return _Seen(Node(there, "SUM"), switch, ground=by_mesh.supposed(switch))
    switch = by_mesh.switch_of(answers)
    try:
        node = answers[NETWORKS]._replace(devices=answers[DEVICES])
        ground = by_mesh.ground(mesh, answers, switch) if mesh is not None else None
        return _Seen(node, switch, answers[MISSING_TOOLS], ground)
    except Unanswered as error:
        raise unreadable(route, error) from error


def _outcomes(
    route: Route, changes: Sequence[Change], refused: Mapping[str, WorkFailed]
) -> list[NetworkOutcome]:
    worker = route.worker.name
    return [
        *(
            NetworkOutcome(one.network, worker, one.action, one.drift, held=one.held)
            for one in changes
        ),
        *(NetworkOutcome(name, worker, "refused", error=why) for name, why in refused.items()),
    ]


def _came_of(one: NetworkOutcome, result: BlockResult) -> NetworkOutcome:
    if not one.to_do:
        return one
    if result.outcome == "lost":
        error: VmopsError = ConnectionLost(
            f"{_subject(one)}: the answer was cut short",
            worker=one.worker,
            cure="fab net.status",
        )
        return one._replace(error=error)
    if result.outcome in ("locked", "unlocked"):
        why = result.why or "another change of its networks goes on, for more than 30 s"
        return one._replace(error=WorkFailed(f"{_subject(one)}: {why}", worker=one.worker))
    failed = [step for step in result.steps if not step.ok and one.network in step.step.about]
    if not failed and result.outcome == "done":
        return one._replace(done=True)
    if not failed:
        what = f"{_subject(one)}: it was not finished, and is as it was before"
        return one._replace(error=WorkFailed(what, worker=one.worker, cure="fab net.status"))
    undone = [step for step in result.not_undone if one.network in step.step.about]
    back = "what it was could not be put back" if undone else "it is as it was before"
    if failed[0].step.label.startswith(steps.LINK):
        back = "the rest of it is done"
    what = f"{_subject(one)}: {failed[0].step.label} failed: {failed[0].reason()}; {back}"
    return one._replace(error=WorkFailed(what, worker=one.worker, cure="fab doctor"))


def _subject(one: NetworkOutcome) -> str:
    return "the mesh" if one.network == MESH else f"network {one.network}"


def _all_failed(route: Route, names: Collection[str], error: VmopsError) -> list[NetworkOutcome]:
    return [NetworkOutcome(name, route.worker.name, "unknown", error=error) for name in names]
