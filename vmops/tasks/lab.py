"""Tasks for a lab: workers on this very machine, for trying and testing. Linux, root."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.tasks import task

from vmops.tasks.frame.output import check_format, give, give_json, give_table, reporting, say

if TYPE_CHECKING:
    from vmops.lab import Lab, WorkerStatus

WORKER_HELP = "Name of one of the lab's workers, like worker1."
HEADINGS = ("worker", "ssh", "state", "pid", "delay", "connections", "fault")


@task(
    help={
        "workers": "How many workers there should be at least; a running lab grows.",
        "port": "TCP port of every worker's SSH (2222).",
        "network": "First three octets of the workers' addresses (127.0.10).",
        "sshd_option": "A line for every worker's sshd_config; may be given several times.",
    },
    iterable=["sshd_option"],
)
@reporting
def up(
    c: Context,
    workers: int = 2,
    port: int = 0,
    network: str = "",
    sshd_option: list[str] | None = None,
) -> None:
    """
    Bring up a lab of real workers on this machine, or let it grow; what runs is left alone.

    Example: fab lab.up --workers 4
    """
    if _dry(c, f"bring up a lab of {workers} workers"):
        return
    lab = _lab()
    status = lab.up(
        workers, port=port or None, network=network or None, sshd_options=sshd_option or None
    )
    count = len(status.workers)
    if count > workers:
        say(f"the lab keeps its {count} workers: only lab.down removes any")
    first = status.workers[0]
    say(
        f"lab of {count} workers in {lab.directory}\n"
        f"  VMOPS_HOSTS={lab.inventory} fab -H {first.name} doctor\n"
        f"  ssh -F none -i {lab.private_key} -o UserKnownHostsFile={lab.known_hosts}"
        f" -p {first.port} ubuntu@{first.address}"
    )


@task(help={"format": "text or json."})
@reporting
def status(c: Context, format: str = "text") -> None:
    """
    Show the lab's workers: where they are, how they do, their faults, and what passed.

    Example: fab lab.status --format json
    """
    as_json = check_format(format)
    lab = _lab()
    found = lab.find()
    if as_json:
        values = asdict(found) if found else {"pid": None, "switch_pid": None, "workers": []}
        paths = {"directory": str(lab.directory), "inventory": str(lab.inventory)}
        give_json(paths | values)
    elif found is None:
        give(f"no lab runs in {lab.directory}")
    else:
        give(f"lab in {lab.directory}, PID {found.pid}; its switch, PID {found.switch_pid}")
        give_table(HEADINGS, [_row(worker) for worker in found.workers])


@task
@reporting
def down(c: Context) -> None:
    """
    Remove the lab: every process, network and file of it, and the VMs in it.

    Example: fab lab.down
    """
    if _dry(c, "remove the lab"):
        return
    lab = _lab()
    say(f"the lab in {lab.directory} is gone" if lab.down() else "there is no lab")


@task(
    help={
        "worker": WORKER_HELP,
        "kind": "drop (ended, refused), freeze (nothing passes, nothing ends), reset (RST) or"
        " strand (today's connections freeze, new ones pass).",
        "after_bytes": "Let this many more bytes reach the operator (or the worker) first.",
        "toward": "Whose bytes are counted: operator (the default) or worker.",
    }
)
@reporting
def fault(
    c: Context, worker: str, kind: str, after_bytes: int = 0, toward: str = "operator"
) -> None:
    """
    Break the SSH of one of the lab's workers.

    Example: fab lab.fault --worker worker1 --kind freeze
    """
    if not _dry(c, f"break {worker}: {kind}"):
        _lab().fault(worker, kind, after_bytes=after_bytes, toward=toward)


@task(help={"worker": WORKER_HELP})
@reporting
def heal(c: Context, worker: str) -> None:
    """
    End the fault of one of the lab's workers.

    Example: fab lab.heal --worker worker1
    """
    if not _dry(c, f"heal {worker}"):
        _lab().heal(worker)


@task(help={"worker": WORKER_HELP, "ms": "The round trip in milliseconds; 0 ends it."})
@reporting
def delay(c: Context, worker: str, ms: float = 0.0) -> None:
    """
    Put a worker of the lab far away: half the round trip in each direction.

    Example: fab lab.delay --worker worker1 --ms 100
    """
    if not _dry(c, f"delay {worker} by {ms:g} ms"):
        _lab().delay(worker, ms)


def _lab() -> Lab:
    from vmops.lab import Lab

    return Lab()


def _dry(c: Context, intent: str) -> bool:
    """Under --dry, say the intent instead of following it."""
    if c.config.run.dry:
        say(f"would {intent}")
    return bool(c.config.run.dry)


def _row(worker: WorkerStatus) -> tuple[str, ...]:
    return (
        worker.name,
        f"ubuntu@{worker.address}:{worker.port}",
        worker.state,
        str(worker.pid or "-"),
        f"{worker.delay_ms:g} ms",
        f"{worker.open_connections} open, {worker.connections} in all",
        worker.fault or "-",
    )
