"""The screens of several VMs in a browser: each opened when somebody asks for it.

What was opened stays so until the end, and one call has one password for each VM.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from vmops.core.devices.display import Screen
from vmops.core.inventory.model import VM
from vmops.errors import VmopsError
from vmops.ops.guest.novnc import Gateway
from vmops.ops.guest.vnc import Access, connect, find
from vmops.ops.route import Route


class _Opened:
    """A VM's gateway and the access that was last given to it."""

    def __init__(self, folder: Path) -> None:
        self._where: tuple[Route, Screen] | None = None
        self.gateway = Gateway(folder, self._connect)
        self.access: Access | None = None

    def _connect(self) -> socket.socket:
        assert self._where is not None, "it is entered before anybody has its address"
        return connect(*self._where)

    def enter(self, route: Route, vm: VM) -> str:
        screen, process = find(route, vm)
        access = Access(route, vm, screen, process)
        access.__enter__()
        self._where, self.access = (route, screen), access
        return self.gateway.url(access.password)


class Screens:
    """noVNC for whichever VM is asked for, from its `folder`, while this is entered.

    Not for several threads at once.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened: dict[str, _Opened] = {}
        self._gateways = ExitStack()

    def url(self, route: Route, vm: VM) -> str:
        """The address that shows the VM's screen at once; a secret. Its password serves for two
        minutes to connect with, and a new one replaces it when the address is asked for again.

        Raises what `vnc.find` and `monitors.ask` do, and MonitorError where no port is free.
        """
        here = self._opened.get(vm.name) or _Opened(self._folder)
        said = here.enter(route, vm)
        if vm.name not in self._opened:
            self._gateways.enter_context(here.gateway)
            self._opened[vm.name] = here
        return said

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> list[VmopsError]:
        """End all connections and make all passwords void: those that could not be revoked."""
        self._gateways.close()
        faults: list[VmopsError] = []
        for opened in self._opened.values():
            try:
                if opened.access is not None:
                    opened.access.__exit__(None, None, None)
            except VmopsError as error:
                faults.append(error)
        self._opened.clear()
        return faults
