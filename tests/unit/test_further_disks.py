"""Further disks of a VM: made, kept, made larger, refused, removed, and the room for them."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from typing import Any

import pytest

from vmops.core.devices import machine
from vmops.core.devices.disk import NOTHING_THERE, unobjectionable
from vmops.core.devices.display import Screen
from vmops.core.devices.storage import further
from vmops.core.devices.storage.folder import DiskFile, DiskFolder, disk_file
from vmops.core.facts import supposed
from vmops.core.facts.images import OWN_DISKS
from vmops.core.facts.observed import Observed
from vmops.core.images.names import FOLDER, disk_path, own_disk
from vmops.core.inventory.complaints import InvalidValue, key_path
from vmops.core.inventory.hosts_toml import read_hosts_toml
from vmops.core.inventory.model import VM, Disk, Interface
from vmops.core.plan import group, restarting, starting, stopping
from vmops.core.plan.group import Terms
from vmops.core.plan.phase import Plan
from vmops.core.plan.stopping import KILLED
from vmops.core.plan.upkeep import disks
from vmops.core.script.command import Step, StepResult
from vmops.errors import LaunchFailed, UnexpectedOutput, WorkFailed

from .worlds import EMPTY, VM1, WORKER, labels, running

GIB = 1 << 30
DATA = Disk("data", size_gb=2, format="raw")
LOGS = Disk("logs", size_gb=1)
BOTH = replace(VM1, interfaces=(), disks=(DATA, LOGS))
PATHS = {each.name: disk_path("vm1", each.name, each.format) for each in BOTH.disks}


def world(
    sizes: dict[str, int | None], *, seen: Observed = EMPTY, free: int = 1 << 50, **told: Any
) -> Observed:
    """A worker with the VM's image, and of its further disks those that have a size."""
    images = dict(seen.images) | {VM1.qcow_image: unobjectionable(VM1.qcow_image)}
    files: dict[str, DiskFile] = {}
    for each in BOTH.disks:
        path, size = PATHS[each.name], sizes.get(each.name)
        images[path] = NOTHING_THERE
        if size is not None:
            (image,) = unobjectionable(path, each.format)
            images[path] = (image._replace(size=size, virtual_size=size, **told),)
            file = disk_file(path.rpartition("/")[2], used=1 << 20, size=size)
            assert file is not None
            files[file.file] = file
    return seen._replace(images=images, folder=DiskFolder(free, files))


WHOLE: dict[str, int | None] = {"data": 2 * GIB, "logs": GIB}


def done_by(made: Plan) -> list[str]:
    """The steps about disks, as words."""
    assert made.block is not None
    return [
        " ".join(entry.words())
        for step in made.block.numbered()
        for entry in step.commands
        if "disk" in step.label and "talk" not in entry.words()[0]
    ]


def test_they_are_made_before_qemu_needs_them_and_go_when_the_start_fails() -> None:
    made = starting.launch(WORKER, BOTH, world({}))
    assert labels(made)[:2] == ["disk data", "disk logs"]
    assert done_by(made) == [
        f"make_disk raw {PATHS['data']} {2 * GIB}",
        f"make_disk qcow2 {PATHS['logs']} {GIB}",
    ]
    assert made.block is not None
    steps = made.block.numbered()
    assert [undo.words() for undo in steps[0].undo] == [("remove_disk", PATHS["data"])]
    guards = [guard.words() for guard in made.block.guards]
    assert all(("no_disk", path) in guards for path in PATHS.values())


def test_those_that_are_there_are_kept_and_what_is_missing_is_made() -> None:
    assert done_by(starting.launch(WORKER, BOTH, world(WHOLE))) == []
    made = starting.launch(WORKER, BOTH, world({"data": 2 * GIB}))
    assert done_by(made) == [f"make_disk qcow2 {PATHS['logs']} {GIB}"]
    made = starting.launch(WORKER, BOTH, world({"data": GIB, "logs": GIB}))
    assert done_by(made) == [f"grow_disk raw {PATHS['data']} {2 * GIB}"]


def test_the_guest_finds_them_by_their_names_and_the_line_is_read_back() -> None:
    launch = machine.Launch("tcg", "max", "/a", Screen("::1", 5901), 5, "/home/u,x")
    argv = machine.build(BOTH, launch).words()
    assert "virtio-blk-pci,drive=disk-data,id=disk-data,serial=data" in argv
    line = machine.parse(argv)
    assert [(each.name, each.format) for each in line.disks] == [("data", "raw"), ("logs", "qcow2")]
    assert line.disks[0].path == f"/home/u,x/{PATHS['data'][2:]}"
    assert line.image == "/a"
    assert sum("discard=unmap" in word for word in argv) == 2


