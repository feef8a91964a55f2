"""A fleet of three workers: what the tests of `up`, `down` and `plan` do with it and look at."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from .operator import Operator

WORKERS = ("worker1", "worker2", "worker3")


def put(operator: Operator, worker: str, path: str, content: bytes) -> None:
    """Make a file of the SSH user's on a worker."""
    to = path.replace("~", "/home/ubuntu", 1)
    operator.lab.run(worker, ["runuser", "-u", "ubuntu", "--", "tee", to], stdin=content)


def running(operator: Operator) -> dict[str, int]:
    """The PID of every QEMU of all workers by its name."""
    return {name: pid for worker in WORKERS for name, pid in operator.qemus(worker).items()}


def change(operator: Operator, name: str, **values: object) -> None:
    """Write another value of a VM into hosts.toml."""
    operator.vms = [
        (replace(vm, **values) if vm.name == name else vm, worker)  # type: ignore[arg-type]
        for vm, worker in operator.vms
    ]
    operator.write()


def column(out: str, number: int) -> list[str]:
    """One column of a plain table, without its heading."""
    return [line.split("  ")[number].strip() for line in squeezed(out)[1:]]


def squeezed(out: str) -> list[str]:
    lines = out.splitlines()
    for width in range(40, 2, -1):
        lines = [line.replace(" " * width, "  ") for line in lines]
    return lines


@contextmanager
def held(operator: Operator, worker: str, vm: str) -> Iterator[None]:
    """Somebody else changes the VM, for as long as this lasts."""
    locks = "/run/vmops/.lock"
    script = f"mkdir -p {locks}; exec 9>>{locks}/{vm}; flock 9; echo $$; exec sleep 60"
    holder = subprocess.Popen(
        operator.lab.enter(worker, ["sh", "-c", script]), stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    pid = holder.stdout.readline().strip()
    try:
        yield
    finally:
        operator.on(worker, "kill", pid)
        holder.wait(timeout=10)


def begun(operator: Operator, *words: str, told: int) -> subprocess.Popen[str]:
    """fab in the background, after it has told of so many VMs."""
    fab = operator.begin(*words)
    assert fab.stderr is not None
    for _ in range(told):
        assert ": started" in fab.stderr.readline()
    return fab


def whole_or_nothing(operator: Operator, pattern: str) -> bool:
    """Each VM runs as asked, or nothing of it is there."""
    found = operator.ok("status", "--vm", pattern, "--format", "json").json
    for item in found:
        taps = {nic["tap"] for nic in item["interfaces"]}
        whole = item["state"] == "running" and not item["drift"]
        nothing = item["state"] == "stopped" and not taps & operator.taps(item["worker"])
        if not (whole or nothing):
            return False
    return True
