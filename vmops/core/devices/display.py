"""The screen: QEMU's VNC server, who reaches it, and its one-time passwords."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from vmops.core.devices.drift import Drift, word
from vmops.core.names import RunDirectory
from vmops.core.tools import qemu
from vmops.core.tools.qmp import Request

FIRST_PORT = 5900
"""The TCP port of display 0."""

UNSET_LISTEN = "127.0.0.1"
"""Where VNC listens when the inventory does not say: the worker's loopback."""

PASSWORD_CHARACTERS = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""Without the ones that look alike."""

PASSWORD_LENGTH = 8
"""All that VNC looks at."""

_LOOPBACK_OF = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
"""Where a server that listens on every address is reached on its own machine."""


_UNIX = "unix:"


class Screen(NamedTuple):
    """A VNC server: where it listens, its TCP port (0 without one), and whether it asks for a
    password. With one QEMU refuses every client until a password is set through the monitor.

    One without a port has the `path` of a UNIX socket, or there is no server.
    """

    listen: str = ""
    port: int = 0
    has_password: bool = False
    path: str = ""

    def __str__(self) -> str:
        """`ADDRESS:PORT` or `unix:PATH`, empty where there is no VNC."""
        if self.path:
            return f"{_UNIX}{self.path}"
        address = f"[{self.listen}]" if ":" in self.listen else self.listen
        return f"{address}:{self.port}" if self.port else ""

    @property
    def address(self) -> str:
        """Where its worker reaches it."""
        return _LOOPBACK_OF.get(self.listen, self.listen)


def is_loopback(listen: str) -> bool:
    """True for an address, in its normal form, that only its own machine reaches.

    The last is how Python 3.11 and 3.12 write ::ffff:127.0.0.0 to ::ffff:127.255.255.255.
    """
    return listen == "::1" or listen.startswith(("127.", "::ffff:127.", "::ffff:7f"))


def wanted(listen: str | None, port: int | None, *, vm: str) -> Screen:
    """The screen of a VM on a worker whose inventory says `listen`, or nothing.

    Without a `port` it is a UNIX socket in the VM's run directory, which only the SSH user may
    open. It asks for a password all the same: on the operator's machine `vnc` makes a port of it.

    On loopback, where every user of the worker could connect, it asks for a one-time password,
    whoever says that it listens there. On another address it is open, as the documented system's.
    """
    if port is None:
        return Screen(path=RunDirectory(vm).vnc, has_password=True)
    address = listen or UNSET_LISTEN
    return Screen(address, port, has_password=is_loopback(address))


def words(screen: Screen) -> tuple[str, ...]:
    """QEMU counts displays from port 5900."""
    return ("-vnc", _option(screen))


def _option(screen: Screen) -> str:
    address = f"[{screen.listen}]" if ":" in screen.listen else screen.listen
    password = ",password=on" if screen.has_password else ""
    if screen.path:
        return f"{_UNIX}{qemu.escaped(screen.path)}{password}"
    return f"{address}:{screen.port - FIRST_PORT}{password}"


def parse(found: qemu.Options) -> Screen:
    """The VNC server of a command line."""
    where, _, rest = (qemu.last(found, "vnc") or "").partition(",")
    has_password = "password=on" in rest
    if where.startswith(_UNIX):
        return Screen(path=where.removeprefix(_UNIX), has_password=has_password)
    address, _, display = where.rpartition(":")
    number = qemu.whole(display, otherwise=-1)
    port = FIRST_PORT + number if number >= 0 else 0
    listen = address.removeprefix("[").removesuffix("]")
    return Screen(listen, port, has_password)


def drift(has: Screen, wants: Screen) -> list[Drift]:
    """Where a running VNC server and the wanted one differ."""
    on_tcp = not has.path and not wants.path
    pairs = (
        *((("vnc_listen", has.listen, wants.listen),) if on_tcp else ()),
        ("vnc_password", has.has_password, wants.has_password),
        ("vnc_port", has.path or has.port, wants.path or wants.port),
    )
    return [Drift(name, word(a), word(b)) for name, a, b in pairs if a != b]


def risk(vm: str, worker: str, screen: Screen) -> str:
    """Who else reaches a VM's VNC when it asks for no password; empty on the worker's loopback."""
    if screen.has_password or is_loopback(screen.listen):
        return ""
    return (
        f"{vm}: anybody who reaches port {screen.port} on {screen.listen or 'any address'} of"
        f" {worker} sees and controls it: its VNC has no password\n"
        "  for one-time passwords on loopback, leave vnc_listen out of hosts.toml and restart it;\n"
        '  in Python, VMLauncher(executor, vnc_listen="127.0.0.1") does the same'
    )


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
