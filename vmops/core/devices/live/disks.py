"""What adds a further disk to a running QEMU, removes one, and changes its CD.

QEMU has lost the right to open files, so each is opened as the SSH user and handed over: QEMU has
it as /dev/fdset/NUMBER.
"""

from __future__ import annotations

from vmops.core.devices import disk
from vmops.core.devices.live import ports
from vmops.core.devices.live.drives import NODES, Drives
from vmops.core.devices.live.nics import ADD, RELEASE_LIMIT_S, REMOVE
from vmops.core.devices.storage import boot, further
from vmops.core.devices.storage.further import RunningDisk
from vmops.core.inventory.model import VM
from vmops.core.inventory.model import Disk as Wanted
from vmops.core.script.command import Command, Step
from vmops.core.tools import monitor
from vmops.core.tools.monitor import Await, Heard, Line, Need, Talk, WithFile
from vmops.core.tools.process import Process
from vmops.core.tools.qmp import Request

CHANGE_CD = "change CD"
CD = "the CD"


def no_node(vm: str, wanted: Wanted) -> Command:
    """That QEMU has nothing by that disk's name: what takes an addition back would remove it."""
    node = further.node_of(wanted.name)
    return _said(vm, NODES, Need(f'"node-name": "{node}"', absent=True))


def adding(
    vm: VM, wanted: Wanted, prepared: tuple[Step, ...], has: Drives, running: Process, *, home: str
) -> Step:
    """The file where it is to be made or made larger (`prepared`), its back end and its card.

    Undone together; a file that was made stays where QEMU has kept it open all the same.
    """
    path = disk.absolute(further.path_of(vm, wanted), home)
    number, node = has.number_for(path), further.node_of(wanted.name)
    known = next((each for each in has.disks if each.name == wanted.name), None)
    lines: list[Line] = []
    if known is None:
        lines.append(WithFile(path, number, writable=True))
        lines.append(Request("blockdev-add", further.back_end(wanted, f"/dev/fdset/{number}")))
    lines.append(Request("device_add", further.card(wanted) | ports.at(has.port)))
    back = (
        _taken_back(vm.name, *_out(node)),
        _taken_back(vm.name, Request("blockdev-del", {"node-name": node})),
        # Of a disk that its guest keeps, the number is the only word that tells which file it is.
        _taken_back(vm.name, NODES, Need(f'"node-name": "{node}"', absent=True), _return(number)),
    )
    made = tuple(unless_open(running, path, entry) for step in prepared for entry in step.undo)
    return Step(
        f"{ADD} disk {wanted.name}",
        (
            *(entry for step in prepared for entry in step.commands),
            *_forgotten(vm.name, has, number),
            _said(vm.name, *lines),
        ),
        undo=(*back, *made),
        about=(f"disk {wanted.name}",),
    )


def removing(vm: VM, found: RunningDisk, has: Drives) -> Step:
    """Its card, when the guest has let go of it, and its back end. Its file is kept."""
    node = further.node_of(found.name)
    lines: list[Line] = [*_out(node)] if found.attached else []
    lines.append(Request("blockdev-del", {"node-name": node}))
    numbers = [at for at, path in has.files.items() if path == found.path]
    return Step(
        f"{REMOVE} disk {found.name}",
        (_said(vm.name, *lines), *(_given_back(vm.name, number) for number in numbers)),
        about=(f"disk {found.name}",),
    )


def _out(node: str) -> tuple[Line, ...]:
    """QEMU asks the guest; a back end is in use until its card is gone."""
    return (
        Request("device_del", {"id": node}),
        Await("DEVICE_DELETED", RELEASE_LIMIT_S, holding=f'"device": "{node}"', then="go on"),
    )


def changing_cd(vm: VM, has: Drives, *, iso: str) -> Step:
    """Another medium in the drive, an absolute path; empty for none.

    QEMU opens the new one first, so where that fails the old one stays. It opens no tray that the
    guest has locked, and asks the guest to.
    """
    number = has.number_for(iso)
    lines: list[Line] = [Request("eject", {"id": boot.CD})]
    if iso:
        change = {"id": boot.CD, "filename": f"/dev/fdset/{number}", "format": "raw"}
        change["read-only-mode"] = "read-only"
        lines = [WithFile(iso, number), Request("blockdev-change-medium", change)]
    if has.cd and has.first_medium:
        # QEMU keeps what its command line has named.
        lines.append(Request("blockdev-del", {"node-name": boot.CD}))
    old = () if has.medium is None else (_given_back(vm.name, has.medium),)
    before = _forgotten(vm.name, has, number) if iso else ()
    return Step(
        CHANGE_CD,
        (*before, _said(vm.name, *lines), *old),
        undo=(_given_back(vm.name, number),) if iso else (),
        about=(CD,),
    )


def _forgotten(vm: str, has: Drives, number: int) -> tuple[Command, ...]:
    """A file of that number from an addition that was cut short may be another by now."""
    return (_given_back(vm, number),) if number in has.files else ()


def _given_back(vm: str, number: int) -> Command:
    return _taken_back(vm, _return(number))


def _return(number: int) -> Request:
    return Request("remove-fd", {"fdset-id": number})


def unless_open(running: Process, path: str, entry: Command) -> Command:
    """The command, unless the process has that file open."""
    return entry._replace(argv=("unless_file_open", str(running.pid), path, *entry.argv), common=0)


def _said(vm: str, *lines: Line) -> Command:
    return monitor.talk([Talk(vm, lines)])


def _taken_back(vm: str, *lines: Line) -> Command:
    """The talk, where it is no failure that what it names is not there."""
    entry = _said(vm, *lines)
    return entry._replace(argv=("take_back", *entry.argv))


def why_unchanged(heard: Heard) -> str:
    """In words, why the CD is still the old one."""
    why = monitor.why(heard)
    if "is locked" in why:
        return "its guest has locked the tray, as of a CD that is mounted; it was asked to open it"
    return why
