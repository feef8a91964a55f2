"""Processes of a worker: what /proc says of one, and the commands that end it by identity.

Identity that holds: the PID of the pidfile, the path of that pidfile as a word of its command line,
and the same start time when the signal is sent. Never a pattern: `qemu.*vm1` is vm10 as well.
"""

from __future__ import annotations

from typing import NamedTuple

from vmops.core.script.command import Command, command

CLOCK_TICKS = 100
"""USER_HZ of every Linux on x86: the unit of the times in /proc/PID/stat, per second."""


class Process(NamedTuple):
    """A process as /proc showed it. Times are in clock ticks, `started` since boot."""

    pid: int
    started: int
    state: str
    cpu_ticks: int
    rss_kib: int
    argv: tuple[str, ...]

    @property
    def stopped(self) -> bool:
        """True when SIGSTOP or a debugger holds it."""
        return self.state in "Tt"


def parse(raw: bytes) -> Process | None:
    """The process from its stat, status and cmdline, one after the other; None if it is no more.

    Field numbers are those of proc(5); the name in field 2 may hold spaces and brackets.
    """
    stat, newline, rest = raw.partition(b"\n")
    pid, _, _ = stat.partition(b" ")
    fields = stat.rpartition(b") ")[2].split()
    if not newline or len(fields) < 20 or fields[0] in b"ZX":
        return None
    status, _, last = rest.partition(b"\nnonvoluntary_ctxt_switches:")
    program, *words = last.split(b"\0")
    _, _, program = program.rpartition(b"\n")  # some kernels have more lines of status before it
    memory = [line.split()[1] for line in status.split(b"\n") if line.startswith(b"VmRSS:")]
    return Process(
        pid=int(pid),
        started=int(fields[19]),
        state=fields[0].decode(),
        cpu_ticks=int(fields[11]) + int(fields[12]),
        rss_kib=int(memory[0]) if memory else 0,
        argv=tuple(word.decode(errors="replace") for word in (program, *words)[:-1]),
    )


def end(process: Process, signal: str, *, wait_s: int) -> Command:
    """Send the signal to just this process and wait until it is gone; gone already is fine.

    It prints the signal that it sent. Exit code 1 when the process is still there after `wait_s`
    seconds.
    """
    return command("end_process", str(process.pid), str(process.started), signal, str(wait_s))


def await_end(process: Process, *, wait_s: int) -> Command:
    """Wait until the process is gone. Exit code 1 when it is still there after `wait_s` seconds."""
    return command("await_end", str(process.pid), str(process.started), str(wait_s))


def not_running(vm: str) -> Command:
    """A guard: no QEMU of this VM runs."""
    return command("not_running", vm)


def still_running(vm: str, process: Process) -> Command:
    """A guard: this process still runs the VM."""
    return command("still_running", vm, str(process.pid), str(process.started))


def not_replaced(vm: str, process: Process) -> Command:
    """A guard: the VM's pidfile does not name another process by now; it may name none."""
    return command("not_replaced", vm, str(process.pid))
