"""Decisions about VMs that are suspended: when they may be, and what brings them back."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.core.devices import machine
from vmops.core.devices.live import memory
from vmops.core.devices.live.memory import Memory
from vmops.core.facts.images import SUSPENDED
from vmops.core.facts.observed import Observed
from vmops.core.inventory.guest.cloud_init import CloudInit
from vmops.core.inventory.guest.told import Seed
from vmops.core.inventory.model import VM, Disk
from vmops.core.plan import starting, stopping
from vmops.core.plan.drift import launch_values
from vmops.core.plan.live import suspending
from vmops.core.plan.status import of
from vmops.core.plan.upkeep import disks
from vmops.core.tools import qemu
from vmops.core.tools.monitor import Heard
from vmops.errors import LaunchFailed, MonitorError, UnexpectedOutput, WorkFailed

from .worlds import EMPTY, TAP1, VM1, WORKER, commands, labels, running


def runs(status: str = "running", text: str | None = None) -> Observed:
    answers = ({"status": status}, *((text,) if text is not None else ()))
    return running()._replace(monitors={"vm1": Heard("vm1", answers=answers)})


def suspended(vm: VM = VM1) -> Observed:
    words = machine.build(vm, launch_values(WORKER, vm, EMPTY)).words()
    argv = words[words.index(qemu.BINARY) :]
    return EMPTY._replace(suspended={"vm1": Memory((*argv, "-runas", "1900001001:1900001001"))})


def test_qemu_is_ended_only_when_its_memory_is_whole_and_has_its_name() -> None:
    made = suspending.suspend(WORKER, VM1, runs())
    assert labels(made)[:3] == [memory.SAVE, "SIGTERM", "SIGKILL"]
    save, keep = commands(made, memory.SAVE)
    assert save.startswith("save_memory vm1")
    assert json.dumps({"argv": runs().vm("vm1").process.argv}) in save  # type: ignore[union-attr]
    assert keep == "keep_memory ~/vm_images/.vmops/memory-vm1"
    assert made.block is not None
    step = made.block.numbered()[0]
    assert [entry.words()[0] for entry in step.undo] == [
        "while_running",
        "while_running",
        "drop_memory",
    ]
    assert not step.may_fail


@pytest.mark.parametrize("status", ["paused", "io-error", "postmigrate", "suspended"])
def test_a_guest_that_stands_still_is_not_suspended(status: str) -> None:
    with pytest.raises(WorkFailed, match=f"it is {status}") as refused:
        suspending.suspend(WORKER, VM1, runs(status))
    assert "fab resume" in str(refused.value)


def test_without_a_monitor_or_room_nothing_is_begun() -> None:
    with pytest.raises(MonitorError, match="no monitor"):
        suspending.suspend(WORKER, VM1, running())
    seen = runs()
    tight = seen._replace(folder=seen.folder._replace(free=511 << 20))
    with pytest.raises(WorkFailed, match="511 MiB are free"):
        suspending.suspend(WORKER, VM1, tight)


def test_one_whose_interfaces_were_changed_has_no_command_line_that_fits() -> None:
    card = "x: index=0,type=nic,model=e1000,macaddr=52:54:00:03:e9:01\r\n"
    said = f"{card} \\ x: index=0,type=tap,ifname={TAP1},x\r\n"
    with pytest.raises(WorkFailed, match="interfaces were changed"):
        suspending.suspend(WORKER, VM1, runs(text=said))


def test_a_launch_goes_on_from_the_memory_and_leaves_no_interface_out() -> None:
    made = starting.launch(WORKER, VM1, suspended())
    assert labels(made)[-2:] == [memory.LOAD, memory.RUN_ON]
    load, aside = commands(made, memory.LOAD)
    assert load.startswith("load_memory vm1")
    assert aside.startswith("set_aside")
    run_on, gone = commands(made, memory.RUN_ON)
    assert '"cont"' in run_on
    assert gone.startswith("discard_aside")
    (start,) = [word for word in commands(made, "QEMU") if word.startswith("start_qemu")]
    assert "-incoming defer" in start
    # And once it runs, that is nothing it has too much.
    argv = tuple(start.split()[start.split().index(qemu.BINARY) :])
    seen = running()
    process = seen.vm("vm1").process
    assert process is not None
    mine = seen.vm("vm1")._replace(process=process._replace(argv=argv))
    assert starting.launch(WORKER, VM1, seen._replace(vms={"vm1": mine})).action == "nothing"
    assert ",auto-read-only=off" in start
    assert made.block is not None
    plugs = [step for step in made.block.numbered() if step.label.startswith("plug eth")]
    assert plugs
    assert not any(step.may_fail for step in plugs)
    assert any("goes on from its memory" in note for note in made.notes)


@pytest.mark.parametrize(
    ("vm", "words"),
    [
        (replace(VM1, ram_mb=256), "ram_mb: 512 -> 256"),
        (replace(VM1, cores=2), "cores: 1 -> 2"),
        (replace(VM1, interfaces=VM1.interfaces[:1]), f"interfaces: {TAP1}"),
        (replace(VM1, disks=(Disk("data", size_gb=1),)), "disks: none -> data"),
        (replace(VM1, disk_model="virtio"), "disk_model: ide -> virtio"),
    ],
)
def test_another_machine_is_not_started_with_it(vm: VM, words: str) -> None:
    with pytest.raises(LaunchFailed, match="fits no other machine") as refused:
        starting.launch(WORKER, vm, suspended())
    assert words in refused.value.what
    assert "--discard" in str(refused.value)
    # What its memory does not depend on may change.
    assert starting.launch(WORKER, replace(VM1, vnc_port=5999), suspended()).action == "start"


def test_every_start_looks_under_the_lock_whether_memory_is_kept() -> None:
    for seen, word in ((EMPTY, "gone"), (suspended(), "there")):
        block = starting.launch(WORKER, VM1, seen).block
        assert block is not None
        guards = [" ".join(guard.words()) for guard in block.guards]
        assert f"memory_is {word} ~/vm_images/.vmops/memory-vm1" in guards


def test_it_is_told_by_status_and_stop_and_protects_its_disk() -> None:
    seen = suspended()
    assert of(WORKER, VM1, seen).state == "suspended"
    stopped = stopping.stop(WORKER, VM1, seen)
    assert stopped.action == "nothing"
    assert "its memory is kept" in stopped.notes[0]
    with pytest.raises(WorkFailed, match="fits this disk only"):
        disks.reset(WORKER, VM1, seen)
    assert memory.DISCARD in labels(stopping.destroy(WORKER, VM1, seen))
    assert suspending.discard(WORKER, VM1, seen).action == "discard memory"
    assert suspending.discard(WORKER, VM1, EMPTY).action == "nothing"


def test_not_to_know_is_not_that_there_is_none() -> None:
    seen = EMPTY._replace(faults={SUSPENDED.name: "setpriv: not found"})
    with pytest.raises(UnexpectedOutput, match="setpriv"):
        starting.launch(WORKER, VM1, seen)


@given(st.text(max_size=80))
def test_a_first_line_that_cannot_be_read_starts_nothing(line: str) -> None:
    vm, found = memory.read(f"vm1 {line}")
    assert vm == "vm1"
    if not found.argv:
        with pytest.raises(LaunchFailed, match="cannot be read"):
            starting.launch(WORKER, VM1, EMPTY._replace(suspended={vm: found}))


def test_what_was_written_is_read() -> None:
    assert memory.read('vm1 {"argv": ["qemu", "-m"]}') == ("vm1", Memory(("qemu", "-m")))


def test_memory_of_a_machine_with_a_seed_does_not_fit_one_without() -> None:
    told = replace(VM1, cloud_init=CloudInit(), seed=Seed("vm1"))
    for then, now, said in (
        (told, VM1, "cloud_init: a seed -> none"),
        (VM1, told, "cloud_init: no seed -> one"),
    ):
        (differs,) = memory.differences(
            suspended(then).suspended["vm1"], now, launch_values(WORKER, now, EMPTY)
        )
        assert differs == said
    same = suspended(told).suspended["vm1"]
    assert list(memory.differences(same, told, launch_values(WORKER, told, EMPTY))) == []
