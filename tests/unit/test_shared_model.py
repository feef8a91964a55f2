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
from vmops.core.facts.observed import Observed
from vmops.core.plan import starting
from vmops.core.plan.life import QEMU
from vmops.core.plan.moving import live, marks, together
from vmops.core.plan.moving.course import Act, Ends
from vmops.core.plan.phase import Plan
from vmops.core.plan.stopping import KILLED
from vmops.core.script.command import Batch, Block, Step
from vmops.core.tools import process, qmp
from vmops.core.tools.monitor import Heard
from vmops.errors import LaunchFailed

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
