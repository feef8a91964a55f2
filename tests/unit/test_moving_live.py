"""Plans of a move of a VM that runs: their order, which the model of moves supposes, and what is
refused before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import pytest

from vmops.core.devices import disk
from vmops.core.devices.live import mirror
from vmops.core.devices.live.mirror import Machine, Mirrored, Tuning
from vmops.core.devices.storage import boot, moving
from vmops.core.devices.storage.moving import mark
from vmops.core.facts import supposed
from vmops.core.facts.observed import Observed
from vmops.core.plan.life import KILL, QEMU
from vmops.core.plan.moving import cold, live
from vmops.core.plan.moving.course import Ends, Side, next_act, source_of, way_back
from vmops.core.plan.moving.live import Stopped
from vmops.core.plan.phase import Plan
from vmops.core.tools.monitor import Heard, Refused
from vmops.errors import MonitorError, WorkFailed

from .worlds import EMPTY, VM1, WORKER, running

COLD = Stopped("fab migrate --cold --vm vm1 --to worker9")
COMES = mark("expected", "worker1", "t", ran=True)
WAITS = mark("receiving", "worker1", "u", ran=True)
LEAVES = mark("leaving", "worker2", "u", ran=True)
IS = "mark_is ~/vm_images/.vmops/moving-vm1"
DISK = Mirrored("root", "ide0-hd0", "root-node")


def labels(plan: Plan) -> list[str]:
    assert plan.block is not None
    return [step.label for step in plan.block.numbered()]


def guards(plan: Plan) -> list[str]:
    assert plan.block is not None
    return [" ".join(entry.words()) for entry in plan.block.guards]


def test_the_mark_says_that_nothing_is_whole_before_anything_is_there() -> None:
    seen = EMPTY._replace(moves={"vm1": COMES})
    plan = live.receive(WORKER, VM1, seen, running(), token="u")
    assert plan.block is not None
    first, *rest = plan.block.numbered()
    assert first.commands == moving.marking("vm1", WAITS).commands
    assert first.undo == moving.marking("vm1", COMES).commands, "undone last"
    assert [step.label for step in rest][-1] == mirror.WAIT
    assert labels(plan).index(disk.MAKE) < labels(plan).index(QEMU)
    assert guards(plan) == ["not_running vm1", f"{IS} {COMES.text}"]


def test_uefi_variables_go_as_a_disk_does() -> None:
    vm = replace(VM1, boot="uefi")
    path = boot.path_of(vm)
    source = running()
    process = source.vm("vm1").process
    assert process is not None
    assert live.disks_of(vm, process)[-1] == Mirrored("uefi", "uefi-vars", "uefi-vars")
    source = source._replace(images={**source.images, path: source.images[VM1.qcow_image]})
    seen = EMPTY._replace(moves={"vm1": COMES}, firmware=supposed.UEFI)
    plan = live.receive(WORKER, vm, seen, source, token="u")
    assert plan.block is not None
    made = [step for step in plan.block.numbered() if step.label == disk.MAKE]
    assert [step.about for step in made] == [(VM1.qcow_image,), (path,)]
    assert boot.MAKE not in labels(plan), "an empty one, and not those that a new VM begins with"


def test_the_source_is_marked_when_all_was_sent_and_ended_after_that() -> None:
    plan = live.leave(WORKER, VM1, running(), LEAVES, tuning=Tuning())
    assert labels(plan) == [mirror.HAND_OVER, moving.MARK, KILL]
    assert guards(plan)[-1] == f"{IS} "
    assert plan.block is not None
    _, marked, _ = plan.block.numbered()
    assert marked.undo == (), "once it stands there, whoever comes goes on"


def test_nothing_that_is_undone_lets_a_guest_run_on_that_was_sent() -> None:
    step = mirror.handing_over("vm1", [DISK], Tuning())
    said = b"".join(entry.stdin or b"" for entry in step.undo)
    assert b'"cont"' not in said
    assert b"migrate_cancel" in said


def test_the_guest_runs_when_the_mark_is_gone_and_the_sockets_are_closed() -> None:
    seen = running()._replace(moves={"vm1": WAITS})
    plan = live.switch(WORKER, VM1, seen)
    assert labels(plan) == ["has come", moving.UNMARK, mirror.RUN_ON]
    assert guards(plan)[-1] == f"{IS} {WAITS.text}"


@pytest.mark.parametrize("then", [None, COMES])
def test_the_mark_goes_when_what_it_said_is_gone(then: moving.Mark | None) -> None:
    plan = live.drop(WORKER, VM1, running()._replace(moves={"vm1": WAITS}), then=then)
    assert labels(plan)[0] == KILL
    assert labels(plan)[-2:] == [disk.REMOVE, moving.UNMARK if then is None else moving.MARK]


def test_what_has_come_goes_where_nothing_waits_any_more() -> None:
    seen = EMPTY._replace(moves={"vm1": WAITS})
    plan = live.drop(WORKER, VM1, seen)
    assert labels(plan) == [disk.REMOVE, moving.UNMARK]
    assert guards(plan) == ["not_running vm1", f"{IS} {WAITS.text}"]


def test_a_source_is_only_ended_that_has_sent_all() -> None:
    plan = live.end(WORKER, VM1, running()._replace(moves={"vm1": LEAVES}))
    assert plan.block is not None
    assert b"query-status" in (plan.block.guards[-1].stdin or b"")
    assert labels(plan) == [KILL]


def test_a_qemu_that_waits_is_not_where_the_vm_is() -> None:
    sides = {"worker1": Side(runs=True, has=True), "worker2": Side(True, True, WAITS)}
    assert source_of(None, "worker3", sides) == "worker1"
    seen = running()._replace(moves={"vm1": WAITS})
    assert cold.side_of(WORKER, VM1, seen).memory == ""


@pytest.mark.parametrize("memory", ["", "loaded"])
@pytest.mark.parametrize("runs", [False, True])
@pytest.mark.parametrize("home", [None, "worker2", "worker3"])
def test_one_that_is_at_a_worker_which_is_silent_is_not_where_only_its_disks_are_seen(
    home: str | None, runs: bool, memory: Literal["", "loaded"]
) -> None:
    """A folder that both share; it was said to be there already."""
    elsewhere = mark("elsewhere", "worker1", "")
    sides = {"worker2": Side(runs, True, elsewhere, memory), "worker3": Side()}
    assert source_of(home, "worker2", sides) == "worker1"
    assert source_of(home, "worker2", sides | {"worker1": Side(True, True)}) == "worker1"


def test_memory_that_has_come_is_not_given_up() -> None:
    ends = Ends("worker1", "worker2")
    gone, there = Side(False, True, LEAVES), Side(True, True, WAITS, "loaded")
    assert way_back(gone, there) is None
    assert next_act("vm1", ends, gone, there).act == "switch"
    back = next_act("vm1", Ends("worker2", "worker1"), there, gone)
    assert (back.act, back.cure) == ("blocked", "first: fab migrate --vm vm1 --to worker2")


def job(**change: Any) -> dict[str, Any]:
    known = {"device": "move-root", "offset": 5, "len": 9, "ready": False, "status": "running"}
    return known | change


def test_mirrors_are_read() -> None:
    assert mirror.read_mirrors([job()], [DISK]) == (5, 9, False)
    assert mirror.read_mirrors([job(ready=True), {"device": "other"}], [DISK]).is_ready


@pytest.mark.parametrize(
    "jobs",
    [[], None, [{}], [job(status="concluded")], [job(error="No space left on device")], ["x"]],
)
def test_a_mirror_that_has_ended_is_never_taken_for_one_that_follows(jobs: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        mirror.read_mirrors(jobs, [DISK])


WORDS = [{"cpuid-input-eax": 1, "cpuid-register": "ECX", "features": 5}]
DRIVE = {"inserted": {"image": {"snapshots": [{"name": "before-class pc/1"}]}}}


def test_machines_are_compared() -> None:
    here = mirror.read_machine([[{}], [], "pc-i440fx-7.2-machine", WORDS])
    assert here == Machine("pc-i440fx-7.2", {"1.0.ecx": 5})
    live.check_machines(VM1, WORKER, here, here, stopped=COLD)
    with pytest.raises(WorkFailed, match=r"pc-i440fx-8\.0"):
        live.check_machines(VM1, WORKER, here, here._replace(type="pc-i440fx-8.0"), stopped=COLD)
    less = here._replace(features={"1.0.ecx": 1})
    live.check_machines(VM1, WORKER, less, here, stopped=COLD)
    with pytest.raises(WorkFailed, match=r"CPUID 1\.0\.ecx bit 2"):
        live.check_machines(VM1, WORKER, here, less, stopped=COLD)


def test_snapshots_are_not_left_behind() -> None:
    here = mirror.read_machine([[DRIVE], [], "pc-machine", WORDS])
    with pytest.raises(WorkFailed, match="before-class") as found:
        live.check_snapshots(VM1, WORKER, here, stopped=COLD)
    assert "fab migrate --cold --vm vm1 --to worker9;" in found.value.cure
    remove = "fab snapshot.delete --vm vm1 --name before-class"
    assert found.value.cure.endswith(f"or remove them: {remove}")
    two = here._replace(snapshots=("a", "b"))
    with pytest.raises(WorkFailed) as found:
        live.check_snapshots(VM1, WORKER, two, stopped=COLD)
    assert found.value.cure.endswith("--name a snapshot.delete --vm vm1 --name b")
    with pytest.raises(WorkFailed) as found:
        live.check_snapshots(VM1, WORKER, two, stopped=Stopped("fab x", for_all=True))
    assert found.value.cure == "with them: fab x", "the same for all that have snapshots"
    with pytest.raises(MonitorError):
        live.check_leaves(WORKER, VM1, running(), stopped=COLD)
    paused = Heard("vm1", answers=({"status": "paused"},))
    seen = running()._replace(monitors={"vm1": paused})
    with pytest.raises(WorkFailed, match="only a guest that runs") as found:
        live.check_leaves(WORKER, VM1, seen, stopped=COLD)
    assert found.value.cure.endswith("fab migrate --cold --vm vm1 --to worker9")


def with_image(seen: Observed, argv: tuple[str, ...] = (), **more: Any) -> Observed:
    """The same with that of the VM's disk, and of its QEMU's words, and QEMU says that it runs."""
    mine = seen.vm("vm1")
    assert mine.process is not None
    process = mine.process._replace(argv=argv or mine.process.argv)
    (image,) = disk.unobjectionable("/home/ubuntu/vm1.qcow2")
    return seen._replace(
        images={VM1.qcow_image: (image._replace(**more),)},
        monitors={"vm1": Heard("vm1", answers=({"status": "running"},))},
        vms={"vm1": mine._replace(process=process)},
    )


@pytest.mark.parametrize("model", ["ide", "virtio"])
def test_a_disk_that_its_qemu_cannot_let_go_of_is_told_before(model: str) -> None:
    vm = replace(VM1, disk_model=model)
    seen = running(vm)
    with pytest.raises(WorkFailed, match=r"it opens /home/ubuntu/vm1\.qcow2 once more") as found:
        live.check_leaves(WORKER, vm, with_image(seen), stopped=COLD)
    assert "fab migrate --cold --vm vm1 --to worker9; or" in found.value.cure
    assert "chmod o+r /home/ubuntu/vm1.qcow2" in found.value.cure
    live.check_leaves(WORKER, vm, with_image(seen, public=True), stopped=COLD)
    # What nobody could look at may be as it has to be.
    live.check_leaves(WORKER, vm, with_image(seen, fault="stat"), stopped=COLD)
    process = seen.vm("vm1").process
    assert process is not None
    words = [f"{w},auto-read-only=off" if "vm1.qcow2" in w else w for w in process.argv]
    live.check_leaves(WORKER, vm, with_image(seen, tuple(words)), stopped=COLD)


FAILED = {"status": "failed"}


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (({}, FAILED), "could not let go of its disks"),
        (
            ({}, {**FAILED, "error-desc": "Unable to write"}),
            "could not let go of its disks: Unable to write",
        ),
        (({}, [{"id": "move-root", "error": "No space left"}]), "of a disk: No space left"),
        (({}, Refused("not now")), "QEMU refuses it: not now"),
    ],
)
def test_why_a_move_failed_is_said_in_words(answers: tuple[Any, ...], words: str) -> None:
    said = mirror.why(Heard("vm1", answers=answers, ended="other", said='{"return": {}}'))
    assert words in said
    assert "{" not in said


@pytest.mark.parametrize("answers", [[], [[{}], [], "pc", [{}]], [[{}], [], "pc", None]])
def test_a_machine_that_cannot_be_read_is_not_the_same(answers: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        mirror.read_machine(answers)
