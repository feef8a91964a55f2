"""Who is connected to a UNIX socket of a worker, from what the kernel and `ss` say.

QEMU serves one client of a socket at a time. The next one's connection is made by the kernel and
waits in silence, which only /proc/net/unix shows.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from vmops.core.script.command import FACT_BYTES, Command, command

_SERVED, _WAITING = "03", "02"
_USER = re.compile(r'\("([^"]*)",pid=(\d+),fd=(\d+)\)')


class Callers(NamedTuple):
    """How many clients of a socket are being served, and how many wait for their turn."""

    served: int
    waiting: int


class Holder(NamedTuple):
    """The process at the other end of a connection: its name, and which socket of its own it is.

    `address` is where that process is connected to over TCP, so where an sshd's user is.
    """

    name: str
    pid: int
    fd: int
    inode: int
    address: str = ""

    def __str__(self) -> str:
        """`sshd, PID 97, from 192.0.2.7`."""
        where = f", from {self.address}" if self.address else ""
        return f"{self.name}, PID {self.pid}{where}"


def count(path: str) -> Command:
    """Ask the kernel who is connected to the socket at `path`. It fails when nobody listens."""
    return command("grep", "-F", path, "/proc/net/unix", most_bytes=FACT_BYTES)


def read_count(text: str, path: str) -> Callers:
    """The answer to `count`."""
    states = [words[5] for line in text.split("\n") if (words := line.split())[7:] == [path]]
    return Callers(served=states.count(_SERVED), waiting=states.count(_WAITING))


def who() -> tuple[Command, Command]:
    """Ask for the connections of all processes: UNIX sockets, then TCP."""
    return (
        command("ss", "-xanpH", time_limit_s=10, most_bytes=FACT_BYTES),
        command("ss", "-tnpH", time_limit_s=10, most_bytes=FACT_BYTES),
    )


def read_who(text: str, path: str) -> tuple[Holder, ...]:
    """The clients of the socket at `path`, from the answers to `who`.

    Where the kernel does not tell who is whose peer (it lacks unix_diag) there is none.
    """
    rows = [line.split() for line in text.split("\n") if line]
    unix = [row for row in rows if len(row) >= 8 and row[0] == "u_str"]
    ends = {row[7] for row in unix if row[1] == "ESTAB" and row[4] == path} - {"0"}
    addresses = {
        int(pid): _host(row[4])
        for row in rows
        if len(row) > 5 and row[0] == "ESTAB"
        for _, pid, _ in _USER.findall(" ".join(row[5:]))
    }
    return tuple(
        Holder(name, int(pid), int(fd), int(row[5]), addresses.get(int(pid), ""))
        for row in unix
        if row[5] in ends and len(row) > 8
        for name, pid, fd in _USER.findall(" ".join(row[8:]))
    )


def _host(address: str) -> str:
    """`[2001:db8::7]:2222` without the port and the brackets."""
    return address.rpartition(":")[0].removeprefix("[").removesuffix("]")


def end(holder: Holder) -> Command:
    """End that process, if it still is the one at that socket."""
    return command("end_holder", str(holder.pid), str(holder.fd), str(holder.inode))
