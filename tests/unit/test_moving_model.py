"""A move of a VM in every order of its acts, cuts, crashes, launches and late scripts.

What is next is told by the very functions that `fab migrate` asks; what an act does to the two
workers is written down here, step by step. Every state that can be reached is looked at. That the
real plans do the same steps in the same order is held by the last tests.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.core.devices.storage import moving
from vmops.core.devices.storage.folder import DiskFile, DiskFolder
from vmops.core.devices.storage.moving import Arriving, How, Mark, mark
from vmops.core.facts.images import MOVES
from vmops.core.facts.observed import Observed
from vmops.core.plan import starting, stopping
from vmops.core.plan.moving import cold, marks
from vmops.core.plan.moving.course import Ends, Side, next_act, way_back
from vmops.core.plan.phase import Plan
from vmops.core.plan.stopping import KILLED, Manner
from vmops.core.plan.upkeep import disks
from vmops.errors import LaunchFailed, UnexpectedOutput, WorkFailed

from .worlds import EMPTY, VM1, WORKER, running

S, D = "worker1", "worker2"
ENDS = Ends(S, D)
MOST_BOOTS = 2
"""Each writes to the disks: what is on them then is another version."""


MOST_MOVES = 2


class World(NamedTuple):
    """Two workers and a VM of two disks. `disks` are versions of their content, None where there is
    none; `arrived` is what has come to D and has no name yet: disk and version."""

    runs: tuple[bool, bool] = (True, False)
    disks: tuple[tuple[int | None, int | None], tuple[int | None, int | None]] = (
        (0, 0),
        (None, None),
    )
    marks: tuple[Mark | None, Mark | None] = (None, None)
    arrived: frozenset[tuple[int, int]] = frozenset()
    newest: int = 0
    moves: int = 0

    def side(self, at: int) -> Side:
        has = any(version is not None for version in self.disks[at])
        return Side(self.runs[at], has, self.marks[at])

    def startable(self, at: int) -> bool:
        return self.side(at).may_start and self.side(at).has

    def put(self, at: int, **change: object) -> World:
        """The same with `runs`, `disks` or `marks` of one worker changed."""
        values = {}
        for key, value in change.items():
            both = list(getattr(self, key))
            both[at] = value
            values[key] = tuple(both)
        return self._replace(**values)  # type: ignore[arg-type]


AT_SOURCE = ("leave", "clear", "stay", "settle")
"""Acts that are done at the source; all others are done at the destination."""


class Late(NamedTuple):
    """An act that somebody has decided on and not done yet: the mark that he saw where it is to be
    done, and what he has read."""

    act: str
    saw: Mark | None
    token: str = ""
    ran: bool = False
    version: int = 0


def decided(world: World, *, who: str = "move") -> Iterator[Late]:
    """What `fab migrate --to D` and `--to S` do next in this world."""
    found = next_act("vm1", ENDS, world.side(0), world.side(1))
    begins = found.act == "expect" and not found.token
    if found.act in ("expect", "leave", "start", "clear", "bring") and not (
        begins and world.moves == MOST_MOVES
    ):
        version = world.disks[0][0] or 0
        at = world.marks[0 if found.act in AT_SOURCE else 1]
        token = found.token or f"{who}{world.moves + 1}"
        yield Late(found.act, at, token, found.ran, version)
    back = way_back(world.side(0), world.side(1))
    if back is not None:
        yield Late(back, world.marks[0 if back in AT_SOURCE else 1])


def steps(world: World, late: Late) -> Iterator[World]:
    """The worlds behind each step of the act, if its guards hold; a cut may leave any of them. A
    block holds the VM's lock on its worker, so nothing comes in between."""
    at = 0 if late.act in AT_SOURCE else 1
    if late.act != "start" and world.marks[at] != late.saw:
        return
    if late.act not in ("leave", "start") and world.runs[at]:
        return
    match late.act:
        case "expect":
            if not world.side(1).has:
                comes = mark("expected", S, late.token, ran=late.ran)
                moves = max(world.moves, int(late.token[-1]))
                yield world.put(1, marks=comes)._replace(moves=moves)
        case "leave":
            yield (world := world.put(0, runs=False))
            yield world.put(0, marks=mark("leaving", D, late.token, ran=late.ran))
        case "bring":
            # It reads the disks when it comes to it, and takes them when all have come.
            for disk in (0, 1):
                if world.disks[1][disk] is None:
                    world = world._replace(arrived=world.arrived | {(disk, late.version)})
                yield world
        case "take":
            for disk in (0, 1):
                named = list(world.disks[1])
                has_come = (disk, late.version) in world.arrived
                if not has_come and named[disk] is None:
                    return
                if named[disk] is None:
                    named[disk] = late.version
                world = world.put(1, disks=tuple(named))
                world = world._replace(arrived=world.arrived - {(disk, late.version)})
                yield world
            yield (world := world._replace(arrived=frozenset()))
            yield world.put(1, marks=None)
        case "start":
            yield from booted(world, 1)
        case "clear":
            yield (world := world.put(0, disks=(None, world.disks[0][1])))
            yield (world := world.put(0, disks=(None, None)))
            yield world.put(0, marks=mark("left", D, late.token))
        case "give up":
            yield (world := world.put(1, disks=(None, world.disks[1][1])))
            yield (world := world.put(1, disks=(None, None))._replace(arrived=frozenset()))
            yield world.put(1, marks=None)
        case "stay":
            assert late.saw is not None
            yield world.put(0, marks=mark("staying", D, late.saw.token, ran=late.saw.ran))
        case "settle":
            yield world.put(0, marks=None)


