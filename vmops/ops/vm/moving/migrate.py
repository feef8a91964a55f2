"""A VM taken from one worker to another: both are looked at, the next act is done, and so on.

What was begun by somebody else, or was cut, is gone on with: only the two workers know of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from vmops.core.devices.storage.moving import Arriving, mark
from vmops.core.facts import supposed
from vmops.core.facts.host import HOST
from vmops.core.facts.images import MOVES, OWN_DISKS, disk_sums
from vmops.core.facts.monitors import STATUSES
from vmops.core.facts.observed import Observed
from vmops.core.facts.question import Unanswered
from vmops.core.facts.vms import RUNNING, images
from vmops.core.facts.wiring import DRAINED
from vmops.core.inventory.model import VM
from vmops.core.plan import starting
from vmops.core.plan.elsewhere import as_it_is_there
from vmops.core.plan.moving import cold, course, live, marks, together
from vmops.core.plan.moving.behind import files_of
from vmops.core.plan.moving.course import Ends, Next
from vmops.core.plan.placement.home import is_drained
from vmops.core.tools import qmp
from vmops.errors import VmopsError, WorkFailed
from vmops.ops.act import LOOKS, ask, observe, outdated, unreadable
from vmops.ops.fleet import on_each
from vmops.ops.network import rebinding
from vmops.ops.route import Group, Route
from vmops.ops.vm import lifecycle, power
from vmops.ops.vm.moving import going, shared
from vmops.ops.vm.moving.acts import (
    Move,
    bring_bases,
    carried,
    carry,
    do,
    expect,
    let_in,
    look_at,
    side,
)
from vmops.ops.vm.outcome import Outcome
from vmops.ops.vm.seeds import told


class NothingOfItError(WorkFailed):
    """No worker runs the VM, or has a disk of it."""


_MOST_ACTS = 12
"""More than a move has, with those that are looked at anew."""


def migrate(move: Move, vms: Sequence[VM]) -> list[Outcome]:
    """Take each VM to the worker, one after the other: its disks, and what they stand on.

    One that runs goes on running, or with `cold` is stopped, copied and started there. Until it is
    handed over no worker starts it there; then the destination alone does. A drained worker gets
    none. A move that was cut is gone on with. One that was leaving the worker where it is to be now
    is given up, unless it has been handed over: then it comes back.
    """
    return [_one(move, vm) for vm in told(vms)]


def _one(move: Move, vm: VM) -> Outcome:
    to = move.to.worker.name
    try:
        if move.to.transcript is not None:
            return _shown(move, vm)
        source = _source(move, vm)
        if source is None:
            let_in(move, vm, move.to.worker)
            return Outcome(vm.name, to, "nothing")
        if in_ovn := carried(move, vm, move.to.worker):
            rebinding.check(*in_ovn)
        return _moved(move, vm, source)
    except VmopsError as error:
        return Outcome(vm.name, to, "nothing", error=error)


def _source(move: Move, vm: VM) -> Route | None:
    """Where the VM comes from; None where it is there already. A move that is given up is."""
    to = move.to.worker.name
    routes = {to: move.to, **move.others}
    seen, errors = _look(list(routes.values()), vm)
    if to in errors:
        raise errors[to]
    sides = {name: cold.side_of(routes[name].worker, vm, each) for name, each in seen.items()}
    for name, side_there in sides.items():
        coming = side_there.mark
        is_ours = coming is not None and coming.peer == to and sides[to].mark is None
        if is_ours and coming and coming.how == "elsewhere" and _waits(side_there):
            shared.stay(move, vm, routes[name])
            return None
        if is_ours and coming and coming.how in ("expected", "receiving"):
            _stay(move, vm, routes[name])
            return None
    leaving = sides[to].mark
    if leaving is not None and leaving.how in ("leaving", "staying"):
        if leaving.peer in errors:
            raise errors[leaving.peer]
        if leaving.peer in sides and course.way_back(sides[to], sides[leaving.peer]):
            _stay(move, vm, routes[leaving.peer])
            return None
    if together.is_to_start(vm.name, sides[to], seen[to]):
        _start(move, vm)
        return None
    if there := shared.left_from(vm, to, routes, seen):
        return there
    found = course.source_of(vm.worker, to, sides)
    if found is None and not (sides[to].has or sides[to].runs):
        for error in errors.values():
            raise error
        raise NothingOfItError(
            "there is nothing of it to move: no worker runs it, or has a disk of it",
            vm=vm.name,
            cure=f"fab -H {to} launch --vm {vm.name}",
        )
    if found is None:
        return None
    if found in errors:
        raise errors[found]
    if found in sides and course.is_new(sides[found], sides[to]) and is_drained(seen[to]):
        raise WorkFailed(
            f"{to} is drained, and gets no VM",
            worker=to,
            vm=vm.name,
            cure=f"fab undrain --worker {to}",
        )
    if found not in routes:
        raise WorkFailed(
            f"it is on its way from {found}, which hosts.toml does not have",
            worker=to,
            vm=vm.name,
            cure=f"add workers.{found} to hosts.toml",
        )
    return routes[found]


def _waits(side: course.Side) -> bool:
    return side.runs and side.memory != "sent"


def _look(routes: Sequence[Route], vm: VM) -> tuple[dict[str, Observed], dict[str, VmopsError]]:
    questions = (HOST, RUNNING, MOVES, OWN_DISKS, STATUSES, DRAINED, images([vm]))

    def look(one: Group) -> Observed | VmopsError:
        try:
            return observe(one.route, questions, vms=[vm], suppose=supposed.blank)
        except VmopsError as error:
            return error

    seen: dict[str, Observed] = {}
    errors: dict[str, VmopsError] = {}
    for one, said in on_each([Group(route) for route in routes], look):
        if isinstance(said, VmopsError):
            errors[one.route.worker.name] = said
        else:
            seen[one.route.worker.name] = said
    return seen, errors


def _stay(move: Move, vm: VM, there: Route) -> None:
    """Take a move back that has not been handed over."""
    here, looks, ran = move.to, LOOKS, False
    for _ in range(_MOST_ACTS):
        seen = look_at(vm, here), look_at(vm, there)
        act = course.way_back(side(here, vm, seen[0]), side(there, vm, seen[1]))
        if act is None:
            break
        comes, goes = seen[1].moves.get(vm.name), seen[0].moves.get(vm.name)
        ran = goes is not None and goes.ran and seen[0].vm(vm.name).process is None
        if act == "give up":
            if comes is not None and comes.how == "receiving":
                plan = live.drop(there.worker, vm, seen[1])
            else:
                plan = cold.give_up(there.worker, vm, seen[1], files_of(vm, seen[0]))
            done = do(there, vm, plan, seen[1])
        else:
            plan = (cold.stay if act == "stay" else cold.settle)(here.worker, vm, seen[0])
            done = do(here, vm, plan, seen[0])
        looks -= done is None
        if not looks:
            raise outdated(vm.name, here.worker.name)
    if vm.name in look_at(vm, here).moves:
        raise outdated(vm.name, here.worker.name)
    move.tell(f"{vm.name}: it stays on {here.worker.name}")
    if ran:
        _start(move, vm)


def _moved(move: Move, vm: VM, source: Route) -> Outcome:
    ends = Ends(source.worker.name, move.to.worker.name)
    is_one_folder = together.is_one_folder(source.worker, move.to.worker)
    lives = shared if is_one_folder else going
    looks = LOOKS
    is_begun = was_paused = False
    port = vm.vnc_port
    for _ in range(_MOST_ACTS):
        seen = look_at(vm, source), look_at(vm, move.to)
        vm = as_it_is_there(move.to.worker, vm, seen[1])
        sides = side(source, vm, seen[0]), side(move.to, vm, seen[1])
        if is_one_folder:
            found = together.next_act(vm.name, ends, *seen)
        else:
            found = course.next_act(vm.name, ends, *sides)
        if found.act == "done":
            let_in(move, vm, move.to.worker)
            if vm.vnc_port != port:
                _tell_of_port(move, vm, port)
            return Outcome(vm.name, ends.destination, "move", notes=(_noted(move, vm, ends),))
        if found.act == "blocked":
            raise WorkFailed(found.why, worker=ends.destination, vm=vm.name, cure=found.cure)
        is_live = sides[0].runs and not move.cold and found.act in ("expect", "leave")
        shares = source.worker.shared_images or move.to.worker.shared_images
        cannot = bool(shares) if lives is going else carried(move, vm, move.to.worker) is not None
        if is_live and (move.tuning is None or cannot):
            raise WorkFailed(
                "it runs, and would have to be stopped to be moved",
                worker=ends.source,
                vm=vm.name,
                cure=move.stopped(vm).command,
            )
        if is_live and found.act == "expect":
            lives.check(move, vm, source, seen)
        is_begun = is_begun or not course.is_new(*sides) or _is_handed_over(vm, seen)
        if found.act == "leave":
            was_paused = seen[0].monitor_status(vm.name)[0] == qmp.PAUSED
        try:
            if is_live and found.act == "leave":
                is_done = lives.go(move, vm, source, seen)
            else:
                is_done = _act(move, vm, source, found, seen)
        except going.StayedError as stayed:
            note = f"{vm.name} goes on running on {ends.source}; nothing of the move is left"
            note += f"; with a stop: {move.stopped(vm).command}"
            return Outcome(vm.name, ends.destination, "nothing", notes=(note,), error=stayed.why)
        except VmopsError as error:
            notes = (_going_on(vm, ends),) if is_begun or found.act != "expect" else ()
            return Outcome(vm.name, ends.destination, "nothing", notes=notes, error=error)
        if found.act == "start" and was_paused:
            _pause(move, vm)
        if not is_done:
            looks -= 1
            if not looks:
                raise outdated(vm.name, source.worker.name)
    raise outdated(vm.name, source.worker.name)


def _is_handed_over(vm: VM, seen: tuple[Observed, Observed]) -> bool:
    """True where the one mark in a folder that both share says so, and of no VM that stopped."""
    found = (each.moves.get(vm.name) for each in seen)
    return any(mark is not None and mark.how in ("at", "elsewhere") and mark.ran for mark in found)


def _tell_of_port(move: Move, vm: VM, port: int | None) -> None:
    """Said when it has come: a move that is refused takes nothing from it."""
    move.tell(
        f"{vm.name}: port {port}, its vnc_port, is another's on {move.to.worker.name}:"
        " VNC has no TCP port there, and fab vnc shows it as before"
    )


def _pause(move: Move, vm: VM) -> None:
    """One that was paused does not run on unasked; its memory has gone with the stop."""
    (came,) = power.pause(move.to, [vm])
    if came.error is not None:
        raise came.error
    move.tell(f"{vm.name}: paused on {move.to.worker.name} as it was before, at its boot")


def _act(move: Move, vm: VM, source: Route, found: Next, seen: tuple[Observed, Observed]) -> bool:
    """Do one act; False where somebody has changed something since it was looked at."""
    here, there = source.worker, move.to.worker
    if together.is_one_folder(here, there) and found.act != "start":
        return shared.act(move, vm, source, found, seen)
    if found.act == "expect":
        return expect(move, vm, source, found, seen)
    if found.act == "leave":
        cold.check_leaves(here, vm, seen[0])
        # What takes long is done while it runs.
        bring_bases(move, vm, source, seen[0])
        wanted = mark("leaving", there.name, found.token, ran=found.ran)
        plan = cold.leave(here, vm, seen[0], wanted, manner=move.manner)
        done = do(source, vm, plan, seen[0])
        if done is not None and seen[0].vm(vm.name).process is not None:
            move.tell(f"{vm.name}: stopped on {here.name}")
        return done is not None
    if found.act == "bring":
        bring_bases(move, vm, source, seen[0])
        files = _bring(move, vm, source, seen)
        return do(move.to, vm, cold.take(there, vm, seen[1], files), seen[1]) is not None
    if found.act == "start":
        _start(move, vm)
        return True
    if found.act == "drop":
        again = seen[1].moves[vm.name].again
        anew = mark("expected", here.name, found.token, ran=found.ran, again=again)
        then = anew if found.token else None
        return do(move.to, vm, live.drop(there, vm, seen[1], then=then), seen[1]) is not None
    if found.act == "end":
        return do(source, vm, live.end(here, vm, seen[0]), seen[0]) is not None
    if found.act in ("switch", "wake"):
        plan = (live.switch if found.act == "switch" else live.wake)(there, vm, seen[1])
        done = do(move.to, vm, plan, seen[1])
        if done is not None:
            move.tell(f"{vm.name}: runs on {there.name}")
        return done is not None
    # A port that is still for both would be down when the first of them goes.
    let_in(move, vm, there)
    return do(source, vm, cold.clear(here, vm, seen[0]), seen[0]) is not None


def _bring(
    move: Move, vm: VM, source: Route, seen: tuple[Observed, Observed]
) -> tuple[Arriving, ...]:
    """Bring its files. Those that were taken before it was cut are there by their names."""
    from vmops.remote.image.carry import Where

    paths = files_of(vm, seen[0])
    question = disk_sums(paths)
    try:
        sums = ask(source, question)[question]
    except Unanswered as error:
        raise unreadable(source, error) from error
    taken = files_of(vm, seen[1])
    files = tuple(Arriving(path, sums[path]) for path in paths)
    if move.direct and any(file.path not in taken for file in files):
        move.tell(f"{vm.name}: by way of this machine, as --direct is for a VM that runs")
    for file in files:
        if file.path not in taken:
            carry(move, vm, source, Where(file.path, file.digest, file.folder, file.name))
    return files


def _start(move: Move, vm: VM) -> None:
    let_in(move, vm, move.to.worker)
    (came,) = lifecycle.launch(move.to, [vm], terms=move.terms)
    if came.error is not None:
        raise came.error
    move.tell(f"{vm.name}: runs on {move.to.worker.name}, PID {came.pid}")


def _noted(move: Move, vm: VM, ends: Ends) -> str:
    if vm.worker is None or vm.worker == ends.destination:
        return f"{vm.name} is on {ends.destination}"
    if not move.own_line(vm):
        return (
            f"{vm.name} is on {ends.destination}, where its tasks find it; if it is to stay:"
            f" {marks.shared_line(vm.worker)}"
        )
    return (
        f'{vm.name} is on {ends.destination}: now set worker = "{ends.destination}" in'
        f" vms.{vm.name} of hosts.toml"
    )


def _going_on(vm: VM, ends: Ends) -> str:
    return (
        f"{vm.name} is on its way from {ends.source} to {ends.destination}: the same command goes"
        f" on; or back: fab migrate --vm {vm.name} --to {ends.source}"
    )


def _shown(move: Move, vm: VM) -> Outcome:
    """What all acts would run, from the worker where hosts.toml has the VM, or another one."""
    names = [name for name in move.others if name != move.to.worker.name]
    name = vm.worker if vm.worker in names else next(iter(names), None)
    if name is None:
        return Outcome(vm.name, move.to.worker.name, "nothing")
    transcript = move.to.transcript
    assert transcript is not None, "shown only in a dry run"
    source = move.others[name]._replace(transcript=transcript)
    here, there = source.worker, move.to.worker
    runs = supposed.running(here, [vm])
    if not move.cold:
        show = shared.show if together.is_one_folder(here, there) else going.show
        return show(move, vm, source, (runs, supposed.blank(there, [vm])))
    gone = supposed.blank(here, [vm])
    none = supposed.without_disks(supposed.blank(there, [vm]), [vm], {})
    comes = mark("expected", here.name, "TOKEN", ran=True)
    leaves = mark("leaving", there.name, "TOKEN", ran=True)
    expected = none._replace(moves={vm.name: comes})
    left = gone._replace(moves={vm.name: leaves})
    paths = files_of(vm, runs)
    do(move.to, vm, cold.expect(there, vm, none, comes), none)
    do(source, vm, cold.leave(here, vm, runs, leaves, manner=move.manner), runs)
    for path in paths:
        transcript.noted(there, f"# bring {path} from {here.name}, and what it stands on")
    files = tuple(Arriving(path, "SHA256") for path in paths)
    do(move.to, vm, cold.take(there, vm, expected, files), expected)
    let_in(move, vm, there)
    do(move.to, vm, starting.launch(there, vm, supposed.blank(there, [vm])), none)
    do(source, vm, cold.clear(here, vm, left), left)
    return Outcome(vm.name, there.name, "move")
