"""Talking to the monitors of a worker's VMs, whoever launched them."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from vmops.core.facts import observed as facts
from vmops.core.facts.observed import RunningVM
from vmops.core.names import RunDirectory
from vmops.core.script.command import Block, BlockResult, Step, command
from vmops.core.tools import qmp
from vmops.core.tools.qmp import Request
from vmops.errors import MonitorError, NotRunning, UnexpectedOutput, VmopsError
from vmops.ops.act import perform
from vmops.ops.route import Route

if TYPE_CHECKING:
    from vmops.remote.monitor import Conversation, Monitor

ANSWER_LIMIT_S = 5.0
"""For opening a session with a monitor, and for each of its answers."""

_LOOK_LIMIT_S = 30.0

T = TypeVar("T")


def talk(
    route: Route,
    vms: Sequence[str],
    conversation: Conversation[T],
    *,
    time_limit_s: float = ANSWER_LIMIT_S,
) -> dict[str, T | VmopsError]:
    """Hold the conversation with each VM's monitor, all at once: its result or its error, by VM.

    The sockets of a VM that another SSH user launched are given to this one first. NotRunning
    where there is no QEMU, MonitorError where it does not answer or says no. After a second of
    silence it is looked whether a QEMU can answer at all.
    """
    if not vms:
        return {}
    from vmops.remote import monitor

    def hold(with_whom: Sequence[str]) -> dict[str, T | VmopsError]:
        return monitor.talk(
            route.worker,
            with_whom,
            conversation,
            time_limit=time_limit_s,
            config=route.config,
            doubt=_Doubt(route),
        )

    heard = hold(vms)
    refused = [vm for vm in vms if isinstance(heard[vm], monitor.SocketRefused)]
    silent = [vm for vm in vms if isinstance(heard[vm], monitor.Unanswered)]
    if refused or silent:
        reasons = _look_closer(route, refused, silent)
        heard |= reasons
        again = [vm for vm in refused if vm not in reasons]
        heard |= hold(again) if again else {}
    return heard


def ask(
    route: Route,
    vms: Sequence[str],
    requests: Sequence[Request],
    *,
    time_limit_s: float = ANSWER_LIMIT_S,
) -> dict[str, list[Any] | VmopsError]:
    """What each VM's monitor answers to the same requests, in order; errors as in `talk`."""
    return talk(route, vms, lambda monitor: monitor.ask(*requests), time_limit_s=time_limit_s)


def statuses(
    route: Route, vms: Sequence[str], *, time_limit_s: float = ANSWER_LIMIT_S
) -> dict[str, str | VmopsError]:
    """QEMU's word for what each VM does; errors as in `talk`."""

    async def status(monitor: Monitor) -> str:
        return qmp.read_status((await monitor.ask(qmp.STATUS))[0])

    return talk(route, vms, status, time_limit_s=time_limit_s)


def not_running(vm: str, state: str, worker: str) -> NotRunning:
    """The error for a VM without a QEMU, in the state `stopped` or `crashed`."""
    if state == "crashed":
        cure = f"fab launch --vm {vm} clears away what it left and starts it"
        return NotRunning(f"{vm} has crashed", worker=worker, cure=cure)
    return NotRunning(f"{vm} is {state}", worker=worker, cure=f"fab launch --vm {vm} starts it")


def frozen(vm: str, running: RunningVM, worker: str) -> MonitorError:
    """The error for a VM whose QEMU is held by a signal: it can answer nothing."""
    pid = running.process.pid if running.process else 0
    return MonitorError(
        f"{vm}: its QEMU is held by a signal (SIGSTOP)",
        worker=worker,
        cure=f"let it go on, there: sudo kill -CONT {pid}; or fab stop --vm {vm}",
    )


class _Doubt:
    """Whether a silent monitor has a QEMU that could speak: one look for all of a worker."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._lock = threading.Lock()
        self._seen: Mapping[str, RunningVM] | None = None

    def __call__(self, vm: str) -> VmopsError | None:
        """The error for a VM whose QEMU is held or gone; None where more patience may help."""
        with self._lock:
            if self._seen is None:
                try:
                    blocks = [facts.ask_running()]
                    (seen,) = perform(self._route, blocks, time_limit_s=_LOOK_LIMIT_S)
                    self._seen = facts.read_running(seen)
                except (VmopsError, ValueError):
                    self._seen = {}
            found = self._seen
        return _reason(self._route, vm, found, None) if vm in found else None


def _look_closer(
    route: Route, refused: Sequence[str], silent: Sequence[str]
) -> dict[str, VmopsError]:
    """Why these monitors failed, and the sockets of those that refused given to this SSH user.

    Nothing is said of a VM that is worth another try, or of which nothing new is found.
    """
    blocks = [facts.ask_running(), *(_opening(vm) for vm in refused)]
    try:
        seen, *opened = perform(route, blocks, time_limit_s=_LOOK_LIMIT_S)
        running = facts.read_running(seen)
    except VmopsError as error:
        return dict.fromkeys((*refused, *silent), error)
    except ValueError as error:
        unreadable = UnexpectedOutput(str(error), worker=route.worker.name)
        return dict.fromkeys((*refused, *silent), unreadable)
    results = {result.subject: result for result in opened}
    reasons = {vm: _reason(route, vm, running, results.get(vm)) for vm in (*refused, *silent)}
    return {vm: reason for vm, reason in reasons.items() if reason is not None}


def _reason(
    route: Route, vm: str, seen: Mapping[str, RunningVM], opened: BlockResult | None
) -> VmopsError | None:
    running = seen.get(vm, RunningVM(vm))
    if running.process is None:
        return not_running(vm, running.state, route.worker.name)
    if running.process.stopped:
        return frozen(vm, running, route.worker.name)
    if opened is not None and opened.failure is not None:
        what = f"{vm} has no monitor: {opened.failure.reason()}"
        return MonitorError(what, worker=route.worker.name)
    return None


def _opening(vm: str) -> Block:
    sockets = [path.rpartition("/")[2] for path in RunDirectory(vm).sockets]
    return Block(vm, (Step("open sockets", (command("open_sockets", vm, *sockets),)),))
