"""Which VMs on which workers a task means: hosts.toml, -H, --vm and --worker together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from vmops.errors import FleetFailed, InventoryError, NotRunning
from vmops.tasks.frame.context import Context, Host, is_dry, is_host
from vmops.tasks.frame.harmless import one_line
from vmops.tasks.frame.output import say
from vmops.tasks.typed.program import hosts_option

if TYPE_CHECKING:
    from vmops.core.inventory.inventory import Inventory
    from vmops.core.inventory.model import VM, Worker
    from vmops.ops.route import Group, Route, Ways

VARIABLE = "VMOPS_HOSTS"
FILE = "hosts.toml"
LOOPBACK = "127."

_ENDING = ("stop", "unplug", "destroy")
"""Tasks to which a VM that is nowhere is no error."""

_NOWHERE = "is on no worker: nothing of it was found"


def inventory_path(c: Context) -> Path:
    """Where the inventory is: VMOPS_HOSTS, else the lab's own for `-H` of an address of the lab's,
    else hosts.toml beside the fabfile (or here, without a fabfile). Raises InventoryError."""
    from vmops.nameless import path_in

    named = path_in(VARIABLE)
    if named is not None:
        return named
    beside = getattr(c.config, "_project_prefix", None)
    path = Path(beside or Path.cwd()) / FILE
    host = host_of(c)
    if host.startswith(LOOPBACK):
        from vmops.lab.layout import default_directory

        lab = default_directory() / FILE
        if _names(lab, host):
            return lab
        if not path.exists():
            raise InventoryError(
                f"{path}: there is no such file, and no lab in {lab.parent} has a worker {host}",
                cure="of a lab that is elsewhere: export VMOPS_HOSTS=FOLDER/hosts.toml, as lab.up"
                " said; or set VMOPS_LAB_DIR to that folder",
            )
    return path


def _names(lab: Path, host: str) -> bool:
    """True where the lab's hosts.toml has workers in the network of that address."""
    try:
        return f'"{host.rpartition(".")[0]}.' in lab.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def inventory(c: Context) -> Inventory:
    """The inventory, read once for all tasks of a chain. Raises InventoryError with every complaint
    of the file."""
    from vmops.inventory_file import load_once

    return load_once(inventory_path(c))


def host_of(c: Context) -> str:
    """What -H said for this call, or empty."""
    return str(c.original_host) if is_host(c) else ""


def worker_at(c: Context, listed: Inventory) -> Worker | None:
    """The worker that -H names, with the user and port that it was given there."""
    if not is_host(c):
        return None
    found = listed.worker(host_of(c))
    user, port = _given_with_host(c)
    return replace(found, user=user or found.user, port=port or found.port)


def _given_with_host(c: Host) -> tuple[str | None, int | None]:
    """User and port that -H names, None for what it leaves out.

    Fabric hands a task what comes of -H, ssh_config and its own defaults together; the program that
    runs still has the option. In a program that is neither fab nor vmops, what equals a default
    counts as left out.
    """
    user, port = str(c.user), int(c.port)
    texts = (hosts_option() or "").split(",")
    given = [one for one in map(c.derive_shorthand, texts) if one["host"] == host_of(c)]
    mine = [one for one in given if one["user"] in (None, user) and one["port"] in (None, port)]
    if mine:
        has_user, has_port = (any(one[key] for one in mine) for key in ("user", "port"))
        return user if has_user else None, port if has_port else None
    defaults = c.ssh_config
    return (
        None if user in (defaults.get("user"), c.config.user) else user,
        None if port in (int(defaults.get("port", 22)), int(c.config.port)) else port,
    )