def booted(world: World, at: int) -> Iterator[World]:
    """Launched by whoever likes: allowed where there is no mark."""
    if world.startable(at) and not world.runs[at] and world.newest < MOST_BOOTS:
        newest = world.newest + 1
        yield world.put(at, runs=True, disks=(newest, newest))._replace(newest=newest)


State = tuple[World, Late | None]


def after(state: State) -> Iterator[State]:
    """All that can happen next. One operator may be late with an act; others come meanwhile."""
    world, late = state
    if late is None:
        yield from ((world, one) for one in decided(world, who="late"))
    for next_late in decided(world):
        for cut in steps(world, next_late):
            yield cut, late
            if next_late.act == "bring":
                take = next_late._replace(act="take", saw=world.marks[1])
                yield from ((took, late) for took in steps(cut, take))
    if late is not None:
        done = list(steps(world, late))
        yield from ((cut, None) for cut in done)
        yield world, None
        if late.act == "bring" and done:
            yield done[-1], late._replace(act="take")
    for at in (0, 1):
        yield from ((new, late) for new in booted(world, at))
        if world.runs[at]:
            yield world.put(at, runs=False), late


def reachable() -> set[State]:
    begun: list[State] = [(World(), None), (World(runs=(False, False)), None)]
    found = set(begun)
    while begun:
        for state in after(begun.pop()):
            if state not in found:
                found.add(state)
                begun.append(state)
    return found


STATES = reachable()
WORLDS = {world for world, _ in STATES}


def test_there_is_something_to_look_at() -> None:
    assert len(WORLDS) > 100
    assert any(world.disks == ((None, None), (1, 1)) for world in WORLDS)
    assert {late.act for _, late in STATES if late} >= {"expect", "leave", "bring", "take", "clear"}


def test_never_do_two_run_or_may_two_be_started() -> None:
    for world in WORLDS:
        assert not all(world.runs), world
        assert not (world.startable(0) and world.startable(1)), world
        assert not any(world.runs[at] and world.marks[at] is not None for at in (0, 1)), world


def test_what_may_be_started_is_whole_and_the_newest() -> None:
    for world in WORLDS:
        for at in (0, 1):
            if world.startable(at):
                assert set(world.disks[at]) == {world.newest}, world


def test_the_newest_is_somewhere_in_one_piece() -> None:
    for world in WORLDS:
        whole = {world.disks[at][0] for at in (0, 1) if len(set(world.disks[at])) == 1}
        assert world.newest in whole, world


def test_where_it_may_be_started_nowhere_a_mark_says_how_to_go_on() -> None:
    for world in WORLDS:
        if world.startable(0) or world.startable(1):
            continue
        found = [(n, m) for n, m in zip((S, D), world.marks, strict=True) if m is not None]
        assert any("fab migrate --vm vm1 --to" in marks.said("vm1", *each)[1] for each in found)


