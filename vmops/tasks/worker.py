"""Workers from the command line: doctor, run, script."""

from __future__ import annotations

from typing import Any

from invoke.tasks import task

from vmops.errors import InventoryError
from vmops.tasks.frame.common import FORMAT_HELP, check_timeout, dry, each
from vmops.tasks.frame.output import (
    check_format,
    finish,
    give,
    give_json,
    give_table,
    reporting,
    say,
)
from vmops.tasks.frame.selection import groups_of_workers, inventory, worker_at

WORKER_HELP = "Workers by name, separated by commas; not beside -H. Default: all."
RUN_WORKER_HELP = "Workers by name, separated by commas; needed where -H names none."


@task(help={"worker": WORKER_HELP, "format": FORMAT_HELP})
@reporting
def doctor(c: Any, worker: str | None = None, format: str = "text") -> None:
    """
    Check a worker: SSH, sudo, KVM, QEMU, Open vSwitch, bridge, images, memory, disk, VNC ports.

    Each failure names its cure. Exit code 1 when a check fails, 3 when the worker is not reached.
    Example: fab -H 10.0.10.1 doctor
    """
    from vmops.ops.worker.doctor import examine

    as_json = check_format(format)
    groups = groups_of_workers(c, worker)
    if dry(c, groups, "doctor"):
        return
    reports = each(groups, lambda g: [examine(g.route, g.vms)])
    if as_json:
        give_json([report.as_dict() for report in reports])
    else:
        rows = [
            [report.worker, "ok" if check.ok else "FAIL", check.name, check.found]
            for report in reports
            for check in report.checks
        ]
        if rows:
            give_table(("WORKER", "", "CHECK", "FOUND"), rows)
    finish([error for report in reports for error in report.errors])


@task(
    help={
        "command": "What to run in the SSH user's shell there; its lines run one after another.",
        "worker": RUN_WORKER_HELP,
        "timeout": "Seconds until it is ended, on the worker too (default 30).",
    }
)
@reporting
def run(c: Any, command: str, worker: str | None = None, timeout: int = 30) -> None:
    """
    Run a command on a worker and print what it printed.

    Example: fab -H 10.0.10.1 run 'uname -a'
    """
    from vmops.ops.worker.run import run_command

    check_timeout(timeout, least=1)
    _remote(c, worker, lambda route: run_command(route, command, time_limit_s=timeout), command)


@task(
    help={
        "path": "A script on this machine; bash on the worker reads it from standard input.",
        "args": "Its arguments, as one would write them in a shell.",
        "worker": RUN_WORKER_HELP,
        "timeout": "Seconds until it is ended, on the worker too (default 30).",
    }
)
@reporting
def script(c: Any, path: str, args: str = "", worker: str | None = None, timeout: int = 30) -> None:
    """
    Run a local script on a worker, nothing is copied there.

    Example: fab -H 10.0.10.1 script ./setup_network.sh --args 'eth1 101'
    """
    import shlex

    from vmops.ops.worker.run import read_script, run_script

    check_timeout(timeout, least=1)
    text = read_script(path)
    try:
        words = shlex.split(args)
    except ValueError as error:
        raise InventoryError(f"--args {args!r}: {str(error).lower()}") from error
    _remote(
        c,
        worker,
        lambda route: run_script(route, text, words, time_limit_s=timeout),
        f"bash -s -- {shlex.join(words)} <{path}",
    )


def _remote(c: Any, worker: str | None, work: Any, shown: str) -> None:
    if worker_at(c, inventory(c)) is None and not worker:
        raise InventoryError("run where?", cure="name a worker: -H or --worker")
    groups = groups_of_workers(c, worker)
    if c.config.run.dry:
        for group in groups:
            give(f"# on {group.route.worker.name}:\n{shown}")
        return
    errors = []
    for ended in each(groups, lambda g: [work(g.route)]):
        if ended.stdout:
            give(ended.stdout.rstrip("\n"))
        if ended.stderr:
            say(ended.stderr.rstrip("\n"))
        if ended.error is not None:
            errors.append(ended.error)
    finish(errors)
