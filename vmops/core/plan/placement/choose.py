"""Which worker each VM is placed on. A pure decision.

A VM stays where it runs, and goes back to where its disk or its memory is. One that has no place
yet gets the worker with the most memory left, of those on which it could start.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from vmops.core.facts import supposed
from vmops.core.facts.observed import Observed
from vmops.core.facts.vms import RunningVM
from vmops.core.inventory.model import VM
from vmops.core.plan.capacity import lacking
from vmops.core.plan.elsewhere import as_it_is_there, may_run
from vmops.core.plan.group import left_off, plans
from vmops.core.plan.moving import marks
from vmops.core.plan.moving.marks import as_it_comes_back
from vmops.core.plan.placement.choice import Asked, Choice, Judged, Wish
from vmops.core.plan.placement.finding import in_doubt, twice
from vmops.core.plan.placement.home import home, is_drained, is_there, kept, without_left
from vmops.core.plan.upkeep import expiry
from vmops.errors import LaunchFailed, NotAsked, VmopsError, WorkFailed

STEP_MB = 256
"""Memory is compared in steps of this: a worker's own programs make it go up and down."""

Worth = tuple[int, float, int]
"""What a worker is worth: steps of memory that are left, CPUs for each core, its place."""


def choose(asked: Asked, wish: Wish) -> list[Choice]:
    """The choice for each VM of the wish, in order.

    A VM that runs somewhere, or may run on a worker that could not be asked, is never placed
    anywhere else. Two VMs that are to be apart are never placed together.
    """
    placing = _Placing(asked, wish)
    found: dict[str, Choice] = {}
    for vm in wish.vms:
        if (choice := placing.settled(vm)) is not None:
            found[vm.name] = choice
    open_ = [vm for vm in wish.vms if vm.name not in found]
    for vm in sorted(open_, key=placing.difficulty, reverse=True):
        found[vm.name] = placing.with_room(vm)
    return [found[vm.name] for vm in wish.vms]


