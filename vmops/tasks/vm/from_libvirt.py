"""The way in: from-libvirt."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vmops.errors import CommandFailed, InventoryError, UnexpectedOutput, WorkFailed
from vmops.nameless import expanded
from vmops.tasks.frame import options
from vmops.tasks.frame.context import Context, is_dry
from vmops.tasks.frame.harmless import one_line
from vmops.tasks.frame.options import Option
from vmops.tasks.frame.output import give, say
from vmops.tasks.frame.selection import groups_of_workers, host_of, inventory
from vmops.tasks.frame.task import task
from vmops.tasks.typed.program import as_typed

if TYPE_CHECKING:
    from vmops.core.plan.export.from_libvirt import Found

LIMIT_S = 60
_USAGE = "fab from-libvirt --input web1.xml, or fab -H WORKER from-libvirt --vm web1"


@task(
    {
        "vm": Option("A domain of the libvirt on that worker; several separated by commas."),
        "worker": options.ONE_WORKER,
        "input": Option("A file with what virsh dumpxml has printed; - for standard input."),
    },
    name="from-libvirt",
)
def from_libvirt(
    c: Context, vm: str | None = None, worker: str | None = None, input: str | None = None
) -> None:
    """
    Print a VM of libvirt's as lines to add to hosts.toml. Nothing is changed.

    From a file, or with -H or --worker from the libvirt there. What does not go along, and what is
    to be done first, is said. Example: fab -H 10.0.10.1 from-libvirt --vm web1 >>hosts.toml
    """
    from vmops.core.plan.export.from_libvirt import in_toml

    if (vm is None) == (input is None):
        raise InventoryError("from-libvirt: which VM, or which file?", cure=_USAGE)
    if input is not None and worker is not None:
        raise InventoryError("--worker and --input both say where", cure="leave one of them out")
    texts = [_read(input)] if input is not None else list(_asked(c, vm or "", worker))
    for number, found in enumerate(texts):
        give(("\n" if number else "") + in_toml(found).rstrip("\n"))
        for note in found.notes:
            say(as_typed(one_line(note)))
        if found.name in inventory(c).vms:
            say(one_line(f"{found.name}: {inventory(c).source} has a VM of that name already"))


def _read(input: str) -> Found:
    from vmops.core.plan.export.from_libvirt import MOST_BYTES

    try:
        if input == "-":
            return _found(sys.stdin.buffer.read(MOST_BYTES + 1), "standard input")
        with expanded(input).open("rb") as opened:
            return _found(opened.read(MOST_BYTES + 1), input)
    except OSError as error:
        raise InventoryError(f"cannot read {input}: {error.strerror}") from error


def _found(xml: bytes, source: str) -> Found:
    from vmops.core.plan.export.from_libvirt import from_libvirt as read

    try:
        return read(xml)
    except ValueError as fault:
        raise InventoryError(f"{source}: {fault}") from fault


def _asked(c: Context, names: str, worker: str | None) -> Iterator[Found]:
    from vmops.core.plan.export.from_libvirt import from_libvirt as read
    from vmops.ops.worker.run import run_command

    wanted = [name.strip() for name in names.split(",")]
    if not all(wanted) or any(name.startswith("-") for name in wanted):
        raise InventoryError(f"--vm {names}: names no domain", cure=_USAGE)
    listed = inventory(c)
    if worker is None and not host_of(c):
        raise InventoryError("from-libvirt: on which worker?", cure=_USAGE)
    groups = groups_of_workers(c, worker, early=False)
    if len(groups) > 1:
        raise InventoryError(f"--worker {worker}: has to be one", cure=_USAGE)
    route = groups[0].route
    if is_dry(c):
        for name in wanted:
            give(f"# on {route.worker.name}\n{_line(name)}")
        return
    pinned = route.worker.name if route.worker.name in listed.workers else ""
    for name in wanted:
        ended = run_command(route, _line(name), time_limit_s=LIMIT_S)
        if isinstance(ended.error, CommandFailed):
            lines = ended.stderr.decode(errors="replace").split("\n")
            why = "; ".join(line.removeprefix("error: ") for line in lines if line.strip())
            raise WorkFailed(why or ended.error.what, worker=route.worker.name, vm=name)
        if ended.error is not None:
            raise ended.error
        try:
            yield read(ended.stdout, worker=pinned)
        except ValueError as fault:
            raise UnexpectedOutput(str(fault), worker=route.worker.name, vm=name) from fault


def _line(name: str) -> str:
    """libvirt's system is root's, and that of a group which the SSH user may be in."""
    virsh = shlex.join(
        ["virsh", "-q", "-c", "qemu:///system", "dumpxml", "--inactive", "--domain", name]
    )
    return f'if [ "$(id -u)" = 0 ]; then {virsh}; else sudo -n {virsh}; fi'
