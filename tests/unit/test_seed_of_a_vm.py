"""The seed of a VM that is launched, that runs with another one, and that is started again."""

from __future__ import annotations

import zlib
from base64 import b64encode
from dataclasses import replace

import pytest

from vmops.core.devices import machine
from vmops.core.devices.seed import drive
from vmops.core.facts import vms as facts
from vmops.core.facts.observed import Observed
from vmops.core.inventory.guest.told import Written
from vmops.core.inventory.model import VM
from vmops.core.plan import group, restarting, starting
from vmops.core.plan.drift import drift
from vmops.core.plan.group import Terms
from vmops.core.plan.phase import Plan
from vmops.core.plan.stopping import KILLED
from vmops.core.script import script
from vmops.core.script.command import Step, StepResult

from .test_first_boot import KEY, OF_IMAGE, SECRET, SEED, TOLD
from .worlds import EMPTY, VM1, WORKER, labels, running


def step_of(plan: Plan, label: str) -> Step:
    assert plan.block is not None
    return next(step for step in plan.block.numbered() if step.label == label)


def test_a_launch_brings_the_cd_and_attaches_it() -> None:
    plan = starting.launch(WORKER, TOLD, EMPTY)
    assert labels(plan)[-4:] == ["run directory", "seed", "QEMU", "pid"]
    (brings,) = step_of(plan, "seed").commands
    made = drive.written(SEED)
    assert brings.argv[:4] == ("bring_seed", "vm1", "1900001001", made.instance)
    assert zlib.decompress(brings.stdin or b"", wbits=31) == made.cd
    line = " ".join(step_of(plan, "QEMU").commands[0].words())
    assert "id=seed,file=/run/vmops/vm1/seed.iso,format=raw,media=cdrom,readonly=on" in line


def test_what_a_guest_is_told_is_seen_nowhere_but_on_its_cd() -> None:
    plan = starting.launch(WORKER, TOLD, EMPTY)
    assert plan.block is not None
    shown = script.shown([plan.block])
    assert "put the CD of its first boot (seed " in shown
    for step in plan.block.numbered():
        for entry in step.commands:
            assert SECRET not in " ".join(entry.words())
    text = script.render([plan.block], nonce="0" * 32)
    assert text.startswith(": private\n")
    for word in (SECRET, KEY, b64encode(SECRET.encode()).decode()):
        assert word not in text
        assert word not in shown
    silent = starting.launch(WORKER, VM1, EMPTY).block
    assert silent is not None
    assert not script.render([silent], nonce="0" * 32).startswith(": private\n")


def test_where_ids_are_shared_only_root_may_read_it() -> None:
    shared = EMPTY._replace(host=EMPTY.host._replace(whole_uid_range=False))
    (brings,) = step_of(starting.launch(WORKER, TOLD, shared), "seed").commands
    assert brings.argv[2] == "0"


def test_without_a_seed_there_is_none() -> None:
    plan = starting.launch(WORKER, VM1, EMPTY)
    assert "seed" not in labels(plan)
    assert "seed" not in " ".join(step_of(plan, "QEMU").commands[0].words())


def test_what_was_not_read_is_not_left_out_silently() -> None:
    with pytest.raises(AssertionError, match="is read before it starts"):
        starting.launch(WORKER, replace(TOLD, seed=None), EMPTY)


@pytest.mark.parametrize(
    ("vm", "word"),
    [(TOLD, "ide-cd,drive=seed"), (replace(TOLD, disk_model="virtio"), "scsi-cd,bus=seedbus.0")],
)
def test_the_drive_is_one_that_the_guest_has_a_driver_for(vm: VM, word: str) -> None:
    assert any(each.startswith(word) for each in drive.words(vm))


def test_the_cds_drive_is_not_taken_for_the_disk() -> None:
    for vm in (TOLD, replace(TOLD, disk_model="virtio"), OF_IMAGE):
        line = running(vm).vm("vm1").command_line
        assert line.image.endswith(vm.qcow_image.lstrip("~"))
        assert line.disk_model == vm.drive_model
    foreign = ["qemu", "-drive", "file=/a,format=qcow2", "-drive", "file=/b.iso,media=cdrom"]
    assert machine.parse(foreign).image == "/a"


# Drift, and the way back


def with_seed(seen: Observed, seed: str) -> Observed:
    return seen._replace(vms={"vm1": seen.vm("vm1")._replace(seed=seed)})


