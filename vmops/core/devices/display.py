"""VNC: where a VM's server is reached from its worker, and its one-time passwords."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from vmops.core.devices.exposure import vnc_warning
from vmops.core.tools.qemu import CommandLine
from vmops.core.tools.qmp import Request

PASSWORD_CHARACTERS = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""Without the ones that look alike."""

PASSWORD_LENGTH = 8
"""All that VNC looks at."""

_LOOPBACK_OF = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
"""Where a server that listens on every address is reached on its own machine."""


class Display(NamedTuple):
    """A running VM's VNC server: where its worker reaches it, and on which address it listens."""

    address: str
    port: int
    listen: str
    has_password: bool


def display(line: CommandLine) -> Display | None:
    """Where the VNC server of a QEMU with this command line is; None when it has none."""
    if not line.vnc_port:
        return None
    address = _LOOPBACK_OF.get(line.vnc_address, line.vnc_address)
    return Display(address, line.vnc_port, line.vnc_address, line.vnc_password)


def new_password(choose: Callable[[str], str]) -> str:
    """A password of as many characters as count; `choose` takes one at random from a text."""
    return "".join(choose(PASSWORD_CHARACTERS) for _ in range(PASSWORD_LENGTH))


def lend(password: str, *, seconds: int) -> tuple[Request, ...]:
    """Make this the password of the VNC server, and let nobody in with it after that time."""
    return (_set(password), extend(seconds=seconds))


def extend(*, seconds: int) -> Request:
    """Let the present password serve for so long from now."""
    return Request("expire_password", {"protocol": "vnc", "time": f"+{seconds}"})


def void(password: str) -> tuple[Request, ...]:
    """Replace the password by this one, which nobody may know, and let nobody in with it."""
    return (_set(password), Request("expire_password", {"protocol": "vnc", "time": "now"}))


def _set(password: str) -> Request:
    return Request("set_password", {"protocol": "vnc", "password": password})


def warning(vm: str, worker: str, display: Display) -> str:
    """The risk of a VNC server that runs; empty where there is none to name."""
    if display.has_password:
        return ""
    return vnc_warning(vm, worker, listen=display.listen, port=display.port)
