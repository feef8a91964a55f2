"""A VM whose disks two workers share: every order of launches, moves, cuts and late scripts.

What is decided, and which steps follow, is told by the very functions that tasks ask; what the
steps do to the one mark is written down here. Every state that can be reached is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, NamedTuple

import pytest

from vmops.core.devices.storage import moving, shared
from vmops.core.devices.storage.folder import DiskFile, DiskFolder
from vmops.core.facts.observed import Observed
from vmops.core.images.names import FOLDER
from vmops.core.plan import starting, stopping
from vmops.core.plan.life import QEMU
from vmops.core.plan.moving import together
from vmops.core.plan.moving.course import Ends
from vmops.core.plan.placement.home import belongs, home
from vmops.core.plan.stopping import KILLED
from vmops.core.plan.upkeep import disks
from vmops.core.script.command import Batch, Block, Step
from vmops.core.tools import process
from vmops.errors import LaunchFailed, VmopsError, WorkFailed

from .test_disk import WEB, world
from .worlds import EMPTY, VM1, WORKER, running

NAMES = ("worker1", "worker2")
WORKERS = {n: replace(WORKER, name=n, shared_images="nas") for n in NAMES}
STORE = frozenset({"nas"})

Deed = Literal["claim", "write", "start", "end"]


class Late(NamedTuple):
    """What was decided on and is not yet done: on which worker, what it does, with the texts of
    marks, and what has to hold still: the mark that was seen, and that the VM does not run."""

    worker: str
    seen: str | None
    idle: bool
    deeds: tuple[tuple[Deed, str], ...]


class World(NamedTuple):
    mark: str = ""
    runs: frozenset[str] = frozenset()
    late: frozenset[Late] = frozenset()

    def observed(self, worker: str) -> Observed:
        before = running() if worker in self.runs else EMPTY
        marks = dict([moving.read(f"vm1 {self.mark}")]) if self.mark else {}
        return before._replace(moves=shared.as_seen(worker, marks), stores=STORE)


def deeds(steps: tuple[Step | Batch, ...]) -> Iterator[tuple[Deed, str]]:
    """What the steps of a plan do, as far as it matters here."""
    flat = [each.together if isinstance(each, Batch) else each for each in steps]
    for step in flat:
        for words in (entry.words() for entry in step.commands):
            if words[0] == "claim_mark":
                yield "claim", words[2]
            elif words[0] == "write_mark":
                yield "write", words[2]
            elif words[0] == "end_process":
                yield "end", ""
        if step.label == QEMU:
            yield "start", ""


def late(name: str, world: World, block: Block, does: tuple[tuple[Deed, str], ...]) -> Late:
    same_mark = moving.guard("vm1", world.observed(name).moves) in block.guards
    idle = process.not_running("vm1") in block.guards
    return Late(name, world.mark if same_mark else None, idle, does)


def decided(world: World) -> Iterator[Late]:
    """All that anybody may decide on in this state."""
    for name, worker in WORKERS.items():
        seen = world.observed(name)
        if name not in world.runs:
            try:
                plan = starting.launch(worker, VM1, seen)
            except LaunchFailed:
                pass
            else:
                assert plan.block is not None
                assert plan.block.steps
                yield late(name, world, plan.block, tuple(deeds(plan.block.steps)))
        other = next(each for each in NAMES if each != name)
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
            ends: tuple[tuple[Deed, str], ...] = (("end", ""),) if name in world.runs else ()
            rest = tuple(each for each in done if each[0] != "end")
            yield late(name, world, plan.block, (*ends, *rest))


def carried_out(world: World, job: Late) -> Iterator[World]:
    """The states in which it may end: not begun, cut behind any of its deeds, or done."""
    rest = world._replace(late=world.late - {job})
    yield rest
    if job.seen not in (None, world.mark) or (job.idle and job.worker in world.runs):
        return
    now = rest
    for deed, text in job.deeds:
        if deed == "claim":
            now = now._replace(mark=now.mark or text)
            if now.mark != text:
                return
        elif deed == "write":
            assert job.worker not in now.runs, "a mark is changed under a QEMU that runs"
            now = now._replace(mark=text)
        elif deed == "end":
            now = now._replace(runs=now.runs - {job.worker})
        else:
            now = now._replace(runs=now.runs | {job.worker})
        yield now


def test_no_order_of_acts_lets_it_run_twice() -> None:
    first = World()
    todo, known = [first], {first}
    while todo:
        world = todo.pop()
        assert len(world.runs) < 2, world
        for name in world.runs:
            assert moving.read(f"vm1 {world.mark}")[1].peer == name, "it runs where it is not"
        after = [world._replace(runs=world.runs - {name}) for name in world.runs]
        for job in world.late:
            after.extend(carried_out(world, job))
        fresh = list(decided(world))
        assert world.runs or fresh, f"nobody may go on: {world}"
        if len(world.late) < 3:
            after.extend(world._replace(late=world.late | {each}) for each in fresh)
        new = set(after) - known
        known |= new
        todo.extend(new)
    assert len(known) > 500
    assert {each.runs for each in known} >= {frozenset({name}) for name in NAMES}


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
    marks = shared.as_seen("worker1", {"vm1": shared.at(worker, ran=ran)})
    folder = DiskFolder(1 << 40, {file.file: file})
    return world(1 << 31)._replace(moves=marks, stores=STORE, folder=folder)


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
