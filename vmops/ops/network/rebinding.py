"""OVN's ports of a VM that moves: given to its new worker where OVN's central is."""

from __future__ import annotations

from vmops.core.facts.network.central import TWO_PLACES, Central
from vmops.core.facts.question import Unanswered
from vmops.core.plan.moving.live import Stopped
from vmops.core.plan.network import rebinding as plan
from vmops.core.plan.network.rebinding import Rebinding
from vmops.core.plan.phase import ACT_LIMIT_S
from vmops.core.tools import ovn
from vmops.core.tools.ovn import Found, Key, Value
from vmops.errors import ConnectionLost, WorkFailed
from vmops.ops.act import LOOKS, ask, outdated, perform, unreadable
from vmops.ops.network.logical import look
from vmops.ops.route import Route


def check(central: Route, wanted: Rebinding) -> None:
    """Raise WorkFailed where OVN could not let the VM in on its new worker, and what is raised
    where the central cannot be asked. `central` leads to it."""
    if central.transcript is None:
        plan.check(wanted, central.worker, look(central))


def check_live(central: Route, wanted: Rebinding, *, stopped: Stopped) -> None:
    """Raise WorkFailed where its ports cannot be for two workers while it goes from one to the
    other, and what is raised where the central cannot be asked."""
    try:
        can = ask(central, TWO_PLACES)[TWO_PLACES]
    except Unanswered as error:
        raise unreadable(central, error) from error
    if not can:
        raise WorkFailed(
            "OVN there is older than 22.09, and cannot have a port at two workers at once",
            worker=central.worker.name,
            vm=wanted.vm.name,
            cure=f"move it with a stop: {stopped.command}",
        )


def rebind(central: Route, wanted: Rebinding) -> None:
    """Have OVN let the VM in on that worker. Raises VmopsError; then OVN has what it had before, or
    it is written and ovn-northd has not followed."""
    name = central.worker.name
    for _ in range(LOOKS):
        seen = look(central) if central.transcript is None else _supposed(central, wanted)
        block = plan.rebind(wanted, seen)
        if block is None:
            return
        (result,) = perform(central, [block], time_limit_s=ACT_LIMIT_S)
        if result.outcome == "changed":
            continue
        if result.outcome == "lost":
            raise ConnectionLost("the answer was cut short", worker=name, vm=wanted.vm.name)
        failed = [step.reason() for step in result.steps if not step.ok]
        if failed or result.outcome != "done":
            why = failed[0] if failed else result.why or "another change of OVN's rows goes on"
            what = f"OVN has not taken its ports to {wanted.to.name}: {why}"
            raise WorkFailed(what, worker=name, vm=wanted.vm.name, cure="fab doctor")
        return
    raise outdated(wanted.vm.name, name)


def _supposed(central: Route, wanted: Rebinding) -> Central:
    """What a dry run takes for granted: the ports are there, for the worker of hosts.toml."""
    look(central)
    rows = {}
    for nic in wanted.vm.connected:
        if nic.port:
            key = Key(nic.interface.network or "", f"port {nic.port}")
            columns: dict[str, Value] = {"external_ids": {ovn.VM: wanted.vm.name}}
            rows[key] = Found(key, ovn.PORTS, f"UUID-OF-{nic.port}", columns)
    workers = (wanted.to, wanted.home, wanted.leaves)
    ends = {w.tunnel_ip: f"CHASSIS-OF-{w.name}" for w in workers if w is not None}
    chassis = {end: name for end, name in ends.items() if end is not None}
    return Central(rows, chassis, "SUM")