def carried_out(world: World, *acts: str) -> World:
    """What becomes of it when the same command is typed again and again, without a cut."""
    for _ in range(12):
        todo = [late for late in decided(world) if late.act in acts]
        if not todo:
            return world
        (late,) = todo
        done = list(steps(world, late))
        if late.act == "bring":
            done += steps(done[-1], late._replace(act="take"))
        if not done:
            return world
        world = done[-1]
    raise AssertionError(f"it never ends: {world}")


def test_the_same_command_brings_every_move_to_its_end() -> None:
    for world in WORLDS:
        end = carried_out(world, "expect", "leave", "bring", "start", "clear")
        found = next_act("vm1", ENDS, end.side(0), end.side(1))
        if way_back(end.side(0), end.side(1)) is not None:
            assert "--to worker1" in found.cure, (world, end, found)
            continue
        limit = found.act == "start" and end.newest == MOST_BOOTS
        begins = found.act == "expect" and end.moves == MOST_MOVES
        assert found.act == "done" or limit or begins, (world, end, found)
        assert end.startable(0 if begins else 1), (world, end)


def test_a_move_that_was_not_handed_over_can_be_given_up() -> None:
    for world in WORLDS:
        if way_back(world.side(0), world.side(1)) is not None:
            end = carried_out(world, "stay", "give up", "settle")
            assert end.startable(0), (world, end)
            assert not end.side(1).has, (world, end)
            assert end.marks[0] is None, (world, end)


# That the plans do what the model says, in that order, behind these guards


COMES, LEAVES = mark("expected", S, "t", ran=True), mark("leaving", D, "t", ran=True)
IS = "mark_is ~/vm_images/.vmops/moving-vm1"
DISK = VM1.qcow_image


def words_of(plan: Plan) -> list[str]:
    """Every command of the plan, but what ends QEMU and unplugs."""
    assert plan.block is not None
    return [
        " ".join(entry.words())
        for step in plan.block.numbered()
        for entry in step.commands
        if entry.words()[0] in CHANGES
    ]


CHANGES = ("write_mark", "drop_mark", "take_disk", "remove_arrived", "remove_disk", "end_process")


def guards_of(plan: Plan) -> list[str]:
    assert plan.block is not None
    return [" ".join(entry.words()) for entry in plan.block.guards]


def test_the_destination_expects_what_it_has_nothing_of() -> None:
    plan = cold.expect(WORKER, VM1, EMPTY, COMES)
    assert words_of(plan) == [f"write_mark ~/vm_images/.vmops/moving-vm1 {COMES.text}"]
    assert guards_of(plan) == ["not_running vm1", f"{IS} ", f"no_disk {DISK}"]


def test_the_source_is_marked_when_its_qemu_has_ended() -> None:
    plan = cold.leave(WORKER, VM1, running(), LEAVES, manner=KILLED)
    assert words_of(plan)[-1] == f"write_mark ~/vm_images/.vmops/moving-vm1 {LEAVES.text}"
    assert f"{IS} " in guards_of(plan)
    assert plan.block is not None
    ends = [step.label for step in (*plan.block.before, *plan.block.numbered())]
    assert ends.index("SIGKILL") < ends.index(moving.MARK) == len(ends) - 1


def test_the_last_that_a_taking_does_is_to_remove_the_mark() -> None:
    plan = cold.take(WORKER, VM1, EMPTY._replace(moves={"vm1": COMES}), [Arriving(DISK, "5")])
    assert words_of(plan) == [
        f"take_disk ~/arrived-5-vm1.qcow2 {DISK}",
        f"remove_arrived {DISK}",
        "drop_mark ~/vm_images/.vmops/moving-vm1",
    ]
    assert guards_of(plan) == ["not_running vm1", f"{IS} {COMES.text}"]