class _Placing:
    """What was asked, and what has been placed so far."""

    def __init__(self, asked: Asked, wish: Wish) -> None:
        self.asked = asked
        self.wish = wish
        self.terms = wish.terms._replace(overcommit=True, unnamed=False)
        vms = wish.vms
        self.seen = {
            name: supposed.with_images(seen, vms, wish.terms.bases)
            for name, seen in asked.seen.items()
        }
        if wish.leaving is not None:
            for name, seen in self.seen.items():
                # What it stands on comes along.
                brought = supposed.blank(asked.workers[name], vms).images
                # A mark in a folder that they share is changed, not in the way.
                there = ("elsewhere", wish.leaving)
                marks = {v: m for v, m in seen.moves.items() if (m.how, m.peer) != there}
                self.seen[name] = seen._replace(images={**seen.images, **brought}, moves=marks)
        self.starting = {
            name: [vm for vm in wish.beside.get(name, ()) if not is_there(vm.name, seen)]
            for name, seen in asked.seen.items()
        }
        self.placed: dict[str, str] = {}

    def settled(self, vm: VM) -> Choice | None:
        """The choice for a VM where nothing is left to choose."""
        there = [
            name
            for name, seen in self.seen.items()
            if name != self.wish.leaving and is_there(vm.name, seen)
        ]
        if len(there) > 1:
            home = self.wish.pinned.get(vm.name)
            return twice(vm, sorted(there, key=lambda name: name != home))
        if self.wish.leaving is not None:
            return self._leaving(vm, there)
        pinned = self.wish.pinned.get(vm.name)
        if there and pinned not in (None, there[0]):
            if (left := self._left(vm, pinned)) is not None:
                return self._given(vm, there[0], left)
            return _refused(
                vm,
                f"{vm.name} runs on {there[0]}, and hosts.toml has it on {pinned}",
                f"to end it there: fab -H {there[0]} stop --vm {vm.name} --elsewhere",
            )
        if there:
            return self._given(vm, there[0], "it runs there")
        if pinned is not None:
            return self._given(vm, pinned, "hosts.toml has it there")._replace(
                judged=(self._judged(vm, pinned),)
            )
        if expiry.is_over(vm, self.terms.today):
            if self.terms.at_end == "refuse":
                return Choice(vm, error=expiry.refused(vm))
            return Choice(vm, note=expiry.not_started(vm))
        if self.wish.terms.unnamed and not vm.autostart:
            return Choice(vm, note=left_off(vm))
        if self.asked.unasked and not self.wish.trusting:
            return Choice(vm, error=may_run(vm, self.asked.unasked))
        return self._at_home(vm)

    def _left(self, vm: VM, home: str | None) -> str | None:
        """Why it is not where hosts.toml has it, where a move has taken it from there."""
        seen = self.seen.get(home or "")
        mark = seen.moves.get(vm.name) if seen is not None else None
        if home is None or seen is None or mark is None or not marks.is_gone(mark):
            return None
        if seen.drained is not None and vm.name in seen.drained.away:
            return "; ".join(marks.away(vm.name, home, mark.peer, is_open=seen.drained.is_open))
        return "; ".join(marks.at_another(vm.name, home, mark.peer, own_line=True))

    def _leaving(self, vm: VM, there: list[str]) -> Choice | None:
        """The same for a VM that is to leave a worker: the way that it has begun to go."""
        assert self.wish.leaving is not None
        mark = self.seen[self.wish.leaving].moves.get(vm.name)
        if mark is not None and mark.how == "leaving" and there in ([], [mark.peer]):
            # It may have been started there meanwhile: only what it left here is to go.
            return self._given(vm, mark.peer, "it is on its way there")
        if there:
            what = f"it runs on {there[0]}, and has a disk on {self.wish.leaving} as well"
            return _refused(vm, what, f"fab status --vm {vm.name}")
        for name, seen in self.seen.items():
            # A move that was cut before it was handed over: another one beside it would leave a
            # waiting QEMU, or the place that is kept for it, where nobody looks again.
            begun = seen.moves.get(vm.name)
            coming = begun is not None and begun.how in ("expected", "receiving")
            if begun is not None and coming and begun.peer == self.wish.leaving:
                return self._given(vm, name, "it is on its way there")
        return None

    def _at_home(self, vm: VM) -> Choice | None:
        homes = {name: why for name, seen in self.seen.items() if (why := home(vm, seen))}
        homes = without_left(vm, homes, self.seen)
        if not homes:
            return None
        if len(homes) > 1:
            return Choice(vm, error=in_doubt(vm, homes))
        ((name, why),) = homes.items()
        against = next(self._apart(vm, name, stopped=False), "")
        if against:
            return _refused(
                vm, f"{why} is on {name}, and {against}", f"stop that one, or say -H {name}"
            )
        self.starting[name].append(vm)
        return self._given(vm, name, f"{why} is there")

    def _given(self, vm: VM, worker: str, reason: str) -> Choice:
        self.placed[vm.name] = worker
        return Choice(vm, worker, reason)

    def difficulty(self, vm: VM) -> tuple[int, int]:
        """The large ones, and those that are to be apart from many, come first."""
        return len(self.wish.apart.get(vm.name, ())), vm.ram_mb

    def with_room(self, vm: VM) -> Choice:
        """The choice for a VM that has no place yet."""
        judged = tuple(self._judged(vm, name) for name in self.asked.workers)
        fitting = [one for one in judged if one.fits]
        if not fitting:
            told = "; ".join(f"{one.worker}: {one.why}" for one in judged)
            what = "no worker has a place for it"
            error: WorkFailed
            full, cure = f"{what}: {told}", f"fab place --vm {vm.name} --why"
            if reasons := self._why_unasked():
                error = NotAsked(full, reasons=reasons, vm=vm.name, cure=cure)
            else:
                error = LaunchFailed(full, vm=vm.name, cure=cure)
            return Choice(vm, reason=what, judged=judged, error=error)
        worth = {one.worker: self._worth(vm, one) for one in fitting}
        best = max(fitting, key=lambda one: worth[one.worker])
        judged = tuple(
            one._replace(beside=_less(worth[one.worker], worth[best.worker])) if one.fits else one
            for one in judged
        )
        if not self._stays_off(vm):
            seen = self.seen[best.worker]
            self.starting[best.worker].append(self._as_it_is_to_be(vm, best.worker, seen))
        reason = _most(best, fitting, worth)
        return self._given(vm, best.worker, reason)._replace(judged=judged)

    def _why_unasked(self) -> list[VmopsError]:
        """Why no worker that a VM might be placed on could be asked; nothing where one was."""
        among = self.wish.among
        open_ = [name for name in self.asked.workers if name != self.wish.leaving]
        open_ = [name for name in open_ if among is None or name in among]
        reasons = [why for name in open_ if (why := self.asked.unasked.get(name)) is not None]
        return reasons if len(reasons) == len(open_) else []

    def _stays_off(self, vm: VM) -> bool:
        """True for one that leaves a worker on which it does not run: it needs no memory now."""
        leaving = self.wish.leaving
        return leaving is not None and not is_there(vm.name, self.seen[leaving])

    def _worth(self, vm: VM, one: Judged) -> Worth:
        """More is better: memory, then CPUs for each core, then to be written further up."""
        seen, order = self.seen[one.worker], list(self.asked.workers)
        promised = sum(each.command_line.ram_mb for each in _running(seen))
        promised += sum(each.ram_mb for each in self.starting[one.worker])
        left = min(one.free_mb or 0, seen.host.memory_mb - promised) - vm.ram_mb
        return (
            left // STEP_MB,
            (one.cpus or 0) / ((one.cores or 0) + vm.cores),
            -order.index(one.worker),
        )

    def _judged(self, vm: VM, name: str) -> Judged:
        seen = self.seen.get(name)
        if seen is None:
            return Judged(name, "it could not be asked")
        vm = self._as_it_is_to_be(vm, name, seen)
        starting = self.starting[name]
        why = next(self._against(vm, name, seen), "")
        return Judged(
            name,
            why,
            free_mb=seen.host.available_mb - sum(each.ram_mb for each in starting),
            cores=sum(each.command_line.cores for each in _running(seen))
            + sum(each.cores for each in starting),
            cpus=seen.host.cpus,
        )

    def _as_it_is_to_be(self, vm: VM, name: str, seen: Observed) -> VM:
        """One that leaves a worker, as it is to be on that one: what starts there has its port."""
        if self.wish.leaving is None:
            return vm
        ports = {each.vnc_port for each in self.starting[name] if each.vnc_port is not None}
        seen = seen._replace(listening=seen.listening | ports)
        return as_it_is_there(self.asked.workers[name], vm, seen)

    def _against(self, vm: VM, name: str, seen: Observed) -> Iterator[str]:
        """What keeps the VM from being placed on the worker."""
        if name == self.wish.leaving:
            yield "it is the worker that is drained"
        elif is_drained(seen):
            yield "it is drained"
        if self.wish.among is not None and name not in self.wish.among:
            yield "it is not among those that were named"
        yield from self._apart(vm, name, stopped=True)
        if 0 < seen.host.cpus < vm.cores:
            yield f"{vm.name} has {vm.cores} cores, and {seen.host.cpus} CPUs are there"
        together = [*self.starting[name], vm]
        overcommit = self.wish.terms.overcommit or self._stays_off(vm)
        yield from (what for what, _ in lacking(together, seen, overcommit=overcommit))
        if self.wish.leaving is not None:
            seen = as_it_comes_back(vm.name, seen)
        (found,) = plans(self.asked.workers[name], [vm], seen, terms=self.terms)
        if isinstance(found, WorkFailed):
            yield found.what

    def _apart(self, vm: VM, worker: str, *, stopped: bool) -> Iterator[str]:
        """Those that are there, or will be, and may not be with it; with `stopped` also those that
        would be started there."""
        for other in sorted(self.wish.apart.get(vm.name, ())):
            seen = self.seen[worker]
            pinned = self.wish.pinned.get(other)
            meets = is_there(other, seen) or worker in (self.placed.get(other), pinned)
            if not meets and stopped and other not in self.placed:
                meets = bool(kept(other, seen))
            if meets:
                yield f"{other} is there, and they are to be apart"


