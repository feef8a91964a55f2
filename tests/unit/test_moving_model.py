"""A move of a VM in every order of its acts, cuts, crashes, launches and late scripts.

What is next is told by the very functions that `fab migrate` asks; what an act does to the two
workers is written down here, step by step. Every state that can be reached is looked at. That the
real plans do the same steps in the same order is held by test_moving_plans.py and
test_moving_live.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from vmops.core.devices.storage.moving import Mark, mark
from vmops.core.plan.moving import marks
from vmops.core.plan.moving.course import Ends, Side, next_act, way_back

S, D = "worker1", "worker2"
ENDS = Ends(S, D)
MOST_BOOTS = 2
"""Each writes to the disks: what is on them then is another version."""


MOST_MOVES = 2


PARTIAL = -1
"""The version of a disk that is mirrored, and not whole."""


class World(NamedTuple):
    """Two workers and a VM of two disks. `qemu` is what the VM's QEMU does on each: its guest
    `runs`, it has `sent` its memory, `waits` for it, has it `loaded`, or there is none. `disks` are
    versions of their content, None where there is none; `arrived` is what has come to D and has no
    name yet: disk and version."""

    qemu: tuple[str, str] = ("runs", "")
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
        memory = self.qemu[at] if self.qemu[at] in ("sent", "loaded") else ""
        return Side(bool(self.qemu[at]), has, self.marks[at], memory)  # type: ignore[arg-type]

    def startable(self, at: int) -> bool:
        return self.side(at).may_start and self.side(at).has

    def put(self, at: int, **change: object) -> World:
        """The same with `qemu`, `disks` or `marks` of one worker changed."""
        values = {}
        for key, value in change.items():
            both = list(getattr(self, key))
            both[at] = value
            values[key] = tuple(both)
        return self._replace(**values)  # type: ignore[arg-type]


AT_SOURCE = ("leave", "clear", "stay", "settle", "send", "end")
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
    if found.act not in ("done", "blocked") and not (begins and world.moves == MOST_MOVES):
        version = world.disks[0][0] or 0
        at = world.marks[0 if found.act in AT_SOURCE else 1]
        token = found.token or f"{who}{world.moves + 1}"
        yield Late(found.act, at, token, found.ran, version)
        if found.act == "leave" and world.qemu[0] == "runs" and not token.startswith("live-"):
            # A token of its own, or somebody's stop would seem to be what has sent its memory.
            yield Late("receive", world.marks[1], f"live-{token}")
    comes = world.marks[1]
    if comes is not None and (comes.how, world.qemu) == ("receiving", ("runs", "waits")):
        # Only who has had it received goes on; whoever comes later ends it.
        yield Late("send", world.marks[0], comes.token)
    back = way_back(world.side(0), world.side(1))
    if back is not None:
        yield Late(back, world.marks[0 if back in AT_SOURCE else 1])


NEEDS_NO_QEMU = ("expect", "bring", "take", "clear", "receive")


def steps(world: World, late: Late) -> Iterator[World]:
    """The worlds behind each step of the act, if its guards hold; a cut may leave any of them. A
    block holds the VM's lock on its worker, so nothing comes in between."""
    at = 0 if late.act in AT_SOURCE else 1
    if late.act != "start" and world.marks[at] != late.saw:
        return
    if late.act in NEEDS_NO_QEMU and world.qemu[at]:
        return
    match late.act:
        case "expect":
            if not world.side(1).has:
                comes = mark("expected", S, late.token, ran=late.ran)
                moves = max(world.moves, int(late.token[-1]))
                yield world.put(1, marks=comes)._replace(moves=moves)
        case "leave":
            yield (world := world.put(0, qemu=""))
            yield world.put(0, marks=mark("leaving", D, late.token, ran=late.ran))
        case "receive":
            receiving = mark("receiving", S, late.token, ran=True)
            yield (world := world.put(1, marks=receiving))
            yield (world := world.put(1, disks=(PARTIAL, world.disks[1][1])))
            yield (world := world.put(1, disks=(PARTIAL, PARTIAL)))
            yield world.put(1, qemu="waits")
        case "send":
            # The way leads to that QEMU, and to no other.
            has = world.marks[1]
            is_there = has is not None and (has.how, has.token) == ("receiving", late.token)
            if not is_there or world.qemu != ("runs", "waits"):
                return
            yield (world := world.put(1, disks=world.disks[0]))
            # Its last word may be lost: the guest runs on by itself then.
            yield (world := world.put(1, qemu="loaded"))
            yield (world := world.put(0, qemu="sent"))
            yield (world := world.put(0, marks=mark("leaving", D, late.token, ran=True)))
            yield world.put(0, qemu="")
        case "end":
            if world.qemu[0] == "sent":
                yield world.put(0, qemu="")
        case "switch":
            if world.qemu[1] == "loaded":
                yield (world := world.put(1, marks=None))
                yield world.put(1, qemu="runs")
        case "wake":
            if world.qemu[1] == "loaded":
                yield world.put(1, qemu="runs")
        case "drop":
            anew = mark("expected", S, late.token, ran=True) if late.ran else None
            yield (world := world.put(1, qemu=""))
            yield (world := world.put(1, disks=(None, world.disks[1][1])))
            yield (world := world.put(1, disks=(None, None))._replace(arrived=frozenset()))
            yield world.put(1, marks=anew)
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
            yield (world := world.put(1, qemu=""))
            yield (world := world.put(1, disks=(None, world.disks[1][1])))
            yield (world := world.put(1, disks=(None, None))._replace(arrived=frozenset()))
            yield world.put(1, marks=None)
        case "stay":
            assert late.saw is not None
            yield world.put(0, marks=mark("staying", D, late.saw.token, ran=late.saw.ran))
        case "settle":
            yield (world := world.put(0, marks=None))
            if world.qemu[0] == "sent":
                yield world.put(0, qemu="runs")


