"""A VM's VNC server for one operator: found, opened by a one-time password, led to this machine."""

from __future__ import annotations

import secrets
from types import TracebackType
from typing import TYPE_CHECKING, Self

from vmops.core.devices import display
from vmops.core.devices.display import Screen
from vmops.core.inventory.model import VM
from vmops.core.tools.process import Process
from vmops.core.tools.qmp import STATUS, Request
from vmops.errors import ConnectionLost, NotRunning, VmopsError, WorkFailed
from vmops.ops.act import running
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


def find(route: Route, vm: VM) -> tuple[Screen, Process]:
    """Where the VNC server of the running VM is, and the QEMU that has it.

    Raises NotRunning, MonitorError where its QEMU is held by a signal, WorkFailed where it has no
    VNC server, and what `act.running` raises.
    """
    worker = route.worker.name
    found = running(route, [vm.name])[vm.name]
    if found.odd:
        raise found.doubt(worker)
    if found.process is None:
        raise not_running(vm.name, found.state, worker)
    if found.process.stopped:
        raise frozen(vm.name, found, worker)
    screen = found.command_line.screen
    if not str(screen) and route.transcript is None:
        raise WorkFailed(f"{vm.name} runs without a VNC server", worker=worker, vm=vm.name)
    return screen, found.process


class Access:
    """The right to use the VNC server of a VM, which this QEMU has, while it is entered.

    `password` is empty for a server that asks for none. A VM has one password at a time: whoever
    gets access next replaces it. Everything here raises what `monitors.ask` finds.
    """

    def __init__(self, route: Route, vm: VM, screen: Screen, process: Process) -> None:
        self._route = route
        self._process = process
        self.vm = vm.name
        self.worker = route.worker.name
        self.password = display.new_password(secrets.choice) if screen.has_password else ""

    def __enter__(self) -> Self:
        """Set the password. Raises also where a server without one cannot be asked anything."""
        if self.password:
            self.lend(seconds=LEASE_S)
        else:
            self._tell(STATUS)
        return self

    def lend(self, *, seconds: int) -> None:
        """Let the password serve for so long from now, instead of any other."""
        self._tell(*display.lend(self.password, seconds=seconds))

    def look(self) -> None:
        """See that the worker can be reached, and that the same QEMU runs.

        Raises NotRunning with what became of it, and what `act.running` raises. A connection that
        was lost is made anew.
        """
        try:
            found = running(self._route, [self.vm])[self.vm]
        except ConnectionLost:
            found = running(self._route, [self.vm])[self.vm]
        if not endings.has_ended(found, self._process):
            return
        found = endings.settled(self._route, self.vm)
        if found.state == "crashed":
            raise not_running(self.vm, found.state, self.worker)
        what = f"{self.vm} {endings.in_words(found)}"
        raise NotRunning(what, worker=self.worker, vm=self.vm)

    def extend(self) -> None:
        """Let the password serve for LEASE_S more; without one see that the monitor answers."""
        self._tell(display.extend(seconds=LEASE_S) if self.password else STATUS)

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
            self._tell(*display.void(display.new_password(secrets.choice)))
        except NotRunning:
            return
        except VmopsError as failed:
            if kind is None:
                raise WorkFailed(
                    f"its VNC password could not be revoked: {failed.what}",
                    worker=self.worker,
                    vm=self.vm,
                    cure=f"nobody gets in with it after {LEASE_S} s",
                ) from failed

    def _tell(self, *requests: Request) -> None:
        answer = ask(self._route, [self.vm], *requests)[self.vm]
        if isinstance(answer, VmopsError):
            raise answer


def lend_password(route: Route, vm: VM, *, seconds: int) -> str:
    """Make a random password serve for so long from now; empty where the server asks for none.

    It replaces the VM's password. Raises what `find` does, and what `monitors.ask` finds.
    """
    screen, process = find(route, vm)
    access = Access(route, vm, screen, process)
    if access.password:
        access.lend(seconds=seconds)
    return access.password


def forward(route: Route, screen: Screen, *, local_port: int = 0) -> Forward:
    """A port on this machine's loopback that leads to the VNC server; 0 takes a free one."""
    from vmops.remote.forward import forward_port, forward_unix

    if screen.path:
        return forward_unix(route.worker, screen.path, local_port=local_port, config=route.config)
    return forward_port(
        route.worker, screen.address, screen.port, local_port=local_port, config=route.config
    )


def connect(route: Route, screen: Screen) -> socket.socket:
    """A socket of this process that is a connection to the VNC server."""
    from vmops.remote.forward import open_port, open_socket

    if screen.path:
        return open_socket(route.worker, screen.path, config=route.config)
    return open_port(route.worker, screen.address, screen.port, config=route.config)
