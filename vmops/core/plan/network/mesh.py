"""The tunnels of one worker: what is to be done about them, or why not. Pure decisions."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from vmops.core.devices.drift import Drift
from vmops.core.devices.network.mesh import NAME, Mesh
from vmops.core.facts.network.underlay import Underlay
from vmops.core.inventory.complaints import typed
from vmops.core.inventory.model import Worker
from vmops.core.inventory.normal_form import MAX_VLAN
from vmops.core.plan.health import Check
from vmops.core.plan.network.serving import Action, Change, no_switch
from vmops.core.script.command import Step
from vmops.core.tools import ovs
from vmops.core.tools.lines import tunnels
from vmops.errors import WorkFailed

STEP = "tunnels"


class Ground(NamedTuple):
    """What tunnels stand on: the switch, its TAPs, and the device of their address or None."""

    switch: ovs.Switch
    taps: frozenset[str] = frozenset()
    underlay: Underlay | None = None


class Decided(NamedTuple):
    """What is to be done, in one step, None where nothing is; or why it is `refused`."""

    change: Change
    step: Step | None = None
    refused: WorkFailed | None = None


def bring(worker: Worker, wanted: Mesh, ground: Ground) -> Decided | None:
    """Lay the tunnels that are wanted, change those that differ, and cut those that are not wanted.

    One that is as it should be is left alone, and so are those that are held. None where there are
    none and none are wanted.
    """
    switch = ground.switch
    there = [] if switch.fault else tunnels.of_mesh(switch.ports.values())
    if not wanted.tunnels and not there:
        return None
    free, may_change = _free(wanted, switch)
    found = drift(free, may_change)
    action: Action = "nothing" if not found else "change" if there else "start"
    if not wanted.tunnels:
        action = "remove"
    change = Change(NAME, action, found if action == "change" else ())
    if why := refusal(worker, wanted, ground):
        return Decided(change, refused=why)
    kept = broken(wanted._replace(tunnels=_held(wanted)), switch)
    if kept and action == "nothing":
        return Decided(Change(NAME, "held", drift(wanted, switch), tuple(kept)))
    step = _step(free, may_change) if action != "nothing" else None
    return Decided(change._replace(held=tuple(kept)), step)


def _held(wanted: Mesh) -> tuple[tunnels.Tunnel, ...]:
    return tuple(one for one in wanted.tunnels if one.peer in wanted.held)


def _free(wanted: Mesh, switch: ovs.Switch) -> tuple[Mesh, ovs.Switch]:
    """What is wanted and what is there, without the tunnels that are held."""
    held = {one.port for one in _held(wanted)}
    ports = {name: port for name, port in switch.ports.items() if name not in held}
    free = tuple(one for one in wanted.tunnels if one.port not in held)
    return wanted._replace(tunnels=free), switch._replace(ports=ports)


def _step(wanted: Mesh, switch: ovs.Switch) -> Step:
    bridge = switch.real(wanted.bridge)
    busy = [one for one in wanted.tunnels if _differs(one, switch, bridge)]
    names = {one.port for one in wanted.tunnels}
    there = tunnels.of_mesh(switch.ports.values())
    gone = [port for port in there if port.name not in names]
    changed = [switch.ports[one.port] for one in busy if one.port in switch.ports]
    elsewhere = [port.name for port in changed if port.bridge != bridge or port.error]
    laid = tunnels.change(bridge, busy, first_gone=elsewhere, gone=[port.name for port in gone])
    made = [one.port for one in busy if one.port not in switch.ports]
    return Step(
        STEP,
        (laid, *((tunnels.read_back(busy),) if busy else ())),
        undo=(tunnels.put_back([*changed, *gone], made=made),),
        may_fail=True,
        about=(NAME,),
    )


def drift(wanted: Mesh, switch: ovs.Switch) -> tuple[Drift, ...]:
    """Where the tunnels that are there differ from those that are wanted, peer by peer."""
    bridge = switch.real(wanted.bridge)
    found = []
    for one in wanted.tunnels:
        if one.port not in switch.ports:
            found.append(Drift(f"tunnel to {one.peer}", "missing", one.port, live=True))
        for field, runs, wants in _differs(one, switch, bridge):
            if one.port in switch.ports:
                found.append(Drift(f"tunnel to {one.peer}, {field}", runs, wants, live=True))
    names = {one.port for one in wanted.tunnels}
    for port in tunnels.of_mesh(switch.ports.values()):
        if port.name not in names:
            peer = port.external_ids[tunnels.MESH]
            found.append(Drift(f"tunnel to {peer}", port.name, "none", live=True))
    return tuple(found)


def _differs(one: tunnels.Tunnel, switch: ovs.Switch, bridge: str) -> list[tuple[str, str, str]]:
    port = switch.ports.get(one.port)
    return [("port", "missing", one.port)] if port is None else tunnels.differs(port, one, bridge)


def refusal(worker: Worker, wanted: Mesh, ground: Ground) -> WorkFailed | None:
    """Why these tunnels may not be laid there, or None. Without any, only that nothing can be."""
    switch = ground.switch
    if found := no_switch("the mesh", wanted.bridge, worker, switch):
        return found
    if not wanted.tunnels:
        return None
    for one in wanted.tunnels:
        if one.port in switch.ports and tunnels.MESH not in switch.ports[one.port].external_ids:
            return WorkFailed(
                f"the mesh: there is a port {one.port} already, which vmops has not made",
                worker=worker.name,
                cure=f"see whose it is: sudo ovs-vsctl list Interface {one.port}",
            )
    loop = looping(worker, wanted, switch, ground.taps)
    return loop or _of_underlay(worker, wanted, ground.underlay)


def looping(
    worker: Worker, wanted: Mesh, switch: ovs.Switch, taps: Collection[str]
) -> WorkFailed | None:
    """That another port leads out by which the same VLANs go, or None."""
    vlans = wanted.tunnels[0].vlans if wanted.tunnels else ()
    for port in beside(switch, switch.real(wanted.bridge), vlans, taps):
        both = [vlan for vlan in vlans if vlan in port.trunks or not port.trunks]
        which = f"VLAN{'s' if len(both) > 1 else ''} {', '.join(map(str, both))}"
        return WorkFailed(
            f"the mesh: port {port.name} of {port.bridge} leads out too, and carries {which}:"
            " tunnels beside it would make a loop",
            worker=worker.name,
            cure="leave out mesh in [defaults] where the switch between the workers carries these"
            f" VLANs; else {_limited(port, vlans)}",
        )
    return None


def _limited(port: ovs.Port, vlans: Sequence[int]) -> str:
    """How a port is kept from carrying these VLANs: with those that it has besides, or with one
    that stands for those that it is to have."""
    others = sorted(set(port.trunks) - set(vlans))
    free = next(vlan for vlan in range(MAX_VLAN, 0, -1) if vlan not in vlans)
    said = "there" if others else f"there, with the VLANs that it is to carry in place of {free}"
    which = ",".join(map(str, others or [free]))
    words = ("sudo", "ovs-vsctl", "set", "Port", port.name, f"trunks={which}", "vlan_mode=trunk")
    return f"{said}: {typed(*words)}"


def _of_underlay(worker: Worker, wanted: Mesh, found: Underlay | None) -> WorkFailed | None:
    if found is None:
        return WorkFailed(
            f"the mesh: no device there has the address {wanted.local}, where its tunnels begin",
            worker=worker.name,
            cure=f'write encap_ip = "ADDRESS" in [workers.{worker.name}]; there: ip -br addr',
        )
    if wanted.mtu and wanted.needs_mtu > found.mtu:
        fits = found.mtu - (wanted.needs_mtu - wanted.mtu)
        return WorkFailed(
            f"the mesh: frames of {wanted.mtu} bytes do not pass its tunnels: in one they become"
            f" {wanted.needs_mtu}, and the MTU of {found.device} is {found.mtu}",
            worker=worker.name,
            cure=f"write mtu = {fits} or less in [networks], or raise that of {found.device} and of"
            " all that lies between the workers",
        )
    return None


def beside(
    switch: ovs.Switch, bridge: str, vlans: Sequence[int], taps: Collection[str]
) -> list[ovs.Port]:
    """The ports of the bridge that lead out of the worker and carry one of these VLANs: no VLAN of
    their own, neither a TAP nor of ours. That of one VLAN may be anything, a container's too."""
    return [
        port
        for port in switch.ports.values()
        if port.bridge == bridge
        and (port.tag is None or port.vlan_mode.startswith("native"))
        and port.name not in taps
        and port.name not in switch.bridges
        and not any(key.startswith("vmops-") for key in port.external_ids)
        and (not port.trunks or set(vlans) & set(port.trunks))
    ]


