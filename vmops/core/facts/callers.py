"""Who is at a VM's serial port: QEMU serves one client, and the next one waits."""

from __future__ import annotations

from vmops.core.facts.question import Question, text_of
from vmops.core.names import RunDirectory
from vmops.core.script.command import StepResult, command
from vmops.core.tools import sockets
from vmops.core.tools.sockets import Callers, Holder

_LIMIT_S = 30.0


def socket_of(vm: str) -> Question[None]:
    """Give the console's socket to the SSH user, as whom sshd opens it."""
    name = RunDirectory(vm).console.rpartition("/")[2]
    return Question(
        "socket", (command("open_sockets", vm, name),), lambda _: None, time_limit_s=_LIMIT_S
    )


def callers_of(vm: str) -> Question[Callers]:
    """How many clients there are. Nobody listens where nothing is found."""
    path = RunDirectory(vm).console

    def read(said: StepResult) -> Callers:
        return sockets.read_count(text_of(said), path)

    return Question("callers", (sockets.count(path),), read, time_limit_s=_LIMIT_S, may_fail=True)


def holders_of(vm: str) -> Question[tuple[Holder, ...]]:
    """Which processes are connected; none where the kernel does not tell."""
    path = RunDirectory(vm).console

    def read(said: StepResult) -> tuple[Holder, ...]:
        return sockets.read_who(text_of(said), path)

    return Question("who", sockets.who(), read, time_limit_s=_LIMIT_S, may_fail=True)