def _less(worth: Worth, best: Worth) -> str:
    """Why a worker on which the VM fits is not the one."""
    if worth[0] < best[0]:
        return "fits, and has less left"
    if worth[1] < best[1]:
        return "fits, has about as much left, and fewer CPUs for each core"
    return "fits, has about as much left, and is further down in hosts.toml"


def _most(best: Judged, fitting: Sequence[Judged], worth: Mapping[str, Worth]) -> str:
    """Why the best worker is it."""
    mine = worth[best.worker]
    others = [worth[one.worker] for one in fitting if one.worker != best.worker]
    if not others:
        return "no other worker has a place for it"
    free = f"{best.free_mb} MiB of memory are free"
    equal = [one for one in others if one[0] == mine[0]]
    if not equal and any((one.free_mb or 0) > (best.free_mb or 0) for one in fitting):
        most = "the most are left when VMs that run take all of theirs"
        return f"{free}, and {most}, of {len(fitting)} that fit"
    if not equal:
        return f"{free}, the most of {len(fitting)} that fit"
    as_much = f"{free}, about as much as on {len(equal)} other{'s' if len(equal) > 1 else ''}"
    if all(one[1] < mine[1] for one in equal):
        return f"{as_much}; it has the most CPUs for each core"
    return f"{as_much}; it is the first of them in hosts.toml"


def _running(seen: Observed) -> list[RunningVM]:
    return [each for each in seen.vms.values() if each.process is not None]


def _refused(vm: VM, what: str, cure: str) -> Choice:
    return Choice(vm, error=LaunchFailed(what, vm=vm.name, cure=cure))