def booted(world: World, at: int) -> Iterator[World]:
    """Launched by whoever likes: allowed where there is no mark."""
    if world.startable(at) and not world.qemu[at] and world.newest < MOST_BOOTS:
        newest = world.newest + 1
        yield world.put(at, qemu="runs", disks=(newest, newest))._replace(newest=newest)


def lived(world: World, at: int) -> Iterator[World]:
    """What else comes: a QEMU ends, its guest writes, or somebody lets one run on that stands
    still, which is refused where there is a mark."""
    if world.qemu[at]:
        yield world.put(at, qemu="")
    if world.qemu[at] == "runs" and world.newest < MOST_BOOTS:
        newest = world.newest + 1
        yield world.put(at, disks=(newest, newest))._replace(newest=newest)
    if world.qemu[at] in ("sent", "loaded") and world.marks[at] is None:
        yield world.put(at, qemu="runs")


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
        yield from ((new, late) for new in (*booted(world, at), *lived(world, at)))


@cache
def reachable() -> set[State]:
    begun: list[State] = [(World(), None), (World(qemu=("", "")), None)]
    found = set(begun)
    while begun:
        for state in after(begun.pop()):
            if state not in found:
                found.add(state)
                begun.append(state)
    return found


@cache
def worlds() -> set[World]:
    """Looked at when the first test asks, and not by whoever collects tests."""
    return {world for world, _ in reachable()}


def test_there_is_something_to_look_at() -> None:
    assert len(worlds()) > 100
    assert any(world.disks == ((None, None), (1, 1)) for world in worlds())
    acts = {late.act for _, late in reachable() if late}
    assert acts >= {
        "expect",
        "leave",
        "bring",
        "take",
        "clear",
        "receive",
        "send",
        "switch",
        "drop",
    }
    assert any(world.qemu == ("sent", "loaded") for world in worlds())


def test_never_do_two_run_or_may_two_be_started() -> None:
    for world in worlds():
        assert world.qemu.count("runs") <= 1, world
        assert not (world.startable(0) and world.startable(1)), world
        for at in (0, 1):
            assert not (world.qemu[at] == "runs" and world.marks[at] is not None), world
            if world.qemu[at] == "runs":
                assert not world.startable(1 - at), world
                assert set(world.disks[at]) == {world.newest}, world


def test_what_may_be_started_is_whole_and_the_newest() -> None:
    for world in worlds():
        for at in (0, 1):
            if world.startable(at) and world.qemu[at] != "sent":
                assert set(world.disks[at]) == {world.newest}, world


def test_the_newest_is_somewhere_in_one_piece() -> None:
    for world in worlds():
        whole = {world.disks[at][0] for at in (0, 1) if len(set(world.disks[at])) == 1}
        assert world.newest in whole, world


def test_where_it_may_be_started_nowhere_a_mark_says_how_to_go_on() -> None:
    for world in worlds():
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


FORWARD = ("expect", "leave", "bring", "start", "clear", "drop", "end", "switch", "wake")


def test_the_same_command_brings_every_move_to_its_end() -> None:
    for world in worlds():
        end = carried_out(world, *FORWARD)
        found = next_act("vm1", ENDS, end.side(0), end.side(1))
        if found.act == "blocked":
            assert "--to worker1" in found.cure, (world, end, found)
            continue
        limit = found.act == "start" and end.newest == MOST_BOOTS
        begins = found.act == "expect" and end.moves == MOST_MOVES
        assert found.act == "done" or limit or begins, (world, end, found)
        assert end.startable(0 if begins else 1), (world, end)


def test_a_move_that_was_not_handed_over_can_be_given_up() -> None:
    for world in worlds():
        if way_back(world.side(0), world.side(1)) is not None:
            end = carried_out(world, "stay", "give up", "settle")
            assert end.startable(0), (world, end)
            assert not end.side(1).has, (world, end)
            assert end.marks[0] is None, (world, end)
