"""Image chains as the worker reads them, beside what the real qemu-img and QEMU make of them."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
from pathlib import Path

import pytest

from vmops.core.script import functions
from vmops.core.tools import image_chain

from .chains import USER, against, complaints, folder, image, is_sound, overlay, read
from .test_script import SHELLS

__all__ = ["folder"]


pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="it becomes another user")


@pytest.mark.parametrize("shell", SHELLS)
def test_a_chain_of_ones_own_is_read_to_its_end(folder: Path, shell: str) -> None:
    base = image(folder / "base of all.qcow2")
    raw = folder / "base.raw"
    raw.write_bytes(bytes(2**20))
    middle = overlay(folder / "middle.qcow2", str(raw), "raw")
    top = overlay(folder / "ü.qcow2", middle.name)
    chain = read(top, shell=shell)
    assert [entry.path for entry in chain] == [str(top), str(middle), str(raw)]
    assert [entry.format for entry in chain] == ["qcow2", "qcow2", "raw"]
    assert [entry.virtual_size for entry in chain] == [2**20, 2**20, 0]
    assert chain[2].size == 2**20
    assert image_chain.objections(chain, user=USER) == ()
    assert complaints(overlay(folder / "b.qcow2", base.name)) == []


def test_a_name_is_relative_to_the_folder_of_the_link_and_not_of_its_target(folder: Path) -> None:
    """As QEMU has it: tried with qemu-img on the same files."""
    inner = folder / "inner"
    inner.mkdir(mode=0o755)
    image(folder / "base.qcow2")
    (folder / "link.qcow2").symlink_to(overlay(inner / "top.qcow2", "base.qcow2"))
    assert complaints(folder / "link.qcow2") == []
    assert complaints(inner / "top.qcow2") == [
        f"{USER} cannot open {inner}/base.qcow2, the backing file of {inner}/top.qcow2:"
        " No such file or directory"
    ]
    words = ["qemu-img", "info", "--backing-chain", str(folder / "link.qcow2")]
    assert subprocess.run(words, capture_output=True, timeout=30, check=False).returncode == 0


PRIVATELY = ("unshare", "--mount", "--propagation", "private")
FUSE = """
mount -t tmpfs -o mode=0755 none /media && mknod -m 0666 /media/fuse c 10 229
mount --bind /media/fuse /dev/fuse
setpriv --reuid nobody --regid nogroup --clear-groups bindfs --no-allow-other "$1/inner" "$1/inner"
mounted=$1/inner
shift
"""


@pytest.mark.skipif(shutil.which("bindfs") is None, reason="needs bindfs")
@pytest.mark.parametrize("place", ["image", "backing file", "image that others stand on"])
def test_what_root_may_not_open_is_told_before_qemu_would(folder: Path, place: str) -> None:
    """On a real FUSE mount of that user's, in mounts of the test's own."""
    (folder / "inner").mkdir()
    shutil.chown(folder / "inner", USER)
    closed = image(folder / "inner" / "disk.qcow2")
    top = overlay(folder / "top.qcow2", str(closed)) if place == "backing file" else closed
    format = image_chain.as_base("qcow2") if place.startswith("image that") else "qcow2"
    text = functions.needed("image_chains")
    script = f'{FUSE}export VMOPS_USER={USER} VMOPS_HOME=/home/x LC_ALL=C\n{text}\n"$@"'
    words = image_chain.read_chain(str(top), format=format).words()
    done = subprocess.run(
        [*PRIVATELY, "dash", "-c", script, "vmops", str(folder), *words],
        capture_output=True,
        timeout=30,
        check=False,
        text=True,
    )
    chain = image_chain.parse(done.stdout)
    assert [each.closed for each in chain] == [False] * (len(chain) - 1) + [True], done.stderr
    (objection,) = image_chain.objections(chain, user=USER)
    assert f"root may not open {closed}" in objection.what
    assert complaints(top) == []


def test_a_disk_of_a_vms_own_stands_on_a_base_and_on_nothing_else(folder: Path) -> None:
    """What its guest may have written there: another VM's disk, or any file of the SSH user's."""
    own = folder / "vm_images" / ".vmops"
    own.mkdir(parents=True)
    for made in (own, own.parent):
        shutil.chown(made, USER)
    base = image(own / f"base-{'0a' * 32}.qcow2")
    other = image(own / "disk-vm2-root.qcow2")
    for backing in (base.name, str(base)):
        assert complaints(overlay(own / "disk-vm1-root.qcow2", backing)) == []
    shutil.copy(base, folder / base.name)
    for backing in (other.name, str(other), f"../{base.name}", f"../../{base.name}"):
        top = overlay(own / "disk-vm1-root.qcow2", backing)
        assert "no image that vmops has brought" in " ".join(complaints(top))
    assert complaints(overlay(folder / "disk-vm1-root.qcow2", str(other))) == []


def test_the_worker_judges_each_of_several_images(folder: Path) -> None:
    good, bad = image(folder / "good.qcow2"), overlay(folder / "bad.qcow2", "nbd:x")
    assert is_sound(good, also=good)
    assert not is_sound(bad, also=good)
    assert not is_sound(good, also=bad)
    said = against([bad, *[good] * 400])
    assert said.count(b"\n") == 1, "whoever still wrote of the others complained as well"


@pytest.mark.parametrize(
    ("name", "driver"),
    [
        ("nbd://127.0.0.1:1/x", "nbd"),
        ("nbd:unix:/run/x", "nbd"),
        ("json:{}", "json"),
        ("http://127.0.0.1:1/x", "http"),
        ("ssh://127.0.0.1/x", "ssh"),
        ("file:/etc/shadow", "file"),
        ("file:base.qcow2", "file"),
        ("fat:/etc", "fat"),
        ("host_device:/dev/sda", "host_device"),
        ("blkdebug::/etc/shadow", "blkdebug"),
        ("no such driver:x", "no such driver"),
    ],
)
def test_what_is_no_plain_path_is_refused_and_not_followed(
    folder: Path, name: str, driver: str
) -> None:
    top = image(folder / "top.qcow2")
    write_backing(top, name.encode(), b"raw")
    assert len(read(top)) == 1
    (what,) = complaints(top)
    assert f'use its "{driver}" driver' in what


def write_backing(path: Path, name: bytes, format: bytes | None) -> None:
    """Write a backing file's name into the header of a fresh image by hand."""
    head = bytearray(path.read_bytes()[:4096])
    offset = 2048
    struct.pack_into(">QI", head, 8, offset, len(name))
    extension = b"" if format is None else struct.pack(">II", 0xE2792ACA, len(format)) + format
    extension += bytes(-len(extension) % 8)
    (length,) = struct.unpack_from(">I", head, 100)
    head[length:offset] = (extension + bytes(offset))[: offset - length]
    head[offset : offset + len(name)] = name
    with path.open("r+b") as file:
        file.write(head)


