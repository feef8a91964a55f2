"""The memory of a suspended VM: a file beside the disks, written by its QEMU and read by the next.

Its first line is the command line of that QEMU: memory fits the same machine only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from vmops.core.devices import machine
from vmops.core.devices.live import sending
from vmops.core.images.names import FOLDER
from vmops.core.inventory.model import VM
from vmops.core.names import RunDirectory
from vmops.core.script.command import Command, Step, command
from vmops.core.tools import monitor, qemu
from vmops.core.tools.monitor import Await, Line, Need, Talk
from vmops.core.tools.process import Process
from vmops.core.tools.qmp import PAUSE, RESUME, STATUS, Request

SAVE, LOAD, RUN_ON, DISCARD = "save memory", "load memory", "run on", "discard memory"

LIMIT_S = 600
"""How long writing or reading it may take."""


class Memory(NamedTuple):
    """The memory that is kept of a VM, and the command line of the QEMU whose it was; empty where
    it cannot be read."""

    argv: tuple[str, ...] = ()


def read(line: str) -> tuple[str, Memory]:
    """A VM and its memory from what `memory_facts` says of one. Never raises."""
    vm, _, head = line.partition(" ")
    try:
        argv = json.loads(head)["argv"]
        return vm, Memory(tuple(map(str, argv)))
    except (ValueError, KeyError, TypeError, RecursionError):
        return vm, Memory()


def path_of(vm: str) -> str:
    """Where it lies, `~` being the SSH user's home."""
    return f"{FOLDER}/memory-{vm}"


def differences(memory: Memory, vm: VM, launch: machine.Launch) -> Iterator[str]:
    """In words, where the machine that would be started is not the one whose memory it is."""
    then = machine.parse(memory.argv)
    for item in machine.drift(then, vm, launch):
        if not item.is_of(("vnc_port", "vnc_listen", "vnc_password")):
            yield str(item)
    words = machine.build(vm, launch).words()
    now = machine.parse(words[words.index(qemu.BINARY) :])
    if then.has_seed != now.has_seed:
        yield "cloud_init: " + ("a seed -> none" if then.has_seed else "no seed -> one")
    for what, had, has in (("interfaces", then.nics, now.nics), ("disks", then.disks, now.disks)):
        if had != has:
            yield f"{what}: {_listed(had)} -> {_listed(has)}"


def _listed(parts: Sequence[NamedTuple]) -> str:
    return ", ".join("/".join(map(str, part[:3])) for part in parts) or "none"


def guard(vm: str, *, there: bool) -> Command:
    """That memory is kept of the VM, or that none is."""
    return command("memory_is", "there" if there else "gone", path_of(vm))


# Steps


def saving(vm: str, running: Process, *, uid: int) -> Step:
    """Stop the guest and write its memory down. Undone, it runs on and the file is gone, unless its
    QEMU is gone by then."""
    run, path = RunDirectory(vm), path_of(vm)
    head = json.dumps({"argv": running.argv})
    talk = _talk(
        vm,
        PAUSE,
        # With a return path QEMU would wait for words that a file has none of, after its end.
        sending.told(),
        sending.limits(),
        Request("migrate", {"uri": f"unix:{run.path}/memory.sock"}),
        _COME,
        Request("query-migrate"),
        Need('"status": "completed"'),
    )
    # Until that is over QEMU refuses to let the guest run.
    cancel = _talk(
        vm,
        Request("query-migrate"),
        Need('"status": "failed"', absent=True),
        Request("migrate_cancel"),
        Await("MIGRATION", 5.0, ('"status": "cancelled"', '"status": "failed"')),
    )
    save = ("save_memory", vm, str(uid), path, str(LIMIT_S), head)
    undo = (
        _while_running(vm, cancel, "never_mind"),
        _while_running(vm, _talk(vm, RESUME)),
    )
    return Step(
        SAVE,
        (talk._replace(argv=save), command("keep_memory", path)),
        undo=(*undo, command("drop_memory", vm, path)),
    )


def loading(vm: str) -> tuple[Step, ...]:
    """Into a QEMU that waits for it. The guest runs only when the file has lost its name: memory
    that was used once does not fit the disks any more. It gets that back where the guest cannot
    run."""
    run, path = RunDirectory(vm), path_of(vm)
    talk = _talk(
        vm,
        sending.told(),
        Request("migrate-incoming", {"uri": f"unix:{run.path}/memory.sock"}),
        _COME,
        Request("query-migrate"),
        Need('"status": "completed"'),
    )
    load = talk._replace(argv=("load_memory", vm, path, str(LIMIT_S)))
    stands = _talk(vm, STATUS, Need('"running": false'))
    back = stands._replace(argv=("put_back", path, *stands.argv))
    return (
        Step(LOAD, (load, command("set_aside", path)), undo=(back,)),
        Step(RUN_ON, (_talk(vm, RESUME), command("discard_aside", path))),
    )


def discarding(vm: str) -> Step:
    """Give it up; absent is fine."""
    return Step(DISCARD, (command("discard_memory", path_of(vm)),))


_COME = Await(
    "MIGRATION",
    LIMIT_S,
    holding=('"status": "completed"', '"status": "failed"'),
    then="go on",
)


def _talk(vm: str, *lines: Line) -> Command:
    return monitor.talk([Talk(vm, lines, 60.0)])


def _while_running(vm: str, entry: Command, *before: str) -> Command:
    return entry._replace(argv=("while_running", vm, *before, *entry.argv))