def groups_of_vms(
    c: Context, pattern: str | None, *, task: str, elsewhere: bool = False, early: bool = True
) -> list[Group]:
    """The VMs that `--vm` names, grouped by worker; with `elsewhere` all on that of -H, wherever
    they are pinned. Not `early` for a task that may still refuse what it was told: nothing is
    contacted then. Raises InventoryError."""
    if not pattern:
        raise InventoryError(f"{task}: which VM?", cure=f"fab {task} --vm NAME; fab {task} --help")
    listed = inventory(c)
    chosen = listed.select(pattern)
    if not elsewhere:
        return grouped(c, listed, chosen, early=early, ends=task in _ENDING)
    at = worker_at(c, listed)
    if at is None:
        raise InventoryError(f"{task}: --elsewhere needs a worker", cure="name it with -H")
    return _begun(c, [_group(c, at, chosen)])


def groups_with_lost(
    c: Context, pattern: str | None, *, task: str, early: bool = True, own_disk: bool = False
) -> list[Group]:
    """As `groups_of_vms`; with -H also VMs that hosts.toml does not have any more, by name: for
    what ends them or looks at them, or with `own_disk` removes their disks.

    A name that nothing has is then told by the worker. Raises InventoryError.
    """
    from vmops.core.inventory.model import VM

    listed = inventory(c)
    at = worker_at(c, listed)
    words = [word.strip() for word in (pattern or "").split(",")]
    lost = [] if at is None else [word for word in words if _is_lost(word, listed)]
    if at is None or not lost:
        return groups_of_vms(c, pattern, task=task, early=early)
    known = ",".join(word for word in words if word not in lost)
    groups = groups_of_vms(c, known, task=task, early=early) if known else []
    vms = {vm.name: vm for group in groups for vm in group.vms}
    vms |= {name: VM.lost(name, own_disk=own_disk) for name in lost}
    found = [_group(c, at, tuple(vms.values()))]
    return _begun(c, found) if early else found


def is_lost(c: Context, vm: str) -> bool:
    """True for a VM that hosts.toml does not have."""
    return vm not in inventory(c).vms


def _is_lost(word: str, listed: Inventory) -> bool:
    """True for a VM's name that hosts.toml does not have."""
    from vmops.core.inventory.normal_form import name

    return name(word) is not None and word not in listed.vms


def in_place(c: Context, vm: str, error: NotRunning) -> NotRunning:
    """The error of a VM that does not run, with a cure that fits one which hosts.toml lacks."""
    listed = inventory(c)
    if vm in listed.vms:
        return error
    cure = f"{listed.source} has no VM of that name; what is there: fab -H {host_of(c)} ps"
    return NotRunning(error.what, worker=error.worker, vm=error.vm, cure=cure)


def grouped(
    c: Context, listed: Inventory, vms: Sequence[VM], *, early: bool = True, ends: bool = False
) -> list[Group]:
    """Each VM with its worker; -H decides where it may. One that hosts.toml gives none is where it
    runs, or has its disk: all workers are asked. Without -H one that was moved is followed.

    Raises FleetFailed where all of them are nowhere, unless the task `ends` them.
    """
    at = worker_at(c, listed)
    found_at = _found(c, listed, vms, ends=ends)
    placed: dict[str, tuple[Worker, list[VM]]] = {}
    for vm in vms:
        if found_at.get(vm.name) == "":
            continue
        worker = listed.worker_of(vm, host_of(c) or found_at.get(vm.name))
        worker = at if at is not None else worker
        placed.setdefault(worker.name, (worker, []))[1].append(vm)
    found = [_group(c, worker, mine) for worker, mine in placed.values()]
    found = _with_ways(c, found)
    return _begun(c, found) if early else found


def _with_ways(c: Context, groups: Sequence[Group]) -> list[Group]:
    """The same, so that VMs that were moved are worked on where they are; not where -H says it."""
    return [*groups] if is_host(c) else [group._replace(ways=ways(c)) for group in groups]


def ways(c: Context) -> Ways:
    """The ways to all workers of the inventory."""
    from vmops.ops.route import Ways

    return Ways(inventory(c), _fabric_config(c))


