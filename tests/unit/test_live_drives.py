"""Decisions about disks and the CD of a VM that runs, from what its monitor says of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.core.devices.disk import NOTHING_THERE, unobjectionable
from vmops.core.devices.live import disks, drives
from vmops.core.devices.storage import boot, further
from vmops.core.devices.storage.folder import DiskFolder, disk_file
from vmops.core.facts import monitors
from vmops.core.facts.observed import Observed
from vmops.core.images.names import FOLDER
from vmops.core.inventory.model import VM, Disk
from vmops.core.plan import restarting, starting
from vmops.core.plan.live import suspending
from vmops.core.plan.status import of
from vmops.core.plan.stopping import KILLED
from vmops.core.tools import monitor
from vmops.core.tools.monitor import Heard, Refused
from vmops.errors import LaunchFailed, WorkFailed

from .worlds import VM1, WORKER, commands, labels, running

HOME = "/home/ubuntu"
DATA, LOGS = Disk("data", size_gb=1, format="raw"), Disk("logs", size_gb=2)
WITH_DATA, WITH_BOTH = replace(VM1, disks=(DATA,)), replace(VM1, disks=(DATA, LOGS))
CD = replace(VM1, boot="cdrom", iso="~/a.iso")
BALLOON = replace(VM1, balloon=True)
DATA_PATH = f"{HOME}/vm_images/.vmops/disk-vm1-data.raw"
CARDS = "".join(
    f"{n.tap}: index=0,type=nic,model=e1000,macaddr={n.mac}\r\n"
    f" \\ net{at}: index=0,type=tap,ifname={n.tap},script=no\r\n"
    for at, n in enumerate(VM1.connected)
)
NO_BALLOON = Refused("No balloon device has been activated")


def node(name: str, file: str, drv: str = "raw") -> dict[str, Any]:
    return {"node-name": name, "drv": drv, "file": file, "ro": False}


def block(qdev: str, medium: Mapping[str, Any] | None = None) -> dict[str, Any]:
    more = {} if medium is None else {"inserted": medium}
    return {"device": "", "qdev": qdev, "removable": medium is None, "locked": False, **more}


def said(
    *has: tuple[str, dict[str, Any]],
    bare: Sequence[dict[str, Any]] = (),
    empty: Sequence[str] = (),
    files: Mapping[int, str] | None = None,
    ram_mb: int = 0,
) -> tuple[Any, ...]:
    """The answers to what is asked of a VM that runs: these drives, each with its node, beside its
    first one."""
    first = ("/machine/unattached/device[23]", node("#block1", "/home/ubuntu/vm1.qcow2"))
    given = [
        {"fdset-id": number, "fds": [{"fd": 9, "opaque": path}]}
        for number, path in (files or {}).items()
    ]
    blocks = [block(qdev, medium) for qdev, medium in (first, *has)]
    nodes = [medium for _, medium in (first, *has)]
    memory = {"actual": ram_mb << 20} if ram_mb else NO_BALLOON
    answers = ([*blocks, *map(block, empty)], given, [*nodes, *bare], memory)
    return ({"status": "running"}, CARDS, *answers)


def attached(name: str, file: str, drv: str = "raw") -> tuple[str, dict[str, Any]]:
    return f"/machine/peripheral/disk-{name}/virtio-backend", node(f"disk-{name}", file, drv)


def world(vm: VM, answers: tuple[Any, ...] | None, wanted: VM | None = None) -> Observed:
    """The VM as it was launched, what its monitor says by now, and the files of what is wanted."""
    seen = running(vm)
    images = dict(seen.images)
    for one in (vm, wanted or vm):
        for each in one.disks:
            images.setdefault(further.path_of(one, each), NOTHING_THERE)
        images |= {path: unobjectionable(path, "raw") for path in boot.asked(one)}
    heard = Heard("vm1", answers=answers or ({"status": "running"},))
    return seen._replace(images=images, monitors={"vm1": heard}, folder=DiskFolder(free=100 << 30))


def with_file(seen: Observed, vm: VM, wanted: Disk, *, size_gb: int) -> Observed:
    path = further.path_of(vm, wanted)
    (top,) = unobjectionable(path, wanted.format)
    chain = (top._replace(virtual_size=size_gb << 30, looks=top.format),)
    return seen._replace(images={**seen.images, path: chain})


# What it has


def test_what_it_was_started_with_counts_where_its_monitor_says_nothing() -> None:
    has = world(WITH_DATA, None).drives("vm1")
    assert [(each.name, each.path) for each in has.disks] == [("data", DATA_PATH)]
    assert not has.said
    assert world(CD, None).drives("vm1").cd == f"{HOME}/a.iso"
    assert world(VM1, None).drives("vm1").cd is None


def test_a_file_that_was_handed_over_is_told_by_its_path() -> None:
    answers = said(
        attached("data", "/dev/fdset/7"),
        attached("mine", "/x.qcow2", "qcow2"),
        bare=[node("disk-logs", "/dev/fdset/8", "qcow2"), node("disk-no good", "/y")],
        files={7: DATA_PATH, 8: "/logs"},
        ram_mb=300,
    )
    has = world(VM1, answers).drives("vm1")
    assert {(each.name, each.path, each.format, each.attached) for each in has.disks} == {
        ("data", DATA_PATH, "raw", True),
        ("mine", "/x.qcow2", "qcow2", True),
        ("logs", "/logs", "qcow2", False),
    }
    assert (has.said, has.ram_mb, has.cd) == (True, 300, None)


@pytest.mark.parametrize(
    ("answers", "cd", "is_first"),
    [
        (said(("boot-iso", node("boot-iso", "/odd"))), f"{HOME}/a.iso", True),
        (said(("boot-iso", node("#b", "/dev/fdset/3")), files={3: "/b.iso"}), "/b.iso", False),
        (said(empty=["boot-iso"]), "", False),
    ],
)
def test_a_cd_is_the_one_that_is_in_the_drive(
    answers: tuple[Any, ...], cd: str, is_first: bool
) -> None:
    has = world(CD, answers).drives("vm1")
    assert (has.cd, has.first_medium) == (cd, is_first)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                (
                    *("removable", "node-name", "fdset-id", "fds", "inserted", "qdev", "drv"),
                    *("file", "actual", "opaque"),
                )
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@given(st.lists(JSON, max_size=6))
def test_whatever_a_hostile_monitor_says_is_read_without_an_exception(answers: list[Any]) -> None:
    running_vm = world(WITH_DATA, None).vm("vm1").command_line
    has = drives.has(running_vm.disks, running_vm.boot, Heard("vm1", answers=tuple(answers)))
    assert has.said or [each.name for each in has.disks] == ["data"]


@given(st.dictionaries(st.integers(0, 1 << 30), st.text(max_size=5)), st.text(max_size=5))
def test_no_two_files_have_one_number(files: dict[int, str], path: str) -> None:
    number = drives.Drives(files=files).number_for(path)
    assert files.get(number, path) == path
    other = drives.Drives(files={**files, drives.Drives().number_for(path): "other"})
    assert other.number_for("another") != other.number_for(path)


# Disks


def test_a_disk_is_made_handed_over_and_attached_in_one_step() -> None:
    made = starting.launch(WORKER, WITH_DATA, world(VM1, said(), WITH_DATA))
    assert (made.action, [item.how for item in made.drift]) == ("change", ["live"])
    assert labels(made) == ["add disk data"]
    make, talk = commands(made, "add disk data")
    assert make == f"make_disk raw {FOLDER}/disk-vm1-data.raw {1 << 30}"
    assert talk.startswith("with_files talk_to_monitors")
    order = ["file rw", "add-fd", "blockdev-add", "device_add"]
    assert [word for word in order if word in talk] == order
    assert sorted(order, key=talk.index) == order
    assert DATA_PATH.encode().hex() in talk
    assert made.block is not None
    step = made.block.numbered()[-1]
    undo = [command.words() for command in step.undo]
    assert [words[0] for words in undo] == ["take_back"] * 3 + ["unless_file_open"]
    assert undo[-1][1:4] == ("4821", DATA_PATH, "remove_disk")
    guards = [" ".join(c.words()) + (c.stdin or b"").decode() for c in made.block.guards]
    assert any(guard.startswith("no_disk") for guard in guards)
    assert any("query-named-block-nodes" in guard and "lack " in guard for guard in guards)


def test_a_file_that_was_kept_is_taken_as_it_is_and_never_removed() -> None:
    seen = with_file(world(VM1, said(), WITH_BOTH), WITH_BOTH, LOGS, size_gb=1)
    made = starting.launch(WORKER, WITH_BOTH, seen)
    grow, talk = commands(made, "add disk logs")
    assert grow.startswith("grow_disk qcow2")
    assert '"driver": "qcow2"' in talk
    assert made.block is not None
    step = next(step for step in made.block.numbered() if step.label == "add disk logs")
    assert not any("remove_disk" in command.words() for command in step.undo)
    assert "larger disk" not in labels(made)


def test_what_an_addition_left_half_done_is_gone_on_with() -> None:
    answers = said(bare=[node("disk-data", "/dev/fdset/7")], files={7: DATA_PATH})
    seen = with_file(world(VM1, answers, WITH_DATA), WITH_DATA, DATA, size_gb=1)
    (field,) = starting.launch(WORKER, WITH_DATA, seen).drift
    assert (field.running, field.live) == ("open without a card", True)
    (talk,) = commands(starting.launch(WORKER, WITH_DATA, seen), "add disk data")
    assert "device_add" in talk
    assert "blockdev-add" not in talk


def test_a_number_that_was_left_is_given_back_before_it_is_given_anew() -> None:
    number = drives.Drives().number_for(DATA_PATH)
    seen = world(VM1, said(files={number: DATA_PATH}), WITH_DATA)
    _, back, talk = commands(starting.launch(WORKER, WITH_DATA, seen), "add disk data")
    assert back.startswith("take_back")
    assert f'"remove-fd", "arguments": {{"fdset-id": {number}}}' in back
    assert f'"fdset-id": {number}, "opaque": "{DATA_PATH}"' in talk


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (
            with_file(world(VM1, said(), WITH_DATA), WITH_DATA, DATA, size_gb=5),
            "a disk is not made smaller",
        ),
        (
            world(VM1, said(), WITH_DATA)._replace(folder=DiskFolder(free=1 << 20)),
            "its disks need 256 MiB at once",
        ),
        (
            world(VM1, said(), WITH_DATA)._replace(
                folder=DiskFolder(
                    free=100 << 30,
                    files={"a": disk_file("disk-vm1-data.qcow2")},  # type: ignore[dict-item]
                )
            ),
            "its disk data is there as qcow2, and raw is asked for",
        ),
    ],
)
def test_a_disk_that_could_not_be_had_at_a_start_cannot_be_had_now(
    seen: Observed, why: str
) -> None:
    with pytest.raises(LaunchFailed, match=why):
        starting.launch(WORKER, WITH_DATA, seen)


def test_one_too_many_goes_after_its_guest_has_let_go_and_its_file_stays() -> None:
    answers = said(attached("data", "/dev/fdset/7"), files={7: DATA_PATH})
    made = starting.launch(WORKER, VM1, world(VM1, answers))
    assert (made.action, [item.how for item in made.drift]) == ("change", ["live"])
    talk, back = commands(made, "remove disk data")
    order = [talk.index(word) for word in ("device_del", "DEVICE_DELETED", "blockdev-del")]
    assert order == sorted(order)
    assert '"fdset-id": 7' in back
    assert made.phases[0].waits_s >= 10
    assert "remove_disk" not in str(made.block)


def test_one_that_its_guest_gave_up_late_is_closed() -> None:
    made = starting.launch(WORKER, VM1, world(VM1, said(bare=[node("disk-data", DATA_PATH)])))
    (talk,) = commands(made, "remove disk data")
    assert "device_del" not in talk
    assert "blockdev-del" in talk


def test_what_comes_out_makes_room_for_what_goes_in() -> None:
    answers = said(attached("old", "/old"))
    made = starting.launch(WORKER, WITH_DATA, world(VM1, answers, WITH_DATA))
    assert labels(made) == ["remove disk old", "add disk data"]


@pytest.mark.parametrize(
    ("vm", "answers"),
    [
        (VM1, None),
        (replace(VM1, machine="q35"), said()),
        (replace(VM1, machine="pc-q35-7.2"), said()),
    ],
)
def test_where_nothing_can_be_plugged_only_a_restart_helps(
    vm: VM, answers: tuple[Any, ...] | None
) -> None:
    wanted = replace(vm, disks=(DATA,))
    assert starting.launch(WORKER, wanted, world(vm, answers, wanted)).action == "restart"


def test_what_was_added_is_no_drift_grows_and_comes_back_after_a_failed_restart() -> None:
    answers = said(attached("data", "/dev/fdset/7"), files={7: DATA_PATH})
    seen = with_file(world(VM1, answers, WITH_DATA), WITH_DATA, DATA, size_gb=1)
    assert starting.launch(WORKER, WITH_DATA, seen).action == "nothing"
    assert of(WORKER, WITH_DATA, seen).drift == ()
    larger = replace(VM1, disks=(replace(DATA, size_gb=3),))
    made = starting.launch(WORKER, larger, seen)
    assert made.action == "grow"
    assert f'{{"node-name": "disk-data", "size": {3 << 30}}}' in commands(made, "larger disk")[0]
    back = restarting.as_it_runs(WORKER, WITH_DATA, seen)
    assert back is not None
    assert [disk.name for disk in back.disks] == ["data"]
    other = replace(WITH_DATA, cores=2)
    assert restarting.restart(WORKER, other, seen, manner=KILLED).phases[0].recovery is not None


# CDs


def test_another_cd_is_put_into_the_drive() -> None:
    wanted = replace(CD, iso="~/b.iso")
    seen = world(CD, said(("boot-iso", node("boot-iso", f"{HOME}/a.iso"))), wanted)
    made = starting.launch(WORKER, wanted, seen)
    assert (made.action, [item.how for item in made.drift]) == ("change", ["live"])
    (talk,) = commands(made, "change CD")
    order = ["file ro", "blockdev-change-medium", "blockdev-del"]
    assert sorted(order, key=talk.index) == order
    assert '"read-only-mode": "read-only"' in talk
    back = restarting.as_it_runs(WORKER, wanted, seen)
    assert back is not None
    assert back.iso == f"{HOME}/a.iso"


def test_a_cd_that_is_taken_out_leaves_the_drive_to_the_next_start() -> None:
    seen = world(CD, said(("boot-iso", node("#b", "/dev/fdset/3")), files={3: "/b.iso"}))
    made = starting.launch(WORKER, VM1, seen)
    assert {item.field: item.how for item in made.drift} == {
        "iso": "live",
        "boot": "at its next start",
    }
    talk, back = commands(made, "change CD")
    assert '"eject"' in talk
    assert "blockdev-del" not in talk
    assert '"fdset-id": 3' in back
    empty = world(CD, said(empty=["boot-iso"]))
    assert starting.launch(WORKER, VM1, empty).action == "nothing"
    assert starting.launch(WORKER, replace(CD, iso=None), empty).action == "nothing"
    assert starting.launch(WORKER, CD, empty).action == "change"


def test_a_drive_that_it_was_not_started_with_needs_a_restart() -> None:
    assert starting.launch(WORKER, CD, world(VM1, said(), CD)).action == "restart"
    no_iso = replace(CD, iso=None)
    assert boot.words(no_iso, HOME, boot.Firmware()) == (
        "-device",
        "ide-cd,id=boot-iso,bootindex=0",
    )
    assert world(no_iso, None).drives("vm1").cd == ""


def test_an_iso_that_nobody_may_read_is_not_put_in() -> None:
    wanted = replace(CD, iso="~/b.iso")
    seen = world(CD, said(("boot-iso", node("boot-iso", ""))), wanted)
    seen = seen._replace(images={**seen.images, "~/b.iso": NOTHING_THERE})
    with pytest.raises(LaunchFailed, match=r"no image ~/b\.iso"):
        starting.launch(WORKER, wanted, seen)


def test_a_locked_tray_is_the_guests() -> None:
    text = "Device 'boot-iso' is locked and force was not specified, wait for tray to open"
    heard = Heard("vm1", answers=({}, Refused(text)))
    assert "its guest has locked the tray" in disks.why_unchanged(heard)


# What hangs on it


@pytest.mark.parametrize(
    ("vm", "answers", "what"),
    [
        (VM1, said(attached("data", "/x")), "its disks were changed"),
        (CD, said(empty=["boot-iso"]), "its CD was changed"),
        (BALLOON, said(ram_mb=256), "its memory was changed"),
    ],
)
def test_what_was_changed_while_it_ran_cannot_be_suspended(
    vm: VM, answers: tuple[Any, ...], what: str
) -> None:
    with pytest.raises(WorkFailed, match=what):
        suspending.suspend(WORKER, vm, world(vm, answers))


def test_a_vm_without_a_balloon_is_looked_at_all_the_same() -> None:
    """QEMU refuses the last request then, which is an answer as well."""
    look: tuple[Any, ...] = ({"status": "running"}, [], [], [], [], "")
    heard = Heard("vm1", answers=(*look, [], NO_BALLOON))
    assert monitor.is_refused(heard)
    assert monitors.look_of(heard).status == "running"
    assert json.loads(str(drives.BALLOON)) == {"execute": "query-balloon"}
    assert drives.HAS[-1] == drives.MORE[-1] == drives.BALLOON
