"""A person at a terminal: a shell in a pseudo-terminal, and guests to talk to."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pexpect

from tests.guests import PowerButton, boot_sector_image, cache_directory
from vmops.core.inventory.model import VM

from .lab_helpers import wait_until
from .operator import FAB, ROOT, Operator, Said, small_vm

SHELL_PROMPT = "at-the-shell$ "
PATIENCE_S = 30
GUEST_UP_S = 90


class Seat:
    """An interactive shell with a terminal of its own. `said` is what came before a match."""

    def __init__(self, operator: Operator) -> None:
        environment = {
            **operator.environment(),
            "PATH": f"{Path(FAB).parent}:{os.environ['PATH']}",
            "PS1": SHELL_PROMPT,
            "ENV": "",
        }
        self.shell: Any = pexpect.spawn(
            "sh", ["-i"], cwd=str(ROOT), env=environment, timeout=PATIENCE_S, dimensions=(50, 200)
        )
        self.wait_for(SHELL_PROMPT)
        self.modes_at_first = self.modes()

    @property
    def said(self) -> str:
        before = self.shell.before
        assert isinstance(before, bytes)
        return before.decode(errors="surrogateescape")

    def modes(self) -> list[Any]:
        """The terminal's modes, as termios has them."""
        return termios.tcgetattr(self.shell.child_fd)

    def is_raw(self) -> bool:
        return not self.modes()[3] & (termios.ICANON | termios.ECHO | termios.ISIG)

    def type(self, text: str | bytes) -> None:
        self.shell.send(text)

    def wait_for(self, text: str | bytes) -> None:
        """Read on to that text, which is not a pattern."""
        self.shell.expect_exact(text)

    def begin(self, command: str) -> None:
        """Start a command, and read on behind the terminal's echo of it."""
        self.shell.sendline(command)
        self.wait_for(f"{command}\r\n")

    def end(self) -> int:
        """Wait until the command has ended; its exit code. `said` is what it said last."""
        self.wait_for(SHELL_PROMPT)
        said = self.shell.before
        self.begin("echo $?")
        self.shell.expect(rb"(\d+)\r\n")
        code = int(self.shell.match[1])
        self.wait_for(SHELL_PROMPT)
        self.shell.before = said
        return code

    def sit_down(self, vm: VM, *options: str) -> None:
        """Go to the VM's console, and wait until the terminal is the guest's."""
        self.begin(" ".join(["fab console --vm", vm.name, *options]))
        self.wait_for("Ctrl-] leaves it\r\n")
        wait_until(self.is_raw)

    @property
    def fab_pid(self) -> int:
        """The PID of the command that runs."""
        pid = self.shell.pid
        (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(child)

    def send(self, number: signal.Signals) -> None:
        """Send the command that runs a signal."""
        os.kill(self.fab_pid, number)


@contextmanager
def seated(operator: Operator) -> Iterator[Seat]:
    """A seat, whose shell and command end with the block."""
    seat = Seat(operator)
    try:
        yield seat
    finally:
        seat.shell.close(force=True)


def guest(
    operator: Operator,
    name: str = "vm1",
    *,
    worker: str = "worker1",
    image: Path | None = None,
    ram_mb: int = 32,
    has_port: bool = True,
) -> VM:
    """A VM that runs the boot sector, or another image, and has said that it is up."""
    number = len(operator.vms) + 1
    vm = small_vm(name, number, ram_mb=ram_mb)
    vm = operator.add(vm if has_port else replace(vm, vnc_port=None), worker, image=False)
    disk = vm.qcow_image.replace("~", "/home/ubuntu")
    put = f"mkdir -p {Path(disk).parent} && cat >{disk}"
    data = (image or boot_sector_image(cache_directory())).read_bytes()
    operator.lab.run(worker, ["runuser", "-u", "ubuntu", "--", "sh", "-c", put], stdin=data)
    operator.ok("launch", "--vm", name)
    wait_until(lambda: "VMOPS-GUEST-UP" in console_log(operator, vm, worker), seconds=GUEST_UP_S)
    return vm


def with_button(
    operator: Operator, button: PowerButton, name: str = "vm1", *, worker: str = "worker1"
) -> VM:
    """A VM that runs the boot sector, which hears its power button so."""
    image = boot_sector_image(cache_directory(), button)
    return guest(operator, name, worker=worker, image=image)


def console_log(operator: Operator, vm: VM, worker: str = "worker1") -> str:
    """What the serial port has printed, read past vmops."""
    return operator.on(worker, "cat", f"/run/vmops/{vm.name}/log/console")


def pid_of(operator: Operator, vm: VM, worker: str = "worker1") -> int:
    return operator.qemus(worker)[vm.name]


def kill(operator: Operator, vm: VM, how: str = "-9", worker: str = "worker1") -> None:
    """Send the VM's QEMU a signal, past vmops."""
    operator.on(worker, "kill", "-s", how.lstrip("-"), str(pid_of(operator, vm, worker)))


def at_the_console(operator: Operator, vm: VM) -> int:
    """How many clients QEMU serves at the VM's console."""
    path = re.escape(f"/run/vmops/{vm.name}/console.sock")
    unix = operator.on("worker1", "cat", "/proc/net/unix")
    return len(re.findall(rf"^\S+ \S+ \S+ \S+ \S+ 03 +\d+ {path}$", unix, re.MULTILINE))


def piped(operator: Operator, data: bytes, *options: str) -> Said:
    """`fab console` with these bytes on its standard input."""
    done = subprocess.run(
        [FAB, "console", "--vm", "vm1", *options],
        cwd=ROOT,
        env=operator.environment(),
        input=data,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return Said(done.returncode, done.stdout.decode(errors="surrogateescape"), done.stderr.decode())
