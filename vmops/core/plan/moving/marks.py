"""What a mark of a move keeps from being done on its worker, and what is said of it."""

from __future__ import annotations

from vmops.core.devices.storage import shared
from vmops.core.devices.storage.moving import Mark
from vmops.core.facts.images import MOVES, STORES
from vmops.core.facts.observed import Observed
from vmops.core.facts.vms import RunningVM
from vmops.core.inventory.model import VM, Worker
from vmops.core.plan.checks import check_read
from vmops.core.tools import qmp
from vmops.errors import LaunchFailed, WorkFailed


class AwayError(LaunchFailed):
    """The VM is not started there, as it is at another worker, or on its way: a mark says so."""


def back(vm: str, home: str, *, away: bool | None) -> str:
    """How a VM that has left its home comes back there: `away` is whether a drain has taken it,
    None where that is not known. A drained worker gets none by `migrate`."""
    undrain = f"fab undrain --worker {home}"
    if away:
        return f"back: {undrain}"
    move = f"back: fab migrate --vm {vm} --to {home}"
    return move if away is False else f"{move}; where {home} is drained: {undrain}"


def is_away(vm: str, observed: Observed) -> bool | None:
    """Whether a drain has taken the VM from this worker; None where nothing is known of a drain."""
    return None if observed.drained is None else vm in observed.drained.away


def said(vm: str, worker: str, mark: Mark, *, away: bool | None = None) -> tuple[str, str]:
    """What the mark of a VM says, and how to go on; `away` is as for `back`."""
    if mark.how == "left":
        return (
            f"it was moved from {worker} to {mark.peer}",
            "its tasks find it where it is, unless -H names another worker;"
            f" or {back(vm, worker, away=away)}",
        )
    if mark.how == "leaving":
        return (
            f"it is on its way from {worker} to {mark.peer}",
            f"if nobody moves it now, to go on: fab migrate --vm {vm} --to {mark.peer};"
            f" or back: fab migrate --vm {vm} --to {worker}",
        )
    if mark.how == "staying":
        return (
            f"it is on its way back to {worker}, which it was leaving for {mark.peer}",
            f"to go on: fab migrate --vm {vm} --to {worker}",
        )
    if mark.how in ("expected", "receiving"):
        return (
            f"it is on its way from {mark.peer} to {worker}",
            f"if nobody moves it now, to go on: fab migrate --vm {vm} --to {worker};"
            f" or back: fab migrate --vm {vm} --to {mark.peer}",
        )
    if mark.how == "elsewhere" and mark.ran:
        return (
            f"it is on its way to {mark.peer}, with which {worker} shares the folder of its disks",
            f"if nobody moves it now, to go on: fab migrate --vm {vm} --to {mark.peer}",
        )
    if mark.how == "elsewhere":
        return (
            f"it is at {mark.peer}, with which {worker} shares the folder of its disks",
            f'set worker = "{mark.peer}" in hosts.toml; or: fab migrate --vm {vm} --to {worker};'
            f" or, if {mark.peer} is lost for good, there: rm ~/vm_images/.vmops/moving-{vm}",
        )
    return (
        f"a mark on {worker} says that it is between two workers, and cannot be read",
        f"look at it there: ~/vm_images/.vmops/moving-{vm}",
    )


def at_another(vm: str, home: str, there: str, *, own_line: bool) -> tuple[str, str]:
    """What is said of a VM that is at `there` while hosts.toml has it at `home`, and what to do.
    Without an `own_line` several VMs share the one that says so, and it may have none."""
    home_again = back(vm, home, away=False)
    if own_line:
        return (
            f"it was moved from {home} to {there}",
            f'if it is to stay: set worker = "{there}" in vms.{vm} of hosts.toml; or {home_again}',
        )
    return (
        f"it was moved from {home} to {there}",
        f"if it is to stay: {shared_line(home)}; or {home_again}",
    )


def unknown(worker: str, mark: Mark) -> tuple[str, str]:
    """The same of a VM whose mark names a worker that the inventory does not have."""
    return (
        f"a mark on {worker} says that it is at {mark.peer}, which hosts.toml does not have",
        f"add workers.{mark.peer} to hosts.toml",
    )


def shared_line(home: str) -> str:
    """What makes a move last of a VM that has no line of its own in hosts.toml: it may have been
    counted up, and can have none then."""
    return (
        f'take worker = "{home}" out of hosts.toml where it stands for several VMs:'
        " each is found where it is then"
    )


def away(vm: str, home: str, there: str, *, is_open: bool = False) -> tuple[str, str]:
    """The same of a VM that was taken away by a drain; `is_open` that its home gets VMs again, and
    has yet to get this one back."""
    if is_open:
        return f"it is on {there}, and has yet to come back to {home}", back_of_rest(home)
    return f"it is on {there}, as {home} is drained", back(vm, home, away=True)


def back_of_rest(home: str) -> str:
    """How those come back that an undrain has not brought: what kept one may keep it again."""
    undrain = f"fab undrain --worker {home}"
    return (
        f"back: {undrain}; where one cannot move while it runs: fab undrain --cold --worker {home}"
    )


def coming(observed: Observed) -> tuple[str, ...]:
    """The VMs that are on their way to this worker, and not handed over to it yet."""
    marks = ((name, as_told(name, observed)) for name in observed.moves)
    return tuple(name for name, one in marks if one and one.how in ("expected", "receiving"))


