"""What is planned for a VM whose disks two workers share, and what is said of it."""

from __future__ import annotations

import pytest

from vmops.core.devices.live import mirror
from vmops.core.devices.live.mirror import Tuning
from vmops.core.devices.storage import moving, shared
from vmops.core.devices.storage.folder import DiskFile, DiskFolder
from vmops.core.facts.observed import Observed
from vmops.core.images.names import FOLDER
from vmops.core.plan import starting, stopping
from vmops.core.plan import status as statuses
from vmops.core.plan.life import KILL
from vmops.core.plan.moving import marks, together
from vmops.core.plan.moving.course import Ends
from vmops.core.plan.placement.home import belongs, home, is_there
from vmops.core.plan.upkeep import disks
from vmops.core.tools import qmp
from vmops.errors import LaunchFailed, VmopsError, WorkFailed
from vmops.ops.vm.changes import but_what_is_still
from vmops.ops.vm.status import Survey, merged

from .test_disk import WEB, world
from .test_shared_model import NAMES, STORE, WORKERS, How, World
from .worlds import EMPTY, VM1, WORKER


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
