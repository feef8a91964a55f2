"""The way of a frame from one interface to another, step by step, and where it ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from vmops.core.facts.proof.probes import Site
from vmops.core.plan.proof.ends import End
from vmops.core.plan.proof.evidence import Evidence, Proof
from vmops.core.tools.lines.tunnels import MESH
from vmops.core.tools.ovs import Port
from vmops.core.tools.proof.trace import Frame, Output, Step, Traced, tunnel_to
from vmops.errors import VmopsError, WorkFailed


class Passage(NamedTuple):
    """One step of the way: where it is, what happens there, and whether the frame goes on.

    `worker` is empty for what is between two of them.
    """

    worker: str
    text: str
    ok: bool = True


class Story(NamedTuple):
    """The whole way; `error` says why it ends before the other interface, None where it arrives."""

    source: str
    target: str
    passages: tuple[Passage, ...]
    error: VmopsError | None = None


class Entry(NamedTuple):
    """Where frames come to the other worker: the port, and the VLAN."""

    port: str
    vlan_id: int


def leaving(one: End, other: End, flow: str = "") -> Frame:
    """The frame as the first bridge gets it."""
    shared = [p for p in one.drawn.own if p.vlan_id in other.vlans] or [*one.drawn.own]
    nic = one.drawn.nic
    return Frame(nic.tap, nic.mac, other.drawn.nic.mac, shared[0].tag, flow)


def entry(one: End, other: End, evidence: Evidence) -> Entry | None:
    """Where the probes of one interface have come to the other's worker; None where they have not,
    or where both are on the same."""
    if one.worker == other.worker:
        return None
    mine = {probe.mac for probe in one.drawn.own}
    site = evidence.sites[other.worker]
    bridge = site.wiring.switch.real(evidence.workers[other.worker].bridge)
    names = {p.ofport: p.name for p in site.wiring.switch.ports.values() if p.bridge == bridge}
    found = [each for each in evidence.learned.get(other.worker, ()) if each.mac in mine]
    found.sort(key=lambda each: each.vlan_id not in other.vlans)
    return Entry(names.get(found[0].ofport, bridge), found[0].vlan_id) if found else None


def coming(one: End, other: End, at: Entry, flow: str = "") -> Frame:
    """The frame as the other bridge gets it."""
    nic = other.drawn.nic
    return Frame(at.port, one.drawn.nic.mac, nic.mac, at.vlan_id, flow)


class Found(NamedTuple):
    """What the bridges would do, and where frames come to the other worker.

    `far` is None where the frame does not get there, and where both are on one worker.
    """

    near: Traced
    entry: Entry | None = None
    far: Traced | None = None


def tell(one: End, other: End, found: Found | None, evidence: Evidence, proof: Proof) -> Story:
    """The story of a frame from `one` to `other`; `found` is None where the first bridge was not
    asked, as nothing gets to it."""
    passages: list[Passage] = []
    for passage in _passages(one, other, found, evidence):
        passages.append(passage)
        if not passage.ok:
            return Story(one.name, other.name, tuple(passages), _why(one, other, passage, proof))
    return Story(one.name, other.name, tuple(passages))


def _passages(one: End, other: End, found: Found | None, evidence: Evidence) -> Iterator[Passage]:
    nic = one.drawn.nic
    if one.dead or found is None:
        yield Passage(one.worker, one.fault or "nothing passes its switch", ok=False)
        return
    yield Passage(one.worker, f"{one.name}, {nic.mac}, sends by port {nic.tap}{_port_vlans(one)}")
    yield from _flows(one.worker, found.near)
    target = other.drawn.nic.tap
    taps = evidence.sites[one.worker].wiring.taps
    if one.worker == other.worker:
        yield _given_out(
            other, found.near, [out for out in found.near.outputs if out.port == target]
        )
        return
    out = [each for each in found.near.outputs if each.port not in taps]
    bridge = evidence.workers[one.worker].bridge
    out = [each for each in out if each.port != bridge] or out
    out = [_through(each, evidence.sites[one.worker], bridge) for each in out]
    yield Passage(one.worker, _leaves(found.near.outputs, out), ok=bool(out))
    at = found.entry
    if at is None:
        vlans = ", ".join(str(each.vlan_id) for each in out if each.vlan_id is not None)
        yield Passage("", f"it does not come to {other.worker} in VLAN {vlans}", ok=False)
        return
    ports = evidence.sites[other.worker].wiring.switch.ports
    by = _with_peer(at.port, ports[at.port], "from") if at.port in ports else at.port
    yield Passage("", f"it comes to {other.worker} by port {by} in VLAN {at.vlan_id}")
    if found.far is None:
        yield Passage(other.worker, other.fault or "nothing passes its switch", ok=False)
        return
    yield from _flows(other.worker, found.far)
    yield _given_out(other, found.far, [each for each in found.far.outputs if each.port == target])


def _through(output: Output, site: Site, bridge: str) -> Output:
    """What goes into a tunnel, with the name of its port and of the worker at the other end. OVN
    may have a tunnel of its own to the same address, at another bridge."""
    switch = site.wiring.switch
    for name, port in switch.ports.items():
        if port.bridge == switch.real(bridge) and output.port == tunnel_to(
            port.options.get("remote_ip", "")
        ):
            return output._replace(port=_with_peer(name, port, "to"))
    return output


def _with_peer(name: str, port: Port, way: str) -> str:
    peer = port.external_ids.get(MESH)
    return name if peer is None else f"{name} (the tunnel {way} {peer})"


def _flows(worker: str, traced: Traced) -> Iterator[Passage]:
    for step in traced.steps:
        yield Passage(worker, _flow(step))


_NOTES = {
    "no learned MAC for destination, flooding": "the address was not learned: to all of the VLAN",
    "forwarding to learned port": "to the port where the address was learned",
    "learned port is input port, dropping": "the address was learned where the frame comes from",
    "Flow is between protected ports, skipping output.": "what came by a tunnel goes into none",
    "output to native tunnel": "into a tunnel",
}
"""Notes of ofproto/trace in other words; what is not here is told as it is."""


def _flow(step: Step) -> str:
    known = ("as a switch does (NORMAL)" if each == "NORMAL" else each for each in step.actions)
    actions = ", ".join(known) or "nothing"
    notes = "".join(f" ({_NOTES.get(note, note)})" for note in step.notes)
    return f"table {step.table}, {step.match}: {actions}{notes}"


def _leaves(outputs: tuple[Output, ...], out: list[Output]) -> str:
    if out:
        return f"it leaves by {', '.join(map(_port, out))}"
    if outputs:
        return f"it does not leave the worker: it goes to {', '.join(map(_port, outputs))}"
    return "it is dropped"


def _port(output: Output) -> str:
    return output.port if output.vlan_id is None else f"{output.port} in VLAN {output.vlan_id}"


def _given_out(other: End, traced: Traced, found: list[Output]) -> Passage:
    tap = other.drawn.nic.tap
    if not found:
        others = ", ".join(map(_port, traced.outputs))
        where = f"it goes to {others}, and not to {tap}" if others else "it is dropped"
        return Passage(other.worker, where, ok=False)
    if other.dead:
        return Passage(other.worker, f"port {tap} gives it out, and {other.fault}", ok=False)
    tag = "" if found[0].vlan_id is None else f" with the tag of VLAN {found[0].vlan_id}"
    return Passage(other.worker, f"port {tap} gives it out to {other.name}{tag}")


def _vlans(end: End) -> str:
    return f" in VLAN {', '.join(map(str, end.vlans))}"


def _port_vlans(end: End) -> str:
    """Those that the port has, whatever hosts.toml has for it."""
    if end.hears is None:
        return " in every VLAN"
    return f" in VLAN {', '.join(map(str, sorted(end.hears)))}"


def _why(one: End, other: End, last: Passage, proof: Proof) -> VmopsError:
    """What the proof has found at these two and between them, else the words of the last step."""
    both = {one.drawn.vm.name, other.drawn.vm.name}
    vlans = set(one.vlans) & set(other.vlans)
    what = f"frames of {one.name} do not come to {other.name}"
    if not vlans:
        what += f": the one is{_vlans(one)} and the other{_vlans(other)}, which are kept apart"
        return WorkFailed(
            what,
            cure="put both in one VLAN; whether their networks are routed (reach) is not looked at",
        )
    for fault in proof.faults:
        if fault.vm in both or (not fault.vm and _is_about(fault, one, other, vlans)):
            return WorkFailed(f"{what}: {_with_place(fault)}", cure=fault.cure)
    return WorkFailed(f"{what}: {last.text}", worker=last.worker)


def _is_about(fault: VmopsError, one: End, other: End, vlans: set[int]) -> bool:
    """True for a fault of one of the workers, or of a VLAN of both between them."""
    if fault.worker:
        return fault.worker in (one.worker, other.worker) and "switch" in fault.what
    return any(fault.what.startswith(f"VLAN {vlan} ") for vlan in vlans)


def _with_place(fault: VmopsError) -> str:
    return f"{fault.worker}: {fault.sentence}" if fault.worker else fault.sentence
