"""What crashes have left on a worker, and what removes it. Pure decisions.

Only what carries a mark of vmops, of a VM that does not run. That an inventory does not know a VM
is no reason; that it does not know the worker at the other end of a tunnel is one, or a network
that OVN has and nobody uses.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

from vmops.core.devices.network.mesh import NAME as MESH
from vmops.core.devices.storage import moving
from vmops.core.facts.leftovers import Left
from vmops.core.facts.network.central import Central
from vmops.core.facts.observed import Observed
from vmops.core.images.names import FOLDER
from vmops.core.inventory import normal_form as normal
from vmops.core.inventory.model import VM, Worker
from vmops.core.names import NET_LOCK, NetworkNames
from vmops.core.plan import stopping
from vmops.core.plan.phase import Plan
from vmops.core.script.command import Block, Step, command
from vmops.core.tools import ip, ovs
from vmops.core.tools.lines import tunnels
from vmops.errors import VmopsError

Kind = Literal[
    "run directory",
    "TAP",
    "port",
    "output",
    "lock",
    "half a disk",
    "network",
    "tunnel",
    "network of OVN",
    "old disk",
    "mark",
]

_NOBODY: Mapping[str, str | None] = MappingProxyType({})

PRUNE = "prune"
"""The label of the step that clears /run/vmops, and the word for it all in the history."""


OLD_DISK = "set aside when its VM came back with a newer one; remove it by hand"


class Leftover(NamedTuple):
    """One thing that was left. `vm` is whose it was, empty for the worker's own; `kept` is why it
    is not to be removed."""

    kind: Kind
    name: str
    vm: str = ""
    kept: str = ""


def leftovers(
    seen: Observed, left: Left, workers: Mapping[str, str | None] = _NOBODY
) -> tuple[Leftover, ...]:
    """All of them, VM by VM. What may belong to a VM that runs is none.

    `workers` are those that tunnels may lead to, each with its end of tunnels or None; without any
    nothing is said of tunnels.
    """
    marks = _marks(seen)
    names = sorted({*seen.vms, *(vm for vm, _, _ in marks)})
    found: list[Leftover] = []
    for name in names:
        running = seen.vm(name)
        if running.process is not None:
            continue
        kept = _kept(name, seen)
        if running.directory:
            found.append(Leftover("run directory", f"/run/vmops/{name}", name, kept))
        found += [Leftover(kind, item, name, kept) for vm, kind, item in marks if vm == name]
    found += [Leftover("output", f"/run/vmops/{name}") for name in left.outputs]
    found += [Leftover("lock", f"/run/vmops/.lock/{name}", name) for name in left.locks]
    found += [Leftover("half a disk", f"{FOLDER}/{name}") for name in left.halves]
    found += [Leftover("network", name) for name in _networks(seen, left)]
    found += [Leftover("tunnel", port.name) for port in _lost_tunnels(seen, workers)]
    return tuple(found)


def old_disks(paths: Iterable[str], vms: Iterable[VM]) -> list[Leftover]:
    """Disks that were set aside when a VM came back, for somebody to look at: a whole disk is not
    removed."""
    owners = {vm.qcow_image: vm.name for vm in vms}
    return [
        Leftover("old disk", path, owners.get(path.rpartition(".")[0], ""), kept=OLD_DISK)
        for path in paths
    ]


def mark_of(vm: str) -> Leftover:
    """The mark of a VM that leads nowhere (plan/moving/forgetting.py)."""
    return Leftover("mark", moving.path_of(vm), vm)


def carried(central: Central, known: Collection[str]) -> list[Leftover]:
    """Networks that OVN has of ours and that are not `known`. One with a port that is up is in use:
    by another hosts.toml, as all do who share a central."""
    found = []
    for name in central.networks:
        if name in known:
            continue
        up = [port for port, is_up in central.guests_of(name).items() if is_up]
        kept = f"its port {up[0]} is up: another hosts.toml may have it" if up else ""
        found.append(Leftover("network of OVN", name, kept=kept))
    return found


def _lost_tunnels(seen: Observed, workers: Mapping[str, str | None]) -> list[ovs.Port]:
    """Those of ours at whose other end no worker is, neither by its name nor by its address: where
    it is called otherwise in another hosts.toml, that file's mesh is not cut."""
    return [
        port
        for port in tunnels.of_mesh(seen.switch.ports.values())
        if workers
        and port.external_ids[tunnels.MESH] not in workers
        and port.options.get("remote_ip") not in workers.values()
    ]


def _networks(seen: Observed, left: Left) -> list[str]:
    """Networks of which a part is left: their making or removal was cut, or a reboot has taken all
    but the row of their port."""
    if left.served is None:
        return []
    marked = {
        port.external_ids[ovs.NETWORK]
        for port in seen.switch.ports.values()
        if NetworkNames(port.external_ids.get(ovs.NETWORK, "")).port == port.name
    }
    names = {*left.networks, *marked} - left.served
    return sorted(name for name in names if normal.name(name) == name)


def _marks(seen: Observed) -> list[tuple[str, Kind, str]]:
    """The owner, kind and name of every TAP and port that vmops has marked."""
    mine = ip.alias("")
    taps: list[tuple[str, Kind, str]] = [
        (tap.alias.removeprefix(mine), "TAP", name)
        for name, tap in sorted(seen.taps.items())
        if tap.alias.startswith(mine)
    ]
    ports: list[tuple[str, Kind, str]] = [
        (port.external_ids[ovs.OWNER], "port", name)
        for name, port in sorted(seen.switch.ports.items())
        if port.external_ids.get(ovs.OWNER)
    ]
    return [*taps, *ports]


def _kept(name: str, seen: Observed) -> str:
    try:
        VM.lost(name)
    except VmopsError:
        return "no VM has such a name"
    if seen.vm(name).odd:
        return "whether its VM runs is not known"
    used = [tap for tap, found in seen.taps.items() if found.in_use]
    own = [tap for tap in used if seen.taps[tap].alias == ip.alias(name)]
    return f"a process uses TAP {own[0]}" if own else ""


def plans(worker: Worker, found: Sequence[Leftover], seen: Observed) -> list[Plan]:
    """For each VM that left something the plan that removes it: as a stop would, under its lock and
    only while it does not run."""
    names = dict.fromkeys(each.vm for each in found if not each.kept and each.kind != "lock")
    return [stopping.stop(worker, VM.lost(name), seen).noted_as(PRUNE) for name in names if name]


def clearing(found: Sequence[Leftover]) -> list[Block]:
    """What removes that of the worker itself, each looked at again; networks under their lock."""
    outputs = [each.name for each in found if each.kind == "output"]
    locks = [each.vm for each in found if each.kind == "lock"]
    halves = [each for each in found if each.kind == "half a disk"]
    cut = [each.name for each in found if each.kind == "tunnel"]
    commands = (
        *((command("remove_outputs", *outputs),) if outputs else ()),
        *((command("remove_locks", *locks),) if locks else ()),
        *((command("remove_half_disks"),) if halves else ()),
    )
    blocks = [Block("", (Step(PRUNE, commands),))] if commands else []
    names = [NetworkNames(each.name) for each in found if each.kind == "network"]
    if names:
        words = (word for name in names for word in (name.network, name.short))
        step = Step(PRUNE, (command("remove_left_networks", *words),))
        subject = ",".join(name.network for name in names)
        blocks.append(Block(subject, (step,), lock=NET_LOCK, change=PRUNE))
    if cut:
        step = Step(PRUNE, (tunnels.change("", (), gone=cut),))
        blocks.append(Block(MESH, (step,), lock=NET_LOCK, change=PRUNE))
    return blocks
