"""The tunnels between workers: what is asked for them, and what is there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from vmops.core.devices.network.mesh import NAME, Mesh
from vmops.core.facts.network.underlay import Underlay, underlay
from vmops.core.facts.question import Answers, Question, Unanswered
from vmops.core.facts.wiring import SWITCH, TAPS, VSWITCHD_IS_DEAD
from vmops.core.inventory.model import Worker
from vmops.core.plan.health import Check
from vmops.core.plan.network import mesh as planned
from vmops.core.plan.network.mesh import Ground
from vmops.core.tools import ovs
from vmops.core.tools.lines import tunnels
from vmops.errors import VmopsError
from vmops.ops.act import ask, unreadable
from vmops.ops.network.status import NetworkStatus
from vmops.ops.route import Route

if TYPE_CHECKING:
    from vmops.core.devices.network.service import Share

_ROOM = 65535


def questions(wanted: Mesh | None) -> tuple[Question[Any], ...]:
    """What is asked of a worker beside its switch."""
    return (TAPS, underlay(wanted.local)) if wanted is not None and wanted.tunnels else ()


def ground(wanted: Mesh, answers: Answers, switch: ovs.Switch) -> Ground:
    """What tunnels stand on there. Raises Unanswered."""
    if not wanted.tunnels:
        return Ground(switch)
    taps = answers[TAPS]
    return Ground(switch, frozenset(taps), answers[underlay(wanted.local)])


def as_laid(mesh: Mesh) -> ovs.Switch:
    """A switch that has all of its tunnels."""
    ports = (
        ovs.Port(
            name=one.port,
            bridge=mesh.bridge,
            tag=None,
            trunks=one.vlans,
            vlan_mode="trunk",
            external_ids={tunnels.MESH: one.peer},
            protected=True,
            kind=tunnels.KIND,
            options=one.options,
        )
        for one in mesh.tunnels
    )
    return ovs.Switch({mesh.bridge: ""}, {port.name: port for port in ports})


def supposed(switch: ovs.Switch) -> Ground:
    """The same in a dry run."""
    return Ground(switch, underlay=Underlay("DEVICE", _ROOM))


def switch_of(answers: Answers) -> ovs.Switch:
    """The switch, with why nobody does what is written there; or why it cannot be read."""
    try:
        return answers[SWITCH]._replace(dead=answers[VSWITCHD_IS_DEAD])
    except Unanswered as why:
        return ovs.Switch(fault=str(why))


def of_status(worker: str, wanted: Mesh | None, switch: ovs.Switch) -> list[NetworkStatus]:
    """The mesh as a row of `net.status`; nothing where there is none and none is wanted."""
    there = tunnels.of_mesh(switch.ports.values())
    if not there and not (wanted is not None and wanted.tunnels):
        return []
    drift = planned.drift(wanted, switch) if wanted is not None else ()
    up = {port.external_ids[tunnels.MESH]: not port.error for port in there}
    missing = {one.peer: False for one in wanted.tunnels} if wanted is not None else {}
    known = wanted is not None and bool(wanted.tunnels)
    state = "unknown" if switch.fault else "up" if there else "down"
    return [NetworkStatus(NAME, worker, state, drift=drift, known=known, tunnels={**missing, **up})]


def examined(worker: Worker, wanted: Mesh, answers: Answers, switch: ovs.Switch) -> list[Check]:
    """For `doctor`; nothing for a worker without a part in the mesh."""
    if not wanted.tunnels:
        return []
    try:
        return [planned.check(worker, wanted, ground(wanted, answers, switch))]
    except Unanswered as reason:
        return [Check("mesh", False, str(reason), "try again")]


def unfit(route: Route, wanted: Mesh | None) -> list[str]:
    """The name of the worker where it cannot have its tunnels. Nothing for one without any, and for
    one that cannot be asked: that is told by what is done there. Never raises a VmopsError."""
    if wanted is None or not wanted.tunnels:
        return []
    try:
        answers = ask(route, VSWITCHD_IS_DEAD, SWITCH, *questions(wanted))
        if route.transcript is not None:
            return []
        switch = switch_of(answers)
        refused = planned.refusal(route.worker, wanted, ground(wanted, answers, switch))
    except (Unanswered, VmopsError):
        return []
    return [route.worker.name] if refused is not None else []


def agreed(shares: Mapping[str, Share], unfit: Iterable[str]) -> dict[str, Share]:
    """The shares, tunnels to workers that are not fit for theirs to be left alone."""
    held = tuple(unfit)
    return {
        name: one._replace(mesh=one.mesh and one.mesh._replace(held=held))
        for name, one in shares.items()
    }


class Laid(NamedTuple):
    """The tunnels of one worker: what differs from what is wanted, in words by peer, or why nothing
    is known of them."""

    worker: str
    peers: tuple[str, ...]
    missing: dict[str, str]
    error: VmopsError | None = None


def look(route: Route, wanted: Mesh) -> Laid:
    """What of a worker's tunnels is not as it should be. Never raises a VmopsError."""
    peers = tuple(one.peer for one in wanted.tunnels)
    try:
        answers = ask(route, VSWITCHD_IS_DEAD, SWITCH)
        if route.transcript is not None:
            return Laid(route.worker.name, peers, {})
        switch = answers[SWITCH]._replace(dead=answers[VSWITCHD_IS_DEAD])
    except Unanswered as error:
        return Laid(route.worker.name, peers, {}, unreadable(route, error))
    except VmopsError as error:
        return Laid(route.worker.name, peers, {}, error)
    return Laid(route.worker.name, peers, planned.broken(wanted, switch))
