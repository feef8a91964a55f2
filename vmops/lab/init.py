"""What PID 1 of each of the lab's namespaces does: report to the supervisor, then reap for ever.

When it ends, the kernel kills every process of its PID namespace, and its network and mounts go.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from vmops.lab.tools import call


def host_pid() -> int:
    """This process's PID as the machine sees it. Only before the namespace's own /proc is there."""
    return int(Path("/proc/self").readlink().name)


def ip_batch(lines: Sequence[str], *, namespace: str = "") -> None:
    """Run several `ip` commands by one `ip`, in this network namespace or in that of a path."""
    enter = ("nsenter", f"--net={namespace}") if namespace else ()
    call(*enter, "ip", "-batch", "-", stdin="\n".join(lines) + "\n")


def report_and_reap(pid: int) -> NoReturn:
    """Tell the supervisor that PID is ready, then collect orphans until killed.

    Raises BrokenPipeError when the supervisor is gone by then, which ends the namespace too.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    os.write(1, f"{pid}\n".encode())
    os.close(1)
    while True:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        signal.sigwait({signal.SIGCHLD})
