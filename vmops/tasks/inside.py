"""Inside a guest, by its agent: programs, and files to and from it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vmops.errors import InventoryError
from vmops.tasks.frame import options
from vmops.tasks.frame.context import Context
from vmops.tasks.frame.harmless import printed
from vmops.tasks.frame.options import Option
from vmops.tasks.frame.output import give_bytes, say
from vmops.tasks.frame.selection import groups_of_vms
from vmops.tasks.frame.task import task
from vmops.tasks.frame.work import Report, Work
from vmops.tasks.typed.rest import rest
from vmops.tasks.written import FORCE, new_file

if TYPE_CHECKING:
    from vmops.ops.guest.agent import Ran
    from vmops.ops.guest.files import Copied
    from vmops.ops.route import Group


@task(
    {
        "vm": options.VM,
        "timeout": Option("Seconds to wait for its end (default 30).", options.at_least(0)),
        "format": options.FORMAT,
    },
    name="exec",
)
def execute(
    c: Context, vm: str | None = None, timeout: int = 30, format: str = "text"
) -> Work[Ran]:
    """
    Run a program in a VM's guest, by its guest agent; its words stand behind --.

    No shell takes them apart: -- sh -c '...' is one. With one VM the exit code is the program's
    own; with several it is 1 if one of them fails. Without an agent it fails at once.
    Example: fab exec --vm web1 -- uname -a
    """
    from vmops.ops.guest.agent import execute as run

    words = rest()
    if not words or not words[0]:
        raise InventoryError("exec: which program?", cure="fab exec --vm NAME -- PROGRAM ARGUMENT")
    groups = groups_of_vms(c, vm, task="exec")
    several = sum(len(group.vms) for group in groups) > 1
    return Work(
        groups,
        lambda g: run(g.route, g.vms, words, timeout_s=timeout),
        Report(_print, _ran_as_dict, exit_code=lambda ran: _exit_code(ran, several=several)),
    )


execute.takes_rest = True


def _print(ran: Sequence[Ran]) -> None:
    """Byte for byte into a pipe or a file; on a terminal nothing of it acts."""
    for one in ran:
        if one.ended is None:
            continue
        if len(ran) > 1:
            say(f"{one.vm} on {one.worker}: exit code {one.ended.exit_code}")
        _pass_on(one.ended.stdout, sys.stdout)
        _pass_on(one.ended.stderr, sys.stderr)
        if one.ended.is_cut:
            say(f"{one.vm}: its agent has not kept all of what it printed")


def _pass_on(data: bytes, stream: Any) -> None:
    if stream.isatty():
        stream.write(printed(data))
        stream.flush()
    elif stream is sys.stdout:
        give_bytes(data)
    else:
        stream.flush()
        stream.buffer.write(data)
        stream.buffer.flush()


def _exit_code(ran: Sequence[Ran], *, several: bool) -> int:
    codes = [one.ended.exit_code or 0 for one in ran if one.ended is not None]
    return int(any(codes)) if several else sum(codes)


def _ran_as_dict(one: Ran) -> dict[str, Any]:
    ended = one.ended
    return {
        "vm": one.vm,
        "worker": one.worker,
        "exit_code": ended.exit_code if ended else None,
        "stdout": ended.stdout.decode(errors="replace") if ended else None,
        "stderr": ended.stderr.decode(errors="replace") if ended else None,
        "cut": ended.is_cut if ended else None,
    }


@task(
    {
        "source": Option("A file here, or VM:PATH for one in a guest."),
        "target": Option("Where it is to be: VM:PATH, or a path or folder here."),
        "force": FORCE,
        "format": options.FORMAT,
    }
)
def cp(
    c: Context, source: str, target: str, force: bool = False, format: str = "text"
) -> Work[Copied]:
    """
    Copy a file into a VM's guest or out of it, by its guest agent.

    The guest's side is written VM:PATH, with an absolute path. A file of that name in the guest is
    replaced when the new one is whole, one here with --force only.
    Example: fab cp ./site.conf web1:/etc/site.conf
    """
    from vmops.ops.guest.files import download, sides, upload

    one = sides(source, target)
    if not one.is_upload:
        new_file(one.here, option="target", force=force)

    def copy(group: Group) -> list[Copied]:
        (vm,) = group.vms
        if one.is_upload:
            return [upload(group.route, vm, Path(one.here), one.there)]
        return [download(group.route, vm, one.there, Path(one.here))]

    groups = groups_of_vms(c, one.vm, task="cp")
    return Work(groups, copy, Report(_say_copied, _copied_as_dict))


def _say_copied(copied: Sequence[Copied]) -> None:
    for one in copied:
        if one.error is None:
            say(f"{one.vm} on {one.worker}: {one.size} bytes copied to {one.target}")


def _copied_as_dict(one: Copied) -> dict[str, Any]:
    return {
        "vm": one.vm,
        "worker": one.worker,
        "source": one.source,
        "target": one.target,
        "bytes": one.size if one.error is None else None,
    }