@pytest.mark.parametrize(
    ("wanted", "has", "drift"),
    [
        (BOTH.disks, WHOLE, []),
        ((*BOTH.disks, Disk("new", size_gb=3)), WHOLE, ["disks.new: none -> 3 GiB"]),
        ((DATA,), WHOLE, ["disks.logs: attached -> none"]),
        ((replace(DATA, format="qcow2"), LOGS), WHOLE, ["disks.data.format: raw -> qcow2"]),
        (BOTH.disks, {"data": GIB, "logs": GIB}, ["disks.data.size_gb: 1 -> 2"]),
    ],
)
def test_what_differs_while_it_runs_is_drift(
    wanted: tuple[Disk, ...], has: dict[str, int | None], drift: list[str]
) -> None:
    seen = running(BOTH, before=world(has))
    vm = replace(BOTH, disks=wanted)
    found = starting.launch(WORKER, vm, seen)
    assert [str(each) for each in found.drift] == drift
    larger = bool(drift) and drift[0].endswith("1 -> 2")
    assert found.action == ("grow" if larger else "restart" if drift else "nothing")


def test_one_that_is_to_be_smaller_is_refused_while_it_runs_too() -> None:
    """No restart would help, so none is offered."""
    seen = running(BOTH, before=world({"data": 3 * GIB, "logs": GIB}))
    with pytest.raises(WorkFailed, match="size_gb of its disk data is 2, and it has 3") as refused:
        starting.launch(WORKER, BOTH, seen)
    assert "set size_gb = 3" in refused.value.cure


def test_those_of_a_running_vm_grow_by_its_own_qemu() -> None:
    made = starting.launch(WORKER, BOTH, running(BOTH, before=world({"data": GIB, "logs": GIB})))
    assert labels(made) == ["larger disk"]
    assert made.block is not None
    said = made.block.numbered()[0].commands[0].stdin or b""
    assert said.count(b"block_resize") == 1
    assert b'"node-name": "disk-data", "size": 2147483648' in said


