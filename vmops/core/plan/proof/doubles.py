"""What runs and is not to run like that: a VM on two workers, or on another than hosts.toml has it
on, and two interfaces with one MAC in a segment. Probes do not tell it: a switch takes both for
one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from vmops.core.facts.proof.probes import Site
from vmops.core.facts.vms import RunningVM
from vmops.core.inventory.model import VM
from vmops.core.plan.elsewhere import runs_among, runs_at_another
from vmops.core.plan.placement.finding import twice
from vmops.core.plan.proof.ends import Drawn
from vmops.errors import VmopsError, WorkFailed

Running = Mapping[str, Mapping[str, RunningVM]]
"""By worker and name, the VMs that run; without a QEMU that waits for one on its way there."""


class _Card(NamedTuple):
    """A card of a VM that runs. `segment` is the VLAN that it is in; `known` that hosts.toml has
    it, and `wanted` the MAC that it has there."""

    worker: str
    vm: str
    uuid: str
    name: str
    mac: str
    segment: int
    known: bool
    wanted: str

    @property
    def told(self) -> str:
        return f"{self.vm}:{self.name} on {self.worker}"


def running(sites: Mapping[str, Site]) -> Running:
    """What runs, by what the workers have said."""
    return {
        worker: {
            name: each
            for name, each in site.running.items()
            if each.process is not None and not site.waits(name)
        }
        for worker, site in sites.items()
    }


def doubles(drawn: Sequence[Drawn], sites: Mapping[str, Site]) -> list[VmopsError]:
    """VMs that run where they are not to, and MACs that two cards have in one VLAN."""
    runs = running(sites)
    vms: dict[str, list[Drawn]] = {}
    for each in drawn if runs else ():
        if not each.is_gateway:
            vms.setdefault(each.vm.name, []).append(each)
    misplaced: list[VmopsError] = []
    for mine in vms.values():
        misplaced += _misplaced(mine[0].vm, {each.worker.name for each in mine}, runs)
    return [*misplaced, *_one_mac(drawn, sites, runs)]


def cards_elsewhere(drawn: Sequence[Drawn], sites: Mapping[str, Site]) -> set[tuple[str, str]]:
    """By worker the TAPs of VMs that run where they are not to: they are told by their VM."""
    runs = running(sites)
    return {
        (worker, each.nic.tap)
        for each in drawn
        if not each.is_gateway
        for worker, ran in runs.items()
        if runs_among(ran, each.vm)
    }


def _misplaced(vm: VM, homes: set[str], runs: Running) -> Iterator[VmopsError]:
    where = [worker for worker, ran in runs.items() if runs_among(ran, vm)]
    if len(where) > 1:
        where.sort(key=lambda name: name not in homes)
        error = twice(vm, where).error
        assert error is not None, "it runs twice"
        yield error
    elif where and not homes & {*where} and homes <= {*runs}:
        # Where its home could not be asked, a move may have taken it from there.
        yield runs_at_another(vm, where[0], home=next(iter(homes)))


def _one_mac(drawn: Sequence[Drawn], sites: Mapping[str, Site], runs: Running) -> list[WorkFailed]:
    by_mac: dict[tuple[str, int], list[_Card]] = {}
    wanted = {(each.vm.uuid, each.nic.tap): each for each in drawn if not each.is_gateway}
    for worker, ran in runs.items():
        for running_vm in ran.values():
            for card in _cards(worker, running_vm, sites[worker], wanted):
                by_mac.setdefault((card.mac, card.segment), []).append(card)
    found: dict[tuple[str, str], WorkFailed] = {}
    for cards in by_mac.values():
        for one, other in combinations(cards, 2):
            if one.uuid != other.uuid or one.worker == other.worker:
                found.setdefault((one.told, other.told), _same(one, other))
    return list(found.values())


def _cards(
    worker: str, vm: RunningVM, site: Site, wanted: Mapping[tuple[str, str], Drawn]
) -> Iterator[_Card]:
    """The cards that it was started with, in each VLAN that their port is in. Of one that was added
    while it runs the command line has nothing."""
    said = vm.command_line
    for nic in said.nics:
        port = site.wiring.switch.ports.get(nic.tap)
        if port is None or not nic.mac:
            continue
        mine = wanted.get((said.uuid, nic.tap))
        name = nic.tap if mine is None else mine.nic.name
        mac = "" if mine is None else mine.nic.mac
        for vlan in {*port.trunks, *([] if port.tag is None else [port.tag])}:
            yield _Card(
                worker, vm.name, said.uuid, name, nic.mac.lower(), vlan, mine is not None, mac
            )


def _same(one: _Card, other: _Card) -> WorkFailed:
    """The one that is to go is the one that hosts.toml does not have, or has otherwise."""
    keeps, goes = (other, one) if _is_right(other) and not _is_right(one) else (one, other)
    if not goes.known:
        cure = f"end one: fab -H {goes.worker} stop --vm {goes.vm}"
    elif goes.wanted != goes.mac:
        cure = f"fab restart --vm {goes.vm}"
    else:
        cure = f"give one of them another mac in hosts.toml, then: fab restart --vm {goes.vm}"
    return WorkFailed(
        f"it has the MAC {goes.mac} in VLAN {goes.segment}, and so has {keeps.told}: each takes"
        " the frames of the other",
        worker=goes.worker,
        vm=goes.vm,
        interface=goes.name,
        cure=cure,
    )


def _is_right(card: _Card) -> bool:
    return card.known and card.wanted == card.mac
