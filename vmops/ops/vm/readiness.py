"""Waiting until cloud-init has finished in guests: by the word that their seed makes them say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from vmops.core.devices.seed.ready import Ending, ending
from vmops.core.facts import logs
from vmops.core.facts.logs import Marks, Reader
from vmops.core.facts.vms import RUNNING, RunningVM
from vmops.core.inventory.complaints import printable
from vmops.core.inventory.model import VM
from vmops.errors import InventoryError, VmopsError, WorkFailed
from vmops.ops.act import ask, running_of
from vmops.ops.guest.monitors import not_running
from vmops.ops.route import Route
from vmops.ops.vm.outcome import Outcome
from vmops.wait import lengthening, wait_for

READY = "ready"

_KEPT_BYTES = 2000
"""Of what was heard before: a word may come in two parts."""


def check_told(vms: Sequence[VM]) -> None:
    """Raise InventoryError for VMs whose guests are told nothing, and so say nothing."""
    silent = [vm.name for vm in vms if not vm.is_told]
    if silent:
        raise InventoryError(
            f"{', '.join(silent)}: nobody tells when the guest is ready: it has no cloud_init and"
            " no address in hosts.toml",
            cure="give it cloud_init = {} there, or wait for its guest to run: fab wait --vm"
            f" {','.join(silent)} --state running",
        )


def wait_ready(
    route: Route,
    vms: Sequence[VM],
    *,
    time_limit_s: float,
    patience: Callable[..., bool | None] = wait_for,
) -> list[Outcome]:
    """Wait until cloud-init has finished in each guest; an error for each where it failed, or where
    it has not finished in time. Warnings of it are notes.

    Of a VM that runs it is what it was told when it was started that counts. `patience` is
    `wait_for`, perhaps with another clock.
    """
    watch = _Watch(route, vms)
    try:
        patience(watch.is_over, time_limit_s, pauses=lengthening())
    except VmopsError as error:
        return [Outcome(vm.name, route.worker.name, "nothing", error=error) for vm in vms]
    return [watch.outcome(vm.name, time_limit_s) for vm in vms]


class _Watch:
    """What the consoles of VMs have said so far."""

    def __init__(self, route: Route, vms: Sequence[VM]) -> None:
        self._route = route
        self._heard = {vm.name: b"" for vm in vms}
        self._marks = {vm.name: Marks() for vm in vms}
        self._running: Mapping[str, RunningVM] = {}
        self._endings: dict[str, Ending] = {}

    def is_over(self) -> bool | None:
        """Look once; True when every guest has said how cloud-init ended, or never will."""
        waiting = [name for name in self._heard if name not in self._endings]
        readers = {name: Reader(name, self._marks[name]) for name in waiting}
        consoles = [reader.questions[0] for reader in readers.values()]
        answers = ask(self._route, RUNNING, logs.SIZES, *consoles)
        before, self._running = self._running, running_of(self._route, answers, list(self._heard))
        if self._route.transcript is not None:
            self._endings |= {name: Ending(0) for name in waiting}
            return True
        for name, reader in readers.items():
            if _is_another(before.get(name), self._running[name]):
                self._heard[name], self._marks[name] = b"", Marks()
                continue
            part = reader.read(answers).console
            if part is not None and (seed := self._running[name].seed):
                heard = self._heard[name] + part.data
                self._heard[name] = heard[-_KEPT_BYTES:]
                self._marks[name] = Marks(console=part.end)
                if (found := ending(heard, seed)) is not None:
                    self._endings[name] = found
        open_ = [name for name in waiting if name not in self._endings and not self._fault(name)]
        return not open_ or None

    def _fault(self, name: str) -> WorkFailed | None:
        """Why the guest of a VM will never say it."""
        running = self._running[name]
        if running.process is None or running.seed:
            return None
        return WorkFailed(
            f"{name} runs without a seed, so its guest does not say when it is ready: it was"
            " started before hosts.toml told it something",
            worker=self._route.worker.name,
            vm=name,
            cure=f"fab restart --vm {name}",
        )

    def outcome(self, name: str, time_limit_s: float) -> Outcome:
        """What came of one VM."""
        found = Outcome(name, self._route.worker.name, "nothing")
        ended = self._endings.get(name)
        if ended is None:
            return found._replace(error=self._fault(name) or self._late(name, time_limit_s))
        said = printable(ended.said)
        if ended.failed:
            why = f": {said}" if said else f": exit code {ended.code}"
            return found._replace(
                error=WorkFailed(
                    f"cloud-init failed in its guest{why}",
                    worker=found.worker,
                    vm=name,
                    cure=f"see what it printed: fab logs --vm {name}",
                )
            )
        warned = f"{name} is ready, and cloud-init warns: {said or 'see its log'}"
        return found._replace(notes=(warned,) if ended.code else ())

    def _late(self, name: str, time_limit_s: float) -> WorkFailed:
        worker, running = self._route.worker.name, self._running[name]
        if running.process is None:
            state = not_running(name, running.state, worker)
            what = f"{name} is not ready after {time_limit_s:g} s: it is {running.state}"
            return WorkFailed(what, worker=worker, vm=name, cure=state.cure)
        return WorkFailed(
            f"{name} is not ready after {time_limit_s:g} s: its guest has not said that cloud-init"
            " is done",
            worker=worker,
            vm=name,
            cure=f"give it longer with --timeout, or see what it prints: fab logs --vm {name}",
        )


def _is_another(before: RunningVM | None, now: RunningVM) -> bool:
    """True where what ran at the look before runs no more: the next one has new logs."""
    if before is None or before.process is None:
        return False
    was, is_ = before.process, now.process
    return is_ is None or (was.pid, was.started) != (is_.pid, is_.started)