def check(worker: Worker, wanted: Mesh, ground: Ground) -> Check:
    """For `doctor`: whether the worker is fit for its tunnels, and which differ. That none has been
    laid yet is no fault."""
    if why := refusal(worker, wanted, ground):
        return Check("mesh", False, why.what.removeprefix("the mesh: "), why.cure)
    found = drift(wanted, ground.switch)
    to = ", ".join(one.peer for one in wanted.tunnels)
    if not tunnels.of_mesh(ground.switch.ports.values()):
        return Check("mesh", True, f"no tunnels yet: up lays them to {to}")
    said = "; ".join(map(str, found)) or f"tunnels to {to}"
    return Check("mesh", not found, said, "fab net.up")


def broken(wanted: Mesh, switch: ovs.Switch) -> dict[str, str]:
    """By peer, what is wrong with the tunnel to it, in words; only of those with which something
    is."""
    if switch.dead:
        return {one.peer: switch.dead for one in wanted.tunnels}
    bridge = switch.real(wanted.bridge)
    found = {}
    for one in wanted.tunnels:
        if one.port not in switch.ports:
            found[one.peer] = "it is missing"
        elif parts := tunnels.differs(switch.ports[one.port], one, bridge):
            name, runs, wants = parts[0]
            found[one.peer] = f"{name}: {runs}, and should be {wants}"
    return found


def faults(
    worker: Worker, wanted: Mesh, switch: ovs.Switch, taps: Collection[str]
) -> list[WorkFailed]:
    """For `verify`: what may not be beside the tunnels, and each of them that differs.

    A dead switch is told without this.
    """
    if switch.fault or switch.dead:
        return []
    loop = looping(worker, wanted, switch, taps)
    return [
        *((loop,) if loop else ()),
        *(
            WorkFailed(f"its tunnel to {peer}: {why}", worker=worker.name, cure="fab net.up")
            for peer, why in broken(wanted, switch).items()
        ),
    ]
