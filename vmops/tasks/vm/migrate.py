"""VMs taken to another worker from the command line: migrate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmops.errors import InventoryError
from vmops.tasks.frame import options
from vmops.tasks.frame.context import Context, is_host
from vmops.tasks.frame.harmless import one_line
from vmops.tasks.frame.options import Option
from vmops.tasks.frame.outcomes import changed_as_dict, said
from vmops.tasks.frame.output import say
from vmops.tasks.frame.places import bases_to_start
from vmops.tasks.frame.selection import groups_of_workers, inventory, other_routes
from vmops.tasks.frame.task import task
from vmops.tasks.frame.work import Report, Work

if TYPE_CHECKING:
    from vmops.ops.vm.outcome import Outcome

_RUNS_ON = {"cold": "is for a VM that goes on running, and --cold stops it"}


@task(
    {
        "vm": options.VM,
        "to": Option(
            "The worker that it goes to, by its name in hosts.toml.", names="workers", required=True
        ),
        "cold": Option("Stop a VM that runs, and start it there; without it, it goes on running."),
        "force": options.FORCE_STOP._replace(only_with="cold"),
        "timeout": options.TIMEOUT._replace(only_with="cold"),
        "downtime_ms": Option(
            "How long a guest that runs may stand still for the last of its memory (default 300).",
            options.between(1, 60_000, "ms"),
            _RUNS_ON,
        ),
        "bandwidth_mbit": Option(
            "How much of the network it may take, in Mbit/s; 0 is all there is.",
            options.at_least(0, "Mbit/s"),
            _RUNS_ON,
        ),
        "direct": options.DIRECT,
        "overcommit": options.OVERCOMMIT,
        "format": options.FORMAT,
    },
    asks_again=True,
)
def migrate(
    c: Context,
    vm: str | None = None,
    to: str | None = None,
    cold: bool = False,
    force: bool = False,
    timeout: int = 30,
    downtime_ms: int = 300,
    bandwidth_mbit: int = 0,
    direct: bool = False,
    overcommit: bool = False,
    format: str = "text",
) -> Work[Outcome]:
    """
    Move a VM to another worker, with its disks and the images they stand on.

    One that runs goes on running, and stands still for a moment; with --cold it is stopped, and
    started there. A move that was cut goes on with the same command; none begins to a drained
    worker. It says what to change in hosts.toml then. Example: fab migrate --vm web1 --to worker2
    """
    from vmops.core.devices.live.mirror import Tuning
    from vmops.core.plan.group import Terms
    from vmops.core.plan.stopping import Manner
    from vmops.ops.vm.moving import migrate as moving
    from vmops.ops.vm.moving.acts import Move
    from vmops.tasks.image.display import in_lines

    if not vm or not to:
        raise InventoryError(
            f"migrate: {'which VM' if not vm else 'where to'}?",
            cure="fab migrate --vm NAME --to WORKER; fab migrate --help",
        )
    if is_host(c):
        raise InventoryError(
            "migrate: a VM is looked for on all workers", cure="leave -H out; --to says where to"
        )
    listed = inventory(c)
    chosen = listed.select(vm)
    (group,) = groups_of_workers(c, listed.listed_worker(to).name, early=False)
    groups = [group._replace(vms=chosen)]
    terms = Terms(overcommit=overcommit, bases=bases_to_start(c, groups))
    move = Move(
        group.route,
        {route.worker.name: route for route in other_routes(c, groups)},
        cold=cold,
        tuning=Tuning(downtime_ms, bandwidth_mbit),
        direct=direct,
        manner=Manner(force=force, timeout_s=timeout),
        terms=terms,
        northbound=listed.northbound,
        own_line=listed.has_own_worker,
        vms=listed.vms,
        tell=lambda words: say(one_line(words)),
        progress=in_lines(),
    )
    return Work(
        groups,
        lambda g: moving.migrate(move._replace(to=g.route), g.vms),
        Report(said(lambda o: "moved" if o.changed else "is there already"), changed_as_dict),
    )