def test_disks_go_before_the_mark_says_so_and_never_a_qcow_image() -> None:
    own = "disk-vm1-data.raw"
    folder = DiskFolder(files={own: DiskFile(own, "vm1", "data", "raw", 1, 1)})
    seen = EMPTY._replace(moves={"vm1": LEAVES}, folder=folder)
    gone = mark("left", D, "t")
    plan = cold.clear(WORKER, VM1, seen)
    removed = f"remove_disk ~/vm_images/.vmops/{own}"
    assert words_of(plan) == [removed, f"write_mark ~/vm_images/.vmops/moving-vm1 {gone.text}"]
    assert guards_of(plan) == ["not_running vm1", f"{IS} {LEAVES.text}"]
    back = cold.give_up(WORKER, VM1, seen._replace(moves={"vm1": COMES}), [DISK, f"~/{own}"])
    assert "remove_disk" not in "".join(words_of(back))
    assert words_of(back)[-1].startswith("drop_mark")


@pytest.mark.parametrize("how", ["leaving", "staying", "left", "expected", "unreadable"])
def test_nothing_starts_a_vm_with_a_mark(how: How) -> None:
    seen = EMPTY._replace(moves={"vm1": mark(how, D, "t")})
    for plan in (starting.launch, starting.launch_bare, starting.boot):
        with pytest.raises(LaunchFailed, match=r"worker2|cannot be read"):
            plan(WORKER, VM1, seen)
    if how != "left":
        with pytest.raises(WorkFailed, match=r"worker2|cannot be read"):
            stopping.destroy(WORKER, VM1, seen)
        with pytest.raises(WorkFailed, match=r"worker2|cannot be read"):
            disks.reset(WORKER, VM1, seen)


@pytest.mark.parametrize("seen", [EMPTY, running()], ids=["stopped", "running"])
def test_disks_stay_of_a_vm_that_was_moved_or_suspended_while_its_guest_was_waited_for(
    seen: Observed,
) -> None:
    """Whoever did that had the lock meanwhile, and its disks are on their way."""
    own = "disk-vm1-data.raw"
    seen = seen._replace(folder=DiskFolder(files={own: DiskFile(own, "vm1", "data", "raw", 1, 1)}))
    wanted = [f"{IS} ", "memory_is gone ~/vm_images/.vmops/memory-vm1"]
    for plan in (
        stopping.destroy(WORKER, VM1, seen),
        stopping.destroy(WORKER, VM1, seen, manner=Manner()),
        cold.leave(WORKER, VM1, seen, LEAVES, manner=Manner()),
    ):
        assert guards_of(plan)[-2:] == wanted
    if seen.vm("vm1").process is None:
        assert guards_of(disks.reset(WORKER, VM1, seen, name="data"))[-2:] == wanted


def test_who_destroys_what_was_moved_is_told_where_it_is() -> None:
    seen = EMPTY._replace(moves={"vm1": mark("left", D, "t")})
    (note,) = stopping.destroy(WORKER, VM1, seen).notes
    assert f"vm1 was moved from {WORKER.name} to {D}, and is still there" in note


def test_marks_that_could_not_be_read_are_never_absent() -> None:
    seen = EMPTY._replace(faults={MOVES.name: "the answer was cut short"})
    for plan in (starting.launch, starting.boot, disks.reset, stopping.destroy):
        with pytest.raises(UnexpectedOutput, match="moves"):
            plan(WORKER, VM1, seen)


@given(st.text(alphabet=st.characters(exclude_characters="\n")))
def test_whatever_stands_in_a_mark_is_a_mark(text: str) -> None:
    vm, found = moving.read(f"vm1 {text}")
    assert vm == "vm1"
    assert found.text == text or found.how == "unreadable"


@pytest.mark.parametrize(
    "peer", ["", "-x", "w2; reboot", "w2\nw3", "\ud800", "$(id)", 7, None, ["w2"]]
)
def test_a_peer_that_is_no_worker_is_not_put_into_a_command(peer: object) -> None:
    text = json.dumps({"how": "left", "peer": peer, "token": "t", "ran": False})
    assert moving.read(f"vm1 {text}")[1].how == "unreadable"


@pytest.mark.parametrize("peer", ["w2", "10.0.0.7", "fe80::1%eth0", "a.lab.example"])
def test_a_peer_may_have_any_name_of_a_worker(peer: str) -> None:
    assert moving.read(f"vm1 {mark('left', peer, 't').text}")[1].peer == peer


def test_a_mark_is_read_as_it_was_written() -> None:
    for one in (COMES, LEAVES, mark("left", D, "t"), mark("staying", D, "t")):
        assert moving.read(f"vm1 {one.text}") == ("vm1", one)
