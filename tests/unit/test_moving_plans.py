"""Plans of a move: that they do what the model of moves says (test_moving_model.py), in that order,
behind these guards."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.core.devices import disk
from vmops.core.devices.storage import moving
from vmops.core.devices.storage.folder import DiskFile, DiskFolder
from vmops.core.devices.storage.moving import Arriving, How, mark
from vmops.core.facts.images import MOVES
from vmops.core.facts.observed import Observed
from vmops.core.plan import starting, stopping
from vmops.core.plan.moving import behind, cold, live
from vmops.core.plan.moving.course import Ends, Side, next_act
from vmops.core.plan.phase import Plan
from vmops.core.plan.stopping import KILLED, Manner
from vmops.core.plan.upkeep import disks
from vmops.errors import LaunchFailed, UnexpectedOutput, WorkFailed

from .worlds import EMPTY, VM1, WORKER, running

S, D = "worker1", "worker2"

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


LEFT = EMPTY._replace(
    moves={"vm1": mark("left", D, "0123abcd")}, images={DISK: disk.unobjectionable(DISK)}
)
"""It has left this worker, where its qcow_image is still."""


def test_a_qcow_image_that_was_left_behind_is_set_aside_before_the_vm_is_expected() -> None:
    plan = cold.expect(WORKER, VM1, LEFT, COMES)
    assert plan.block is not None
    (aside, marks) = plan.block.numbered()
    words = f"{DISK} {DISK}.moved-0123abcd"
    assert " ".join(aside.commands[0].words()) == f"set_disk_aside {words}"
    assert " ".join(aside.undo[0].words()) == f"put_disk_back {words}"
    assert marks.label == moving.MARK
    assert guards_of(plan) == ["not_running vm1", f"{IS} {LEFT.moves['vm1'].text}"]


AGAIN = mark("expected", D, "5", ran=True, again=True)
GONE = mark("left", D, "5")


def test_one_that_had_left_before_has_left_again_where_it_does_not_come() -> None:
    """Without that mark a launch here would begin with a new disk, while it is stopped there."""
    told = f"write_mark ~/vm_images/.vmops/moving-vm1 {GONE.text}"
    seen = EMPTY._replace(moves={"vm1": AGAIN})
    assert words_of(cold.give_up(WORKER, VM1, seen, []))[-1] == told
    dropped = live.drop(WORKER, VM1, EMPTY._replace(moves={"vm1": AGAIN._replace(how="receiving")}))
    assert words_of(dropped)[-1] == told
    assert moving.read(f"vm1 {AGAIN.text}") == ("vm1", AGAIN)
    plan = live.receive(WORKER, VM1, seen, running(), token="6")
    first = mark("receiving", D, "6", ran=True, again=True)
    assert words_of(plan)[0] == f"write_mark ~/vm_images/.vmops/moving-vm1 {first.text}"


ENDS = Ends(D, WORKER.name)
THERE = Side(runs=True, has=True)


def act_of(observed: Observed) -> str:
    return next_act("vm1", ENDS, THERE, cold.side_of(WORKER, VM1, observed)).act


def test_only_what_the_vm_has_left_behind_makes_way_for_it() -> None:
    """Without that mark nobody knows which of two is the newer one; a disk that was made for it and
    is there again is none that it has left."""
    own = "disk-vm1-data.raw"
    folder = DiskFolder(files={own: DiskFile(own, "vm1", "data", "raw", 1, 1)})
    assert act_of(LEFT) == "expect"
    assert act_of(LEFT._replace(moves={})) == "blocked"
    assert act_of(LEFT._replace(folder=folder)) == "blocked"
    assert act_of(LEFT._replace(images={}, folder=folder)) == "blocked"


@pytest.mark.parametrize("worker", [WORKER.name, None])
def test_what_was_left_behind_stays_where_it_is_another_vms(worker: str | None) -> None:
    path = f"~/{'x/../'}{DISK.removeprefix('~/')}"
    other = replace(VM1, name="vm2", worker=worker, qcow_image=path)
    with pytest.raises(WorkFailed, match="it is that of vm2"):
        behind.check_set_aside(WORKER, VM1, LEFT, vms=[VM1, other])
    elsewhere = replace(other, worker="worker9")
    behind.check_set_aside(WORKER, VM1, LEFT, vms=[VM1, elsewhere])


def test_what_was_left_behind_stays_while_a_process_has_it_open() -> None:
    (image,) = LEFT.images[DISK]
    held = LEFT._replace(images={DISK: (image._replace(held=101, holders=(7,)),)})
    with pytest.raises(WorkFailed, match="is written to by PID 7"):
        behind.check_set_aside(WORKER, VM1, held, vms=[VM1])


@given(st.text())
def test_whatever_the_token_of_a_mark_is_a_disk_is_set_aside_in_its_folder(token: str) -> None:
    assert re.fullmatch(r"~/a/b\.moved-[0-9a-f]{8}", moving.aside("~/a/b", token))


@pytest.mark.parametrize(
    "how", ["leaving", "staying", "left", "expected", "receiving", "unreadable"]
)
def test_nothing_starts_a_vm_with_a_mark(how: How) -> None:
    seen = EMPTY._replace(moves={"vm1": mark(how, D, "t")})
    for plan in (starting.launch, starting.launch_bare, starting.boot):
        for runs in (False, True):
            at = seen if not runs else running()._replace(moves=seen.moves)
            with pytest.raises(LaunchFailed, match=r"worker2|cannot be read"):
                plan(WORKER, VM1, at)
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
