"""A program on a worker that serves us alone: a script starts it, and we come to its socket."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from vmops.core.script.command import Block, Command, Step
from vmops.core.tools.proof import attend
from vmops.errors import UnexpectedOutput, VmopsError, WorkFailed
from vmops.ops.act import perform
from vmops.ops.dry import Shown
from vmops.ops.route import Route

if TYPE_CHECKING:
    from vmops.remote.ssh.connection import WorkerConnection

START_LIMIT_S = 30.0
_LONGEST_LINE = 4096
_STEP = "listen"

Refused = Callable[[str], VmopsError]
"""The error for why a program refuses, in its words."""


class Call(NamedTuple):
    """A program that serves us, and what it `said` first: to close the socket ends it."""

    socket: socket.socket
    connection: WorkerConnection
    said: str = ""

    @property
    def was_cut(self) -> bool:
        """True where it is our connection that has ended, and not the program."""
        return not self.connection.is_connected


def call(route: Route, vm: str, made: Callable[[str], Command], refused: Refused) -> Call:
    """Start the program that `made` makes for a socket's path, and come to it.

    The socket stands behind the first line, which said that all is well. Raises what `perform` and
    `open_socket` do, and what `refused` makes of its refusal.
    """
    path = attend.socket_path(secrets.token_hex(16))
    block = Block(vm, (Step(_STEP, (made(path),)),))
    (result,) = perform(route, [block], time_limit_s=START_LIMIT_S)
    if route.transcript is not None:
        raise Shown
    if result.failure is not None:
        raise refused(result.failure.reason())
    if result.outcome != "done":
        raise WorkFailed("it was not started there", worker=route.worker.name, vm=vm)
    from vmops.remote.forward import open_socket
    from vmops.remote.ssh.connection import connection

    opened = open_socket(route.worker, path, config=route.config)
    try:
        opened.settimeout(START_LIMIT_S)
        line = _first_line(opened, route.worker.name)
        word, _, rest = line.partition(" ")
        if word != attend.OK:
            raise refused(rest or "it says nothing")
        opened.settimeout(None)
    except BaseException:
        opened.close()
        raise
    return Call(opened, connection(route.worker, config=route.config), rest)


def _first_line(opened: socket.socket, worker: str) -> str:
    """Byte for byte, as what follows it is another's."""
    line = b""
    while not line.endswith(b"\n"):
        try:
            byte = opened.recv(1)
        except TimeoutError:
            raise UnexpectedOutput("it does not begin", worker=worker) from None
        if not byte:
            break
        line += byte
        if len(line) > _LONGEST_LINE:
            raise UnexpectedOutput("it says what nobody asked for", worker=worker)
    return line.decode(errors="replace").strip()
