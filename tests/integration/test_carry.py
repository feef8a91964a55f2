"""A file from one worker's sender to the other's receiver, both under the real perl."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmops.core.script.functions import program
from vmops.remote.image.carry import SENDER
from vmops.remote.image.transfer import RECEIVER

KIB = 1024
RUNS = st.lists(
    st.tuples(
        st.sampled_from(["data", "zeros", "hole"]),
        st.sampled_from([1, 4095, 4096, 65535, 65536, 65537, 200 * KIB, 1300 * KIB]),
    ),
    max_size=6,
)


def written(path: Path, runs: list[tuple[str, int]]) -> None:
    with path.open("wb") as file:
        size = 0
        for kind, length in runs:
            size += length
            if kind == "hole":
                file.seek(size)
            else:
                file.write(b"\7" * length if kind == "data" else bytes(length))
        file.truncate(size)


def perl(folder: Path, texts: tuple[str, ...], *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["perl", "-e", program(*texts), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "HOME": str(folder), "LC_ALL": "C"},
    )


def carried(folder: Path, disk: Path, *, cut_at: int | None = None) -> tuple[str, Path]:
    """What the receiver says at the end, and the file there; cut after so many bytes."""
    digest = hashlib.sha256(disk.read_bytes()).hexdigest()
    sender = perl(folder, SENDER, f"~/{disk.name}")
    assert sender.stdin is not None
    assert sender.stdout is not None
    word, size, data = sender.stdout.readline().decode().split()
    assert (word, int(size)) == ("file", disk.stat().st_size)
    receiver = perl(folder, RECEIVER, "~/there", "arrived", digest, size, data, "0")
    assert receiver.stdin is not None
    assert receiver.stdout is not None
    at, offset, way = receiver.stdout.readline().decode().split()
    assert (at, way) == ("at", "plain")
    sender.stdin.write(f"from {offset}\n".encode())
    sender.stdin.flush()
    stream = sender.stdout.read()
    assert sender.wait(30) == 0
    said = receiver.communicate(stream[:cut_at], timeout=30)[0].decode().split("\n")
    return ([line for line in said if line] or [""])[-1], folder / "there/arrived"


@settings(deadline=None, max_examples=25)
@given(runs=RUNS, cut=st.none() | st.integers(0, 2_000_000))
def test_whatever_is_in_a_file_arrives_also_after_a_cut(
    tmp_path_factory: pytest.TempPathFactory, runs: list[tuple[str, int]], cut: int | None
) -> None:
    folder = tmp_path_factory.mktemp("carried")
    disk = folder / "disk"
    written(disk, runs)
    said, there = carried(folder, disk, cut_at=cut)
    if said != "done":
        assert cut is not None
        assert not there.exists()
        said, there = carried(folder, disk)
    assert said == "done"
    assert there.read_bytes() == disk.read_bytes()
    assert there.stat().st_blocks <= disk.stat().st_blocks + 128


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/etc/passwd")
    for name in ("nothing", "folder", "link"):
        sender = perl(tmp_path, SENDER, f"~/{name}")
        assert sender.communicate(timeout=30)[0].startswith(b"failed ")
