"""A VM's disk that is made of an image: when it is made, made larger, refused and removed."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from typing import Any

import pytest

from vmops.core.devices import disk
from vmops.core.devices.disk import NOTHING_THERE, unobjectionable
from vmops.core.devices.storage.folder import DiskFolder, disk_file
from vmops.core.facts import supposed
from vmops.core.facts.observed import Observed
from vmops.core.images.names import Base
from vmops.core.inventory.complaints import InvalidValue, key_path
from vmops.core.inventory.hosts_toml import read_hosts_toml
from vmops.core.inventory.inventory import Inventory
from vmops.core.inventory.model import VM, Settings
from vmops.core.plan import starting, stopping
from vmops.core.script import script
from vmops.core.script.command import Block, Step
from vmops.core.tools import qemu_img
from vmops.core.tools.image_chain import Image
from vmops.errors import LaunchFailed, WorkFailed

from .worlds import EMPTY, VM1, WORKER, labels, running

GIB = 1 << 30
BASE = Base("a" * 64, "qcow2")
WEB = replace(VM1, qcow_image="", image="debian", interfaces=())
PATH = "~/vm_images/.vmops/disk-vm1-root.qcow2"
KEY = disk.key_of_base("debian")


def world(has: int | None = None, *, seen: Observed = EMPTY, **told: Any) -> Observed:
    """A worker with the image, of 2 GiB, and the VM's disk, of `has` bytes; None where there is
    none."""
    images = {PATH: NOTHING_THERE, KEY: base_chain()}
    if has is not None:
        (image,) = unobjectionable(PATH)
        images[PATH] = (image._replace(virtual_size=has, **told),)
    file = PATH.rpartition("/")[2]
    found = disk_file(file, used=1 << 20, size=has or 0)
    files = {file: found} if found is not None and has is not None else {}
    return seen._replace(images=images, folder=DiskFolder(1 << 50, files))


def base_chain() -> tuple[Image, ...]:
    (image,) = unobjectionable(f"/home/ubuntu/{BASE.path[2:]}")
    return (image._replace(virtual_size=2 * GIB),)


def without_base(seen: Observed) -> Observed:
    return seen._replace(images={**seen.images, KEY: NOTHING_THERE})


def test_the_disk_is_made_just_before_qemu_needs_it_and_goes_when_the_start_fails() -> None:
    made = starting.launch(WORKER, WEB, world())
    assert labels(made)[-4:] == ["disk", "run directory", "QEMU", "pid"]
    assert made.block is not None
    step = next(step for step in made.block.numbered() if step.label == "disk")
    assert [entry.words() for entry in step.commands] == [
        ("make_overlay", BASE.name, "qcow2", PATH)
    ]
    assert [undo.words() for undo in step.undo] == [("remove_disk", PATH)]
    assert ("no_disk", PATH) in [guard.words() for guard in made.block.guards]


def test_a_disk_that_is_there_is_left_as_it_is() -> None:
    made = starting.launch(WORKER, WEB, without_base(world(2 * GIB)))
    assert "disk" not in labels(made)
    assert made.block is not None
    assert not any("no_disk" in guard.words() for guard in made.block.guards)


@pytest.mark.parametrize(
    ("vm", "has", "steps"),
    [
        (replace(WEB, disk_gb=3), None, [f"make_overlay {BASE.name} qcow2 {PATH} {3 * GIB}"]),
        (replace(WEB, disk="clone"), None, [f"clone_base {BASE.name} {PATH}"]),
        (
            replace(WEB, disk="clone", disk_gb=3),
            None,
            [f"clone_base {BASE.name} {PATH}", f"grow_disk qcow2 {PATH} {3 * GIB}"],
        ),
        (replace(WEB, disk_gb=3), 2 * GIB, [f"grow_disk qcow2 {PATH} {3 * GIB}"]),
        (replace(WEB, disk_gb=3), 3 * GIB, []),
    ],
)
def test_a_disk_gets_the_size_that_is_asked_for(vm: VM, has: int | None, steps: list[str]) -> None:
    seen = world(has)
    found = [entry.words() for step in disk.preparing(vm, seen.images) for entry in step.commands]
    assert [" ".join(words) for words in found] == steps


@pytest.mark.parametrize(
    ("vm", "seen", "said"),
    [
        (replace(WEB, disk_gb=1), world(), "a disk is not made smaller"),
        (replace(WEB, disk_gb=1), world(GIB + 1), "set disk_gb = 2"),
        (WEB, without_base(world()), "the image debian is not there to make it of"),
        (WEB, world(2 * GIB, held=101, holders=(7,)), "is written to by PID 7"),
        (WEB, world(2 * GIB, data_file="/etc/shadow"), "keeps its data in another file"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_done(
    vm: VM, seen: Observed, said: str
) -> None:
    with pytest.raises(LaunchFailed) as refused:
        starting.launch(WORKER, vm, seen)
    assert said in f"{refused.value.what} {refused.value.cure}"


def test_an_image_that_was_taken_away_under_a_disk_is_brought_back() -> None:
    """Another one, of other content, would not help: its name is another."""
    seen = world(2 * GIB)
    gone = NOTHING_THERE[0]._replace(path=f"/home/ubuntu/{BASE.path[2:]}")
    disk_and_gap = (*seen.images[PATH], gone)
    seen = seen._replace(images={**seen.images, PATH: disk_and_gap, KEY: (gone,)})
    assert disk.lacks_image(WEB, seen.images)
    with pytest.raises(LaunchFailed, match="its disk stands on it") as refused:
        starting.launch(WORKER, WEB, seen)
    assert "fab image.push --image debian" in refused.value.cure
    brought = supposed.with_images(seen, [WEB], {"debian": BASE})
    assert starting.launch(WORKER, WEB, brought).action == "start"
    other = gone._replace(path=gone.path.replace("a" * 64, "b" * 64))
    elsewhere = seen._replace(images={**seen.images, PATH: (*seen.images[PATH][:1], other)})
    assert not disk.lacks_image(WEB, elsewhere.images)
    with pytest.raises(LaunchFailed, match="cannot open"):
        starting.launch(WORKER, WEB, elsewhere)


def test_a_copy_gets_the_time_that_it_takes() -> None:
    clone = replace(WEB, disk="clone")
    (copying,) = starting.launch(WORKER, clone, world()).phases
    (copied,) = starting.launch(WORKER, clone, world(2 * GIB)).phases
    assert copying.time_limit_s - copied.time_limit_s == 3600


def test_a_raw_image_is_no_clone() -> None:
    (base,) = base_chain()
    path = base.path.replace("qcow2", "raw")
    raw = (base._replace(path=path, format="raw", looks="other"),)
    seen = EMPTY._replace(images={PATH: NOTHING_THERE, KEY: raw})
    with pytest.raises(LaunchFailed, match="the image debian is raw"):
        starting.launch(WORKER, replace(WEB, disk="clone"), seen)
    assert starting.launch(WORKER, WEB, seen).action == "start"


def test_a_running_vm_gets_a_larger_disk_by_its_own_qemu_and_never_a_smaller_one() -> None:
    seen = running(WEB, before=world(2 * GIB))
    assert starting.launch(WORKER, WEB, seen).action == "nothing"
    made = starting.launch(WORKER, replace(WEB, disk_gb=3), seen)
    assert [str(item) for item in made.drift] == ["disk_gb: 2 -> 3"]
    assert (made.action, labels(made)) == ("grow", ["larger disk"])
    assert made.block is not None
    (command,) = made.block.numbered()[0].commands
    assert b'"device": "root", "size": 3221225472' in (command.stdin or b"")
    assert [guard.argv[0] for guard in made.block.guards] == ["still_running"]
    # No restart would help, so none is offered.
    with pytest.raises(WorkFailed, match="a disk is not made smaller"):
        starting.launch(WORKER, replace(WEB, disk_gb=1), seen)
    with_more = starting.launch(WORKER, replace(WEB, disk_gb=3, cores=2), seen)
    assert with_more.action == "restart"


@pytest.mark.parametrize(
    ("drive", "device"),
    [
        ("file=/a,format=qcow2,if=virtio", "virtio0"),
        ("file=/a,format=qcow2", "ide0-hd0"),
        ("file=/a,format=qcow2,if=none,id=root", "root"),
    ],
)
def test_the_drive_of_a_running_vm_is_called_as_its_qemu_calls_it(drive: str, device: str) -> None:
    """Also where an older vmops has started it."""
    argv = ["qemu", "-drive", drive]
    (request,) = disk.growing(replace(WEB, disk_gb=3), world(2 * GIB).images, argv)
    assert request.arguments == {"device": device, "size": 3 * GIB}
    assert disk.growing(replace(WEB, disk_gb=2), world(2 * GIB).images, argv) == ()


def test_destroy_removes_the_disk_that_was_made_and_no_other() -> None:
    made = stopping.destroy(WORKER, WEB, world(GIB))
    assert (made.action, labels(made)) == ("destroy", ["remove disk"])
    assert made.block is not None
    (step,) = made.block.numbered()
    assert [entry.words() for entry in step.commands] == [("remove_disk", PATH)]
    ended = stopping.destroy(WORKER, WEB, running(WEB, before=world(GIB)))
    assert labels(ended)[-1] == "remove disk"
    assert stopping.destroy(WORKER, WEB, world(GIB), keep_disks=True).action == "nothing"
    assert stopping.destroy(WORKER, WEB, world()).action == "nothing"
    assert stopping.destroy(WORKER, VM1, EMPTY).action == "nothing"
    with pytest.raises(WorkFailed, match="PID 7"):
        stopping.destroy(WORKER, WEB, world(GIB, held=201, holders=(7,)))


def test_a_dry_run_shows_the_disk_that_would_be_made() -> None:
    seen = supposed.without_disks(supposed.blank(WORKER, [WEB]), [WEB], {"debian": BASE})
    assert "disk" in labels(starting.launch(WORKER, WEB, seen))
    unknown = supposed.without_disks(supposed.blank(WORKER, [WEB]), [WEB], {})
    made = labels(starting.launch(WORKER, replace(WEB, disk_gb=3), unknown))
    assert not {"disk", "larger disk"} & set(made), "of what size it is nothing is supposed"


def test_a_vm_has_an_image_or_a_qcow_image_and_what_belongs_to_it() -> None:
    assert WEB.qcow_image == PATH
    assert VM.from_dict(WEB.to_dict()) == WEB
    assert (WEB.drive_model, VM1.drive_model) == ("virtio", "ide")
    wrong: dict[str, Any]
    for wrong in ({"image": "debian"}, {"disk_gb": 3}, {"disk": "clone"}):
        with pytest.raises(InvalidValue, match="must be left out"):
            replace(VM1, **wrong)
    with pytest.raises(InvalidValue, match="'debian': is not an image"):
        Inventory(Settings(), {}, {"vm1": WEB}, "here")


HEAD = "[images.a]\nfile = '/a'\n[images.b]\nfile = '/b'\n"
BODY = "ram_mb = 1\ncores = 1\nvnc_port = 5901\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"[vms.v]\n{BODY}image = 'a'", ()),
        (f"[vm_defaults]\nimage = 'a'\ndisk_gb = 9\n[vms.v]\n{BODY}qcow_image = '/v'", ()),
        (f"[vm_defaults]\nqcow_image = '/v'\n[vms.v]\n{BODY}image = 'a'\ndisk_gb = 9", ()),
        (
            f"[vms.v]\n{BODY}image = 'c'",
            ("vms.v.image: 'c': is not an image; there is: a, b",),
        ),
        (
            f"[vms.v]\n{BODY}image = 'a'\nqcow_image = '/v'",
            ("vms.v.image: 'a': must be left out, as there is a qcow_image, '/v'",),
        ),
        (
            f"[vms.v]\n{BODY}qcow_image = '/v'\ndisk_gb = 9",
            ("vms.v.disk_gb: 9: must be left out, as there is no image",),
        ),
    ],
)
def test_what_says_how_a_vm_gets_its_disk_goes_without_the_other_way_below(
    text: str, said: tuple[str, ...]
) -> None:
    faults = read_hosts_toml(tomllib.loads(HEAD + text)).faults
    assert tuple(f"{key_path(fault.path)}: {fault.said}" for fault in faults) == said


@pytest.mark.parametrize(
    ("size", "overlay", "alone"),
    [(0, "", " SIZE"), (4 * GIB, f" {4 * GIB}", f" {4 * GIB}")],
)
def test_a_dry_run_shows_no_size_that_nobody_knows(size: int, overlay: str, alone: str) -> None:
    made = qemu_img.make_overlay(PATH, BASE, size=size), qemu_img.make_disk(PATH, "raw", size=size)
    lines = script.shown([Block("web", (Step("disk", made),))]).split("\n")[1:]
    assert [line.partition(PATH)[2] for line in lines] == [overlay, alone]


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (0, "nothing"),
        (1, "0.000977 KiB"),
        (604_160, "590 KiB"),
        (1 << 20, "1 MiB"),
        (1_695_744, "1.62 MiB"),
        ((1 << 30) - 1, "1023 MiB"),
        (3 << 29, "1.5 GiB"),
        (5000 << 30, "5000 GiB"),
    ],
)
def test_a_size_is_said_in_the_unit_that_one_would_use(size: int, said: str) -> None:
    assert disk.spoken(size) == said
