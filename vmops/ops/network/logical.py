"""Networks that OVN carries: brought up, changed, removed and looked at where its central is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from vmops.core.devices.network.logical import SWITCH, Logical, Share
from vmops.core.facts.network.central import CENTRAL, Central
from vmops.core.facts.question import Unanswered
from vmops.core.inventory.model import Worker
from vmops.core.plan.network import logical
from vmops.core.plan.network.serving import Change, Plan
from vmops.core.plan.phase import ACT_LIMIT_S
from vmops.core.script.command import BlockResult
from vmops.core.tools import ovn
from vmops.core.tools.ovn import Found, Key
from vmops.errors import ConnectionLost, VmopsError, WorkFailed
from vmops.ops.act import LOOKS, ask, perform
from vmops.ops.network.serving import NetworkOutcome
from vmops.ops.network.status import NetworkStatus
from vmops.ops.route import Route

Decision = tuple[Plan, Mapping[str, WorkFailed]]

CENTRAL_CURE = "there: sudo apt install ovn-central, and see that it runs: sudo ovn-nbctl show"


def plan(route: Route, wanted: Share) -> list[NetworkOutcome]:
    """What `bring` would do about each network. Nothing is done; never raises."""
    try:
        decided, refused = _decided(route, look(route, wanted.wanted.values()), wanted)
    except VmopsError as error:
        return _all_failed(route, wanted.wanted, error)
    return _outcomes(route, decided.changes, refused)


def bring(route: Route, wanted: Share) -> list[NetworkOutcome]:
    """Have OVN carry each network as it is wanted, and not those that are gone: one transaction,
    which is done as a whole or not at all. Never raises a VmopsError."""
    return _carry_out(
        route,
        tuple(wanted.wanted),
        lambda seen: _decided(route, seen, wanted),
        tuple(wanted.wanted.values()),
    )


def remove(route: Route, names: Sequence[str]) -> list[NetworkOutcome]:
    """Remove networks; one that is not there is no error. Never raises a VmopsError."""
    there = tuple(Logical(name) for name in names)
    return _carry_out(route, names, lambda seen: (logical.remove(names, seen), {}), there=there)


def status(route: Route, wanted: Mapping[str, Logical]) -> list[NetworkStatus]:
    """Each of these networks, and whatever else of ours is there. Never raises a VmopsError."""
    worker = route.worker.name
    try:
        seen = look(route)
    except VmopsError as error:
        return [
            NetworkStatus(name, worker, "unknown", error=error, is_of_ovn=True) for name in wanted
        ]
    if route.transcript is not None:
        return []
    found = []
    for name in dict.fromkeys([*wanted, *seen.networks]):
        state = "up" if Key(name, SWITCH) in seen.rows else "down"
        one = NetworkStatus(name, worker, state, known=name in wanted, is_of_ovn=True)
        if name in wanted and state == "up":
            one = one._replace(drift=logical.drift(wanted[name], seen))
        found.append(one._replace(logical=wanted.get(name), ports=seen.guests_of(name)))
    return found


def look(
    route: Route, supposed: Collection[Logical] = (), *, there: Collection[Logical] = ()
) -> Central:
    """What the central has; in a dry run those networks that are `there`, and every worker of those
    that are `supposed` follows it. Raises WorkFailed where it cannot be asked."""
    answers = ask(route, CENTRAL)
    if route.transcript is not None:
        ends = {seat.tunnel_ip for one in supposed for seat in one.seats} - {None}
        ways = [one.outside for one in supposed if one.outside is not None]
        ends |= {gateway.tunnel_ip for way in ways for gateway in way.gateways}
        switches = (Key(one.name, SWITCH) for one in there)
        rows = {key: Found(key, ovn.SWITCHES, f"UUID-OF-{key.network}", {}) for key in switches}
        return Central(rows, {str(end): f"CHASSIS-OF-{end}" for end in ends}, "SUM")
    try:
        return answers[CENTRAL]
    except Unanswered as error:
        raise WorkFailed(
            f"OVN's central cannot be asked: {error}", worker=route.worker.name, cure=CENTRAL_CURE
        ) from error


def _decided(route: Route, seen: Central, wanted: Share) -> Decision:
    return logical.bring(route.worker, wanted.wanted, seen, gone=wanted.gone)


def _carry_out(
    route: Route,
    names: Sequence[str],
    decide: Callable[[Central], Decision],
    supposed: Collection[Logical] = (),
    *,
    there: Collection[Logical] = (),
) -> list[NetworkOutcome]:
    try:
        for _ in range(LOOKS):
            decided, refused = decide(look(route, supposed, there=there))
            found = _outcomes(route, decided.changes, refused)
            if decided.block is None:
                return found
            (result,) = perform(route, [decided.block], time_limit_s=ACT_LIMIT_S)
            if result.outcome != "changed":
                return [_came_of(route.worker, one, result) for one in found]
    except VmopsError as error:
        return _all_failed(route, names, error)
    meanwhile = WorkFailed("OVN's rows were changed by somebody else", worker=route.worker.name)
    return _all_failed(route, names, meanwhile)


def _outcomes(
    route: Route, changes: Sequence[Change], refused: Mapping[str, WorkFailed]
) -> list[NetworkOutcome]:
    worker = route.worker.name
    return [
        *(NetworkOutcome(one.network, worker, one.action, one.drift) for one in changes),
        *(NetworkOutcome(name, worker, "refused", error=why) for name, why in refused.items()),
    ]


def _came_of(worker: Worker, one: NetworkOutcome, result: BlockResult) -> NetworkOutcome:
    if one.error is not None or one.action == "nothing":
        return one
    subject = f"network {one.network}"
    if result.outcome == "lost":
        cut = ConnectionLost(
            f"{subject}: the answer was cut short", worker=worker.name, cure="fab net.status"
        )
        return one._replace(error=cut)
    if result.outcome in ("locked", "unlocked"):
        why = result.why or "another change of its networks goes on, for more than 30 s"
        return one._replace(error=WorkFailed(f"{subject}: {why}", worker=worker.name))
    failed = [step for step in result.steps if not step.ok]
    if not failed and result.outcome == "done":
        return one._replace(done=True)
    if failed and failed[0].step.label == logical.FOLLOW:
        what = f"{subject}: it is written, and OVN has not followed: does ovn-northd run?"
        return one._replace(
            error=WorkFailed(
                what, worker=worker.name, cure="there: sudo systemctl status ovn-northd"
            )
        )
    why = failed[0].reason() if failed else "it was not finished"
    what = f"{subject}: {why}; OVN has what it had before"
    return one._replace(error=WorkFailed(what, worker=worker.name, cure="fab doctor"))


def _all_failed(route: Route, names: Collection[str], error: VmopsError) -> list[NetworkOutcome]:
    return [NetworkOutcome(name, route.worker.name, "unknown", error=error) for name in names]
