"""The way of a packet between two interfaces in networks of OVN, and where it ends."""

from __future__ import annotations

from collections.abc import Iterator

from vmops.core.facts.proof.bindings import Binding
from vmops.core.names import network_mac
from vmops.core.plan.proof.ends import End
from vmops.core.plan.proof.evidence import Evidence, Proof
from vmops.core.plan.proof.logical import Hearing
from vmops.core.plan.proof.story import Passage, Story
from vmops.core.tools.ovn import ROUTER, is_gateway
from vmops.core.tools.proof.ovn_trace import Flow, Stage, Traced
from vmops.errors import VmopsError, WorkFailed

OVN = "OVN"
"""Where a passage is that is on no single worker."""


def leaving(one: End, other: End, hearing: Hearing, more: str = "") -> Flow:
    """The packet as its switch gets it: to the other's MAC, or by way of the gateway."""
    here, there = hearing.places[one.port], hearing.places[other.port]
    is_near = here.network.name == there.network.name
    target = there.seat.mac if is_near else network_mac(here.network.name)
    addresses = (here.seat.address, there.seat.address)
    return Flow(one.port, (here.seat.mac, target), addresses, more)


def tell_apart(one: End, other: End) -> Story:
    """The story of two of which OVN carries one only: nothing joins OVN and VLANs."""
    text = f"{one.name} is in {_in(one)}, and {other.name} in {_in(other)}"
    error = WorkFailed(
        f"frames of {one.name} do not come to {other.name}: {text}, which are kept apart",
        cure="put both in one network",
    )
    return Story(one.name, other.name, (Passage(one.worker, text, ok=False),), error)


def tell_joined(one: End, other: End, vlan_id: int, proof: Proof) -> Story:
    """The story of two of which OVN carries one only, and gets into the VLAN of the other."""
    text = f"{one.name} is in {_in(one)}, and {other.name} in {_in(other)}"
    passages = [Passage(one.worker, f"{text}: OVN gets into VLAN {vlan_id}")]
    found = [p.found for p in proof.pairs if p.source is one and p.target is other]
    tap = other.drawn.nic.tap
    if found == [True]:
        passages.append(Passage(other.worker, f"port {tap} gives out what was sent"))
        return Story(one.name, other.name, tuple(passages))
    last = Passage(other.worker, f"a packet that was sent does not come out at {tap}", ok=False)
    error = _why(one, other, last, proof)
    return Story(one.name, other.name, (*passages, last), error)


def _in(end: End) -> str:
    if end.port:
        return f"network {end.drawn.nic.interface.network} of OVN"
    return f"VLAN {', '.join(map(str, end.vlans))}"


def tell(one: End, other: End, traced: Traced | None, evidence: Evidence, proof: Proof) -> Story:
    """The story of a packet from `one` to `other`; `traced` is None where OVN was not asked."""
    passages: list[Passage] = []
    for passage in _passages(one, other, traced, evidence, proof):
        passages.append(passage)
        if not passage.ok:
            error = _why(one, other, passage, proof)
            return Story(one.name, other.name, tuple(passages), error)
    return Story(one.name, other.name, tuple(passages))


def _passages(
    one: End, other: End, traced: Traced | None, evidence: Evidence, proof: Proof
) -> Iterator[Passage]:
    nic = one.drawn.nic
    if one.dead or traced is None:
        yield Passage(one.worker, one.fault or "nothing passes its switch", ok=False)
        return
    yield Passage(one.worker, f"{one.name}, {nic.mac}, sends by port {nic.tap}")
    for stage in traced.stages:
        if said := _stage(stage, evidence.hearing):
            yield Passage(OVN, said, ok=not stage.drops)
            if stage.drops:
                return
    if other.port not in traced.outputs:
        others = ", ".join(traced.outputs)
        where = f"it comes out at {others}, not at {other.port}" if others else "it is dropped"
        yield Passage(OVN, where, ok=False)
        return
    bound = _binding(other, evidence)
    if bound is not None:
        yield _bound(other, bound, evidence)
    if one.worker != other.worker:
        vlan = evidence.hearing.places[one.port].network.vlan_id
        way = "by OVN's tunnel" if vlan is None else f"in VLAN {vlan}"
        yield Passage("", f"from {one.worker} to {other.worker} {way}")
    if other.dead:
        yield Passage(other.worker, other.fault, ok=False)
        return
    came = [p.found for p in proof.pairs if p.source is one and p.target is other]
    tap = other.drawn.nic.tap
    if came != [True]:
        yield Passage(other.worker, f"a packet that was sent does not come out at {tap}", ok=False)
        return
    yield Passage(other.worker, f"port {tap} gives it out to {other.name}: one has come")


