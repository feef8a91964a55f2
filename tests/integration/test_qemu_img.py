"""Disks under the real qemu-img and cp, made with the rights of an ordinary user."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vmops.core.devices.storage.folder import DiskFolder
from vmops.core.facts.images import OWN_DISKS
from vmops.core.images.names import FOLDER, Base, disk_path
from vmops.core.script import functions
from vmops.core.script.command import Command, Step, StepResult, command
from vmops.core.tools import image_chain, qemu_img

USER = "nobody"
BASE = Base("ab" * 32, "qcow2")
RAW = Base("cd" * 32, "raw")
DISK = disk_path("web1", "root", "qcow2")
MIB = 2**20

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="it becomes another user")


@pytest.fixture
def home() -> Iterator[Path]:
    """A home of that user's with two bases, where nobody else can look."""
    path = Path(tempfile.mkdtemp(prefix="vmops-home-", dir="/var/tmp"))
    folder = path / FOLDER.removeprefix("~/")
    folder.mkdir(parents=True)
    for base in (BASE, RAW):
        file = folder / base.name
        create = ["qemu-img", "create", "-q", "-f", base.format, str(file), "8M"]
        subprocess.run(create, check=True, timeout=30)
        write = ["qemu-io", "-f", base.format, "-c", "write -P 7 1M 64k", str(file)]
        subprocess.run(write, check=True, timeout=30, capture_output=True)
        file.chmod(0o400)
    for entry in (path, *path.rglob("*")):
        shutil.chown(entry, USER)
    yield path
    shutil.rmtree(path)


def do(home: Path, command: Command) -> subprocess.CompletedProcess[str]:
    words = command.words()
    text = functions.needed(words[0])
    script = f'export VMOPS_USER={USER} VMOPS_HOME={home} LC_ALL=C\n{text}\n"$@"'
    return subprocess.run(
        ["dash", "-c", script, "vmops", *words], capture_output=True, text=True, timeout=60
    )


def done(home: Path, command: Command) -> None:
    result = do(home, command)
    assert (result.returncode, result.stderr) == (0, "")


def at(home: Path, path: str = DISK) -> Path:
    return home / path.removeprefix("~/")


def info(path: Path) -> dict[str, Any]:
    words = ["qemu-img", "info", "--output=json", str(path)]
    told = subprocess.run(words, capture_output=True, check=True, timeout=30).stdout
    return dict(json.loads(told))


@pytest.mark.parametrize("base", [BASE, RAW])
def test_an_overlay_names_its_base_and_the_bases_format(home: Path, base: Base) -> None:
    done(home, qemu_img.make_overlay(DISK, base))
    told = info(at(home))
    assert told["backing-filename"] == base.name
    assert told["backing-filename-format"] == base.format
    assert told["virtual-size"] == 8 * MIB
    assert at(home).owner() == USER
    assert at(home).stat().st_mode & 0o777 == 0o600
    read = do(home, image_chain.read_chain(DISK))
    chain = image_chain.parse(read.stdout)
    assert [entry.format for entry in chain] == ["qcow2", base.format]
    assert image_chain.objections(chain, user=USER) == ()


def test_an_overlay_may_be_larger_than_its_base(home: Path) -> None:
    done(home, qemu_img.make_overlay(DISK, BASE, size=64 * MIB))
    assert info(at(home))["virtual-size"] == 64 * MIB


@pytest.mark.parametrize("base", [BASE, RAW])
def test_a_clone_stands_alone_can_be_written_and_is_sparse(home: Path, base: Base) -> None:
    disk = disk_path("web1", "root", base.format)
    done(home, qemu_img.clone_base(disk, base))
    assert "backing-filename" not in info(at(home, disk))
    assert at(home, disk).read_bytes() == (at(home, FOLDER) / base.name).read_bytes()
    assert at(home, disk).stat().st_mode & 0o777 == 0o600
    assert at(home, disk).stat().st_blocks * 512 < MIB


@pytest.mark.parametrize(
    "making",
    [
        qemu_img.make_overlay(DISK, BASE),
        qemu_img.clone_base(DISK, BASE),
        qemu_img.make_disk(DISK, "qcow2", size=MIB),
    ],
    ids=lambda command: str(command.argv[0]),
)
def test_a_disk_that_is_there_is_never_written_over(home: Path, making: Command) -> None:
    """Nor is one that is only a link, to a file that is not there yet."""
    at(home).write_text("what the guest wrote")
    result = do(home, making)
    assert result.returncode != 0
    assert "is there already" in result.stderr
    assert at(home).read_text() == "what the guest wrote"
    at(home).unlink()
    at(home).symlink_to(home / "elsewhere")
    assert do(home, making).returncode != 0
    assert not (home / "elsewhere").exists()


def test_what_fails_leaves_nothing_and_what_was_cut_is_replaced(home: Path) -> None:
    half = at(home, f"{DISK}.new")
    half.write_text("half")
    gone = Base("ef" * 32, "qcow2")
    for making in (qemu_img.make_overlay(DISK, gone), qemu_img.clone_base(DISK, gone)):
        assert do(home, making).returncode != 0
        assert not at(home).exists()
        assert not half.exists()
    half.write_text("half")
    done(home, qemu_img.make_overlay(DISK, BASE))
    assert not half.exists()


