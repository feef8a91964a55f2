"""The interfaces that a proof is about: the probes of each, what it hears, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import NamedTuple

from vmops.core.facts.proof.probes import Site
from vmops.core.inventory.attachment import Trunk, Vlan
from vmops.core.inventory.model import VM, Interface, Nic, Worker
from vmops.core.inventory.networks.model import Network
from vmops.core.names import NetworkNames
from vmops.core.tools import ovs
from vmops.core.tools.proof import probe
from vmops.core.tools.proof.probe import Probe
from vmops.errors import InventoryError

PULLED = "its link is pulled (nic.down)"
"""Its frames pass the switch, and its guest sees no carrier."""


class Drawn(NamedTuple):
    """An interface of a VM on a worker where that may be, with a probe for each of its VLANs.

    `hop` is one that the guest would have tagged for a VLAN of the inventory which is none of its
    own; None where there is no other. A network's gateway on its node is told as the interface
    `gateway` of a VM that has the network's name.
    """

    worker: Worker
    vm: VM
    nic: Nic
    own: tuple[Probe, ...]
    hop: Probe | None = None
    is_gateway: bool = False

    @property
    def name(self) -> str:
        """As it is written on the command line: `web1:eth0`."""
        return f"{self.vm.name}:{self.nic.name}"

    @property
    def probes(self) -> tuple[Probe, ...]:
        """All that are sent for it."""
        return self.own if self.hop is None else (*self.own, self.hop)


class End(NamedTuple):
    """An interface that is plugged, or whose VM runs, or of which nothing is known.

    `hears` are the VLANs whose frames its port gives out, None for all; that of OVN gives out none,
    and is listened to. `fault` says why nothing
    passes it or it is not what hosts.toml has, and `cure` what mends that; `dead` that nothing
    passes. `asked` is False where its worker could not be asked.
    """

    drawn: Drawn
    hears: frozenset[int] | None = frozenset()
    ofport: int | None = None
    fault: str = ""
    dead: bool = False
    asked: bool = True
    cure: str = ""

    @property
    def name(self) -> str:
        """As it is written on the command line: `web1:eth0`."""
        return self.drawn.name

    @property
    def worker(self) -> str:
        """The name of its worker."""
        return self.drawn.worker.name

    @property
    def vlans(self) -> tuple[int, ...]:
        """The VLANs that hosts.toml has for it."""
        return vlans_of([self.drawn.nic])

    @property
    def port(self) -> str:
        """Its port's name in OVN; empty where OVN has no part in it."""
        return self.drawn.nic.port

    def gives_out(self, vlans: Iterable[int]) -> bool:
        """True where frames of one of these VLANs come to its guest."""
        if self.dead:
            return False
        return any(self.hears is None or vlan in self.hears for vlan in vlans)


def draw(
    placed: Iterable[tuple[Worker, Sequence[VM]]], *, run: int, networks: Iterable[Network] = ()
) -> list[Drawn]:
    """Every interface of these VMs that is connected, with probes of its own; and the gateways of
    the networks that are served on these workers.

    Raises InventoryError for more than there are addresses for.
    """
    placed = list(placed)
    found = [(worker, vm, nic) for worker, vms in placed for vm in vms for nic in vm.connected]
    gateways = [
        (worker, *_gateway(network))
        for network in networks
        for worker, _ in placed
        if network.served and network.network_node == worker.name
    ]
    vms, found = len(found), [*found, *gateways]
    all_vlans = vlans_of(nic for _, _, nic in found)
    refuse_more(sum(len(vlans_of([nic])) + 1 for _, _, nic in found))
    macs = (probe.address(run, number) for number in count())
    return [
        Drawn(worker, vm, nic, _own(nic, macs), _hop(nic, all_vlans, next(macs)), number >= vms)
        for number, (worker, vm, nic) in enumerate(found)
    ]


def refuse_more(needed: int) -> None:
    """Raise InventoryError for more probes than there are addresses for."""
    if needed > probe.MOST:
        raise InventoryError(
            f"{needed} probes are more than {probe.MOST} at once", cure="ask one worker alone: -H"
        )


def _gateway(network: Network) -> tuple[VM, Nic]:
    """The network node's own port in a network."""
    interface = Interface("gateway", vlan_id=network.vlan_id)
    vm = replace(VM.lost(network.name), worker=network.network_node, interfaces=(interface,))
    return vm, replace(vm.nics[0], tap=NetworkNames(network.name).port)


def vlans_of(nics: Iterable[Nic]) -> tuple[int, ...]:
    """The VLANs of these interfaces, in order."""
    return tuple(sorted({vlan for nic in nics for vlan, _ in _entries(nic)}))


