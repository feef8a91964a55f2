"""A VM's VNC server for one operator: found, opened by a one-time password, led to this machine."""

from __future__ import annotations

import secrets
from types import TracebackType
from typing import TYPE_CHECKING, Self

from vmops.core.devices import display as vnc
from vmops.core.devices.display import Display
from vmops.core.facts import observed as facts
from vmops.core.facts.observed import RunningVM
from vmops.core.inventory.model import VM
from vmops.core.tools.process import Process
from vmops.core.tools.qmp import STATUS, Request
from vmops.errors import ConnectionLost, NotRunning, UnexpectedOutput, VmopsError, WorkFailed
from vmops.ops.act import perform
from vmops.ops.guest.monitors import ask, frozen, not_running
from vmops.ops.route import Route
from vmops.ops.vm import endings

if TYPE_CHECKING:
    import socket

    from vmops.remote.forward import Forward

LEASE_S = 120
"""How long a password serves when nobody extends it: an operator may vanish at any moment."""

LOOK_EVERY_S = 5.0
LOOKS_PER_EXTENSION = 8

_LOOK_LIMIT_S = 30.0


def find(route: Route, vm: VM) -> tuple[Display, Process]:
    """Where the VNC server of the running VM is, and the QEMU that has it.

    Raises NotRunning, MonitorError where its QEMU is held by a signal, WorkFailed where it has no
    VNC server, and what `perform` raises.
    """
    worker = route.worker.name
    running = _running(route, vm.name)
    if running.process is None:
        raise not_running(vm.name, running.state, worker)
    if running.process.stopped:
        raise frozen(vm.name, running, worker)
    display = vnc.display(running.command_line)
    if display is None:
        raise WorkFailed(f"{vm.name} runs without a VNC server", worker=worker)
    return display, running.process


def _running(route: Route, vm: str) -> RunningVM:
    (result,) = perform(route, [facts.ask_running()], time_limit_s=_LOOK_LIMIT_S)
    try:
        return facts.read_running(result).get(vm, RunningVM(vm))
    except ValueError as unreadable:
        raise UnexpectedOutput(str(unreadable), worker=route.worker.name) from unreadable


class Access:
    """The right to use the VNC server of a VM, which this QEMU has, while it is entered.

    `password` is empty for a server that asks for none. A VM has one password at a time: whoever
    gets access next replaces it. Everything here raises what `ops.monitors.ask` finds.
    """

    def __init__(self, route: Route, vm: VM, display: Display, process: Process) -> None:
        self._route = route
        self._process = process
        self.vm = vm.name
        self.worker = route.worker.name
        self.password = vnc.new_password(secrets.choice) if display.has_password else ""

    def __enter__(self) -> Self:
        """Set the password. Raises also where a server without one cannot be asked anything."""
        if self.password:
            self.lend(seconds=LEASE_S)
        else:
            self._tell(STATUS)
        return self

    def lend(self, *, seconds: int) -> None:
        """Let the password serve for so long from now, instead of any other."""
        self._tell(*vnc.lend(self.password, seconds=seconds))

    def look(self) -> None:
        """See that the worker can be reached, and that the same QEMU runs.

        Raises NotRunning with what became of it, and what `perform` raises. A connection that was
        lost is made anew.
        """
        try:
            running = _running(self._route, self.vm)
        except ConnectionLost:
            running = _running(self._route, self.vm)
        if not endings.has_ended(running, self._process):
            return
        running = endings.settled(self._route, self.vm)
        if running.state == "crashed":
            raise not_running(self.vm, running.state, self.worker)
        raise NotRunning(f"{self.vm} {endings.in_words(running)}", worker=self.worker)

    def extend(self) -> None:
        """Let the password serve for LEASE_S more; without one see that the monitor answers."""
        self._tell(vnc.extend(seconds=LEASE_S) if self.password else STATUS)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Make the password void. Where that fails and nothing else did, WorkFailed says so."""
        if not self.password:
            return
        try:
            self._tell(*vnc.void(vnc.new_password(secrets.choice)))
        except NotRunning:
            return
        except VmopsError as failed:
            if kind is None:
                raise WorkFailed(
                    f"{self.vm}: its VNC password could not be made void: {failed.what}",
                    worker=self.worker,
                    cure=f"nobody gets in with it after {LEASE_S} s",
                ) from failed

    def _tell(self, *requests: Request) -> None:
        answer = ask(self._route, [self.vm], requests)[self.vm]
        if isinstance(answer, VmopsError):
            raise answer


def lend_password(route: Route, vm: VM, *, seconds: int) -> str:
    """Make a random password serve for so long from now; empty where the server asks for none.

    It replaces the VM's password. Raises what `find` does, and what `ops.monitors.ask` finds.
    """
    display, process = find(route, vm)
    access = Access(route, vm, display, process)
    if access.password:
        access.lend(seconds=seconds)
    return access.password


def forward(route: Route, display: Display, *, local_port: int = 0) -> Forward:
    """A port on this machine's loopback that leads to the VNC server; 0 takes a free one."""
    from vmops.remote.forward import forward_port

    return forward_port(
        route.worker, display.address, display.port, local_port=local_port, config=route.config
    )


def connect(route: Route, display: Display) -> socket.socket:
    """A socket of this process that is a connection to the VNC server."""
    from vmops.remote.forward import open_port

    return open_port(route.worker, display.address, display.port, config=route.config)