def test_a_disk_grows_and_never_shrinks(home: Path) -> None:
    for format in ("qcow2", "raw"):
        disk = disk_path("web1", "data", format)
        done(home, qemu_img.make_disk(disk, format, size=4 * MIB))
        done(home, qemu_img.grow_disk(disk, format, size=16 * MIB))
        assert info(at(home, disk))["virtual-size"] == 16 * MIB
        assert do(home, qemu_img.grow_disk(disk, format, size=2 * MIB)).returncode != 0
        assert info(at(home, disk))["virtual-size"] == 16 * MIB


def test_a_disk_is_removed_and_nothing_else(home: Path) -> None:
    done(home, qemu_img.make_overlay(DISK, BASE))
    done(home, qemu_img.remove_disk(DISK))
    done(home, qemu_img.remove_disk(DISK))
    left = {entry.name for entry in at(home, FOLDER).iterdir()}
    assert left == {BASE.name, RAW.name}


def test_twenty_overlays_cost_their_base_once(home: Path) -> None:
    for number in range(20):
        done(home, qemu_img.make_overlay(disk_path(f"web{number}", "root", "qcow2"), BASE))
    used = sum(e.stat().st_blocks * 512 for e in at(home, FOLDER).iterdir() if "disk-" in e.name)
    assert used < 20 * 300 * 1024


def test_it_is_the_user_who_makes_it(home: Path) -> None:
    """So nothing comes to be where he could not write himself."""
    at(home, FOLDER).chmod(0o500)
    shutil.chown(at(home, FOLDER), "root")
    at(home, FOLDER).chmod(0o755)
    result = do(home, qemu_img.make_disk(DISK, "qcow2", size=MIB))
    assert result.returncode != 0
    assert "Permission denied" in result.stderr


def listed(home: Path) -> DiskFolder:
    result = do(home, OWN_DISKS.commands[0])
    assert (result.returncode, result.stderr) == (0, "")
    return OWN_DISKS.read(StepResult(Step("disks", ()), 0, stdout=result.stdout.encode()))


def test_the_disks_of_a_folder_are_listed_with_what_they_take_and_may_take(home: Path) -> None:
    done(home, qemu_img.make_overlay(DISK, BASE, size=16 * MIB))
    done(home, qemu_img.make_disk(disk_path("a-b.c", "data", "raw"), "raw", size=4 * MIB))
    folder = at(home).parent
    (folder / "disk-x-link.raw").symlink_to("/etc/passwd")
    (folder / "disk-x-short.qcow2").write_bytes(b"QFI")
    (folder / "disk-x-evil\n.raw").touch()
    (folder / "disk-x-old.raw.new").touch()
    os.mkfifo(folder / "disk-x-fifo.raw")
    found = listed(home)
    assert set(found.files) == {
        "disk-web1-root.qcow2",
        "disk-a-b.c-data.raw",
        "disk-x-short.qcow2",
    }
    root, data = found.files["disk-web1-root.qcow2"], found.files["disk-a-b.c-data.raw"]
    assert (root.vm, root.name, root.size) == ("web1", "root", 16 * MIB)
    assert (data.vm, data.name, data.size) == ("a-b.c", "data", 4 * MIB)
    assert 0 < root.used < MIB
    assert data.used < MIB
    assert found.free is not None
    assert found.free > 0


def test_where_there_is_no_folder_yet_there_is_room_and_no_disk(home: Path) -> None:
    shutil.rmtree(home / "vm_images")
    found = listed(home)
    assert found.files == {}
    assert found.free


def test_variables_of_a_uefi_are_a_disk_of_their_own(home: Path, tmp_path: Path) -> None:
    template = Path(tempfile.mkdtemp(dir="/var/tmp")) / "OVMF_VARS.fd"
    template.parent.chmod(0o755)
    template.write_bytes(b"\xff" * 540_672)
    kept = disk_path("web1", "uefi", "qcow2")
    done(home, command("make_variables", str(template), kept))
    assert (info(at(home, kept))["format"], info(at(home, kept))["virtual-size"]) == (
        "qcow2",
        540_672,
    )
    again = do(home, command("make_variables", str(template), kept))
    assert again.returncode != 0
    shutil.rmtree(template.parent)


def test_only_halves_that_nobody_writes_to_any_more_are_leftovers(home: Path) -> None:
    folder = at(home).parent
    for name, age_s in (("disk-a-root.qcow2.new", 7200), ("disk-b-root.qcow2.new", 60)):
        (folder / name).touch()
        then = (folder / name).stat().st_mtime - age_s
        os.utime(folder / name, (then, then))
        shutil.chown(folder / name, USER)
    done(home, qemu_img.make_disk(DISK, "qcow2", size=MIB))
    os.utime(at(home), (1, 1))
    done(home, command("remove_half_disks"))
    left = {path.name for path in folder.iterdir() if path.name.startswith("disk-")}
    assert left == {"disk-b-root.qcow2.new", "disk-web1-root.qcow2"}
