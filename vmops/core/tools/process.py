"""Processes of a worker: what /proc says of one, and the commands that end it by identity.

Identity that holds: the PID and the start time that root wrote down when QEMU had started, and the
user id that is that VM's alone; all of it again when the signal is sent. Never a pattern:
`qemu.*vm1` is vm10 as well. Nor a command line, which a process may write over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vmops.core.script.command import Command, command

CLOCK_TICKS = 100
"""USER_HZ of every Linux on x86: the unit of the times in /proc/PID/stat, per second."""


class Process(NamedTuple):
    """A process as /proc showed it. Times are in clock ticks, `started` since boot.

    `uid` is the user that it has in every respect, -1 where it has several.
    """

    pid: int
    started: int
    state: str
    cpu_ticks: int
    rss_kib: int
    argv: tuple[str, ...]
    uid: int = -1

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
    uids = [set(line.split()[1:]) for line in status.split(b"\n") if line.startswith(b"Uid:")]
    memory = [line.split()[1] for line in status.split(b"\n") if line.startswith(b"VmRSS:")]
    return Process(
        pid=int(pid),
        started=int(fields[19]),
        state=fields[0].decode(),
        cpu_ticks=int(fields[11]) + int(fields[12]),
        rss_kib=int(memory[0]) if memory else 0,
        argv=tuple(word.decode(errors="replace") for word in (program, *words)[:-1]),
        uid=int(uids[0].pop()) if uids and len(uids[0]) == 1 else -1,
    )


def end(vm: str, process: Process, signal: str, *, wait_s: int) -> Command:
    """Send the signal to just this process and wait until it is gone; gone already is fine.

    It prints the signal that it sent. Exit code 1 when the process is not the VM's QEMU, to which
    nothing is sent, or still there after `wait_s` seconds.
    """
    return command("end_process", vm, *_identity(process), signal, str(wait_s))


def note_end(vm: str) -> Command:
    """Write down that the VM is being stopped: by then what it leaves is no sign of a crash."""
    return command("note_end", vm)


def record(vm: str, uid: int, *, log_bytes: int, sockets: Sequence[str]) -> Command:
    """Write down which process is the VM's QEMU, which has just started as that user.

    Fails where there is none. Its pidfile, and room to write in the run directory, become its own,
    these `sockets` there the SSH user's, and its log keeps `log_bytes` for its own words.
    """
    return command("record_process", vm, str(uid), str(log_bytes), *sockets)


def adopt(vm: str, process: Process) -> Command:
    """Make the run directory of a VM whose QEMU somebody else has started, with its record.

    Prints the PID. Fails where the process has ended.
    """
    return command("adopt_process", vm, *_identity(process), str(process.uid))


def holds_taps(process: Process, taps: Sequence[str]) -> Command:
    """Fails unless the process has all of these TAPs open: anybody may write their names."""
    return command("holds_taps", str(process.pid), *taps)


def is_still(process: Process) -> Command:
    """A guard: the process is there still."""
    return command("still", *_identity(process))


def _identity(process: Process) -> tuple[str, str]:
    return str(process.pid), str(process.started)


def await_end(process: Process, *, wait_s: int) -> Command:
    """Wait until the process is gone. Exit code 1 when it is still there after `wait_s` seconds."""
    return command("await_end", *_identity(process), str(wait_s))


def not_running(vm: str) -> Command:
    """A guard: no QEMU of this VM runs."""
    return command("not_running", vm)


def still_running(vm: str, process: Process) -> Command:
    """A guard: this process still runs the VM."""
    return command("still_running", vm, *_identity(process))


def same_remains(vm: str, pid: int) -> Command:
    """Succeed while what lies in the run directory is of the process that had this PID."""
    return command("same_remains", vm, str(pid))


def not_replaced(vm: str, process: Process) -> Command:
    """A guard: what is known of the VM does not name another process by now; it may name none."""
    return command("not_replaced", vm, str(process.pid))