def _entries(nic: Nic) -> list[tuple[int, int | None]]:
    """Each VLAN of an interface, and the tag that its guest gives to frames for it."""
    match nic.attachment:
        case Trunk(vlans, native):
            tagged: list[tuple[int, int | None]] = [(vlan, vlan) for vlan in vlans]
            return tagged if native is None else [(native, None), *tagged]
        case Vlan(vlan):
            return [(vlan, None)]
    return []


def _own(nic: Nic, macs: Iterator[str]) -> tuple[Probe, ...]:
    return tuple(Probe(nic.tap, next(macs), vlan, tag) for vlan, tag in _entries(nic))


def _hop(nic: Nic, vlans: Sequence[int], mac: str) -> Probe | None:
    """Into the next VLAN that is none of its own; from the last into the first."""
    own = vlans_of([nic])
    others = [vlan for vlan in vlans if vlan not in own]
    if not others or not own:
        return None
    return Probe(nic.tap, mac, tag=next((vlan for vlan in others if vlan > own[0]), others[0]))


def ends(drawn: Iterable[Drawn], sites: Mapping[str, Site]) -> list[End]:
    """Those that are there; and those that are pinned to a worker which could not be asked."""
    found = []
    for each in drawn:
        site = sites.get(each.worker.name)
        if site is None:
            if each.vm.worker is not None:
                found.append(End(each, asked=False))
        elif _is_there(each, site):
            found.append(_end(each, site))
    return found


def _is_there(each: Drawn, site: Site) -> bool:
    tap = each.nic.tap
    if each.is_gateway:
        return True
    running = site.running.get(each.vm.name)
    runs = running is not None and running.process is not None
    return runs or tap in site.wiring.taps or tap in site.wiring.switch.ports


def _end(each: Drawn, site: Site) -> End:
    switch, tap = site.wiring.switch, each.nic.tap
    port = switch.ports.get(tap)
    broken = _broken(each, site)
    cure = f"fab nic.up --vm {each.name}" if broken == PULLED else _cure(each, site)
    if broken or port is None:
        return End(each, fault=broken, dead=True, cure=cure)
    hears = frozenset[int]() if each.nic.port else _hears(port)
    return End(each, hears, port.ofport, _differs(each, port), cure=cure)


def _cure(each: Drawn, site: Site) -> str:
    """What mends whatever is wrong with the interface alone."""
    vm, tap = each.vm.name, each.nic.tap
    running = site.running.get(vm)
    if each.is_gateway:
        return "fab net.up"
    if running is None or running.process is None:
        return f"fab plug --vm {vm}"
    is_lost = tap not in site.wiring.taps or running.lacks_tap(tap)
    return f"fab {'restart' if is_lost and running.started_with(tap) else 'up'} --vm {vm}"


def _broken(each: Drawn, site: Site) -> str:
    """Why nothing passes the interface, or empty. What is wrong with the whole switch is told of
    the worker."""
    switch, tap = site.wiring.switch, each.nic.tap
    bridge = ovs.bridge_of(each.nic, each.worker.bridge)
    port = switch.ports.get(tap)
    if each.is_gateway and port is None:
        return "the network is not served: it has no port there"
    if not each.is_gateway and tap not in site.wiring.taps:
        return f"it has no TAP {tap}"
    if not each.is_gateway and not site.wiring.taps[tap].up:
        return f"its TAP {tap} is down"
    running = site.running.get(each.vm.name)
    if not each.is_gateway and running is not None and running.lacks_tap(tap):
        return f"its QEMU does not have its TAP {tap} open: its guest gets nothing from it"
    if port is None:
        return f"its TAP {tap} is no port of the switch"
    if port.bridge != switch.real(bridge):
        return f"its port {tap} is on bridge {port.bridge}, not on {bridge}"
    if port.error or (port.ofport or -1) < 0:
        return f"the switch cannot use its port {tap}: {port.error or 'it has not taken it'}"
    if tap in site.refused and not switch.lifeless(bridge):
        return f"the switch took no frame from its port {tap}: {site.refused[tap]}"
    return PULLED if port.is_pulled else ""


def _differs(each: Drawn, port: ovs.Port) -> str:
    found, wanted = ovs.attached(port), str(each.nic.attachment)
    if found == wanted:
        return ""
    is_in, should = _in_words(found), _in_words(wanted)
    return f"its port {port.name} is {is_in}, and hosts.toml has it {should}"


def _in_words(attached: str) -> str:
    if attached.startswith("OVN port "):
        return f"bound to {attached}"
    return f"a {attached}" if attached.startswith("trunk") else f"in VLAN {attached}"


def _hears(port: ovs.Port) -> frozenset[int] | None:
    """An access port gives out its own VLAN, a trunk those that it names, or all."""
    own = frozenset({port.tag} if port.tag is not None else ())
    if port.tag is not None and port.vlan_mode in ("", "access", "dot1q-tunnel"):
        return own
    return own | frozenset(port.trunks) if port.trunks else None