INSTANCE = drive.instance_of(SEED)
OLD = Written("vmops-0123456789abcdef01234567", b"the old CD")


@pytest.mark.parametrize(
    ("vm", "has", "said"),
    [
        (TOLD, INSTANCE, []),
        (TOLD, "", [f"cloud_init: no seed -> seed {INSTANCE[6:14]}"]),
        (TOLD, OLD.instance, [f"cloud_init: seed 01234567 -> seed {INSTANCE[6:14]}"]),
        (VM1, INSTANCE, [f"cloud_init: seed {INSTANCE[6:14]} -> no seed"]),
        (VM1, "", []),
        (replace(TOLD, seed=None), OLD.instance, []),
    ],
)
def test_another_seed_than_is_wanted_waits_for_the_next_start(
    vm: VM, has: str, said: list[str]
) -> None:
    seen = with_seed(running(vm), has)
    found = drift(WORKER, vm, seen)
    assert [str(one) for one in found] == said
    assert all(one.how == "at its next start" for one in found)
    plan = starting.launch(WORKER, vm, seen)
    assert (plan.action, plan.drift) == ("nothing", found)
    told = "vm1: its guest is told what cloud_init says now at its next start"
    assert plan.notes == ((f"{told}; to restart it: fab restart --vm vm1",) if said else ())
    (asked,) = group.plans(WORKER, [vm], seen, terms=Terms(restart=KILLED))
    assert isinstance(asked, Plan)
    assert asked.action == ("restart" if said else "nothing")


def test_another_seed_keeps_nothing_else_from_being_changed_live() -> None:
    seen = with_seed(running(TOLD), "")
    ports = {name: port._replace(tag=9) for name, port in seen.switch.ports.items()}
    seen = seen._replace(switch=seen.switch._replace(ports=ports))
    plan = starting.launch(WORKER, TOLD, seen)
    assert plan.action == "replug"
    assert {one.how for one in plan.drift} == {"live", "at its next start"}


def way_back(vm: VM, seen: Observed) -> list[str] | None:
    plan = restarting.restart(WORKER, vm, seen, manner=KILLED)
    recovery = plan.phases[0].recovery
    if recovery is None:
        return None
    return [
        " ".join([*entry.words(), zlib.decompress(entry.stdin, wbits=31).decode("latin-1")])
        for step in recovery.numbered()
        for entry in step.commands
        if entry.words()[0] == "bring_seed" and entry.stdin
    ]


def test_the_way_back_has_the_seed_that_it_ran_with() -> None:
    wanted = replace(TOLD, seed=SEED._replace(hostname="other"))
    seen = with_seed(running(TOLD), OLD.instance)
    (brings,) = way_back(wanted, seen._replace(seeds={"vm1": OLD})) or []
    assert OLD.instance in brings
    assert brings.endswith("the old CD")
    (same,) = way_back(TOLD, with_seed(running(TOLD), INSTANCE)) or []
    assert INSTANCE in same
    assert way_back(wanted, with_seed(running(VM1), "")) == []
    # Started without what it was told it would be another guest: then it is not started at all.
    assert way_back(wanted, seen) is None


def answer(vms: list[VM], **parts: bytes) -> dict[str, Written]:
    question = facts.seeds(vms)
    step = Step(question.name, question.commands)
    return dict(question.read(StepResult(step, 0, parts=tuple(parts.items()))))


def test_the_seeds_that_run_are_asked_for_where_they_differ() -> None:
    (asked,) = facts.seeds([TOLD, VM1]).commands
    assert asked.argv == ("other_seeds", "vm1", INSTANCE, "vm1", "-")
    packer = zlib.compressobj(wbits=31)
    packed = b64encode(packer.compress(OLD.cd) + packer.flush())
    assert answer([TOLD], vm1=OLD.instance.encode() + b"\n" + packed) == {"vm1": OLD}
    with pytest.raises(ValueError, match="header"):
        answer([TOLD], vm1=OLD.instance.encode() + b"\nAAAA")


def test_a_worker_that_answers_with_a_bomb_costs_little() -> None:
    packer = zlib.compressobj(wbits=31)
    packed = b64encode(packer.compress(bytes(64 << 20)) + packer.flush())
    found = answer([TOLD], vm1=OLD.instance.encode() + b"\n" + packed)
    assert len(found["vm1"].cd) == 4 << 20