def _found(c: Context, listed: Inventory, vms: Sequence[VM], *, ends: bool) -> dict[str, str]:
    """The worker of each VM that hosts.toml gives none, empty for one that is nowhere, which is
    said. Where all are, it is an error, unless the task `ends` them."""
    free = [vm for vm in vms if vm.worker is None]
    if not free or host_of(c) or is_dry(c) or len(listed.workers) < 2:
        return {}
    from vmops.ops.worker.placing import find

    choices = find(other_routes(c, ()), free)
    if errors := [choice.error for choice in choices if choice.error is not None]:
        raise FleetFailed(errors)
    found = {choice.vm.name: choice.worker for choice in choices}
    nowhere = [name for name, worker in found.items() if not worker]
    if len(nowhere) == len(vms) and not ends:
        raise FleetFailed(
            [
                NotRunning(
                    f"{name} {_NOWHERE}", vm=name, cure=f"to start it: fab launch --vm {name}"
                )
                for name in nowhere
            ]
        )
    for name in nowhere:
        say(one_line(f"{name} {_NOWHERE}"))
    return found


def groups_of_workers(
    c: Context,
    names: str | None,
    listed: Inventory | None = None,
    *,
    early: bool = True,
    parallel: int = 0,
    moved: bool = False,
) -> list[Group]:
    """The workers that -H or `--worker` name, else all, each with the VMs that may be there. With
    `moved` those that were are followed, except with -H.

    `early` is as for `groups_of_vms`, `parallel` as for `begin_to_connect`. Raises InventoryError.
    """
    found = _all_groups(c, names, listed or inventory(c))
    found = _with_ways(c, found) if moved else found
    return _begun(c, found, parallel=parallel) if early else found


def _all_groups(c: Context, names: str | None, listed: Inventory) -> list[Group]:
    _check_place(c, names)
    at = worker_at(c, listed)
    if at is not None:
        workers = [at]
    elif names:
        workers = list(listed.select_workers(names))
    else:
        workers = list(listed.workers.values())
    if not workers:
        raise InventoryError(f"{listed.source} lists no workers", cure="name one with -H")
    vms = listed.vms_on(worker.name for worker in workers)
    return [_group(c, worker, vms[worker.name]) for worker in workers]


def _check_place(c: Context, names: str | None) -> None:
    if host_of(c) and names:
        raise InventoryError("-H and --worker both say where", cure="leave one of them out")


def groups_of_fleet(
    c: Context, pattern: str | None, names: str | None, *, parallel: int = 0
) -> list[Group]:
    """All VMs, or those that `--vm` and `--worker` both mean, on the workers that have any of them.

    A VM that is pinned to no worker is looked for on each. One that was moved is followed, except
    where `--worker` says on which workers: it is on none of these. `parallel` is as for
    `begin_to_connect`. Raises InventoryError.
    """
    listed = inventory(c)
    _check_place(c, names)
    chosen = listed.select(pattern) if pattern else tuple(listed.vms.values())
    if host_of(c) and pattern:
        return grouped(c, listed, chosen)
    groups = _of_fleet(c, listed, chosen, names)
    if not groups and (pattern or names or host_of(c)):
        raise _none_there(c, listed, pattern, names)
    found = groups if names else _with_ways(c, groups)
    return _begun(c, found, parallel=parallel)


class ToStart(NamedTuple):
    """VMs that are to be started: in `groups` those of which it is said where, and `free` ones that
    have to be placed, new ones `among` these workers; None for all."""

    groups: list[Group]
    free: tuple[VM, ...] = ()
    among: tuple[str, ...] | None = None


def vms_to_start(c: Context, pattern: str, *, task: str) -> ToStart:
    """The VMs that `--vm` names. Nothing is contacted yet: files here are still to be read. Raises
    InventoryError."""
    if not pattern:
        return ToStart(groups_of_vms(c, pattern, task=task, early=False))
    listed = inventory(c)
    chosen = listed.select(pattern)
    free = _free(c, listed, chosen)
    return ToStart(grouped(c, listed, [vm for vm in chosen if vm not in free], early=False), free)