def test_a_path_with_a_colon_behind_a_slash_is_a_path(folder: Path) -> None:
    image(folder / "a:b.qcow2")
    assert complaints(overlay(folder / "top.qcow2", "./a:b.qcow2")) == []
    assert complaints(overlay(folder / "top2.qcow2", f"{folder}/a:b.qcow2")) == []


def test_no_file_is_opened_that_the_user_may_not_open(folder: Path) -> None:
    secret = folder / "shadow"
    secret.write_text("root:secret")
    secret.chmod(0o600)
    top = overlay(folder / "top.qcow2", str(secret), "raw")
    (what,) = complaints(top)
    assert what == (f"{USER} cannot open {secret}, the backing file of {top}: Permission denied")
    assert complaints(top, user="root") == []


def test_an_image_is_written_to_so_reading_it_does_not_suffice(folder: Path) -> None:
    (folder / "vm_images").mkdir(mode=0o755)
    shutil.chown(folder / "vm_images", USER)
    top = image(folder / "vm_images" / "top.qcow2")
    shutil.chown(top, "root")
    (objection,) = image_chain.objections(read(top), user=USER)
    assert objection.what == f"{USER} cannot write to {top}: Permission denied"
    assert objection.cure.endswith(f"sudo chown {USER} {top}")
    elsewhere = image(folder / "top.qcow2")
    shutil.chown(elsewhere, "root")
    (objection,) = image_chain.objections(read(elsewhere), user=USER)
    assert objection.cure == f"look: sudo ls -lL {elsewhere}", "as /dev/vda or /etc/shadow would be"
    assert complaints(overlay(folder / "over.qcow2", str(top))) == []


def test_a_folder_that_is_closed_to_the_user_closes_its_images(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    base = image(closed / "base.qcow2")
    (what,) = complaints(overlay(folder / "top.qcow2", str(base)))
    assert what.endswith("Permission denied")


def test_the_users_further_groups_count(folder: Path) -> None:
    """A login has them, so the look has them too."""
    base = image(folder / "base.qcow2")
    os.chown(base, 0, 65533)
    base.chmod(0o640)
    top = overlay(folder / "top.qcow2", base.name)
    assert complaints(top) != []
    subprocess.run(["groupadd", "-g", "65533", "vmops-test"], check=True, timeout=30)
    try:
        subprocess.run(["usermod", "-aG", "vmops-test", USER], check=True, timeout=30)
        assert complaints(top) == []
    finally:
        subprocess.run(["gpasswd", "-d", USER, "vmops-test"], check=True, timeout=30)
        subprocess.run(["groupdel", "vmops-test"], check=True, timeout=30)


def test_data_files_are_refused(folder: Path) -> None:
    top = folder / "top.qcow2"
    image(top, "-o", f"data_file={folder}/data.raw")
    (what,) = complaints(top)
    assert what.endswith(f"keeps its data in another file, {folder}/data.raw")


@pytest.mark.parametrize("kind", ["fifo", "socket", "directory", "device"])
def test_what_is_neither_file_nor_disk_is_not_opened(folder: Path, kind: str) -> None:
    odd = folder / "odd"
    match kind:
        case "fifo":
            os.mkfifo(odd)
        case "socket":
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(odd))
        case "directory":
            odd.mkdir()
        case "device":
            odd.symlink_to("/dev/zero")
    (what,) = complaints(overlay(folder / "top.qcow2", str(odd), "raw"))
    assert "is neither a file nor a block device" in what
    assert "is neither a file nor a block device" in complaints(odd)[0]


