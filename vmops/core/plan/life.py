"""What starting and ending a VM's QEMU consist of: steps, each with its undo."""

from __future__ import annotations

from collections.abc import Sequence

from vmops.core.devices import disk, machine
from vmops.core.devices.live import memory, ports
from vmops.core.devices.power import OVER
from vmops.core.devices.seed import drive
from vmops.core.devices.storage import boot, further
from vmops.core.facts import logs
from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM, Worker
from vmops.core.names import RunDirectory
from vmops.core.plan.drift import launch_values
from vmops.core.script.command import Batch, Block, Step, command, only_if
from vmops.core.tools import image_chain, process
from vmops.core.tools.process import Process

LEFTOVERS, RUN_DIRECTORY, QEMU, PID = "leftovers", "run directory", "QEMU", "pid"
LEFT = "what it left running"
EXIT, TERM, KILL = "exit", "SIGTERM", "SIGKILL"

EXIT_WAIT_S = 30
"""A QEMU that is ending writes what it still holds to its disks."""

TERM_WAIT_S = 5
KILL_WAIT_S = 10


def ending(vm: str, found: Process, by: Sequence[str]) -> list[Step]:
    """The ways to end its process, of EXIT, TERM and KILL, each for what the one before has left.

    EXIT only waits, for a process that has said that it ends (power.OVER).
    """
    ways = {
        EXIT: only_if(OVER, process.await_end(found, wait_s=EXIT_WAIT_S)),
        TERM: process.end(vm, found, "TERM", wait_s=TERM_WAIT_S),
        KILL: process.end(vm, found, "KILL", wait_s=KILL_WAIT_S),
    }
    return [Step(way, (ways[way],), may_fail=way != by[-1]) for way in by]


def clearing(vm: VM, observed: Observed) -> tuple[Step, ...]:
    """A VM that died left its run directory; its TAPs and ports are taken over by the plug."""
    if not observed.vm(vm.name).directory:
        return ()
    return (Step(LEFTOVERS, (command("remove_run_directory", vm.name),)),)


def sound(vm: VM) -> Step:
    """That nothing is against the VM's images by now, where its last QEMU, which its guest may have
    ruled, was there until now: it could write over their headers. A raw one has none."""
    images = [(vm.qcow_image, disk.FORMAT)]
    images += [(further.path_of(vm, each), each.format) for each in vm.disks]
    images += boot.asked(vm).values()
    qcow2 = [(path, format) for path, format in images if not format.endswith("raw")]
    return Step(disk.SOUND, (image_chain.are_sound(qcow2),))


def ahead_of_boot(block: Block, step: Step) -> Block:
    """The same block with this step where all is ready for QEMU, and its run directory not made."""
    steps: list[Step | Batch] = []
    for each in block.steps:
        if isinstance(each, Step) and each.label == RUN_DIRECTORY:
            steps.append(step)
        steps.append(each)
    return block._replace(steps=tuple(steps))


def booting(
    worker: Worker, vm: VM, observed: Observed, *, live: Process | None = None
) -> tuple[Step, ...]:
    """The disks, the run directory, the seed, QEMU, its PID, and the memory of a suspended VM.
    Where it comes `live` from another worker, from that QEMU, this one waits for it.

    Undone, QEMU is ended, and the directory and disks that were made are removed. QEMU says why it
    cannot start in its log, which goes with the directory: the undo brings it.
    """
    suspended = observed.suspended.get(vm.name)
    values = launch_values(worker, vm, observed)._replace(live=live is not None)
    if (comes := live or suspended) is not None:
        values = values._replace(incoming=True, ports=ports.of(comes.argv))
    run = RunDirectory(vm.name)
    paths = (run.console, *((values.screen.path,) if values.screen.path else ()))
    sockets = [path.rpartition("/")[2] for path in paths]
    return (
        *disk.preparing(vm, observed.images),
        *further.preparing(vm, observed.images),
        *boot.preparing(vm, observed.images, observed.firmware),
        # What its guest left running could write there until `clearing` has ended it.
        *((sound(vm),) if observed.vm(vm.name).directory else ()),
        Step(
            RUN_DIRECTORY,
            (command("make_run_directory", vm.name, str(values.uid), str(machine.LOG_KIB)),),
            undo=(command("abandon", vm.name),),
        ),
        *drive.bringing(vm, group=0 if values.uid == machine.NOBODY else values.uid),
        Step(
            QEMU,
            (
                machine.build(vm, values),
                process.record(
                    vm.name, values.uid, log_bytes=logs.RESERVED_KIB * 1024, sockets=sockets
                ),
            ),
            undo=(command("print_log", vm.name, logs.QEMU),),
        ),
        Step(PID, (command("report_process", vm.name),)),
        *(memory.loading(vm.name) if suspended is not None else ()),
    )
