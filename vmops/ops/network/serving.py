"""Networks on one node: brought up, changed, removed, and what `up` would change about them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from vmops.core.devices.drift import Drift
from vmops.core.devices.network import logical, steps
from vmops.core.devices.network.service import Service
from vmops.core.facts.network.state import DEVICES, MISSING_TOOLS, NETWORKS, Node, Served
from vmops.core.facts.question import Unanswered
from vmops.core.facts.wiring import SWITCH, VSWITCHD_IS_DEAD
from vmops.core.plan.network import serving
from vmops.core.plan.network.serving import Change, Plan
from vmops.core.plan.phase import ACT_LIMIT_S
from vmops.core.script.command import BlockResult
from vmops.core.tools import ovs
from vmops.errors import ConnectionLost, VmopsError, WorkFailed
from vmops.ops.act import LOOKS, ask, perform, unreadable
from vmops.ops.route import Route

TOOLS_CURE = "there: sudo apt install dnsmasq-base nftables"


class NetworkOutcome(NamedTuple):
    """What came of one network. `action` is start, change, nothing or remove; refused or unknown
    with an `error`.

    `drift` are the fields that differed. `done` is that it was carried out, and not only planned.
    """

    network: str
    worker: str
    action: str
    drift: tuple[Drift, ...] = ()
    done: bool = False
    error: VmopsError | None = None

    @property
    def changed(self) -> bool:
        """True where something was done."""
        return self.done and self.action != "nothing" and self.error is None

    @property
    def to_do(self) -> bool:
        """True where `up` would change something."""
        return self.error is None and self.action != "nothing"


class _Seen(NamedTuple):
    """A node as it was looked at."""

    node: Node
    switch: ovs.Switch
    missing: tuple[str, ...] = ()


def plan(
    route: Route,
    wanted: Mapping[str, Service],
    gone: Collection[str] = (),
    carried: logical.Share | None = None,
) -> list[NetworkOutcome]:
    """What `bring` would do about each network. Nothing is done; never raises."""
    mine = _planned(route, wanted, gone)
    if carried is None:
        return mine
    from vmops.ops.network import logical as by_ovn

    return [*mine, *by_ovn.plan(route, carried)]


def _planned(
    route: Route, wanted: Mapping[str, Service], gone: Collection[str]
) -> list[NetworkOutcome]:
    try:
        found, refused = _decided(route, _look(route), wanted, gone)
    except VmopsError as error:
        return _all_failed(route, wanted, error)
    return _outcomes(route, found.changes, refused)


def bring(
    route: Route,
    wanted: Mapping[str, Service],
    gone: Collection[str] = (),
    carried: logical.Share | None = None,
) -> list[NetworkOutcome]:
    """Serve each network as it is wanted, and remove those that are `gone`: an outcome for each.

    What runs so already is left alone, and a change takes no other network down. One that cannot be
    made is undone, one that cannot be changed is put back. `carried` is the share of OVN, on the
    worker that has its central. Never raises a VmopsError.
    """
    mine = _carry_out(route, tuple(wanted), lambda seen: _decided(route, seen, wanted, gone))
    if carried is None:
        return mine
    from vmops.ops.network import logical as by_ovn

    return [*mine, *by_ovn.bring(route, carried)]


def remove(
    route: Route, names: Sequence[str], *, northbound: str | None = None
) -> list[NetworkOutcome]:
    """Remove networks and all that was made for them; one that is not there is no error.

    On the worker `northbound` what OVN has of them goes too. Never raises a VmopsError.
    """
    mine = _removed(route, names)
    if route.worker.name != northbound:
        return mine
    from vmops.ops.network import logical as by_ovn

    return [*mine, *by_ovn.remove(route, names)]


def _removed(route: Route, names: Sequence[str]) -> list[NetworkOutcome]:

    def decide(seen: _Seen) -> tuple[Plan, Mapping[str, WorkFailed]]:
        return serving.remove(names, seen.node), {}

    return _carry_out(route, names, decide, supposed=names)


def _decided(
    route: Route, seen: _Seen, wanted: Mapping[str, Service], gone: Collection[str]
) -> tuple[Plan, Mapping[str, WorkFailed]]:
    if seen.missing and wanted:
        what = f"a network node needs {' and '.join(seen.missing)}, which are not there"
        raise WorkFailed(what, worker=route.worker.name, cure=TOOLS_CURE)
    return serving.bring(route.worker, wanted, seen.node, seen.switch, gone=gone)


def _carry_out(
    route: Route,
    names: Sequence[str],
    decide: Callable[[_Seen], tuple[Plan, Mapping[str, WorkFailed]]],
    *,
    supposed: Sequence[str] = (),
) -> list[NetworkOutcome]:
    try:
        for _ in range(LOOKS):
            decided, refused = decide(_look(route, supposed=supposed))
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


def _look(route: Route, *, supposed: Sequence[str] = ()) -> _Seen:
    """The node; in a dry run one that serves those that are `supposed`."""
    questions = (VSWITCHD_IS_DEAD, SWITCH, MISSING_TOOLS, DEVICES, NETWORKS)
    answers = ask(route, *questions)
    if route.transcript is not None:
        there = {name: Served(name, None) for name in supposed}
        return _Seen(Node(there, "SUM"), ovs.Switch({route.worker.bridge: ""}))
    try:
        switch = answers[SWITCH]._replace(dead=answers[VSWITCHD_IS_DEAD])
    except Unanswered as why:
        switch = ovs.Switch(fault=str(why))
    try:
        node = answers[NETWORKS]._replace(devices=answers[DEVICES])
        return _Seen(node, switch, answers[MISSING_TOOLS])
    except Unanswered as error:
        raise unreadable(route, error) from error


def _outcomes(
    route: Route, changes: Sequence[Change], refused: Mapping[str, WorkFailed]
) -> list[NetworkOutcome]:
    worker = route.worker.name
    return [
        *(NetworkOutcome(one.network, worker, one.action, one.drift) for one in changes),
        *(NetworkOutcome(name, worker, "refused", error=why) for name, why in refused.items()),
    ]


def _came_of(one: NetworkOutcome, result: BlockResult) -> NetworkOutcome:
    if one.error is not None or one.action == "nothing":
        return one
    if result.outcome == "lost":
        error: VmopsError = ConnectionLost(
            f"network {one.network}: the answer was cut short",
            worker=one.worker,
            cure="fab net.status",
        )
        return one._replace(error=error)
    if result.outcome in ("locked", "unlocked"):
        why = result.why or "another change of its networks goes on, for more than 30 s"
        return one._replace(error=WorkFailed(f"network {one.network}: {why}", worker=one.worker))
    failed = [step for step in result.steps if not step.ok and one.network in step.step.about]
    if not failed and result.outcome == "done":
        return one._replace(done=True)
    if not failed:
        what = f"network {one.network}: it was not finished, and is as it was before"
        return one._replace(error=WorkFailed(what, worker=one.worker, cure="fab net.status"))
    undone = [step for step in result.not_undone if one.network in step.step.about]
    back = "what it was could not be put back" if undone else "it is as it was before"
    if failed[0].step.label.startswith(steps.LINK):
        back = "the rest of it is done"
    what = f"network {one.network}: {failed[0].step.label} failed: {failed[0].reason()}; {back}"
    return one._replace(error=WorkFailed(what, worker=one.worker, cure="fab doctor"))


def _all_failed(route: Route, names: Collection[str], error: VmopsError) -> list[NetworkOutcome]:
    return [NetworkOutcome(name, route.worker.name, "unknown", error=error) for name in names]
