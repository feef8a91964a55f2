"""A fleet that exists in memory only, and what its bridges would learn of the probes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vmops.core.devices.nic import Wiring
from vmops.core.devices.storage.moving import Mark
from vmops.core.facts.proof.probes import Site
from vmops.core.facts.vms import RunningVM
from vmops.core.inventory.attachment import Trunk
from vmops.core.inventory.model import VM, Interface, Settings
from vmops.core.inventory.networks.model import Network
from vmops.core.plan.proof.ends import draw, ends
from vmops.core.plan.proof.evidence import Evidence, Proof
from vmops.core.plan.proof.judge import judge
from vmops.core.tools import ip, ovs
from vmops.core.tools.process import Process
from vmops.core.tools.proof.probe import Sighting

RUN = 0x1234
WORKERS = {name: Settings().worker(name, address=f"{name}.example") for name in ("w1", "w2", "w3")}


def vm(name: str, number: int, *vlans: int) -> VM:
    nics = tuple(Interface(f"eth{n}", vlan_id=vlan) for n, vlan in enumerate(vlans))
    return VM(
        name, vm_id=number, ram_mb=1, cores=1, vnc_port=5900, qcow_image="/x", interfaces=nics
    )


class World:
    """Workers with VMs that are plugged as they are wanted, joined by a switch."""

    def __init__(self, networks: Sequence[Network] = (), **vms: Sequence[VM]) -> None:
        placed = [(WORKERS[name], mine) for name, mine in vms.items()]
        self.drawn = draw(placed, run=RUN, networks=networks)
        self.ports: dict[str, dict[str, ovs.Port]] = {name: {} for name in vms}
        self.taps: dict[str, dict[str, ip.Tap]] = {name: {} for name in vms}
        self.unasked: set[str] = set()
        self.carried: dict[str, set[int]] = {}
        self.running: dict[str, dict[str, RunningVM]] = {}
        self.moves: dict[str, dict[str, Mark]] = {}
        for number, each in enumerate(self.drawn, start=10):
            tap = each.nic.tap
            port = ovs.Port(tap, "br-int", each.nic.vlan_id, ofport=number)
            if isinstance(trunk := each.nic.attachment, Trunk):
                port = port._replace(trunks=trunk.vlan_ids, vlan_mode=trunk.mode)
            self.ports[each.worker.name][tap] = port
            if not each.is_gateway:
                self.taps[each.worker.name][tap] = ip.Tap()
        for ports in self.ports.values():
            ports["trunk"] = ovs.Port("trunk", "br-int", None, ofport=1)

    def change(self, worker: str, port: str, **values: Any) -> None:
        self.ports[worker][port] = self.ports[worker][port]._replace(**values)

    def run(self, worker: str, each: VM, *, mac: str = "") -> None:
        """Have the VM run on that worker, with its ports there; its first card with that MAC."""
        argv = ["qemu", "-name", f"{each.name},process=x", "-uuid", each.uuid]
        for number, nic in enumerate(each.connected):
            argv += ["-netdev", f"tap,id=net{number},ifname={nic.tap},script=no,downscript=no"]
            said = mac if mac and not number else nic.mac
            argv += ["-device", f"e1000,netdev=net{number},mac={said}"]
            self.ports[worker].setdefault(
                nic.tap,
                ovs.Port(nic.tap, "br-int", nic.vlan_id, external_ids={ovs.OWNER: each.name}),
            )
            self.taps[worker].setdefault(nic.tap, ip.Tap())
        process = Process(1, started=1, state="S", cpu_ticks=0, rss_kib=0, argv=tuple(argv))
        taps = frozenset(nic.tap for nic in each.connected)
        found = RunningVM(each.name, directory=True, pid=1, process=process, taps=taps)
        self.running.setdefault(worker, {})[each.name] = found

    def learned(self) -> Mapping[str, list[Sighting]]:
        """What real bridges learn, where each port takes untagged frames only."""
        found: dict[str, list[Sighting]] = {name: [] for name in self.ports}
        for each in self.drawn:
            home, port = each.worker.name, self.ports[each.worker.name].get(each.nic.tap)
            for sent in each.own if port is not None else ():
                assert port is not None
                vlan = port.tag if sent.tag is None else sent.tag
                if vlan is None or (sent.tag is not None and sent.tag not in port.trunks):
                    continue
                found[home].append(Sighting(port.ofport, vlan, sent.mac, 0))
                for other in found:
                    dropped = any(vlan in self.carried.get(n, set()) for n in (home, other))
                    if other != home and not dropped:
                        found[other].append(Sighting(1, vlan, sent.mac, 0))
        return found

    def evidence(self, *, at_once: bool = True) -> Evidence:
        sites = {
            name: Site(
                Wiring(ovs.Switch({"br-int": "system"}, ports), self.taps[name]),
                self.running.get(name, {}),
                moves=self.moves.get(name, {}),
            )
            for name, ports in self.ports.items()
            if name not in self.unasked
        }
        learned = self.learned() if at_once else {name: [] for name in sites}
        seen = {name: found for name, found in learned.items() if name in sites}
        workers = {name: WORKERS[name] for name in self.ports}
        return Evidence(ends(self.drawn, sites), workers, sites, seen, drawn=self.drawn)

    def judge(self) -> Proof:
        return judge(self.evidence())


def three() -> World:
    return World(
        w1=[vm("a1", 1, 101), vm("a2", 2, 102)],
        w2=[vm("b1", 3, 101), vm("b2", 4, 102)],
        w3=[vm("c1", 5, 101, 102)],
    )
