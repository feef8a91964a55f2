"""Tasks for a lab: workers on this very machine, for trying and testing. Linux, root."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from vmops.errors import InventoryError
from vmops.tasks.frame import options
from vmops.tasks.frame.context import Context, is_dry
from vmops.tasks.frame.options import Option
from vmops.tasks.frame.output import give, give_json, give_table, say
from vmops.tasks.frame.task import task

if TYPE_CHECKING:
    from vmops.lab import Lab, WorkerStatus

WORKER = Option("Name of one of the lab's workers, such as worker1.", names="workers")
HEADINGS = ("worker", "ssh", "state", "pid", "delay", "connections", "vlans", "fault")


@task(
    {
        "workers": Option(
            "How many workers there should be at least; a running lab grows (default 2)."
        ),
        "port": Option("TCP port of every worker's SSH (default 2222)."),
        "network": Option("First three octets of the workers' addresses (default 127.0.10)."),
        "sshd_option": Option("A line for every worker's sshd_config; may be given repeatedly."),
        "ovn": Option("With OVN: a controller in each worker, and the central in worker1."),
        "mesh": Option("For a mesh: workers without a VLAN in common, with addresses for tunnels."),
    },
    iterable=("sshd_option",),
)
def up(
    c: Context,
    workers: int = 2,
    port: int = 0,
    network: str | None = None,
    sshd_option: list[str] | None = None,
    ovn: bool = False,
    mesh: bool = False,
) -> None:
    """
    Bring up a lab of real workers on this machine, or add workers; what runs is left alone.

    Example: fab lab.up --workers 4
    """
    if _dry(c, f"bring up a lab of {workers} workers"):
        return
    lab = _lab()
    status = lab.up(
        workers,
        port=port or None,
        network=network,
        sshd_options=sshd_option or None,
        ovn=ovn or None,
        mesh=mesh or None,
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


@task({"format": options.FORMAT})
def status(c: Context, format: str = "text") -> None:
    """
    Show the lab's workers: their addresses, state, faults and connections.

    Example: fab lab.status --format json
    """
    lab = _lab()
    found = lab.find()
    without = lab.denied_vlans() if found and found.switch_pid else {}
    if format == options.JSON:
        values = asdict(found) if found else {"pid": None, "switch_pid": None, "workers": []}
        for worker in values["workers"]:
            worker["without_vlans"] = without.get(worker["name"], [])
        paths = {"directory": str(lab.directory), "inventory": str(lab.inventory)}
        give_json(paths | values)
    elif found is None:
        give(f"no lab runs in {lab.directory}")
    else:
        give(f"lab in {lab.directory}, PID {found.pid}; its switch, PID {found.switch_pid}")
        give_table(HEADINGS, [_row(one, without.get(one.name, [])) for one in found.workers])


@task()
def down(c: Context) -> None:
    """
    Remove the lab: its processes, networks and files, and the VMs in it.

    Example: fab lab.down
    """
    if _dry(c, "remove the lab"):
        return
    lab = _lab()
    there = lab.directory
    say(f"the lab in {there} is gone" if lab.down() else f"there is no lab in {there}")


@task(
    {
        "worker": WORKER,
        "kind": Option(
            "drop (hang up, refuse), freeze (let nothing pass), reset (RST) or strand (freeze the"
            " connections of this moment, let new ones pass).",
            options.one_of("drop", "freeze", "reset", "strand"),
        ),
        "after_bytes": Option("Let this many more bytes reach the operator (or the worker) first."),
        "toward": Option(
            "Whose bytes are counted: operator (the default) or worker.",
            options.one_of("operator", "worker"),
        ),
    }
)
def fault(
    c: Context, worker: str, kind: str, after_bytes: int = 0, toward: str = "operator"
) -> None:
    """
    Break the SSH of one of the lab's workers.

    Example: fab lab.fault --worker worker1 --kind freeze
    """
    if _dry(c, f"break {worker}: {kind}"):
        return
    _lab().fault(worker, kind, after_bytes=after_bytes, toward=toward)
    when = f" after {after_bytes} more bytes toward the {toward}" if after_bytes else ""
    say(f"{worker}: SSH is broken{when}: {kind}; to mend it: fab lab.heal --worker {worker}")


@task({"worker": WORKER})
def heal(c: Context, worker: str) -> None:
    """
    End the fault of one of the lab's workers.

    Example: fab lab.heal --worker worker1
    """
    if not _dry(c, f"heal {worker}"):
        _lab().heal(worker)
        say(f"{worker}: its SSH works again")


@task(
    {
        "worker": WORKER,
        "without": Option("VLANs that do not pass, separated by commas; left out, all pass."),
    }
)
def vlans(c: Context, worker: str, without: str | None = None) -> None:
    """
    Say which VLANs the lab's switch does not carry at a worker's port.

    Example: fab lab.vlans --worker worker2 --without 101
    """
    words = [word.strip() for word in (without or "").split(",") if word.strip()]
    if not all(word.isdecimal() and 0 < int(word) < 4095 for word in words):
        raise InventoryError(f"--without {without}: must be VLANs of 1 to 4094, as 101,102")
    if _dry(c, f"carry all VLANs at {worker}'s port" + (f" but {without}" if words else "")):
        return
    _lab().deny_vlans(worker, [int(word) for word in words])
    but = f" but {', '.join(words)}" if words else ""
    say(f"the switch carries every VLAN{but} at the port of {worker}")


@task({"worker": WORKER, "ms": Option("The round trip in milliseconds; 0 ends the delay.")})
def delay(c: Context, worker: str, ms: float = 0.0) -> None:
    """
    Make a worker of the lab far away: half the round trip in each direction.

    Example: fab lab.delay --worker worker1 --ms 100
    """
    if not _dry(c, f"delay {worker} by {ms:g} ms"):
        _lab().delay(worker, ms)
        say(f"{worker}: {f'{ms:g} ms away' if ms else 'as near as before'}")


def _lab() -> Lab:
    from vmops.lab import Lab

    return Lab()


def _dry(c: Context, intent: str) -> bool:
    """Under --dry, say the intent instead of following it."""
    if is_dry(c):
        say(f"would {intent}")
    return is_dry(c)


def _row(worker: WorkerStatus, without: list[int]) -> tuple[str, ...]:
    return (
        worker.name,
        f"ubuntu@{worker.address}:{worker.port}",
        worker.state,
        str(worker.pid or "-"),
        f"{worker.delay_ms:g} ms",
        f"{worker.open_connections} open, {worker.connections} in all",
        f"all but {', '.join(map(str, without))}" if without else "all",
        worker.fault or "-",
    )
