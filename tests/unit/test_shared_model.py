"""A VM whose disks two workers share: every order of launches, moves, live and not, cuts and late
scripts.

What is decided, and which steps follow, is told by the very functions that tasks ask; what the
steps do to the one mark is written down here. Every state that can be reached is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Literal, NamedTuple

import pytest

from vmops.core.devices.live import mirror
from vmops.core.devices.live.mirror import Tuning
from vmops.core.devices.storage import moving, shared
from vmops.core.devices.storage.folder import DiskFile, DiskFolder
from vmops.core.facts.observed import Observed
from vmops.core.images.names import FOLDER
from vmops.core.plan import starting, stopping
from vmops.core.plan import status as statuses
from vmops.core.plan.life import KILL, QEMU
from vmops.core.plan.moving import live, marks, together
from vmops.core.plan.moving.course import Act, Ends
from vmops.core.plan.phase import Plan
from vmops.core.plan.placement.home import belongs, home, is_there
from vmops.core.plan.stopping import KILLED
from vmops.core.plan.upkeep import disks
from vmops.core.script.command import Batch, Block, Step
from vmops.core.tools import process, qmp
from vmops.core.tools.monitor import Heard
from vmops.errors import LaunchFailed, VmopsError, WorkFailed
from vmops.ops.vm.changes import but_what_is_still
from vmops.ops.vm.status import Survey, merged

from .test_disk import WEB, world
from .worlds import EMPTY, VM1, WORKER, running

NAMES = ("worker1", "worker2")
WORKERS = {n: replace(WORKER, name=n, shared_images="nas") for n in NAMES}
STORE = frozenset({"nas"})

Deed = Literal["claim", "write", "start", "wait", "send", "run on", "drop", "end"]

How = Literal["", "runs", "waits", "loaded", "sent"]
"""What a worker's QEMU of the VM does: its guest runs, it waits for memory, it has all of it, or it
has sent it. The guest of the last three stands still."""

STATUS: dict[How, str] = {
    "runs": qmp.RUNNING,
    "waits": "inmigrate",
    "loaded": qmp.PAUSED,
    "sent": qmp.SENT,
}


class Late(NamedTuple):
    """What was decided on and is not yet done: on which worker, what it does, with the texts of
    marks, and what has to hold still: the mark that was seen, and that the VM does not run, or does
    as it did."""

    worker: str
    seen: str | None
    idle: bool
    busy: bool
    deeds: tuple[tuple[Deed, str], ...]


class World(NamedTuple):
    mark: str = ""
    qemus: tuple[How, How] = ("", "")
    late: frozenset[Late] = frozenset()

    def how(self, worker: str) -> How:
        return self.qemus[NAMES.index(worker)]

    def having(self, worker: str, how: How) -> World:
        mine = NAMES.index(worker)
        first, second = (how if n == mine else each for n, each in enumerate(self.qemus))
        return self._replace(qemus=(first, second))

    @property
    def runs(self) -> frozenset[str]:
        return frozenset(name for name in NAMES if self.how(name) == "runs")

    def observed(self, worker: str) -> Observed:
        before = seen_with(self.how(worker))
        found = dict([moving.read(f"vm1 {self.mark}")]) if self.mark else {}
        return before._replace(moves=shared.as_seen(worker, found), stores=STORE)


@cache
def seen_with(how: How) -> Observed:
    if not how:
        return EMPTY
    seen = running()
    mine = seen.vms["vm1"]
    assert mine.process is not None
    if how in ("waits", "loaded"):
        argv = (*mine.process.argv, "-incoming", "defer")
        mine = mine._replace(process=mine.process._replace(argv=argv))
    heard = Heard("vm1", answers=({"status": STATUS[how]},))
    return seen._replace(vms={"vm1": mine}, monitors={"vm1": heard})


def other_of(name: str) -> str:
    return next(each for each in NAMES if each != name)


def deeds(steps: tuple[Step | Batch, ...]) -> Iterator[tuple[Deed, str]]:
    """What the steps of a plan do, as far as it matters here."""
    flat = [each.together if isinstance(each, Batch) else each for each in steps]
    waits = any(step.label == mirror.WAIT for step in flat)
    for step in flat:
        if step.label == mirror.HAND_OVER:
            yield "send", ""
        elif step.label == mirror.RUN_ON:
            yield "run on", ""
        for words in (entry.words() for entry in step.commands):
            if words[0] == "claim_mark":
                yield "claim", words[2]
            elif words[0] == "write_mark":
                yield "write", words[2]
            elif words[0] == "end_process":
                yield "end", ""
        if step.label == QEMU:
            yield ("wait" if waits else "start"), ""


def late(name: str, world: World, block: Block, does: tuple[tuple[Deed, str], ...]) -> Late:
    seen = world.observed(name)
    same_mark = moving.guard("vm1", seen.moves) in block.guards
    idle = process.not_running("vm1") in block.guards
    found = seen.vm("vm1").process
    busy = found is not None and process.still_running("vm1", found) in block.guards
    return Late(name, world.mark if same_mark else None, idle, busy, does)


def of(name: str, world: World, plan: Plan) -> Late:
    assert plan.block is not None
    found = tuple(deeds(plan.block.steps))
    if plan.block.change == "give up":
        found = tuple(("drop", text) for _, text in found)
    return late(name, world, plan.block, found)


def live_acts(world: World, ends: Ends, act: Act) -> Iterator[Late]:
    """What a live move does in this state, and what goes on with one that was cut."""
    here, there = ends
    seen, seen_there = world.observed(here), world.observed(there)
    if act == "leave" and world.how(here) == "runs":
        yield of(there, world, together.receive(WORKERS[there], VM1, seen_there, seen))
    elif act == "drop":
        yield of(there, world, together.drop(WORKERS[there], VM1, seen_there))
        # Whoever has begun it goes on, too.
        if (world.how(here), world.how(there)) == ("runs", "waits"):
            plan = together.hand_over_live(WORKERS[here], VM1, seen, to=there, tuning=Tuning())
            yield of(here, world, plan)
        if world.how(here) == "sent":
            yield of(here, world, together.back_to_life(WORKERS[here], VM1, seen))
    elif act == "end":
        yield of(here, world, live.end(WORKERS[here], VM1, seen))
    elif act == "wake":
        yield of(there, world, together.wake(WORKERS[there], VM1, seen_there))


@cache
def fresh(world: World) -> tuple[Late, ...]:
    return tuple(decided(world))


def decided(world: World) -> Iterator[Late]:
    """All that anybody may decide on in this state, in which nothing is late."""
    for name, worker in WORKERS.items():
        seen = world.observed(name)
        if not world.how(name):
            try:
                plan = starting.launch(worker, VM1, seen)
            except LaunchFailed:
                pass
            else:
                assert plan.block is not None
                assert plan.block.steps
                yield late(name, world, plan.block, tuple(deeds(plan.block.steps)))
        other = other_of(name)
        # `fab migrate` from here to the other one.
        found = together.next_act("vm1", Ends(name, other), seen, world.observed(other))
        if found.act == "expect":
            steps = together.claim(worker, VM1).block
            assert steps is not None
            yield late(name, world, steps, tuple(deeds(steps.steps)))
        elif found.act == "leave":
            plan = together.hand_over(worker, VM1, seen, to=other, ran=found.ran, manner=KILLED)
            assert plan.block is not None
            done = tuple(deeds(plan.block.steps))
            ends: tuple[tuple[Deed, str], ...] = (("end", ""),) if world.how(name) else ()
            rest = tuple(each for each in done if each[0] != "end")
            yield late(name, world, plan.block, (*ends, *rest))
        yield from live_acts(world, Ends(name, other), found.act)


def carried_out(world: World, job: Late) -> Iterator[World]:
    """The states in which it may end: not begun, cut behind any of its deeds, or done."""
    rest = world._replace(late=world.late - {job})
    yield rest
    mine = world.how(job.worker)
    if job.seen not in (None, world.mark) or (job.idle and mine) or (job.busy and not mine):
        return
    now, other = rest, other_of(job.worker)
    for deed, text in job.deeds:
        mine = now.how(job.worker)
        if deed == "claim":
            now = now._replace(mark=now.mark or text)
            if now.mark != text:
                return
        elif deed == "write":
            told = moving.read(f"vm1 {text}")[1].peer
            assert mine != "runs" or told == job.worker, "given away under a guest that runs"
            now = now._replace(mark=text)
        elif deed == "send":
            if mine != "runs" or now.how(other) != "waits":
                return
            now = now.having(job.worker, "sent").having(other, "loaded")
        elif deed == "run on":
            if mine == "waits":
                return
            now = now.having(job.worker, "runs")
        else:
            assert deed != "drop" or mine != "runs", "a guest that runs is no leftover"
            after: dict[Deed, How] = {"drop": "", "end": "", "start": "runs", "wait": "waits"}
            now = now.having(job.worker, after[deed])
        yield now


def is_said_to_be_still(world: World, name: str) -> bool:
    return marks.is_still_there("vm1", world.observed(name))


def test_no_order_of_acts_lets_it_run_twice() -> None:
    first = World()
    todo, known = [first], {first}
    while todo:
        world = todo.pop()
        assert len(world.runs) < 2, world
        for name in world.runs:
            assert moving.read(f"vm1 {world.mark}")[1].peer == name, "it runs where it is not"
        told = {name for name in NAMES if world.how(name) and not is_said_to_be_still(world, name)}
        assert len(told) < 2, f"it is said to run twice: {world}"
        assert told >= world.runs, f"it runs, and is said to stand still: {world}"
        after = [world.having(name, "") for name in NAMES if world.how(name)]
        for job in world.late:
            after.extend(carried_out(world, job))
        deciding = fresh(world._replace(late=frozenset()))
        assert world.runs or deciding, f"nobody may go on: {world}"
        if len(world.late) < 3:
            after.extend(world._replace(late=world.late | {each}) for each in deciding)
        new = set(after) - known
        known |= new
        todo.extend(new)
    assert len(known) > 500
    assert {each.runs for each in known} >= {frozenset({name}) for name in NAMES}
    assert {each.qemus for each in known} >= {("sent", "loaded"), ("", "loaded"), ("sent", "runs")}


@pytest.mark.parametrize(
    "mark", ["", *(shared.at(n, ran=r).text for n in NAMES for r in (False, True))]
)
@pytest.mark.parametrize("ends", [Ends(*NAMES), Ends(*reversed(NAMES))])
def test_from_everywhere_it_comes_to_where_it_is_wanted(mark: str, ends: Ends) -> None:
    """`fab migrate` goes on from what any cut has left, with the same command."""
    for _ in range(3):
        seen = [World(mark).observed(name) for name in ends]
        found = together.next_act("vm1", ends, *seen)
        if found.act == "expect":
            mark = shared.at(ends.source).text
        elif found.act == "leave":
            mark = shared.at(ends.destination, ran=found.ran).text
    assert found.act == ("start" if found.ran else "done")
    assert moving.read(f"vm1 {mark}")[1].peer == ends.destination


def at(worker: str, *, ran: bool = False) -> Observed:
    """A stopped VM with a disk of its own, whose mark says that it is at that worker, seen by
    worker1."""
    file = DiskFile("disk-vm1-root.qcow2", "vm1", "root", "qcow2", 0, 0)
    seen = shared.as_seen("worker1", {"vm1": shared.at(worker, ran=ran)})
    folder = DiskFolder(1 << 40, {file.file: file})
    return world(1 << 31)._replace(moves=seen, stores=STORE, folder=folder)


def test_the_other_worker_neither_starts_it_nor_removes_its_disks() -> None:
    seen = at("worker2")
    with pytest.raises(LaunchFailed, match="it is at worker2, with which worker1 shares") as told:
        starting.launch(WORKERS["worker1"], WEB, seen)
    assert "fab migrate --vm vm1 --to worker1" in str(told.value)
    with pytest.raises(WorkFailed, match="it is at worker2"):
        stopping.destroy(WORKERS["worker1"], WEB, seen)
    with pytest.raises(WorkFailed, match="it is at worker2"):
        disks.reset(WORKERS["worker1"], WEB, seen)
    assert home(WEB, seen) == ""
    assert not belongs(WEB, "worker1", seen)
    mine = at("worker1")
    assert home(WEB, mine)
    assert belongs(WEB, "worker1", mine)
    gone = stopping.destroy(WORKERS["worker1"], WEB, mine)
    assert gone.block is not None
    assert [step.label for step in gone.block.numbered()][-1] == moving.UNMARK
    assert any("mark_is" in guard.words() for guard in gone.block.guards)


def test_a_folder_that_is_not_the_one_starts_nothing() -> None:
    """What is not mounted looks like a folder without disks: a VM would get a new, empty one."""
    mine = at("worker1")
    cases: tuple[tuple[set[str], str], ...] = (
        (set(), "does not see the shared folder nas"),
        ({"a", "nas"}, "several"),
    )
    for stores, words in cases:
        seen = mine._replace(stores=frozenset(stores))
        with pytest.raises(LaunchFailed, match=words):
            starting.launch(WORKERS["worker1"], WEB, seen)
    with pytest.raises(LaunchFailed, match="is the shared folder nas, and hosts"):
        starting.launch(WORKER, WEB, mine)


def test_two_that_see_different_marks_move_nothing() -> None:
    ends = Ends(*NAMES)
    found = together.next_act(
        "vm1", ends, World(shared.at("worker1").text).observed("worker1"), EMPTY
    )
    assert found.act == "blocked"
    assert "does not see in ~/vm_images what worker1 sees" in found.why


def test_where_disks_are_not_seen_a_vm_does_not_come() -> None:
    with pytest.raises(VmopsError, match="it does not see"):
        together.check_comes(
            WORKERS["worker2"], WEB, world()._replace(stores=STORE), at("worker1"), starts=False
        )


def test_a_first_start_claims_and_a_failed_one_lets_go() -> None:
    plan = starting.launch(WORKERS["worker1"], VM1, EMPTY._replace(stores=STORE))
    assert plan.block is not None
    first = plan.block.numbered()[0]
    text = shared.at("worker1").text
    path = f"{FOLDER}/moving-vm1"
    assert [entry.words() for entry in first.commands] == [("claim_mark", path, text)]
    assert [entry.words() for entry in first.undo] == [("drop_claim", path, text)]
    alone = starting.launch(WORKER, VM1, EMPTY._replace(stores=frozenset()))
    assert alone.block is not None
    assert shared.CLAIM not in [step.label for step in alone.block.numbered()]


def test_one_that_runs_is_handed_over_when_its_memory_was_sent_and_runs_when_all_has_come() -> None:
    seen, there = World(shared.at("worker1").text, ("runs", "waits")), WORKERS["worker2"]
    plan = together.hand_over_live(
        WORKERS["worker1"], VM1, seen.observed("worker1"), to="worker2", tuning=Tuning()
    )
    assert plan.block is not None
    assert [step.label for step in plan.block.numbered()] == [mirror.HAND_OVER, moving.MARK, KILL]
    came = World(shared.at("worker2", ran=True).text, ("", "loaded")).observed("worker2")
    plan = together.switch(there, VM1, came)
    assert plan.block is not None
    first, *rest = plan.block.numbered()
    assert b"nbd" not in b"".join(entry.stdin or b"" for entry in first.commands)
    assert [step.label for step in rest] == [mirror.RUN_ON, moving.MARK]


def test_a_qemu_that_waits_is_none_that_is_at_home() -> None:
    mark = shared.at("worker1").text
    waits = World(mark, ("runs", "waits"))
    assert is_there("vm1", waits.observed("worker1"))
    assert not is_there("vm1", waits.observed("worker2"))
    assert not belongs(VM1, "worker2", waits.observed("worker2"))


GO_ON = "if nobody moves it now, to go on: fab migrate --vm vm1 --to worker2"
COMES = f"vm1: it is on its way from worker1 to worker2; {GO_ON}"
BACK = "or back: fab migrate --vm vm1 --to worker1"
GOES = (
    f"vm1: it is on its way to worker2, with which worker1 shares the folder of its disks; {GO_ON}"
)
CAME = f"vm1: it has come to worker2, and was not started there yet; {GO_ON}"
HERE, THERE = shared.at("worker1").text, shared.at("worker2", ran=True).text


def told(world: World) -> tuple[list[tuple[str, str]], str]:
    """What `status` says of the VM when both workers are asked: the rows, and the notes."""
    surveys = []
    for name, worker in WORKERS.items():
        seen = world.observed(name)
        row = statuses.of(worker, VM1, seen)
        if row.pid is not None:
            row = row._replace(state=qmp.state_of(seen.monitor_status("vm1")[0]))
        surveys.append(Survey((row,), marks.notes("vm1", name, seen)))
    found = merged(surveys)
    return [(row.worker, row.state) for row in found.vms], "\n".join(found.notes)


@pytest.mark.parametrize(
    ("mark", "qemus", "rows", "notes"),
    [
        pytest.param(
            HERE, ("runs", "waits"), [("worker1", "running")], f"{COMES}; {BACK}", id="waits"
        ),
        pytest.param(
            HERE, ("sent", "loaded"), [("worker1", "paused")], f"{COMES}; {BACK}", id="all-has-come"
        ),
        pytest.param(HERE, ("", "waits"), [("worker1", "stopped")], f"{COMES}; {BACK}", id="ended"),
        pytest.param(
            THERE, ("sent", "loaded"), [("worker2", "paused")], f"{GOES}\n{CAME}", id="handed-over"
        ),
        pytest.param(
            THERE, ("sent", "runs"), [("worker2", "running")], f"{GOES}\n{CAME}", id="runs-on"
        ),
    ],
)
def test_one_that_is_on_its_way_is_said_once_and_how_to_go_on(
    mark: str, qemus: tuple[How, How], rows: list[tuple[str, str]], notes: str
) -> None:
    assert told(World(mark, qemus)) == (rows, notes)


def test_one_that_runs_on_both_is_said_twice() -> None:
    """Its mark was removed by hand, as one of the two workers was taken for lost."""
    world = World(HERE, ("runs", "runs"))
    rows, notes = told(world)
    assert rows == [("worker1", "running"), ("worker2", "running")]
    assert "vm1 runs on worker1 and on worker2; to end one: fab -H worker2 stop" in notes
    seen = world.observed("worker2").vm("vm1")
    assert seen.process is not None
    came = seen._replace(process=seen.process._replace(argv=(*seen.process.argv, "-incoming")))
    elsewhere = world.observed("worker2").moves["vm1"]
    assert marks.is_still(came, elsewhere)
    assert not marks.is_still(came, elsewhere, qmp.RUNNING)
    assert not marks.is_still(came, None)


@pytest.mark.parametrize("how", ["receiving", "at"])
def test_who_starts_or_looks_is_not_told_that_one_which_waits_runs(how: moving.How) -> None:
    """`up`, `plan` and `launch` ask the other workers for what runs there."""
    ran = World(HERE, ("runs", "waits")).observed("worker2").vms
    found = {"vm1": moving.mark(how, "worker1", "t")}
    assert but_what_is_still("worker2", ran, found) == {}
    assert but_what_is_still("worker2", ran, {}) == ran
    runs = World(HERE, ("runs", "waits")).observed("worker1").vms
    assert but_what_is_still("worker1", runs, {"vm1": shared.at("worker1")}) == runs
