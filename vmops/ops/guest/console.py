"""The serial port of one VM: opened for one client at a time, and why it closed."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, NamedTuple

from vmops.core.facts import logs
from vmops.core.facts.callers import callers_of, holders_of, socket_of
from vmops.core.facts.logs import Reader
from vmops.core.facts.question import Unanswered
from vmops.core.facts.vms import RUNNING, RunningVM
from vmops.core.names import RunDirectory
from vmops.core.script.command import Block, Step
from vmops.core.tools import sockets
from vmops.core.tools.process import Process
from vmops.core.tools.sockets import Callers
from vmops.errors import ConnectionLost, MonitorError, WorkFailed
from vmops.ops.act import ask, perform, running_of, unreadable
from vmops.ops.dry import Shown
from vmops.ops.guest import monitors
from vmops.ops.route import Route
from vmops.ops.vm import endings
from vmops.wait import wait_for

if TYPE_CHECKING:
    from vmops.remote.ssh.connection import WorkerConnection

_TURN_LIMIT_S = 2.0
"""How long QEMU may take to notice that a client came or went."""

_END_LIMIT_S = 30.0


class Line(NamedTuple):
    """An open serial port. `recent` is what it printed last; `socket` is the caller's to close."""

    vm: str
    socket: socket.socket
    recent: bytes
    process: Process
    connection: WorkerConnection


def open_line(route: Route, vm: str, *, lines: int = 0, take_over: bool = False) -> Line:
    """Connect to the VM's serial port, with the last `lines` that it printed.

    QEMU serves one client. Where there is one already, WorkFailed says who it is; with
    `take_over` the SSH session of that one is ended. NotRunning where no QEMU runs, MonitorError
    where it does not react, and what `perform` raises.
    """
    from vmops.remote.forward import open_socket
    from vmops.remote.ssh.connection import connection

    path = RunDirectory(vm).console
    seen = _look(route, vm, lines=lines)
    if route.transcript is not None:
        route.transcript.noted(route.worker, f"# through SSH: the socket {path}")
        raise Shown
    if seen.callers.served:
        _make_room(route, vm, take_over=take_over)
    elif seen.callers.waiting and not wait_for(lambda: _is_free(route, vm), _TURN_LIMIT_S):
        what = "QEMU answers no call at its console"
        raise MonitorError(what, worker=route.worker.name, vm=vm)
    opened = open_socket(route.worker, path, config=route.config)
    try:
        if not wait_for(lambda: _is_ours(_callers(route, vm)), _TURN_LIMIT_S):
            what = f"somebody else has come to the console of {vm} at the same moment"
            raise WorkFailed(what, worker=route.worker.name, vm=vm, cure="try again")
    except BaseException:
        opened.close()
        raise
    there = connection(route.worker, config=route.config)
    return Line(vm, opened, seen.recent, seen.process, there)


def ending(route: Route, line: Line) -> str:
    """Why the worker closed the line, in words, where the VM ended as a VM should.

    ConnectionLost when it was not the worker who closed it, NotRunning for a VM that crashed, and
    WorkFailed where somebody else took the line.
    """
    worker = route.worker.name
    if not line.connection.is_connected:
        raise ConnectionLost(
            f"the connection was lost and {line.vm} goes on without you;"
            " or somebody has taken its console over (--force)",
            worker=worker,
            cure=f"fab console --vm {line.vm} takes you back, or says who is there",
        )
    running = wait_for(lambda: _ended(route, line), _TURN_LIMIT_S)
    if running is None:
        raise WorkFailed(f"the console of {line.vm} was taken by somebody else", worker=worker)
    if running.state == "crashed":
        raise monitors.not_running(line.vm, running.state, worker)
    return f"{line.vm} {endings.in_words(running)}"


class _Look(NamedTuple):
    """A VM that runs, who is at its console, and what that printed last."""

    process: Process
    callers: Callers
    recent: bytes


def _look(route: Route, vm: str, *, lines: int) -> _Look:
    """What has to be known before the line is opened: all in one exchange."""
    worker = route.worker.name
    printed = Reader(vm, lines=str(lines))
    has_socket, callers = socket_of(vm), callers_of(vm)
    answers = ask(route, RUNNING, has_socket, callers, logs.SIZES, *printed.questions)
    running = running_of(route, answers, [vm])[vm]
    if running.odd:
        raise running.doubt(worker)
    if running.process is None:
        raise monitors.not_running(vm, running.state, worker)
    if running.process.stopped:
        raise monitors.frozen(vm, running, worker)
    if route.transcript is not None:
        return _Look(running.process, Callers(0, 0), b"")
    try:
        answers[has_socket]
        found = answers[callers]
    except Unanswered as reason:
        raise MonitorError(f"{vm} has no console: {reason}", worker=worker, vm=vm) from reason
    recent = printed.read(answers).console
    return _Look(running.process, found, recent.data if recent else b"")


def _callers(route: Route, vm: str) -> Callers:
    question = callers_of(vm)
    try:
        return ask(route, question)[question]
    except Unanswered as error:
        raise unreadable(route, error) from error


def _is_ours(callers: Callers) -> bool | None:
    """True when nobody but one client is there; of two, the one that waits could be us."""
    return True if callers == Callers(served=1, waiting=0) else None


def _is_free(route: Route, vm: str) -> bool | None:
    return True if _callers(route, vm) == Callers(served=0, waiting=0) else None


def _make_room(route: Route, vm: str, *, take_over: bool) -> None:
    """Say who is at the console, or end their session and wait until they are gone."""
    worker = route.worker.name
    question = holders_of(vm)
    try:
        there = ask(route, question)[question]
    except Unanswered as error:
        raise unreadable(route, error) from error
    names = " and ".join(map(str, there)) or "a process that cannot be seen"
    if not (take_over and there):
        cure = f"fab console --vm {vm} --force ends that SSH session" if there else ""
        what = f"somebody else is at the console of {vm}: {names}"
        raise WorkFailed(what, worker=worker, vm=vm, cure=cure)
    steps = tuple(Step(str(holder), (sockets.end(holder),), may_fail=True) for holder in there)
    perform(route, [Block(vm, steps)], time_limit_s=_END_LIMIT_S)
    if not wait_for(lambda: _is_free(route, vm), _TURN_LIMIT_S):
        what = f"{names} was asked to leave the console of {vm}, and is still there"
        raise WorkFailed(what, worker=worker, vm=vm)


def _ended(route: Route, line: Line) -> RunningVM | None:
    """The VM when the QEMU of this line is no more, else None."""
    running = endings.settled(route, line.vm)
    return running if endings.has_ended(running, line.process) else None