def is_still(running: RunningVM, mark: Mark | None, status: str = "") -> bool:
    """True for a QEMU that is none of a VM that runs: it waits for the memory of one on another
    worker, or has sent its own there. `status` is its monitor's word, where that was asked: one
    that says that its guest runs is never one of these, whatever its mark says."""
    if running.process is None or mark is None or status == qmp.RUNNING:
        return False
    waits = "-incoming" in running.process.argv
    return mark.how == "receiving" or (mark.how == "elsewhere" and (waits or status == qmp.SENT))


def is_still_there(vm: str, observed: Observed) -> bool:
    """The same of what was observed of a VM."""
    status, _ = observed.monitor_status(vm)
    return is_still(observed.vm(vm), observed.moves.get(vm), status)


def as_told(vm: str, observed: Observed) -> Mark | None:
    """The mark of a VM as it is said here: in a folder that workers share, a QEMU that waits tells
    that the VM comes."""
    mark = observed.moves.get(vm)
    if mark is None or mark.how != "elsewhere" or mark.ran or not is_still_there(vm, observed):
        return mark
    return mark._replace(how="receiving")


def leads_on(mark: Mark) -> bool:
    """True for a mark that says of a VM that it is, or may be, at its peer."""
    return mark.how in ("left", "leaving", "elsewhere", "expected", "receiving")


def is_gone(mark: Mark | None) -> bool:
    """True for a mark that says of a VM that it is at its peer."""
    return mark is not None and mark.how in ("left", "elsewhere")


def check_may_start(worker: Worker, vm: VM, observed: Observed) -> None:
    """Raise AwayError where the VM is on its way to another worker, or from one, or is at another;
    LaunchFailed where the folder is not the one that hosts.toml says."""
    check_read(worker, vm, observed, MOVES, STORES)
    _check_store(worker, vm, observed)
    mark = observed.moves.get(vm.name)
    if mark is not None and not shared.is_free(mark):
        what, cure = said(vm.name, worker.name, mark, away=is_away(vm.name, observed))
        raise AwayError(what, worker=worker.name, vm=vm.name, cure=cure)


def _check_store(worker: Worker, vm: VM, observed: Observed) -> None:
    if found := store_fault(worker, observed):
        what, cure = found
        raise LaunchFailed(what, worker=worker.name, vm=vm.name, cure=cure)


def store_fault(worker: Worker, observed: Observed) -> tuple[str, str] | None:
    """Why ~/vm_images there is not the folder that hosts.toml says, with the cure; or None."""
    wanted, there = worker.shared_images, observed.stores
    if there is None or there == ({wanted} if wanted else frozenset()):
        return None
    if wanted is None:
        (name, *_) = sorted(there)
        what = f"~/vm_images is the shared folder {name}, and hosts.toml does not say so"
        cure = f'set shared_images = "{name}" in workers.{worker.name}'
    elif wanted in there:
        what = f"~/vm_images is several shared folders at once: {', '.join(sorted(there))}"
        cure = f"there: rm all ~/vm_images/.vmops/shared-* but {shared.sign_of(wanted)}"
    else:
        what = f"it does not see the shared folder {wanted}"
        sign = shared.sign_of(wanted)
        cure = (
            "mount it there at ~/vm_images, so that root may read it; if it is new, once:"
            f" mkdir -p {sign.rpartition('/')[0]} && touch {sign}"
        )
    return what, cure


def check_may_remove(worker: Worker, vm: VM, observed: Observed) -> None:
    """Raise WorkFailed where disks of the VM on this worker are part of a move."""
    check_read(worker, vm, observed, MOVES)
    mark = observed.moves.get(vm.name)
    if mark is not None and mark.how not in ("left", "at"):
        what, cure = said(vm.name, worker.name, mark)
        raise WorkFailed(what, worker=worker.name, vm=vm.name, cure=cure)


def check_may_forget(worker: Worker, vm: VM, observed: Observed) -> None:
    """Raise WorkFailed where the VM has left the worker: without the mark of that the next launch
    would start another one there."""
    mark = observed.moves.get(vm.name)
    if mark is not None and mark.how == "left":
        forget = f"fab -H {worker.name} destroy --vm {vm.name} --here"
        raise WorkFailed(
            f"it was moved from {worker.name} to {mark.peer}",
            worker=worker.name,
            vm=vm.name,
            cure=f"to remove it there, leave -H out; to forget only that it was moved: {forget}",
        )


def as_it_comes_back(vm: str, observed: Observed) -> Observed:
    """The worker for who moves the VM there: that it has left it once keeps it from being started
    there, and not from being moved there again."""
    mark = observed.moves.get(vm)
    if mark is None or mark.how != "left":
        return observed
    return observed._replace(moves={n: one for n, one in observed.moves.items() if n != vm})


def notes(vm: str, worker: str, observed: Observed, *, away: bool | None = None) -> tuple[str, ...]:
    """What is said of a VM with a mark; `away` is as for `back`."""
    mark = as_told(vm, observed)
    if mark is not None and mark.how == "at" and mark.ran:
        go_on = f"if nobody moves it now, to go on: fab migrate --vm {vm} --to {worker}"
        return (f"{vm}: it has come to {worker}, and was not started there yet; {go_on}",)
    if mark is None or shared.is_free(mark):
        return ()
    what, cure = said(vm, worker, mark, away=away)
    return (f"{vm}: {what}; {cure}",)
