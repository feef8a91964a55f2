"""What lies on the way to an image is held to: others may not put another file in its place between
the worker's look and QEMU's own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from vmops.core.script import functions
from vmops.core.tools import image_chain

from .chains import USER, complaints, folder, image, overlay

__all__ = ["folder"]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="it becomes another user")

STRANGER = 54321
"""The uid of a VM, say, or of another user."""

GROUP = 54322
"""A group that others may be in."""


def base_in(place: Path, *, owner: int | str = USER) -> Path:
    made = image(place / "good.qcow2")
    made.chmod(0o644)
    shutil.chown(made, owner)
    return made


def own(place: Path, name: str, mode: int, *, owner: int | str = USER) -> Path:
    made = place / name
    made.mkdir()
    shutil.chown(made, owner)
    made.chmod(mode)
    return made


def link(path: Path, target: Path, *, owner: int | str = STRANGER) -> Path:
    path.symlink_to(target)
    uid = owner if isinstance(owner, int) else pwd.getpwnam(owner).pw_uid
    os.lchown(path, uid, -1)
    return path


def strangers_folder(place: Path) -> tuple[Path, Path]:
    there = own(place, "d", 0o755, owner=STRANGER)
    return base_in(there, owner=STRANGER), there


def strangers_link_there(place: Path) -> tuple[Path, Path]:
    there = own(place, "d", 0o755, owner=STRANGER)
    return link(there / "bk", base_in(place)), there


def strangers_link_beside_others(place: Path) -> tuple[Path, Path]:
    there = own(place, "tmp", 0o1777)
    turned = link(there / "bk", base_in(place))
    return turned, turned


def strangers_file_beside_others(place: Path) -> tuple[Path, Path]:
    there = own(place, "tmp", 0o1777)
    made = base_in(there, owner=STRANGER)
    return made, made


def own_link_through_a_strangers(place: Path) -> tuple[Path, Path]:
    there = own(place, "tmp", 0o1777)
    turned = link(there / "bk", base_in(place))
    return link(place / "mine", turned, owner=USER), turned


def own_link_to_a_strangers_folder(place: Path) -> tuple[Path, Path]:
    there = own(place, "d", 0o755, owner=STRANGER)
    base_in(there)
    return link(place / "mine", there, owner=USER) / "good.qcow2", there


def up_from_a_strangers_folder(place: Path) -> tuple[Path, Path]:
    """The folder could be another link by then."""
    there = own(place, "d", 0o755, owner=STRANGER)
    base_in(place)
    return Path(f"{there}/../good.qcow2"), there


BY_OTHERS: list[Callable[[Path], tuple[Path, Path]]] = [
    strangers_folder,
    strangers_link_there,
    strangers_link_beside_others,
    strangers_file_beside_others,
    own_link_through_a_strangers,
    own_link_to_a_strangers_folder,
    up_from_a_strangers_folder,
]


@pytest.mark.parametrize("kind", BY_OTHERS)
@pytest.mark.parametrize("named", ["in full", "from there"])
def test_a_name_that_another_user_could_turn_is_refused_in_a_header(
    folder: Path, kind: Callable[[Path], tuple[Path, Path]], named: str
) -> None:
    name, turned = kind(folder)
    assert name.stat().st_size
    backing = str(name) if named == "in full" else str(name)[len(str(folder)) + 1 :]
    (what,) = complaints(overlay(folder / "top.qcow2", backing))
    assert f"may be replaced by another user of the worker: {turned} is neither" in what


@pytest.mark.parametrize(
    "kind", [each for each in BY_OTHERS if each is not strangers_file_beside_others]
)
def test_so_it_is_in_hosts_toml(folder: Path, kind: Callable[[Path], tuple[Path, Path]]) -> None:
    name, turned = kind(folder)
    shutil.chown(name, USER)
    (what,) = complaints(name)
    assert f"may be replaced by another user of the worker: {turned} is neither" in what


def test_ones_own_files_beside_others_stay_good(folder: Path) -> None:
    """Nobody else can rename or remove them in a folder such as /tmp."""
    there = own(folder, "tmp", 0o1777)
    base_in(there)
    link(there / "mine", there / "good.qcow2", owner=USER)
    assert complaints(there / "good.qcow2") == []
    assert complaints(overlay(folder / "top.qcow2", "tmp/mine")) == []
    assert complaints(overlay(there / "top.qcow2", "mine")) == []


def test_the_folder_of_the_image_is_the_operators_choice(folder: Path) -> None:
    """A group may share one, in which a guest is not; elsewhere it may not, for a header."""
    shared = own(folder, "shared", 0o775)
    os.chown(shared, -1, GROUP)
    base_in(shared)
    assert complaints(overlay(shared / "top.qcow2", "good.qcow2")) == []
    assert complaints(overlay(shared / "top2.qcow2", f"{shared}/good.qcow2")) == []
    (what,) = complaints(overlay(folder / "top.qcow2", "shared/good.qcow2"))
    assert what.endswith(f"by a group of users: they may write to {shared}")
    inner = own(shared, "inner", 0o775)
    os.chown(inner, -1, GROUP)
    base_in(inner)
    (what,) = complaints(overlay(shared / "top3.qcow2", "inner/good.qcow2"))
    assert what.endswith(f"by a group of users: they may write to {inner}")


def test_a_header_that_a_group_may_write_is_refused_and_a_raw_one_has_none(folder: Path) -> None:
    base = base_in(folder)
    base.chmod(0o664)
    os.chown(base, -1, GROUP)
    (what,) = complaints(overlay(folder / "top.qcow2", "good.qcow2"))
    assert what.endswith(f"by a group of users: they may write to {folder}/good.qcow2")
    raw = folder / "raw"
    raw.write_bytes(bytes(2**16))
    os.chown(raw, 0, GROUP)
    raw.chmod(0o664)
    assert complaints(overlay(folder / "top.qcow2", "raw", "raw")) == []


@pytest.mark.parametrize("name", ["/proc/self/status", "/proc/self/root/etc/passwd"])
def test_what_is_another_file_for_each_process_is_refused(folder: Path, name: str) -> None:
    (what,) = complaints(overlay(folder / "top.qcow2", name, "raw"))
    assert what.endswith("is another file for each process")


PRIVATELY = ("unshare", "--mount", "--propagation", "private", "dash", "-c")
ALONE = """
mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/group" /etc/group || exit
shift
"""


@pytest.mark.parametrize(
    ("users", "members", "is_good"),
    [
        ("", "", True),
        ("", "alone", True),
        ("", "alone,root", True),
        ("", "alone,other", False),
        ("", "gone", False),
        ("other:x:54322:54320::/:/bin/sh\n", "", False),
    ],
)
def test_a_group_that_a_user_has_alone_is_the_user(
    folder: Path, users: str, members: str, is_good: bool
) -> None:
    """Ubuntu's umask is 002: what a user makes there, that group may write."""
    known = users or "other:x:54323:54323::/:/bin/sh\n"
    (folder / "passwd").write_text(
        f"root:x:0:0::/root:/bin/sh\nalone:x:54320:54320::/:/bin/sh\n{known}"
    )
    (folder / "group").write_text(f"root:x:0:\nalone:x:54320:{members}\n")
    there = own(folder, "there", 0o775)
    top, base = overlay(folder / "top.qcow2", "there/good.qcow2"), base_in(there)
    base.chmod(0o664)
    for each in (folder, there, top, base):
        os.chown(each, 54320, 54320)
    text = functions.needed("image_chains")
    script = f'{ALONE}export VMOPS_USER=alone VMOPS_HOME=/home/x LC_ALL=C\n{text}\n"$@"'
    done = subprocess.run(
        [*PRIVATELY, script, "vmops", str(folder), *image_chain.read_chain(str(top)).words()],
        capture_output=True,
        timeout=30,
        check=True,
        text=True,
    )
    found = image_chain.objections(image_chain.parse(done.stdout), user="alone")
    assert (found == ()) is is_good, found
    if not is_good:
        assert "by a group of users" in found[0].what
