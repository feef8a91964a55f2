"""Workers from the command line: doctor, prune, history, run, script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from vmops.errors import InventoryError, WorkFailed
from vmops.tasks.frame import options
from vmops.tasks.frame.context import Context, is_dry
from vmops.tasks.frame.options import Option
from vmops.tasks.frame.output import finish, give, give_table, say
from vmops.tasks.frame.places import bases
from vmops.tasks.frame.selection import groups_of_workers, inventory, worker_at
from vmops.tasks.frame.task import task
from vmops.tasks.frame.work import Report, Work, each
from vmops.tasks.typed.program import as_typed

if TYPE_CHECKING:
    from vmops.errors import VmopsError
    from vmops.ops.route import Group, Route
    from vmops.ops.worker import doctor as examined
    from vmops.ops.worker.history import Told
    from vmops.ops.worker.prune import Pruned
    from vmops.ops.worker.run import Ended, Sink

RUN_TIMEOUT = Option(
    "Seconds until it is ended, on the worker too (default 30).", options.at_least(1, "seconds")
)


@task({"worker": options.WORKER, "format": options.FORMAT})
def doctor(c: Context, worker: str | None = None, format: str = "text") -> Work[examined.Health]:
    """
    Check a worker: SSH, sudo, KVM, QEMU, Open vSwitch, bridge, images, memory, disk, VNC ports.

    Where it serves networks, dnsmasq, nftables, uplink and MTU too, and where OVN carries them,
    OVN. Each failure names its cure. Exit code 1 if a check fails, 3 if the worker cannot be
    reached.
    Example: fab -H 10.0.10.1 doctor
    """
    from vmops.ops.worker.doctor import compared, examine

    groups = groups_of_workers(c, worker)
    known = bases(c, groups)
    listed = inventory(c)
    return Work(
        groups,
        lambda g: [examine(g.route, g.vms, known, listed=listed)],
        Report(
            _table_of_checks,
            lambda report: report.as_dict(),
            errors=_failed_checks,
            merged=compared,
        ),
    )


def _table_of_checks(reports: Sequence[examined.Health]) -> None:
    rows = [
        [report.worker, "ok" if check.ok else "FAIL", check.name, check.found]
        for report in reports
        for check in report.checks
    ]
    if rows:
        give_table(("WORKER", "", "CHECK", "FOUND"), rows)


def _failed_checks(report: examined.Health) -> Sequence[VmopsError]:
    return report.errors


@task(
    {
        "worker": options.WORKER,
        "yes": Option("Remove it; without this it is only shown."),
        "format": options.FORMAT,
    }
)
def prune(
    c: Context, worker: str | None = None, yes: bool = False, format: str = "text"
) -> Work[Pruned]:
    """
    Show what crashes have left on a worker, and with --yes remove it.

    Run directories of VMs that do not run, TAPs and ports that carry the mark of such a VM, and
    what scripts that were cut short left in /run/vmops; never what is not vmops' own, nor anything
    of a VM that runs. Also what was plugged and not booted, tunnels to workers that are not in
    hosts.toml, networks of OVN that are not there and that nobody uses, and marks that a VM has
    left, which is on no worker now.
    Example: fab -H 10.0.10.1 prune --yes
    """
    from vmops.ops.worker.prune import prune as pruned

    def tell(found: Sequence[Pruned]) -> None:
        # A lock that nobody holds is in nobody's way: it is removed with the rest, unmentioned.
        shown = [each for each in found if each.leftover and each.leftover.kind != "lock"]
        rows = [_row_of_leftover(each, yes=yes) for each in shown]
        if rows:
            give_table(("WORKER", "WHAT", "NAME", "VM", ""), rows)
        elif not any(each.error for each in found):
            say("nothing is left behind")
        if rows and not yes:
            say(as_typed("nothing was removed; to remove it: fab prune --yes"))

    listed = inventory(c)
    return Work(
        groups_of_workers(c, worker),
        lambda g: pruned(g.route, remove=yes, listed=listed),
        Report(tell, _leftover_as_dict),
    )


def _row_of_leftover(found: Pruned, *, yes: bool) -> list[str]:
    left = found.leftover
    assert left is not None
    what = "removed" if found.removed else "not removed" if yes else "left behind"
    return [found.worker, left.kind, left.name, left.vm or "-", left.kept or what]


def _leftover_as_dict(found: Pruned) -> dict[str, Any]:
    left = found.leftover
    return {
        "worker": found.worker,
        "kind": left.kind if left else None,
        "name": left.name if left else None,
        "vm": (left.vm or None) if left else None,
        "kept": (left.kept or None) if left else None,
        "removed": found.removed,
    }


@task(
    {
        "vm": Option(
            "Only these VMs: names separated by commas, or a glob such as 'web*'.", names="vms"
        ),
        "worker": options.WORKER,
        "lines": Option("Each worker's last changes, so many (default 20).", options.at_least(1)),
        "format": options.FORMAT,
    }
)
def history(
    c: Context,
    vm: str | None = None,
    worker: str | None = None,
    lines: int = 20,
    format: str = "text",
) -> Work[Told]:
    """
    Show the last changes on a worker: when, by whom, from where, what, and what came of it.

    Each worker keeps its own, of all operators, also over a reboot. Example: fab history --vm vm1
    """
    from vmops.ops.worker.history import history as read

    names = [name.strip() for name in vm.split(",")] if vm else []
    known = inventory(c).vms
    unheard = [] if is_dry(c) else [n for n in names if n not in known and not set(n) & set("*?[")]

    def merged(told: Sequence[Told]) -> list[Told]:
        return [*_by_time(told), *_never_heard_of(told, unheard)]

    return Work(
        groups_of_workers(c, worker),
        lambda g: read(g.route, vms=names, lines=lines),
        Report(_table_of_changes, _change_as_dict, merged=merged),
    )


def _by_time(told: Sequence[Told]) -> list[Told]:
    return sorted(told, key=lambda each: each.entry.time if each.entry else "")


def _never_heard_of(told: Sequence[Told], names: Sequence[str]) -> list[Told]:
    """An error for each name that neither hosts.toml nor a history has: most likely a slip."""
    from vmops.ops.worker.history import Told

    there = {each.entry.vm for each in told if each.entry}
    if any(each.error for each in told):
        return []
    what = "is no VM of hosts.toml, and nothing is written down of it"
    return [
        Told("", error=WorkFailed(f"{name} {what}", cure="fab history shows the names"))
        for name in names
        if name not in there
    ]


def _table_of_changes(told: Sequence[Told]) -> None:
    rows = [[e.time, each.worker, *e[3:], *e[1:3]] for each in told if (e := each.entry)]
    if rows:
        give_table(("TIME", "WORKER", "ACTION", "VM", "RESULT", "USER", "FROM"), rows)
    elif not any(each.error for each in told):
        say("nothing is written down")


def _change_as_dict(told: Told) -> dict[str, Any]:
    fields = ("time", "user", "address", "action", "vm", "result")
    values = told.entry or (None,) * len(fields)
    return {"worker": told.worker} | dict(zip(fields, values, strict=True))


@task(
    {
        "command": Option("What the SSH user's shell there runs, line by line."),
        "worker": options.ONE_WORKER,
        "timeout": RUN_TIMEOUT,
    }
)
def run(c: Context, command: str, worker: str | None = None, timeout: int = 30) -> list[Ended]:
    """
    Run a command on a worker and print what it prints, as it comes.

    Byte for byte into a pipe or a file; on a terminal nothing of it acts. With several workers each
    line begins with the worker's name. Exit code 1 if the command fails.
    Example: fab -H 10.0.10.1 run 'uname -a'
    """
    from vmops.ops.worker.run import run_command

    def work(route: Route, sink: Sink) -> Ended:
        return run_command(route, command, time_limit_s=timeout, sink=sink)

    return _remote(c, worker, work, command)


@task(
    {
        "path": Option("A script on this machine; bash on the worker runs it."),
        "args": Option("Its arguments, written as in a shell."),
        "worker": options.ONE_WORKER,
        "timeout": RUN_TIMEOUT,
    }
)
def script(
    c: Context, path: str, args: str | None = None, worker: str | None = None, timeout: int = 30
) -> list[Ended]:
    """
    Run a local script on a worker without copying it there.

    bash reads all of it before it begins, and its commands have an empty input. What it prints
    comes as with run.
    Example: fab -H 10.0.10.1 script ./setup_network.sh --args 'eth1 101'
    """
    import shlex

    from vmops.ops.worker.run import Script, read_script, run_script

    text = read_script(path)
    try:
        words = shlex.split(args or "")
    except ValueError as error:
        raise InventoryError(f"--args {args!r}: {str(error).lower()}") from error
    local = Script(text, words)

    def work(route: Route, sink: Sink) -> Ended:
        return run_script(route, local, time_limit_s=timeout, sink=sink)

    return _remote(c, worker, work, f"bash -s -- {shlex.join(words)} <{path}")


def _remote(
    c: Context, worker: str | None, work: Callable[[Route, Sink], Ended], shown: str
) -> list[Ended]:
    """Run it on each worker, printing as it comes. Gives what came of it."""
    if worker_at(c, inventory(c)) is None and not worker:
        raise InventoryError("run where?", cure="name a worker: -H or --worker")
    groups = groups_of_workers(c, worker)
    if is_dry(c):
        for group in groups:
            give(f"# on {group.route.worker.name}:\n{shown}")
        return []
    from vmops.tasks.remote_output import RemoteOutput

    output = RemoteOutput(several=len(groups) > 1)

    def one(group: Group) -> list[Ended]:
        name = group.route.worker.name
        ended = work(group.route, output.sink(name))
        output.ended(name)
        return [ended]

    found = each(groups, one)
    finish([ended.error for ended in found if ended.error is not None])
    return found
