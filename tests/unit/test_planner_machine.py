"""Any plan, on any worker, cut anywhere: the wanted state is reached, or can be.

A worker in memory carries plans out (simulated/) while hypothesis gives commands, breaks them at
any step, and lets other operators and other systems do things in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from vmops.core.devices import impairing, nic
from vmops.core.inventory.guest.cloud_init import CloudInit
from vmops.core.inventory.model import VM, Disk, Interface
from vmops.core.inventory.networks.impairment import Impairment
from vmops.core.plan import stopping
from vmops.core.plan.group import Terms
from vmops.core.plan.stopping import KILLED, Manner
from vmops.core.script.command import Block
from vmops.core.tools import ip, ovs
from vmops.core.tools.lines import tc
from vmops.errors import ConnectionLost
from vmops.ops import act
from vmops.ops.route import Route
from vmops.ops.vm import lifecycle, tidy
from vmops.ops.vm import stopping as ending
from vmops.ops.vm.outcome import Outcome

from .simulated import Cut, Fault, Qemu, Simulated
from .worlds import EMPTY, HOST, VM1, WORKER

ROUTE = Route(WORKER)
VM2 = replace(
    VM1,
    name="vm2",
    vm_id=1002,
    vnc_port=5902,
    interfaces=(Interface("eth1", vlan_id=103, address="10.0.0.5/24"),),
    cloud_init=CloudInit(packages=("vim",)),
)
VM3 = replace(
    VM1, name="vm3", vm_id=1003, vnc_port=5903, interfaces=(Interface("eth1"), Interface("eth2"))
)
NAMES = ("vm1", "vm2", "vm3")
DATA, LOGS = Disk("data", size_gb=1, format="raw"), Disk("logs", size_gb=1)

GENTLY = Manner(timeout_s=1.0)
KINDS: dict[str, Callable[[Sequence[VM]], list[Outcome]]] = {
    "launch": lambda vms: lifecycle.launch(ROUTE, vms),
    "launch strictly": lambda vms: lifecycle.launch(ROUTE, vms, terms=Terms(strict=True)),
    "up": lambda vms: lifecycle.launch(ROUTE._replace(seen=act.observe()), vms),  # type: ignore[call-arg]
    "up --restart": lambda vms: lifecycle.launch(ROUTE, vms, terms=Terms(restart=KILLED)),
    "plug": lambda vms: lifecycle.plug(ROUTE, vms),
    "boot": lambda vms: lifecycle.boot(ROUTE, vms),
    "stop": lambda vms: ending.stop(ROUTE, vms, manner=GENTLY),
    "stop --force": lambda vms: ending.stop(ROUTE, vms, manner=KILLED),
    "unplug": lambda vms: ending.unplug(ROUTE, vms),
    "restart": lambda vms: lifecycle.restart(ROUTE, vms, manner=GENTLY),
    "restart --force": lambda vms: lifecycle.restart(ROUTE, vms, manner=KILLED),
}

STARTING = ("launch", "launch strictly", "up", "up --restart", "restart", "restart --force")
KEEPING = ("launch", "launch strictly", "up", "boot")
"""They end no VM that runs, whatever is wanted of it."""

ENDING = ("stop", "stop --force", "unplug")

faults = st.one_of(
    st.none(),
    st.builds(
        Fault,
        at=st.integers(0, 16),
        manner=st.sampled_from(["refused", "reported", "cut", "gone"]),
        lasts=st.booleans(),
    ),
)
some = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True)
one = st.sampled_from(NAMES)


@contextmanager
def on(worker: Simulated, *, meanwhile: Callable[[], None] | None = None) -> Iterator[None]:
    """Whatever is done to a worker is done to this one. What happens `meanwhile` happens once,
    between the first look and what comes of it."""
    due = [meanwhile] if meanwhile is not None else []

    def observe(*_: object, **__: object) -> object:
        seen = worker.observed()
        if due:
            due.pop()()
        return seen

    def perform(_: Route, blocks: Sequence[Block], *, lanes: int = 1, **__: object) -> object:
        try:
            results = worker.run(blocks, lanes=lanes)
            if not worker.is_gone():
                return results
        except Cut:
            pass
        raise ConnectionLost("nobody reads the answer", worker=WORKER.name)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(act, "observe", observe)
        patched.setattr(act, "perform", perform)
        yield


class Planner(RuleBasedStateMachine):
    """A worker, the inventory that operators go by, and what others have there."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted = {vm.name: vm for vm in (VM1, VM2, VM3)}
        self.worker = Simulated(HOST, images=dict(EMPTY.images))
        self.foreign_taps: dict[str, ip.Tap] = {}
        self.foreign_ports: dict[str, ovs.Port] = {}
        self.foreign_pids: dict[int, Qemu] = {}

    # Commands

    @rule(kind=st.sampled_from(list(KINDS)), names=some, fault=faults)
    def command(self, kind: str, names: list[str], fault: Fault | None) -> None:
        """A command, which may break; then the same one completes, on the worker as it is left."""
        self.broken(kind, names, fault)
        self.completes(kind, names)

    @rule(name=one, vlan_id=st.integers(101, 104), fault=faults)
    def replug(self, name: str, vlan_id: int, fault: Fault | None) -> None:
        """A command for a VM that runs, as a rule, on another VLAN than is wanted by now."""
        self.another_vlan_is_wanted(name, vlan_id)
        self.command("launch", [name], fault)

    @rule(
        kind=st.sampled_from(list(KINDS)),
        names=some,
        theirs=st.sampled_from(list(KINDS)),
        about=some,
        fault=faults,
    )
    def command_while_another_comes(
        self, kind: str, names: list[str], theirs: str, about: list[str], fault: Fault | None
    ) -> None:
        """Another operator does something between the look and what comes of it."""

        def meanwhile() -> None:
            with on(self.worker):
                KINDS[theirs](self.vms(about))

        self.broken(kind, names, fault, meanwhile=meanwhile)
        self.completes(kind, names)

    @rule(names=some)
    def look(self, names: list[str]) -> None:
        """Whoever looks removes what VMs that powered themselves off have left in the network."""
        with on(self.worker):
            tidy.tidy(ROUTE, self.vms(names), self.worker.observed())
        again = [stopping.tidy(WORKER, vm, self.worker.observed()).phases for vm in self.vms(names)]
        assert not any(again)

    def broken(
        self,
        kind: str,
        names: Sequence[str],
        fault: Fault | None,
        *,
        meanwhile: Callable[[], None] | None = None,
    ) -> None:
        before = self.worker.copy()
        self.worker.fault, self.worker.fired = fault, False
        with on(self.worker, meanwhile=meanwhile):
            outcomes = KINDS[kind](self.vms(names))
        self.worker.fault = None
        if meanwhile is None and self.worker.fired and fault and fault.manner != "cut":
            for outcome in outcomes:
                self.is_before_after_or_told(kind, before, outcome, fault)

    def is_before_after_or_told(
        self, kind: str, before: Simulated, outcome: Outcome, fault: Fault
    ) -> None:
        """Whoever was told that all is well has what he asked for; a VM that was not to end runs
        on; and one that was not to run does not."""
        vm = outcome.vm
        ran, runs = before.qemus(vm), self.worker.qemus(vm)
        if outcome.error is None and not outcome.skipped:
            self.is_reached(kind, self.wanted[vm], self.worker, allow_lost_start=True)
        if kind in (*KEEPING, "plug"):
            assert ran == runs or not ran, f"{kind} ended {vm}"
            if ran and not fault.lasts:
                self.keeps_its_network(self.wanted[vm], before)
            told = outcome.error is not None and not isinstance(outcome.error, ConnectionLost)
            if told and not ran:
                assert not runs, f"{vm} runs, and its {kind} is said to have failed"

    def keeps_its_network(self, vm: VM, before: Simulated) -> None:
        """What failed on a running VM has left it no worse than it was."""
        then, now = before.observed().wiring, self.worker.observed().wiring
        for card in vm.connected:
            was = nic.port_drift(WORKER, vm, card, then)
            assert nic.port_drift(WORKER, vm, card, now) in ([], was)

    def completes(self, kind: str, names: Sequence[str]) -> None:
        """Given again, the command leads to what it is for, and then there is nothing to do."""
        again = self.worker.copy()
        with on(again):
            first = KINDS[kind](self.vms(names))
            second = KINDS[kind](self.vms(names)) if "restart" not in kind else []
        assert not again.wrong, again.wrong
        for outcome in first:
            if outcome.error is None:
                self.is_reached(kind, self.wanted[outcome.vm], again)
            else:
                assert self.may_be_refused(kind, outcome, again), outcome.error
        for outcome in second:
            assert outcome.action == "nothing" or outcome.error, f"{kind} has more to do"

    def may_be_refused(self, kind: str, outcome: Outcome, worker: Simulated) -> bool:
        """True where somebody else stands in the way, or the VM runs otherwise and must not end."""
        vm = self.wanted[outcome.vm]
        seen = worker.observed()
        own = {card.tap for card in seen.vm(vm.name).command_line.nics}
        used = any(seen.taps[n.tap].in_use for n in vm.nics if n.tap in set(seen.taps) - own)
        others = any(nic.conflict(vm, n, seen.wiring) for n in vm.connected)
        runs = seen.vm(vm.name).process is not None
        if kind == "unplug":
            return runs or used
        if kind in ENDING:
            return used
        keeps = any(
            self.worker.processes[pid].stubborn
            and self.worker.processes[pid].disks.keys() - {each.name for each in vm.disks}
            for pid in self.worker.qemus(vm.name)
        )
        return used or others or keeps or (runs and kind in KEEPING)

    def is_reached(
        self, kind: str, vm: VM, worker: Simulated, *, allow_lost_start: bool = False
    ) -> None:
        seen = worker.observed()
        runs = seen.vm(vm.name).process is not None
        if kind in ENDING:
            assert not runs
            assert [t for t in seen.taps.values() if t.alias == ip.alias(vm.name)] == []
            assert not [n for n in vm.nics if n.tap in worker.queues and n.tap not in worker.taps]
            assert [p for p in seen.switch.ports.values() if p.owner == vm.name] == []
            assert vm.name not in worker.directories or allow_lost_start
            return
        if kind in STARTING or kind == "boot":
            assert runs
            (pid,) = worker.qemus(vm.name)
            qemu = worker.processes[pid]
            if qemu.listens:
                assert {each.name for each in vm.disks} == qemu.disks.keys() == qemu.cards
        if kind == "boot":
            return
        for card in vm.connected:
            if not nic.conflict(vm, card, seen.wiring) and (runs or kind == "plug"):
                line = seen.vm(vm.name).command_line
                if kind == "plug" or card.tap in [n.tap for n in line.nics]:
                    assert nic.port_drift(WORKER, vm, card, seen.wiring) == []
                    assert impairing.drift(card, seen.impaired) == []

    def vms(self, names: Sequence[str]) -> list[VM]:
        return [self.wanted[name] for name in names]

    # What others do, and what happens by itself

    @rule(name=one, cleanly=st.booleans())
    def a_vm_ends(self, name: str, cleanly: bool) -> None:
        for pid in self.worker.qemus(name):
            self.worker.ends(pid, cleanly=cleanly)

    @rule(name=one, deaf=st.booleans())
    def a_qemu_stands_still(self, name: str, deaf: bool) -> None:
        for pid in self.worker.qemus(name):
            self.worker.processes[pid].held = not deaf
            self.worker.processes[pid].deaf = deaf

    @rule()
    def the_worker_reboots(self) -> None:
        """Rows of OVSDB are all that stays; those without a mark are nobody's then."""
        marked = {name: port for name, port in self.foreign_ports.items() if port.owner}
        self.foreign_ports = marked
        self.worker.processes.clear()
        self.worker.taps.clear()
        self.worker.queues.clear()
        self.worker.directories.clear()
        self.foreign_taps.clear()
        self.foreign_pids.clear()

    def another_vlan_is_wanted(self, name: str, vlan_id: int) -> None:
        vm = self.wanted[name]
        first = replace(vm.interfaces[0], vlan_id=vlan_id)
        self.wanted[name] = replace(vm, interfaces=(first, *vm.interfaces[1:]))

    @rule(name=one, rate=st.sampled_from([None, 1, 10]), delay=st.sampled_from([None, 20]))
    def another_line_is_wanted(self, name: str, rate: int | None, delay: int | None) -> None:
        vm = self.wanted[name]
        first = replace(vm.interfaces[0], rate_mbit=rate, delay_ms=delay)
        self.wanted[name] = replace(vm, interfaces=(first, *vm.interfaces[1:]))

    @rule(name=one, way=st.sampled_from(["in", "out"]))
    def a_line_is_changed_by_hand(self, name: str, way: str) -> None:
        for card in self.wanted[name].nics:
            device = card.tap if way == "in" else tc.mirror(card.tap)
            if card.tap in self.worker.taps and card.tap not in self.foreign_taps:
                self.worker.queues[device] = tc.words(Impairment(loss_pct=1))

    @rule(name=one, ram_mb=st.sampled_from([512, 768]))
    def other_memory_is_wanted(self, name: str, ram_mb: int) -> None:
        self.wanted[name] = replace(self.wanted[name], ram_mb=ram_mb)

    @rule(name=one, which=st.lists(st.sampled_from([DATA, LOGS]), unique=True))
    def other_disks_are_wanted(self, name: str, which: list[Disk]) -> None:
        self.wanted[name] = replace(self.wanted[name], disks=tuple(which))

    @rule(
        kind=st.sampled_from(["launch", "launch strictly", "up --restart", "boot"]),
        name=one,
        which=st.lists(st.sampled_from([DATA, LOGS]), unique=True),
        stubborn=st.booleans(),
        fault=faults,
    )
    def disks_come_and_go(
        self, kind: str, name: str, which: list[Disk], stubborn: bool, fault: Fault | None
    ) -> None:
        """A command for a VM that runs, as a rule, with other disks than are wanted by now."""
        self.other_disks_are_wanted(name, which)
        self.a_guest_lets_go_of_nothing(name, stubborn)
        self.command(kind, [name], fault)

    @rule(name=one, stubborn=st.booleans())
    def a_guest_lets_go_of_nothing(self, name: str, stubborn: bool) -> None:
        for pid in self.worker.qemus(name):
            self.worker.processes[pid].stubborn = stubborn

    @rule(name=one, tag=st.one_of(st.none(), st.integers(101, 104)))
    def a_port_is_changed_by_hand(self, name: str, tag: int | None) -> None:
        for port in self.worker.ports.values():
            if port.owner == name:
                self.worker.ports[port.name] = port._replace(tag=tag)
                return

    @rule(name=one, what=st.sampled_from(["port", "TAP", "mark"]))
    def something_of_a_vm_is_lost(self, name: str, what: str) -> None:
        for port in list(self.worker.ports.values()):
            if port.owner != name or port.name in self.foreign_ports:
                continue
            if what == "port":
                del self.worker.ports[port.name]
            elif what == "mark":
                self.worker.ports[port.name] = port._replace(external_ids={})
            elif not self.worker.qemus(name):
                self.worker.taps.pop(port.name, None)
            return

    @rule(name=one, where=st.sampled_from(["elsewhere", "TAP", "port"]))
    def a_stranger_plugs(self, name: str, where: str) -> None:
        """A TAP and a port that somebody else has marked, under a name of his or of ours."""
        vm = self.wanted[name]
        tap = f"vnet{vm.vm_id}" if where == "elsewhere" or not vm.connected else vm.connected[0].tap
        if tap in self.worker.taps or tap in self.worker.ports:
            return
        if where != "port":
            self.worker.taps[tap] = self.foreign_taps[tap] = ip.Tap("theirs")
        marks = {"iface-id": "theirs"}
        port = ovs.Port(tap, "br-int", 7, external_ids=marks)
        self.worker.ports[tap] = self.foreign_ports[tap] = port

    @rule(name=one)
    def another_system_starts_the_vm(self, name: str) -> None:
        """With a TAP of the name that is ours too, and without a mark: the documented way."""
        for card in self.wanted[name].nics:
            if card.tap not in self.worker.taps and card.tap not in self.worker.ports:
                self.worker.taps[card.tap] = self.foreign_taps[card.tap] = ip.Tap()
                self.worker.ports[card.tap] = self.foreign_ports[card.tap] = ovs.Port(
                    card.tap, "br-int", card.vlan_id
                )
                qemu = Qemu(self.worker.clock, ("qemu-system-x86_64",), (card.tap,))
                self.foreign_pids[self.worker.begins(qemu)] = qemu
                return

    @precondition(lambda self: self.foreign_pids)
    @rule()
    def a_strangers_process_ends(self) -> None:
        """From then on nobody uses its TAP, which is nobody's: it is taken over."""
        pid, qemu = self.foreign_pids.popitem()
        self.worker.processes.pop(pid)
        for tap in qemu.taps:
            self.foreign_taps.pop(tap, None)
            self.foreign_ports.pop(tap, None)

    # What must always hold

    @invariant()
    def nothing_foreign_is_touched(self) -> None:
        taps = {name: self.worker.taps.get(name) for name in self.foreign_taps}
        assert taps == self.foreign_taps
        ports = {name: self.worker.ports.get(name) for name in self.foreign_ports}
        assert ports == self.foreign_ports
        assert {pid: self.worker.processes.get(pid) for pid in self.foreign_pids} == (
            self.foreign_pids
        )

    @invariant()
    def nothing_that_must_never_happen_has_happened(self) -> None:
        assert not self.worker.wrong

    @invariant()
    def every_qemu_is_known(self) -> None:
        """No QEMU of ours runs that its pidfile does not name: nobody could ever stop it."""
        for name in NAMES:
            found = self.worker.vm(name).process
            assert self.worker.qemus(name) == ([found.pid] if found else [])

    @invariant()
    def no_qemu_has_lost_a_tap(self) -> None:
        for qemu in self.worker.processes.values():
            assert not set(qemu.taps) - set(self.worker.taps), "a TAP went under a running QEMU"


# 300 plans of up to 20 steps, on a busy machine too.
TestPlanner = pytest.mark.timeout(600)(Planner.TestCase)
TestPlanner.settings = settings(
    max_examples=300,
    stateful_step_count=20,
    deadline=None,
    phases=[Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
