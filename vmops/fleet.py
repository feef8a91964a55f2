"""Fleet, the documented API for all that the tasks do: values in, values out, nothing printed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from vmops.core.devices.disk import Bases
from vmops.core.inventory.inventory import Inventory
from vmops.core.inventory.model import VM, Worker
from vmops.core.plan.elsewhere import NOWHERE, Elsewhere
from vmops.core.plan.group import Terms
from vmops.core.plan.status import VMStatus
from vmops.core.plan.stopping import GENTLY, Manner
from vmops.errors import InventoryError
from vmops.fleet_guests import Guests
from vmops.fleet_networks import Networks
from vmops.fleet_placing import Placing
from vmops.ops.fleet import DEFAULT_PARALLEL
from vmops.ops.following import located, on_each_where_they_are
from vmops.ops.image.bases import bases_of, bases_to_start
from vmops.ops.image.supply import supplier_of
from vmops.ops.route import Group, Route, Ways
from vmops.ops.vm import changes, lifecycle, power, stopping, waiting
from vmops.ops.vm.expiring import today
from vmops.ops.vm.outcome import Outcome, without_absent
from vmops.ops.vm.status import merged, survey, with_fault
from vmops.ops.worker.doctor import Health, compared, examine
from vmops.ops.worker.run import Ended, Script, read_script, run_command, run_script

if TYPE_CHECKING:
    import os

    import fabric

    from vmops.core.devices.keyboard import Chord
    from vmops.ops.guest.keyboard import Pressed
    from vmops.ops.guest.screen import Shot
    from vmops.ops.proof.prove import Proven
    from vmops.ops.worker.history import Told
    from vmops.ops.worker.prune import Pruned

logger = logging.getLogger("vmops")

T = TypeVar("T")


class Fleet(Guests, Networks, Placing):
    """The VMs and workers of an inventory, and all that the tasks do with them.

    `vms` is a name, several separated by commas, or a glob, as `--vm` takes it. A VM is on the
    worker that the inventory pins it to, or where it was moved since; `at`, a worker's name or
    address, places one that is pinned to none, as -H does. At most `parallel` workers are worked
    on at the same time.

    Every method gives a value for each VM, and raises nothing for what fails on a worker: that is
    the value's `error` (see `raise_for_errors`). InventoryError is raised for a name that is not
    known, before anything is contacted. A fleet may be used by several threads. `config` is fab's,
    with its options; without one, ssh_config and Fabric's own files decide.
    """

    def __init__(
        self,
        inventory: Inventory,
        *,
        config: fabric.Config | None = None,
        parallel: int = DEFAULT_PARALLEL,
    ) -> None:
        self.inventory = inventory
        self.config = config
        self.parallel = parallel

    def launch(
        self,
        vms: str,
        *,
        at: str | None = None,
        strict: bool = False,
        overcommit: bool = False,
        here: bool = False,
    ) -> list[Outcome]:
        """Plug and boot each VM; one that runs as asked is left alone.

        An interface that cannot be plugged is left out and in `skipped`, or with `strict` the
        launch fails and is undone. Where the free memory of a worker is too small for all of them
        none starts, unless `overcommit`. Without `at` or `here` the other workers are asked first
        whether they run it.
        """
        groups = self._placed(self.inventory.select(vms), at)
        asked = NOWHERE if here or at is not None else self._others(groups)
        bases = self._bases(groups)
        terms = Terms(strict=strict, overcommit=overcommit, bases=bases, today=today())
        return self._launched(groups, terms, asked)

    def plug(self, vms: str, *, at: str | None = None, strict: bool = False) -> list[Outcome]:
        """Make the TAPs and ports of each VM, and start nothing."""
        return self._each_vm(vms, at, lambda g: lifecycle.plug(g.route, g.vms, strict=strict))

    def boot(self, vms: str, *, at: str | None = None, strict: bool = False) -> list[Outcome]:
        """Start QEMU with the interfaces that are plugged; with `strict` only if all are."""
        groups = self._placed(self.inventory.select(vms), at)
        terms = Terms(strict=strict, bases=self._bases(groups), today=today())
        return self._each(groups, lambda g: lifecycle.boot(g.route, g.vms, terms=terms))

    def destroy(
        self,
        vms: str,
        *,
        at: str | None = None,
        keep_disks: bool = False,
        force: bool = False,
        timeout_s: float = 30,
    ) -> list[Outcome]:
        """Stop each VM as `stop` does, and remove the disks that were made for it; asks nobody
        first. Images stay, and so does a qcow_image."""
        manner = Manner(force=force, timeout_s=timeout_s)
        return self._each_vm(
            vms,
            at,
            lambda g: stopping.destroy(g, manner=manner, keep_disks=keep_disks),
        )

    def reset_disk(self, vms: str, *, at: str | None = None, disk: str = "root") -> list[Outcome]:
        """Remove the own disk of each VM, or its further disk of that name, so that the next launch
        makes it anew; asks nobody first. One that runs is refused."""
        return self._each_vm(vms, at, lambda g: stopping.reset_disk(g.route, g.vms, name=disk))

    def unplug(self, vms: str, *, at: str | None = None) -> list[Outcome]:
        """Remove the ports and TAPs of each VM; one that runs is refused."""
        return self._each_vm(vms, at, lambda g: stopping.unplug(g.route, g.vms))

    def stop(
        self,
        vms: str,
        *,
        at: str | None = None,
        force: bool = False,
        timeout_s: float = 30,
        elsewhere: bool = False,
    ) -> list[Outcome]:
        """Ask each guest to power off, for up to `timeout_s`, then end QEMU harder and harder;
        `force` kills at once. A VM that is not there is no error.

        With `elsewhere` it is stopped `at` that worker, even if the inventory has it on another.
        """
        manner = Manner(force=force, timeout_s=timeout_s)
        if not elsewhere:
            return self._each_vm(vms, at, lambda g: stopping.stop(g.route, g.vms, manner=manner))
        if at is None:
            raise InventoryError("stop: elsewhere needs a worker", cure="name it with at")
        chosen = self.inventory.select(vms)
        return stopping.stop(self._route(self.inventory.worker(at)), chosen, manner=manner)

    def restart(
        self, vms: str, *, at: str | None = None, force: bool = False, timeout_s: float = 30
    ) -> list[Outcome]:
        """Stop each VM as `stop` does and launch it as the inventory has it.

        One that could not be launched again is left running; where its launch fails all the same,
        it is started again as it ran.
        """
        manner = Manner(force=force, timeout_s=timeout_s)
        groups = self._placed(self.inventory.select(vms), at)
        asked = NOWHERE if at is not None else self._others(groups)
        terms = Terms(bases=self._bases(groups), today=today())
        return self._each(
            groups,
            lambda g: lifecycle.restart(
                g.route, g.vms, manner=manner, terms=terms, elsewhere=asked
            ),
        )

    def pause(self, vms: str, *, at: str | None = None) -> list[Outcome]:
        """Freeze each VM, keeping its memory; one that is paused is left alone."""
        return self._each_vm(vms, at, lambda g: power.pause(g.route, g.vms))

    def reset(self, vms: str, *, at: str | None = None) -> list[Outcome]:
        """Press the reset button of each VM; its guest is not asked."""
        return self._each_vm(vms, at, lambda g: power.reset(g.route, g.vms))

    def wait(
        self, vms: str, state: str, *, at: str | None = None, timeout_s: float = 60
    ) -> list[Outcome]:
        """Wait until each VM is running, stopped (no QEMU), guest-off (its guest powered off), or
        ready (cloud-init has finished in it).

        One that is not within `timeout_s` has an error. Raises InventoryError for another state.
        """
        waiting.check(state, self.inventory.select(vms))
        return self._each_vm(
            vms, at, lambda g: waiting.wait(g.route, g.vms, state, time_limit_s=timeout_s)
        )

    def status(
        self, vms: str | None = None, *, at: str | None = None, unmanaged: bool = False
    ) -> list[VMStatus]:
        """Every VM as it is now, or those named; with `unmanaged` what else runs on the workers.

        One whose worker or monitor cannot be asked is `unknown`, never `stopped`.
        """
        groups = self._wherever(vms, at, empty=unmanaged)
        seen = self._each(
            groups, lambda g: [with_fault(survey(g.route, g.vms, unmanaged=unmanaged))]
        )
        return list(merged(seen).vms)

    def up(
        self, vms: str | None = None, *, restart: bool = False, overcommit: bool = False
    ) -> list[Outcome]:
        """Launch every VM of the inventory, or those named; what runs as asked is left alone.

        A VM that runs otherwise and needs a restart fails, or with `restart` is restarted.
        """
        groups = self._placed(self._chosen(vms), None)
        gently = GENTLY if restart else None
        terms = Terms(overcommit=overcommit, restart=gently, bases=self._bases(groups))
        terms = terms._replace(today=today(), at_end="stop", unnamed=vms is None)
        return self._launched(groups, terms, self._everywhere(named=vms is not None))

    def plan(self, vms: str | None = None, *, overcommit: bool = False) -> list[changes.Change]:
        """What `up` would do about each VM. Nothing is changed."""
        groups = self._placed(self._chosen(vms), None)
        bases = self._bases(groups)
        terms = Terms(overcommit=overcommit, bases=bases, today=today(), at_end="stop")
        terms = terms._replace(unnamed=vms is None)
        asked = self._everywhere(named=vms is not None)
        return self._each(groups, lambda g: changes.changes(g.route, g.vms, terms, asked))

    def down(
        self, vms: str | None = None, *, force: bool = False, timeout_s: float = 30
    ) -> list[Outcome]:
        """Stop every VM of the inventory, or those named, as `stop` does; asks nobody first.

        A VM that is pinned to no worker is stopped wherever it runs.
        """
        manner = Manner(force=force, timeout_s=timeout_s)
        groups = self._wherever(vms, None)
        return without_absent(
            self._each(groups, lambda g: stopping.stop(g.route, g.vms, manner=manner))
        )

    def screenshot(self, vms: str, *, at: str | None = None) -> list[Shot]:
        """The screen of each VM: `picture.png` are the bytes of a PNG."""
        from vmops.ops.guest.screen import screenshots

        groups = self._placed(self.inventory.select(vms), at)
        return self._each(groups, lambda g: screenshots(g.route, g.vms))

    def sendkey(self, vms: str, keys: str, *, at: str | None = None) -> list[Pressed]:
        """Press keys by QEMU's names, as chords: "ctrl-alt-f2, ret". InventoryError for others."""
        from vmops.core.devices.keyboard import chords

        return self._pressed(vms, at, chords(keys), hold_ms=100)

    def type(self, vms: str, text: str, *, at: str | None = None) -> list[Pressed]:
        """Type a text on each VM's keyboard, as a US one; InventoryError for what that cannot."""
        from vmops.core.devices.keyboard import typed

        return self._pressed(vms, at, typed(text), hold_ms=20)

    def prune(self, worker: str | None = None, *, remove: bool = False) -> list[Pruned]:
        """What crashes have left on every worker, or one; with `remove` it is removed."""
        from vmops.ops.worker.prune import prune

        groups = self._wherever(None, worker, empty=True)
        return self._each(groups, lambda g: prune(g.route, remove=remove, listed=self.inventory))

    def history(
        self, vms: str | None = None, *, worker: str | None = None, lines: int = 20
    ) -> list[Told]:
        """The last changes of every worker, or one; with `vms` of those only, names or globs."""
        from vmops.ops.worker.history import history

        wanted = [word.strip() for word in vms.split(",")] if vms is not None else []
        groups = self._wherever(None, worker, empty=True)
        return self._each(groups, lambda g: history(g.route, vms=wanted, lines=lines))

    def doctor(self, worker: str | None = None) -> list[Health]:
        """Check every worker, or one: what it lacks, and the cure of each failure."""
        groups = self._wherever(None, worker, empty=True)
        bases = bases_of(self.inventory, (vm for group in groups for vm in group.vms))
        listed = self.inventory
        found = self._each(groups, lambda g: [examine(g.route, g.vms, bases, listed=listed)])
        return compared(found)

    def verify(self, worker: str | None = None, *, known: Sequence[str] = ()) -> Proven:
        """Prove by frames who reaches whom, and nobody else; `known` ports may be there."""
        from vmops.ops.proof.prove import prove

        ways = None if worker is not None else Ways(self.inventory, self.config)
        groups = self._wherever(None, worker, empty=True)
        groups = located([group._replace(ways=ways) for group in groups])
        return prove(groups, listed=self.inventory, known=known, parallel=self.parallel)

    def run(self, worker: str, command: str, *, timeout_s: float = 30) -> Ended:
        """Run a command as the SSH user, in that user's shell, byte for byte.

        After `timeout_s` it is ended, on the worker too. It may print up to 64 MiB.
        """
        route = self._route(self.inventory.worker(worker))
        return run_command(route, command, time_limit_s=timeout_s)

    def script(
        self,
        worker: str,
        path: str | os.PathLike[str],
        args: Sequence[str] = (),
        *,
        timeout_s: float = 30,
    ) -> Ended:
        """Run a local script by bash on the worker, with `args` as its $1, $2, and so on.

        Nothing is copied there. Otherwise as `run`. Raises InventoryError when it cannot be read.
        """
        local = Script(read_script(str(path)), [str(arg) for arg in args])
        route = self._route(self.inventory.worker(worker))
        return run_script(route, local, time_limit_s=timeout_s)

    def _route(self, worker: Worker) -> Route:
        return Route(worker, self.config)

    def _chosen(self, vms: str | None) -> tuple[VM, ...]:
        """Only None is all of them: an empty text comes from a mistake."""
        return tuple(self.inventory.vms.values()) if vms is None else self.inventory.select(vms)

    def _placed(self, vms: Sequence[VM], at: str | None) -> list[Group]:
        """Each VM with the one worker that it belongs to."""
        placed: dict[str, tuple[Worker, list[VM]]] = {}
        for vm in vms:
            worker = self.inventory.worker_of(vm, at)
            placed.setdefault(worker.name, (worker, []))[1].append(vm)
        ways = Ways(self.inventory, self.config) if at is None else None
        return [Group(self._route(worker), tuple(mine), ways) for worker, mine in placed.values()]

    def _wherever(self, vms: str | None, at: str | None, *, empty: bool = False) -> list[Group]:
        """Each VM on every worker where it may be; with `empty` also workers that have none."""
        chosen = self._chosen(vms)
        if vms is not None and at is not None:
            return self._placed(chosen, at)
        listed = self.inventory.workers.values()
        workers = list(listed) if at is None else [self.inventory.worker(at)]
        there, kept = self.inventory.vms_on(worker.name for worker in workers), set(chosen)
        ways = None if at is not None or empty else Ways(self.inventory, self.config)
        chosen_there = {w.name: tuple(vm for vm in there[w.name] if vm in kept) for w in workers}
        groups = [Group(self._route(w), chosen_there[w.name], ways) for w in workers]
        return groups if empty else [group for group in groups if group.vms]

    def _others(self, groups: Sequence[Group]) -> Elsewhere:
        """What runs on the workers that are not those of the groups."""
        at = {group.route.worker.name for group in groups}
        others = [w for w in self.inventory.workers.values() if w.name not in at]
        return changes.look_everywhere([self._route(worker) for worker in others])

    def _everywhere(self, *, named: bool) -> Elsewhere:
        """What runs on all workers. Where no VM is named, one that cannot be asked holds up none of
        the others' VMs, and is logged."""
        workers = self.inventory.workers.values()
        found = changes.look_everywhere([self._route(worker) for worker in workers])
        if named:
            return found
        for error in found.unasked.values():
            logger.warning("%s", error)
        return found._replace(unasked={})

    def _bases(self, groups: list[Group]) -> Bases:
        return bases_to_start(self.inventory, [vm for group in groups for vm in group.vms])

    def _launched(self, groups: list[Group], terms: Terms, asked: Elsewhere) -> list[Outcome]:
        supply = supplier_of(self.inventory.images)
        return self._each(
            groups,
            lambda g: lifecycle.launch(
                g.route, g.vms, terms=terms, elsewhere=asked, supplier=supply
            ),
        )

    def _each_vm(
        self, vms: str, at: str | None, do: Callable[[Group], Sequence[Outcome]]
    ) -> list[Outcome]:
        return self._each(self._placed(self.inventory.select(vms), at), do)

    def _pressed(
        self, vms: str, at: str | None, chords: Sequence[Chord], *, hold_ms: int
    ) -> list[Pressed]:
        from vmops.ops.guest.keyboard import press

        groups = self._placed(self.inventory.select(vms), at)
        return self._each(groups, lambda g: press(g.route, g.vms, chords, hold_ms=hold_ms))

    def _each(self, groups: list[Group], do: Callable[[Group], Sequence[T]]) -> list[T]:
        """The work of every group at the same time; results in the order of the groups."""
        places = {group.route.worker.name: place for place, group in enumerate(groups)}
        found = [*on_each_where_they_are(groups, do, parallel=self.parallel)]
        found.sort(key=lambda one: places.get(one[0].route.worker.name, len(places)))
        return [item for _, results in found for item in results]