def fleet_to_start(c: Context, pattern: str | None, names: str | None) -> ToStart:
    """All VMs, or those that `--vm` and `--worker` both mean. Nothing is contacted yet. Raises
    InventoryError."""
    listed = inventory(c)
    _check_place(c, names)
    chosen = listed.select(pattern) if pattern else tuple(listed.vms.values())
    if host_of(c) and pattern:
        return ToStart(grouped(c, listed, chosen, early=False))
    free = _free(c, listed, chosen)
    groups = _of_fleet(c, listed, [vm for vm in chosen if vm not in free], names)
    if not groups and not free and (pattern or names or host_of(c)):
        raise _none_there(c, listed, pattern, names)
    among = tuple(group.route.worker.name for group in _all_groups(c, names, listed))
    return ToStart(_with_ways(c, groups), free, among if names else None)


def _free(c: Context, listed: Inventory, vms: Sequence[VM]) -> tuple[VM, ...]:
    """Those that have to be placed. A dry run asks nobody, and so can place none."""
    free = tuple(vm for vm in vms if vm.worker is None)
    if host_of(c) or len(listed.workers) == 1 or not free:
        return ()
    if is_dry(c) or not listed.workers:
        raise InventoryError(
            *(f"{listed.source}: nothing says which worker VM {vm.name} is on" for vm in free),
            cure='place it with -H WORKER, or pin it: worker = "..." in its section',
        )
    return free


def _of_fleet(c: Context, listed: Inventory, vms: Sequence[VM], names: str | None) -> list[Group]:
    kept = set(vms)
    groups = [
        group._replace(vms=tuple(vm for vm in group.vms if vm in kept))
        for group in _all_groups(c, names, listed)
    ]
    return [group for group in groups if group.vms]


def _none_there(
    c: Context, listed: Inventory, pattern: str | None, names: str | None
) -> InventoryError:
    host = host_of(c)
    where = f" on {host or names}" if names or host else ""
    return InventoryError(
        f"{listed.source}: no VM{f' matching {pattern!r}' if pattern else ''} is{where}"
    )


def _begun(c: Context, groups: list[Group], *, parallel: int = 0) -> list[Group]:
    begin_to_connect(c, groups, parallel=parallel)
    return groups


def begin_to_connect(c: Context, groups: Sequence[Group], *, parallel: int = 0) -> None:
    """Begin to connect now to those that work on `parallel` workers at once begins with: what the
    task imports next takes as long. Raises InventoryError where it is one worker alone."""
    if not is_dry(c):
        from vmops.ops.fleet import connect_early

        connect_early(groups, parallel=parallel)


def other_routes(c: Context, groups: Sequence[Group]) -> list[Route]:
    """The ways to the workers of the inventory that are not those of the groups."""
    from vmops.ops.route import Route

    at = {group.route.worker.name for group in groups}
    others = (worker for worker in inventory(c).workers.values() if worker.name not in at)
    return [Route(worker, _fabric_config(c)) for worker in others]


def route_to(c: Context, worker: str) -> Route:
    """The way to a worker of the inventory, whatever -H says. Raises InventoryError."""
    from vmops.ops.route import Route

    return Route(inventory(c).worker(worker), _fabric_config(c))


def _group(c: Context, worker: Worker, vms: Sequence[VM]) -> Group:
    from vmops.ops.route import Group, Route

    return Group(Route(worker, _fabric_config(c)), tuple(vms))


def _fabric_config(c: Context) -> Any:
    """fab's configuration; plain Invoke's lacks what Fabric needs, so the defaults serve there."""
    return c.config if hasattr(c.config, "base_ssh_config") else None