def _stage(stage: Stage, hearing: Hearing) -> str:
    """A stage in words; empty for one that only passes it on."""
    where = _where(stage.where)
    outport = next((a for a in stage.actions if a.startswith("outport = ")), "")
    port = outport.partition("=")[2].strip().strip('"')
    if stage.drops:
        return f"{where}: {_DROPS.get(stage.name, f'{stage.name}, {stage.match}')}: dropped"
    if port and stage.name == "lr_in_ip_routing":
        return f"{where}: {stage.match}: routed to {_where(port)}"
    if port == "_MC_flood":
        return f"{where}: to all of it"
    if port.startswith("get_fdb("):
        return ""
    if port in hearing.places:
        return f"{where}: to port {port}"
    if port:
        if is_gateway(port):
            return f"{where}: to the router"
        return f"{where}: {stage.match}: to port {port}"
    if stage.name == "lr_in_policy" and stage.match != "1":
        return f"{where}: it may pass, by {stage.match}"
    if stage.name in _TOLD and stage.match != "1":
        return f"{where}: {stage.match}: {', '.join(stage.actions)}"
    return ""


_TOLD = (
    *("ls_in_acl", "ls_out_acl", "ls_in_acl_eval", "ls_out_acl_eval", "ls_in_lb"),
    *("lr_in_dnat", "lr_in_unsnat", "lr_out_snat", "lr_out_undnat"),
)
_DROPS = {
    "ls_in_check_port_sec": "its MAC or address is not the port's",
    "ls_in_apply_port_sec": "its MAC or address is not the port's",
    "ls_out_apply_port_sec": "its MAC or address is not the port's",
    "ls_in_l2_lkup": "nobody there has that MAC",
    "ls_in_l2_unknown": "nobody there has that MAC",
    "lr_in_ip_routing": "no network that it reaches has that address",
    "lr_in_policy": "it is not to reach that network",
}


def _where(name: str) -> str:
    if name == ROUTER:
        return "router"
    return f"network {name.removeprefix(f'{ROUTER}-')}" if name.startswith(f"{ROUTER}-") else name


def _binding(end: End, evidence: Evidence) -> Binding | None:
    middle = evidence.hearing.middle
    south = middle.south if middle is not None else None
    return south.ports.get(end.port, Binding()) if south is not None else None


def _bound(end: End, bound: Binding, evidence: Evidence) -> Passage:
    middle = evidence.hearing.middle
    ends = middle.north.chassis if middle is not None and middle.north is not None else {}
    at = {
        ends.get(worker.tunnel_ip or ""): name
        for name, worker in evidence.workers.items()
        if worker.tunnel_ip
    }
    if not bound.chassis:
        return Passage(OVN, f"port {end.port} is bound to no worker", ok=False)
    worker = at.get(bound.chassis, f"chassis {bound.chassis}")
    up = "and up" if bound.up else "and not up"
    return Passage(OVN, f"port {end.port} is bound to {worker}, {up}", ok=worker == end.worker)


def _why(one: End, other: End, last: Passage, proof: Proof) -> VmopsError:
    """What the proof has found at these two, at their workers or in their networks, else the words
    of the last step."""
    what = f"packets of {one.name} do not come to {other.name}"
    both = {one.drawn.vm.name, other.drawn.vm.name}
    networks = {end.drawn.nic.interface.network for end in (one, other)}
    for fault in proof.faults:
        is_near = not fault.vm and fault.worker in (one.worker, other.worker)
        of_network = any(fault.what.startswith(f"network {name}: ") for name in networks)
        of_tunnel = fault.what.startswith(("OVN's tunnel", "VLAN "))
        if fault.vm in both or of_tunnel or (is_near and not fault.what.startswith("network ")):
            return _because(what, fault)
        if of_network and last.worker == OVN:
            return _because(what, fault)
    is_wanted = any(p.wanted for p in proof.pairs if p.source is one and p.target is other)
    if not is_wanted:
        return WorkFailed(
            f"{what}: hosts.toml keeps them apart: {last.text}",
            cure="put both in one network, or let one network reach the other",
        )
    return WorkFailed(f"{what}: {last.text}", worker="" if last.worker == OVN else last.worker)


def _because(what: str, fault: VmopsError) -> WorkFailed:
    place = f"{fault.worker}: " if fault.worker else ""
    return WorkFailed(f"{what}: {place}{fault.sentence}", cure=fault.cure)
