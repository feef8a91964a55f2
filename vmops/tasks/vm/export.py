"""The way out: export."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vmops.core.inventory.complaints import show
from vmops.errors import InventoryError, WorkFailed
from vmops.tasks.frame import options
from vmops.tasks.frame.context import Context
from vmops.tasks.frame.harmless import one_line
from vmops.tasks.frame.options import Option
from vmops.tasks.frame.output import give_bytes, say
from vmops.tasks.frame.selection import groups_of_vms, inventory
from vmops.tasks.frame.task import task
from vmops.tasks.typed.program import as_typed
from vmops.tasks.written import FORCE, but_for_stdout, check_new

if TYPE_CHECKING:
    from vmops.core.inventory.inventory import Inventory
    from vmops.core.inventory.model import VM, Worker
    from vmops.core.plan.export.leaving import Exported, Leaving

FORMATS = ("libvirt", "proxmox", "incus", "script", "ovn")


class _Given(NamedTuple):
    """What the operator has said of the place that the VM goes to."""

    format: str
    home: str | None
    bridge: str | None
    storage: str | None


def _absolute(path: str) -> str | None:
    return None if path.startswith("/") else "must be a path from / on"


@task(
    {
        "vm": options.VM,
        "format": Option(
            "libvirt, proxmox, incus, script or ovn.", options.one_of(*FORMATS), required=True
        ),
        "output": Option(
            "The file to write, or a folder; several VMs need a folder. - is standard output."
        ),
        "home": Option(
            "The SSH user's home on the worker, for ~ in paths; default: /home/USER.", _absolute
        ),
        "bridge": Option("The bridge to plug into there; default: the worker's."),
        "force": FORCE,
        "storage": Option("Where disks go: Proxmox' storage (local-lvm) or Incus' pool (default)."),
    }
)
def export(
    c: Context,
    vm: str | None = None,
    format: str | None = None,
    output: str | None = None,
    home: str | None = None,
    bridge: str | None = None,
    storage: str | None = None,
    force: bool = False,
) -> None:
    """
    Write a VM down for libvirt, Proxmox or Incus, or as one shell script without vmops.

    With --format ovn, its networks in OVN as a script of ovn-nbctl's words. No worker is contacted
    and nothing is changed. What does not go along, and what is to be done there, is said.
    Example: fab export --format libvirt --vm web1 --output web1.xml
    """
    from vmops.ops.vm.seeds import told

    output = but_for_stdout(output)
    if format is None:
        cure = f"say --format {' or '.join((', '.join(FORMATS[:-1]), FORMATS[-1]))}"
        raise InventoryError("export: for what?", cure=cure)
    if storage is not None and format not in ("proxmox", "incus"):
        raise InventoryError(f"--storage {storage}: {format} has no storages", cure="leave it out")
    groups = groups_of_vms(c, vm, task="export", early=False)
    pairs = [(group.route.worker, each) for group in groups for each in group.vms]
    if len(pairs) > 1 and (output is None or not _is_folder(output)):
        raise InventoryError(
            f"--vm {vm} means {len(pairs)} VMs, and each is a file of its own",
            cure="name a folder for them: --output FOLDER/",
        )
    _check_ovn([each for _, each in pairs], format)
    seeds = told([each for _, each in pairs], source=inventory(c).source)
    given = _Given(format, home, bridge, storage)
    ready = [
        (each, _exported(_leaving(worker, each, given, inventory(c)), given))
        for (worker, _), each in zip(pairs, seeds, strict=True)
    ]
    files = [_files(output, each, found) for each, found in ready] if output is not None else []
    fresh = [path for each in files for path, text in each.items() if not _is_there(path, text)]
    check_new(fresh, option="--output", force=force)
    for number, (each, found) in enumerate(ready):
        if output is None:
            give_bytes(found.text.encode())
            if found.seed is not None:
                what = "its seed, which tells its guest, is a file: it is written with --output"
                say(one_line(f"{each.name}: {what}"))
        else:
            _write(output, files[number], secret=each.seed is not None)
        _say_notes(found.notes)


def _check_ovn(vms: Sequence[VM], format: str) -> None:
    for vm in vms:
        is_carried = any(nic.port for nic in vm.connected)
        if is_carried and format not in ("script", "ovn"):
            cure = f"fab export --format script --vm {vm.name}; its networks: --format ovn"
            what = (
                f"{vm.name} is in a network that OVN carries, for which {format} has no words here"
            )
            raise InventoryError(what, cure=cure)
        if not is_carried and format == "ovn":
            raise InventoryError(
                f"{vm.name} is in no network that OVN carries", cure="take another format"
            )


def _is_folder(output: str) -> bool:
    return output.endswith("/") or _path(output).is_dir()


def _path(output: str) -> Path:
    try:
        return Path(output).expanduser()
    except RuntimeError as error:
        raise InventoryError(f"--output {show(output)}: {error}") from error


def _leaving(worker: Worker, vm: VM, given: _Given, listed: Inventory) -> Leaving:
    from vmops.core.devices.network.logical import share
    from vmops.core.plan.export.leaving import Leaving, home_of

    # The script finds the home out by itself.
    home = given.home or ("" if given.format == "script" else home_of(worker))
    bridge = given.bridge or worker.bridge
    mine = [nic.interface.network or "" for nic in vm.connected if nic.port]
    reached = [other for name in mine for other in listed.networks[name].reach]
    carried = share(listed, tuple(dict.fromkeys((*mine, *reached)))).wanted
    storage = given.storage or ""
    return Leaving(vm, worker, home.rstrip("/"), bridge, storage, tuple(carried.values()))


def _exported(leaving: Leaving, given: _Given) -> Exported:
    from vmops.core.plan.export.formats import FORMATS as BY_NAME
    from vmops.core.plan.export.leaving import needs_home

    found = BY_NAME[given.format](leaving)
    if given.format != "libvirt" or given.home is not None or not needs_home(leaving.vm):
        return found
    guess = f"{leaving.vm.name}: ~ is taken for {leaving.home}: if it is not, say --home"
    return found._replace(notes=(*found.notes, guess))


def _say_notes(notes: Sequence[str]) -> None:
    for note in notes:
        say(as_typed(one_line(note)))


def _files(output: str, vm: VM, found: Exported) -> dict[Path, bytes]:
    """What is to be written for a VM, and where."""
    from vmops.core.plan.export.leaving import seed_file

    path = _path(output)
    path = path / f"{vm.name}{found.suffix}" if _is_folder(output) else path
    seed = {} if found.seed is None else {path.with_name(seed_file(vm)): found.seed}
    return {path: found.text.encode(), **seed}


def _is_there(path: Path, content: bytes) -> bool:
    """True for a file with that very content: the seed of a VM that is exported once more."""
    try:
        is_as_long = path.is_file() and path.stat().st_size == len(content)
        return is_as_long and path.read_bytes() == content
    except OSError:
        return False


def _write(output: str, files: Mapping[Path, bytes], *, secret: bool) -> None:
    folder = next(iter(files)).parent
    try:
        if _is_folder(output):
            folder.mkdir(parents=True, exist_ok=True)
        for file, content in files.items():
            _put(file, content, secret=secret)
            say(f"{file} is written")
    except OSError as error:
        raise WorkFailed(f"cannot write {error.filename or folder}: {error.strerror}") from error


def _put(file: Path, content: bytes, *, secret: bool) -> None:
    """Write a file; one with what a guest is told, which may be secret, for its owner alone."""
    found = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600 if secret else 0o666)
    with os.fdopen(found, "wb") as opened:
        if secret:
            os.fchmod(opened.fileno(), 0o600)
        opened.write(content)
