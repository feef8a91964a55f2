"""Decisions about snapshots: what is kept in their names, and which machine goes back to which."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.core.devices.live import freezing, snapshot
from vmops.core.devices.live.snapshot import Shape
from vmops.core.facts.observed import Observed
from vmops.core.plan.live import snapshots
from vmops.core.script.command import Step, StepResult
from vmops.core.tools import agent
from vmops.core.tools.agent import AgentHeard
from vmops.core.tools.monitor import Heard
from vmops.errors import MonitorError, NotRunning, WorkFailed
from vmops.ops.vm.live import snapshots as ops

from .worlds import VM1, WORKER, commands, dead, running


def card(slot: int, kind: int, model: int, name: str = "") -> dict[str, Any]:
    what = {"class_info": {"class": kind}, "id": {"device": model}}
    return {"slot": slot, "function": 0, "qdev_id": name, **what}


CARDS = (card(2, 0x300, 1), card(4, 0x200, 0x100E), card(3, 0x200, 0x100E))
DATA = card(5, 0x100, 0x1001, "disk-data")
SHAPE = Shape("512MiB/1/kvm/host", {"eth1": "3.0.100e", "eth2": "4.0.100e"})


def drive(name: str = "ide0-hd0", drv: str = "qcow2", *tags: str, ro: bool = False) -> Any:
    has = [{"name": t, "date-sec": 5, "vm-state-size": 7 << 20} for t in tags]
    inserted = {"ro": ro, "drv": drv, "node-name": f"#{name}", "image": {"snapshots": has}}
    return {"device": name, "inserted": inserted}


def says(*drives: Any, status: str = "running", cards: Any = CARDS, jobs: Any = ()) -> Observed:
    empty = {"device": "floppy0"}
    answers = ({"status": status}, [*drives, empty], [{"devices": list(cards)}], list(jobs))
    return running()._replace(monitors={"vm1": Heard("vm1", answers=answers)})


def test_the_shape_names_every_card_by_what_hosts_toml_calls_it() -> None:
    found = snapshots.found(WORKER, VM1, says(drive(), cards=(*CARDS, DATA)))
    assert found.shape == Shape(SHAPE.machine, {**SHAPE.cards, "disk-data": "5.0.1001"})


names = st.from_regex(r"[a-z][a-z0-9.-]{0,20}", fullmatch=True)
shapes = st.builds(
    Shape,
    st.just("512MiB/1/tcg/Nehalem,+aes"),
    st.dictionaries(names, st.from_regex(r"[0-9a-f]{1,2}\.0\.[0-9a-f]{4}", fullmatch=True)),
)


@given(names, shapes)
def test_a_name_in_the_files_says_what_it_is_of(name: str, shape: Shape) -> None:
    """However many cards there are, QEMU keeps all of it, and it is the same machine again."""
    tag = snapshot.tag_of(name, shape)
    assert len(tag.encode()) <= 255
    found = snapshots.found(WORKER, VM1, says(drive("ide0-hd0", "qcow2", tag)))
    (one,) = found.snapshots
    assert (one.name, one.memory, one.missing) == (name, 7 << 20, ())
    assert snapshots.differences(found._replace(shape=shape), one) == ()
    other = Shape(shape.machine, {**shape.cards, "zzz": "9.0.0001"})
    assert snapshots.differences(found._replace(shape=other), one)


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (Shape("256MiB/1/kvm/host", SHAPE.cards), "it was 512MiB/1/kvm/host and is 256MiB/1/"),
        (Shape(SHAPE.machine, {"eth1": "3.0.100e"}), "eth2 was in it"),
        (Shape(SHAPE.machine, {**SHAPE.cards, "eth3": "5.0.100e"}), "eth3 was not in it"),
        (Shape(SHAPE.machine, {**SHAPE.cards, "eth2": "5.0.100e"}), "eth2 was another model, or"),
    ],
)
def test_a_revert_into_another_machine_is_refused_with_the_difference(
    now: Shape, words: str
) -> None:
    seen = says(drive("ide0-hd0", "qcow2", f"one {now}"))
    with pytest.raises(WorkFailed, match="of another machine") as refused:
        snapshots.revert(WORKER, VM1, seen, name="one")
    then, has = SHAPE, now
    assert words in "; ".join(has.differences(then))
    assert "fab restart" in str(refused.value)


def test_one_that_a_hand_has_made_is_listed_and_not_loaded() -> None:
    seen = says(drive("ide0-hd0", "qcow2", "mine"))
    with pytest.raises(WorkFailed, match="not made by vmops"):
        snapshots.revert(WORKER, VM1, seen, name="mine")


def test_all_that_a_guest_writes_to_is_in_it_and_nothing_else() -> None:
    seen = says(drive(), drive("disk-data"), drive("seed", "raw", ro=True))
    (talk,) = commands(snapshots.save(WORKER, VM1, seen, name="one"), snapshot.SAVE)
    assert '"devices": ["#ide0-hd0", "#disk-data"]' in talk
    assert '"vmstate": "#ide0-hd0"' in talk


@pytest.mark.parametrize("drives", [(drive("pflash1", "raw"), drive()), ()])
def test_a_disk_that_cannot_keep_it_refuses_it(drives: Any) -> None:
    with pytest.raises(WorkFailed, match="qcow2"):
        snapshots.save(WORKER, VM1, says(*drives), name="one")


def test_a_snapshot_that_a_disk_lacks_is_not_loaded() -> None:
    seen = says(drive("ide0-hd0", "qcow2", f"one {SHAPE}"), drive("disk-data"))
    with pytest.raises(WorkFailed, match="data does not have it"):
        snapshots.revert(WORKER, VM1, seen, name="one")
    (talk,) = commands(snapshots.delete(WORKER, VM1, seen, name="one"), snapshot.DELETE)
    assert '"devices": ["#ide0-hd0"]' in talk


@pytest.mark.parametrize(
    ("status", "goes_on"), [("running", True), ("paused", False), ("restore-vm", True)]
)
def test_a_guest_that_was_paused_stays_so(status: str, goes_on: bool) -> None:
    seen = says(drive("ide0-hd0", "qcow2", f"one {SHAPE}"), status=status)
    made = snapshots.revert(WORKER, VM1, seen, name="one")
    (talk,) = commands(made, snapshot.LOAD)
    assert ('"cont"' in talk) == goes_on
    assert bool(made.notes) != goes_on


@pytest.mark.parametrize(("job", "first"), [("concluded", "job-dismiss"), (None, "snapshot-save")])
def test_a_job_that_nobody_looked_at_is_put_away_first(job: str | None, first: str) -> None:
    jobs = [{"id": "vmops-snapshot", "status": job}] if job else []
    (talk,) = commands(
        snapshots.save(WORKER, VM1, says(drive(), jobs=jobs), name="one"), snapshot.SAVE
    )
    assert first in talk.split("say ")[1]


def test_a_job_under_way_refuses_another() -> None:
    seen = says(drive(), jobs=[{"id": "vmops-snapshot", "status": "running"}])
    with pytest.raises(WorkFailed, match="still at an earlier"):
        snapshots.save(WORKER, VM1, seen, name="one")


def test_what_cannot_be_asked_is_refused() -> None:
    with pytest.raises(NotRunning, match="its memory with it"):
        snapshots.save(WORKER, VM1, dead(pidfile=False), name="one")
    for heard in (Heard("vm1", ended="busy"), Heard("vm1", answers=(1, 2, 3, 4))):
        with pytest.raises(MonitorError):
            snapshots.found(WORKER, VM1, running()._replace(monitors={"vm1": heard}))


def test_a_taken_name_and_too_little_room_are_refused() -> None:
    seen = says(drive("ide0-hd0", "qcow2", f"one {SHAPE}"))
    with pytest.raises(WorkFailed, match="has a snapshot one already"):
        snapshots.save(WORKER, VM1, seen, name="one")
    vm = replace(VM1, qcow_image="", image="base")
    tight = seen._replace(folder=seen.folder._replace(free=100 << 20))
    with pytest.raises(WorkFailed, match="100 MiB are free beside its disk"):
        snapshots.save(WORKER, vm, tight, name="two")


def test_why_a_job_failed_is_what_the_list_of_jobs_says() -> None:
    jobs = [{"id": "vmops-snapshot", "status": "concluded", "error": "No space left on device"}]
    assert snapshot.why(Heard("vm1", answers=({}, jobs), ended="other")) == jobs[0]["error"]
    assert "does not answer" in snapshot.why(Heard("vm1", answers=({},), ended="silent"))


@given(names, shapes, st.booleans())
def test_a_frozen_one_says_so_in_its_name(name: str, shape: Shape, frozen: bool) -> None:
    tag = snapshot.tag_of(name, shape, frozen=frozen)
    assert len(tag.encode()) <= 255
    (one,) = snapshots.found(WORKER, VM1, says(drive("ide0-hd0", "qcow2", tag))).snapshots
    assert (one.name, one.frozen) == (name, frozen)
    assert one.shape in (shape, snapshot.squeezed(shape))


def test_a_guest_is_frozen_before_it_is_saved_and_thawed_after_it() -> None:
    made = snapshots.save(WORKER, VM1, says(drive()), name="one", freeze=True)
    assert made.block is not None
    labels = [step.label for step in made.block.numbered()]
    assert labels == [freezing.ASK, freezing.FREEZE, snapshot.SAVE, freezing.THAW]
    (talk,) = commands(made, snapshot.SAVE)
    assert f'"tag": "one frozen {SHAPE}"' in talk
    plain = snapshots.save(WORKER, VM1, says(drive()), name="one").block
    assert plain is not None
    assert [step.label for step in plain.numbered()] == [snapshot.SAVE]


def test_what_is_paused_cannot_freeze_and_is_told_how_to_thaw_after_a_revert() -> None:
    paused = says(drive(), status="paused")
    with pytest.raises(WorkFailed, match="cannot freeze anything") as refused:
        snapshots.save(WORKER, VM1, paused, name="one", freeze=True)
    assert "fab resume --vm vm1" in str(refused.value)
    seen = says(drive("ide0-hd0", "qcow2", f"one frozen {SHAPE}"), status="paused")
    made = snapshots.revert(WORKER, VM1, seen, name="one")
    assert made.block is not None
    assert [step.label for step in made.block.numbered()] == [snapshot.LOAD]
    assert "fab snapshot.thaw --vm vm1" in made.notes[0]


def test_nothing_is_thawed_in_what_does_not_run() -> None:
    with pytest.raises(NotRunning, match="nothing in it is frozen"):
        snapshots.thaw(WORKER, VM1, dead(pidfile=False))
    made = snapshots.thaw(WORKER, VM1, running())
    (talk,) = commands(made, freezing.THAW)
    assert "guest-fsfreeze-thaw" in talk


@pytest.mark.parametrize(
    ("label", "cure"),
    [
        (freezing.THAW, "fab reset --vm vm1"),
        (freezing.ASK, "install qemu-guest-agent in"),
    ],
)
def test_nothing_is_to_be_installed_in_a_guest_that_may_be_frozen(
    monkeypatch: pytest.MonkeyPatch, label: str, cure: str
) -> None:
    heard = AgentHeard("vm1", ended="no agent")
    monkeypatch.setattr(agent, "read_talk", lambda said: {"vm1": heard})
    assert cure in ops._cure("vm1", StepResult(Step(label, ()), 1))