def test_a_chain_that_ends_nowhere_ends_here(folder: Path) -> None:
    a = overlay(folder / "a.qcow2", "b.qcow2")
    overlay(folder / "b.qcow2", "a.qcow2")
    assert complaints(a)[0].endswith("goes round in a circle")
    itself = overlay(folder / "self.qcow2", "self.qcow2")
    assert complaints(itself)[0].endswith("goes round in a circle")


def test_a_long_chain_is_read_as_far_as_the_limit(folder: Path) -> None:
    first = image(folder / "0.qcow2")
    write_backing(first, b"1.qcow2", b"qcow2")
    for number in range(1, 80):
        link = folder / f"{number}.qcow2"
        shutil.copy(first, link)
        write_backing(link, f"{number + 1}.qcow2".encode(), b"qcow2")
    assert len(read(first)) == image_chain.MOST_IMAGES + 1
    (what,) = complaints(first)
    assert "one of more than 64 images" in what


def test_an_image_is_what_it_is_taken_for(folder: Path) -> None:
    raw = folder / "disk.raw"
    raw.write_bytes(bytes(2**20))
    shutil.chown(raw, USER)
    cow = image(folder / "disk.qcow2")
    assert complaints(raw)[0].endswith("is not a qcow2 image")
    assert complaints(cow, format="raw")[0].endswith("is taken for a raw image and is a qcow2 one")
    assert complaints(raw, format="raw") == []
    assert "is not a qcow2 image" in complaints(overlay(folder / "a.qcow2", raw.name, "qcow2"))[0]
    assert "and is a qcow2 one" in complaints(overlay(folder / "b.qcow2", cow.name, "raw"))[0]


def test_without_a_format_only_what_is_qcow2_is_taken(folder: Path) -> None:
    raw = folder / "disk.raw"
    raw.write_bytes(bytes(2**20))
    image(folder / "disk.qcow2")
    top = image(folder / "top.qcow2")
    write_backing(top, raw.name.encode(), None)
    assert complaints(top)[0].endswith("has no format given there, and QEMU would guess")
    write_backing(top, b"disk.qcow2", None)
    assert complaints(top) == []


@pytest.mark.parametrize("format", ["vmdk", "qed", "vdi", "nbd", "file", "x\nname 00 as 00"])
def test_other_drivers_are_refused(folder: Path, format: str) -> None:
    (folder / "base").write_bytes(b"KDMV" + bytes(2**20))
    top = image(folder / "top.qcow2")
    write_backing(top, b"base", format.encode())
    chain = read(top)
    assert [entry.format for entry in chain] == ["qcow2", format]
    (objection,) = image_chain.objections(chain, user=USER)
    assert "driver, which may open more files" in objection.what


def test_what_everybody_may_write_is_refused(folder: Path) -> None:
    top = image(folder / "top.qcow2")
    top.chmod(0o666)
    assert complaints(top)[0].endswith("may be written by every user of the worker")
    top.chmod(0o600)
    folder.chmod(0o777)
    assert complaints(top)[0].endswith(f"they may write to {folder}")
    folder.chmod(0o1777)
    assert complaints(top) == []
    inner = folder / "open"
    inner.mkdir()
    inner.chmod(0o777)
    target = image(inner / "target.qcow2")
    (folder / "link.qcow2").symlink_to(target)
    assert complaints(folder / "link.qcow2")[0].endswith(f"they may write to {inner}")


def test_an_image_that_everybody_may_read_is_told(folder: Path) -> None:
    top = image(folder / "top.qcow2")
    folder.chmod(0o755)
    assert image_chain.readable_by_all(read(top)) == (str(top),)
    top.chmod(0o640)
    assert image_chain.readable_by_all(read(top)) == ()
    top.chmod(0o644)
    folder.chmod(0o750)
    assert image_chain.readable_by_all(read(top)) == ()


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [(32, b"\0\0\0\2", "is encrypted"), (72, bytes(7) + b"\2", "is marked as corrupt")],
)
def test_encrypted_and_corrupt_images_are_refused(
    folder: Path, place: int, value: bytes, said: str
) -> None:
    top = image(folder / "top.qcow2")
    with top.open("r+b") as file:
        file.seek(place)
        file.write(value)
    assert said in complaints(top)[0]