@pytest.mark.parametrize(
    ("sizes", "told", "said"),
    [
        ({"data": 3 * GIB}, {}, "size_gb of its disk data is 2, and it has 3: a disk is not made"),
        ({"data": 2 * GIB}, {"held": 101, "holders": (7,)}, "is written to by PID 7"),
        ({"data": 2 * GIB}, {"loose": "/home"}, "they may write to /home"),
        ({"logs": GIB}, {"data_file": "/etc/shadow"}, "keeps its data in another file"),
        ({"logs": GIB}, {"looks": "other"}, "is not a qcow2 image"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_done(
    sizes: dict[str, int | None], told: dict[str, Any], said: str
) -> None:
    with pytest.raises(LaunchFailed) as refused:
        starting.launch(WORKER, BOTH, world(sizes, **told))
    assert said in f"{refused.value.what} {refused.value.cure}"


def test_one_that_stands_on_another_file_is_refused() -> None:
    seen = world(WHOLE)
    chain = (*seen.images[PATHS["logs"]], *unobjectionable("/home/u/other.qcow2"))
    with pytest.raises(LaunchFailed, match="has a backing file, and none was given"):
        starting.launch(WORKER, BOTH, seen._replace(images={**seen.images, PATHS["logs"]: chain}))


def test_what_a_guest_writes_at_the_beginning_of_a_raw_disk_says_nothing() -> None:
    """It is given to QEMU as raw, and no other driver is tried."""
    assert starting.launch(WORKER, BOTH, world(WHOLE, looks="qcow2")).action == "start"


def test_another_format_is_no_new_disk() -> None:
    vm = replace(BOTH, disks=(replace(DATA, format="qcow2"),))
    seen = world(WHOLE)
    images = {**seen.images, disk_path("vm1", "data", "qcow2"): NOTHING_THERE}
    with pytest.raises(LaunchFailed, match="is there as raw, and qcow2 is asked for") as refused:
        starting.launch(WORKER, vm, seen._replace(images=images))
    assert "fab reset-disk --vm vm1 --disk data" in refused.value.cure


def test_a_restart_knows_the_way_back_to_the_disks_that_ran() -> None:
    ran = replace(BOTH, disks=(DATA,))
    seen = running(ran, before=world(WHOLE))
    made = restarting.restart(WORKER, replace(BOTH, cores=2), seen, manner=KILLED)
    back = made.phases[0].recovery
    assert back is not None
    argv = next(step for step in back.numbered() if step.label == "QEMU").commands[0].words()
    assert [each.name for each in machine.parse(argv).disks] == ["data"]
    assert not [step.label for step in back.numbered() if step.label.startswith("disk")]


def test_a_vm_of_an_image_has_a_way_back_too() -> None:
    """What runs says the disk by its absolute path, and hosts.toml by an image."""
    web = replace(VM1, qcow_image="", image="debian", interfaces=(), disks=())
    path = own_disk("vm1")
    seen = EMPTY._replace(images={path: unobjectionable(path)}, folder=DiskFolder(1 << 50))
    made = restarting.restart(
        WORKER, replace(web, cores=2), running(web, before=seen), manner=KILLED
    )
    assert made.phases[0].recovery is not None


def test_destroy_removes_all_that_were_made_also_those_that_hosts_toml_has_no_more() -> None:
    seen = world(WHOLE)
    other = (
        disk_file("disk-vm1-old.raw"),
        disk_file("disk-vm1-x-data.raw"),
        disk_file("disk-v-a.raw"),
    )
    files = {**seen.folder.files, **{each.file: each for each in other if each}}
    seen = seen._replace(folder=seen.folder._replace(files=files))
    removed = [
        f"remove_disk {FOLDER}/disk-vm1-{name}" for name in ("data.raw", "logs.qcow2", "old.raw")
    ]
    assert done_by(stopping.destroy(WORKER, BOTH, seen)) == removed
    assert stopping.destroy(WORKER, BOTH, seen, keep_disks=True).action == "nothing"
    held = world(WHOLE, held=201, holders=(7,))
    with pytest.raises(WorkFailed, match="PID 7"):
        stopping.destroy(WORKER, BOTH, held)
    with pytest.raises(UnexpectedOutput):
        stopping.destroy(WORKER, BOTH, seen._replace(faults={OWN_DISKS.name: "cut"}))


def test_destroy_leaves_an_image_that_somebody_has_named_like_a_disk_of_ours() -> None:
    mine = replace(VM1, qcow_image=own_disk("vm1"), interfaces=())
    file = disk_file(own_disk("vm1").rpartition("/")[2])
    assert file is not None
    seen = EMPTY._replace(folder=DiskFolder(1 << 50, {file.file: file}))
    assert stopping.destroy(WORKER, mine, seen).action == "nothing"


def test_reset_removes_one_disk_of_a_vm_that_does_not_run() -> None:
    made = disks.reset(WORKER, BOTH, world(WHOLE), name="data")
    assert done_by(made) == [f"remove_disk {PATHS['data']}"]
    assert made.block is not None
    assert [guard.argv[0] for guard in made.block.guards] == ["not_running", "mark_is", "memory_is"]
    assert disks.reset(WORKER, BOTH, world({}), name="data").action == "nothing"
    with pytest.raises(WorkFailed, match="is running") as refused:
        disks.reset(WORKER, BOTH, running(BOTH, before=world(WHOLE)), name="data")
    assert "fab stop --vm vm1" in refused.value.cure


def plans(vms: list[VM], seen: Observed) -> list[Plan]:
    found = group.plans(WORKER, vms, seen, terms=Terms())
    assert all(isinstance(each, Plan) for each in found), found
    return [each for each in found if isinstance(each, Plan)]


def test_that_more_is_promised_than_is_free_is_a_warning_and_said_once() -> None:
    seen = world({}, free=2 * GIB)
    other = replace(BOTH, name="vm2", vm_id=2, vnc_port=5999, disks=(DATA,))
    seen = seen._replace(images={**seen.images, disk_path("vm2", "data", "raw"): NOTHING_THERE})
    one, two = plans([BOTH, other], seen)
    assert [note for note in one.notes if "5 GiB more, and 2 GiB is free" in note]
    assert not [note for note in two.notes if "GiB" in note]
    (alone,) = plans([BOTH], world(WHOLE, free=2 * GIB))
    assert not alone.notes, "nothing new is promised"
    (made,) = plans([BOTH], world({"data": 2 * GIB}, free=4 * GIB))
    assert not made.notes, "what one takes already is not promised"


def test_without_room_for_what_is_taken_at_once_none_of_them_starts() -> None:
    (found,) = group.plans(WORKER, [BOTH], world({}, free=100 << 20), terms=Terms())
    assert isinstance(found, LaunchFailed)
    assert "256 MiB at once, and 100 MiB are free" in found.what
    (found,) = group.plans(WORKER, [BOTH], world(WHOLE, free=0), terms=Terms())
    assert isinstance(found, Plan), "nothing is made"


def test_a_dry_run_shows_them() -> None:
    seen = supposed.without_disks(supposed.blank(WORKER, [BOTH]), [BOTH], {})
    assert len(done_by(starting.launch(WORKER, BOTH, seen))) == 2
    gone = stopping.destroy(WORKER, BOTH, supposed.running(WORKER, [BOTH]))
    assert len(done_by(gone)) == 2


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (b"free 10 4096\n", DiskFolder(40960)),
        (
            b"free 1 1\ndisk disk-a-b-data.raw 512 1024\n",
            DiskFolder(
                1,
                {
                    "disk-a-b-data.raw": DiskFile(
                        "disk-a-b-data.raw", "a-b", "data", "raw", 512, 1024
                    )
                },
            ),
        ),
        (b"free 1 1\ndisk disk-a.raw 1 1\n", DiskFolder(1)),
    ],
)
def test_the_folder_is_read(said: bytes, found: DiskFolder) -> None:
    result = StepResult(Step("disks", ()), 0, stdout=said)
    assert OWN_DISKS.read(result) == found
    with pytest.raises(ValueError, match="odd line"):
        OWN_DISKS.read(result._replace(stdout=said + b"x\n"))


HEAD = "[vms.v]\nvnc_port = 5901\nram_mb = 1\ncores = 1\nqcow_image = '/v'\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("disks = [{ name = 'a', size_gb = 1 }, { name = 'b', size_gb = 1, format = 'raw' }]", ()),
        (
            "disks = [{ name = 'a' }]",
            ("vms.v.disks[0].size_gb: missing: must be 1 to 65536 (GiB)",),
        ),
        (
            "disks = [{ name = 'a', size_gb = 1 }, { name = 'a', size_gb = 1, format = 'raw' }]",
            ("vms.v.disks[1].name: 'a': must differ from vms.v.disks[0].name",),
        ),
        (
            "disks = [{ name = 'root', size_gb = 1 }]",
            (
                "vms.v.disks[0].name: 'root': must be 1 to 20 letters, digits and '_', the first a"
                ' letter or a digit, and neither "root" nor "uefi"',
            ),
        ),
        (
            "disks = [{ name = 'a-b', size_gb = 1 }]",
            (
                "vms.v.disks[0].name: 'a-b': must be 1 to 20 letters, digits and '_', the first a"
                ' letter or a digit, and neither "root" nor "uefi"',
            ),
        ),
        (
            "disks = [{ name = 'a', size_gb = 1 }]\n[vms.w]\nvnc_port = 5902\nram_mb = 1\n"
            "cores = 1\nqcow_image = '~/vm_images/.vmops/disk-v-a.qcow2'",
            (
                "vms.w.qcow_image: disk '~/vm_images/.vmops/disk-v-a.qcow2': must differ from"
                " vms.v.disks[0].name: both can be on one worker",
            ),
        ),
        (
            "disks = ["
            + ",".join(f"{{ name = 'd{n}', size_gb = 1 }}" for n in range(3))
            + "]\ninterfaces = ["
            + ",".join(f"{{ name = 'n{n}' }}" for n in range(24))
            + "]",
            ("vms.v.disks: must be at most 26 interfaces and disks together, not 27",),
        ),
    ],
)
def test_a_file_with_disks_is_read_and_complained_of(text: str, said: tuple[str, ...]) -> None:
    faults = read_hosts_toml(tomllib.loads(HEAD + text)).faults
    assert tuple(f"{key_path(fault.path)}: {fault.said}" for fault in faults) == said


def test_a_vm_keeps_them_through_its_dict_and_refuses_what_is_none() -> None:
    assert VM.from_dict(BOTH.to_dict()) == BOTH
    assert "disks" not in VM1.to_dict()
    with pytest.raises(InvalidValue, match="must be a Disk"):
        replace(VM1, disks=("data",))  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="at most 26"):
        replace(
            VM1,
            disks=tuple(Disk(f"d{n}", size_gb=1) for n in range(16)),
            interfaces=tuple(Interface(f"n{n}") for n in range(11)),
        )


def test_no_two_disks_have_one_file() -> None:
    """A VM's name may hold what stands between the parts of a file's name; a disk's may not."""
    for vm in ("a", "a-b", "a.raw", "a-root", "disk-a"):
        for name in ("b", "root_1", "0", "raw"):
            for format in ("raw", "qcow2"):
                path = further.path_of(
                    replace(VM1, name=vm, interfaces=()), Disk(name, size_gb=1, format=format)
                )
                found = disk_file(path.rpartition("/")[2])
                assert found is not None
                assert (found.vm, found.name, found.format) == (vm, name, format)
