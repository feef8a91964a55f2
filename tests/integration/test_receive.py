"""The receiver of images under the real perl, cut anywhere."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmops.core.images.names import Base
from vmops.core.images.stream import end, filler, header, runs
from vmops.core.script.functions import program
from vmops.remote.image.image_file import ImageFile
from vmops.remote.image.transfer import RECEIVER

PLAIN, PACKED = "0", "1"
WAYS = pytest.mark.parametrize("way", [PLAIN, PACKED])


def image(path: Path, size: int = 3_000_001) -> Path:
    """A file with data, holes, and zeros that are no hole; it ends in a hole."""
    data = random.Random(size)
    with path.open("wb") as file:
        file.write(data.randbytes(100_000))
        file.seek(700_000)
        file.write(data.randbytes(300_000) + bytes(400_000) + data.randbytes(5))
        file.truncate(size)
    return path


class Receiver:
    """One receiver in a folder of its own; its answers line by line."""

    def __init__(
        self,
        folder: Path,
        source: ImageFile,
        way: str,
        *,
        digest: str = "",
        amended: str = "",
        before: str = "",
    ) -> None:
        self.source = source
        self.way = way
        base = Base(digest or source.digest(), "raw")
        data = sum(length for _, length in source.extents)
        words = ["~/im/.vmops", base.name, base.digest, str(source.size), str(data), way]
        self.final = folder / "im/.vmops" / base.name
        self.part = self.final.with_name(f"{base.name}.part")
        self._process = subprocess.Popen(
            ["perl", "-e", before + program(*RECEIVER) + amended, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "HOME": str(folder), "LC_ALL": "C"},
        )

    def hear(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().decode().rstrip("\n")

    def at(self) -> int:
        """Where it wants to begin."""
        word, offset, packing = self.hear().split(" ")
        assert (word, packing) == ("at", "zstd" if self.way == PACKED else "plain")
        return int(offset)

    def stream(self, start: int) -> bytes:
        records = [filler(1000) + bytes(1000)]
        for offset, data in self.source.read(start):
            for begun, ended in runs(data, offset):
                records += [header(offset + begun, ended - begun), data[begun:ended]]
        whole = b"".join([*records, end(self.source.size)])
        if self.way == PLAIN:
            return whole
        return subprocess.run(["zstd", "-c"], input=whole, capture_output=True, check=True).stdout

    def send(self, data: bytes) -> list[str]:
        """Feed it, close its input, and give all that it says then."""
        out, _ = self._process.communicate(data, timeout=60)
        return out.decode().splitlines()


@pytest.fixture
def source(tmp_path: Path) -> Iterator[ImageFile]:
    with ImageFile(image(tmp_path / "source")) as opened:
        yield opened


@WAYS
def test_an_image_arrives_whole_sparse_and_closed_to_others(
    tmp_path: Path, source: ImageFile, way: str
) -> None:
    receiver = Receiver(tmp_path, source, way)
    assert receiver.send(receiver.stream(receiver.at())) == ["checks", "done"]
    final = receiver.final
    assert final.read_bytes() == (tmp_path / "source").read_bytes()
    assert final.stat().st_mode & 0o777 == 0o400
    assert final.parent.stat().st_mode & 0o777 == 0o700
    assert final.stat().st_blocks * 512 < 600_000
    assert [entry.name for entry in final.parent.iterdir()] == [final.name]
    assert Receiver(tmp_path, source, way).hear() == "there"


@pytest.fixture(scope="module")
def module_source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageFile]:
    with ImageFile(image(tmp_path_factory.mktemp("source") / "source")) as opened:
        yield opened


@WAYS
@settings(max_examples=12, deadline=None)
@given(cuts=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=3))
def test_a_transfer_that_is_cut_at_any_byte_goes_on(
    module_source: ImageFile, way: str, cuts: list[float]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reached = 0
        for cut in cuts:
            receiver = Receiver(folder, module_source, way)
            start = receiver.at()
            assert start >= reached
            reached = start
            data = receiver.stream(start)
            # Without the checksum of zstd, its last four bytes, it has all that it needs.
            assert receiver.send(data[: int(cut * (len(data) - 5))]) in ([], ["checks"])
            assert not receiver.final.exists()
        receiver = Receiver(folder, module_source, way)
        assert receiver.send(receiver.stream(receiver.at()))[-1] == "done"
        assert hashlib.sha256(receiver.final.read_bytes()).hexdigest() == module_source.digest()


def test_what_was_received_before_a_cut_is_not_wanted_again(
    tmp_path: Path, source: ImageFile
) -> None:
    receiver = Receiver(tmp_path, source, PLAIN)
    assert receiver.at() == 0
    receiver.send(receiver.stream(0)[: 1016 + 16 + 60_000])
    assert Receiver(tmp_path, source, PLAIN).at() == 60_000


@WAYS
def test_another_image_than_the_promised_one_is_removed(
    tmp_path: Path, source: ImageFile, way: str
) -> None:
    receiver = Receiver(tmp_path, source, way, digest="0" * 64)
    said = receiver.send(receiver.stream(receiver.at()))
    assert said == ["checks", f"differs {source.digest()}"]
    assert list(receiver.final.parent.iterdir()) == []


BYTES = b"x" * 100


@pytest.mark.parametrize(
    "stream",
    [
        header(3_000_001, 1) + b"x",
        header(2_999_950, 100) + BYTES,
        header(2**63, 100) + BYTES,
        header(0, 2**63),
        header(1000, 100) + BYTES + header(1000, 100) + BYTES,
        header(1000, 100) + BYTES + header(0, 100) + BYTES,
        filler(2**40) + BYTES,
    ],
    ids=["behind the end", "over the end", "far", "long", "twice", "backwards", "endless filler"],
)
def test_a_sender_that_sends_other_than_was_promised_fills_neither_disk_nor_memory(
    tmp_path: Path, source: ImageFile, stream: bytes
) -> None:
    """It may be another worker."""
    receiver = Receiver(tmp_path, source, PLAIN)
    receiver.at()
    assert receiver.send(stream) == ["failed what comes is no part of what was promised"]
    assert list(receiver.final.parent.iterdir()) == []


@WAYS
def test_an_empty_image_and_one_that_is_nothing_but_a_hole(tmp_path: Path, way: str) -> None:
    for size in (0, 1, 5_000_000):
        path = tmp_path / f"hole{size}"
        path.touch()
        os.truncate(path, size)
        with ImageFile(path) as hole:
            assert hole.digest() == hashlib.sha256(bytes(size)).hexdigest()
            receiver = Receiver(tmp_path, hole, way)
            assert receiver.send(receiver.stream(receiver.at()))[-1] == "done"
            assert receiver.final.stat().st_size == size
            assert receiver.final.stat().st_blocks == 0


def test_the_sum_is_made_by_sha256sum_where_there_is_no_openssl(
    tmp_path: Path, source: ImageFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("perl", "df", "sha256sum"):
        (tools / tool).symlink_to(str(shutil.which(tool)))
    monkeypatch.setenv("PATH", str(tools))
    receiver = Receiver(tmp_path, source, PLAIN)
    assert receiver.send(receiver.stream(receiver.at())) == ["checks", "done"]
    packing = Receiver(tmp_path, source, PACKED, digest="1" * 64)
    assert packing.hear() == "at 0 plain"
    packing.send(b"")


UNKNOWN, REFUSED = "\nsub number { return }\n", "\nsub number { return 9999 }\n"
COPIES = pytest.mark.parametrize("number", [UNKNOWN, REFUSED], ids=["unknown", "refused"])
"""As on a machine whose numbers of system calls are not known, and where a call is refused."""


@COPIES
@WAYS
def test_where_bytes_cannot_be_passed_on_they_are_copied(
    tmp_path: Path, source: ImageFile, way: str, number: str
) -> None:
    receiver = Receiver(tmp_path, source, way, amended=number)
    assert receiver.send(receiver.stream(receiver.at())) == ["checks", "done"]
    assert receiver.final.read_bytes() == (tmp_path / "source").read_bytes()


_TOLD = """
BEGIN {
    *CORE::GLOBAL::syscall = sub {
        my ($number, @words) = @_;
        print STDOUT "back @words[1, 2]\\n" if $number == {62 => 277, 183 => 84}->{number_of()};
        return CORE::syscall($number, @words);
    };
    sub number_of {
        open my $self, '<', '/proc/self/exe';
        sysread $self, my $head, 20;
        return unpack 'x18 S', $head;
    }
}
"""
"""The receiver says when it has the disk begin, from where on and how much."""


@WAYS
def test_the_disk_begins_while_more_comes(tmp_path: Path, way: str) -> None:
    path = tmp_path / "large"
    size = 20 << 20
    path.write_bytes(random.Random(1).randbytes(size))
    with ImageFile(path) as large:
        receiver = Receiver(tmp_path, large, way, before=_TOLD)
        said = receiver.send(receiver.stream(receiver.at()))
    *begun, checks, done = [line.split(" ") for line in said]
    assert [checks, done] == [["checks"], ["done"]]
    ends = [0]
    for word, at, length in begun:
        assert (word, int(at)) == ("back", ends[-1])
        ends.append(int(at) + int(length))
    assert ends == [0, 8 << 20, 16 << 20]


_CLOCK = """
BEGIN { my $now = 1000; *CORE::GLOBAL::time = sub () { $now += %d } }
"""
"""So many seconds go by between two looks at the clock."""


@WAYS
@pytest.mark.parametrize("what", ["fillers", "empty fillers", "bytes"])
def test_a_sender_that_says_next_to_nothing_is_given_up(
    tmp_path: Path, source: ImageFile, way: str, what: str
) -> None:
    receiver = Receiver(tmp_path, source, way, before=_CLOCK % 50)
    start = receiver.at()
    pieces = {
        "fillers": (filler(1) + b"x" for _ in range(10_000)),
        "empty fillers": (filler(0) for _ in range(10_000)),
        "bytes": (header(at, 1) + b"x" for at in range(start, start + 10_000)),
    }
    stream = b"".join((*pieces[what], end(source.size)))
    if way == PACKED:
        packer = ["zstd", "-c"]
        stream = subprocess.run(packer, input=stream, capture_output=True, check=True).stdout
    assert receiver.send(stream) == []
    assert receiver.part.exists(), "what has come is kept, as of one who falls silent"


@WAYS
def test_a_slow_sender_is_not(tmp_path: Path, way: str) -> None:
    """With 1.7 KiB in a second it comes to its end."""
    path = tmp_path / "large"
    path.write_bytes(random.Random(1).randbytes(8 << 20))
    with ImageFile(path) as large:
        receiver = Receiver(tmp_path, large, way, before=_CLOCK % 1)
        assert receiver.send(receiver.stream(receiver.at())) == ["checks", "done"]


def test_an_image_that_is_larger_than_all_pipes(tmp_path: Path) -> None:
    """Its data and its holes are waited for in the middle."""
    path = tmp_path / "large"
    data = random.Random(1)
    with path.open("wb") as file:
        for at in (5, 30):
            file.seek((at << 20) + 77)
            file.write(data.randbytes((9 << 20) + 1))
        file.truncate((60 << 20) + 3)
    with ImageFile(path) as large:
        receiver = Receiver(tmp_path, large, PLAIN)
        assert receiver.send(receiver.stream(receiver.at())) == ["checks", "done"]
        assert receiver.final.stat().st_size == large.size
        assert hashlib.sha256(receiver.final.read_bytes()).hexdigest() == large.digest()


def test_a_second_sender_waits_for_the_first(tmp_path: Path, source: ImageFile) -> None:
    first = Receiver(tmp_path, source, PLAIN)
    start = first.at()
    second = Receiver(tmp_path, source, PLAIN)
    assert second.hear() == "waits"
    sending = threading.Thread(target=first.send, args=(first.stream(start),))
    sending.start()
    assert second.hear() == "there"
    sending.join()


def test_a_link_in_the_place_of_the_part_is_not_followed(tmp_path: Path, source: ImageFile) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    receiver = Receiver(tmp_path, source, PLAIN, digest="2" * 64)
    receiver.send(b"")
    receiver.part.unlink()
    receiver.part.symlink_to(precious)
    assert Receiver(tmp_path, source, PLAIN, digest="2" * 64).hear().startswith("failed ")
    assert precious.read_text() == "mine"


@pytest.mark.skipif(os.geteuid() != 0, reason="it mounts")
@WAYS
def test_a_disk_without_room(tmp_path: Path, source: ImageFile, way: str) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "none", str(small)]
    subprocess.run(mount, check=True, timeout=30)
    try:
        first = Receiver(small, source, way)
        word, free, needed = first.hear().split(" ")
        assert word == "full"
        assert int(free) <= 300 * 1024 < int(needed)
        assert not first.part.exists()
        taken = subprocess.run(["mount", "-o", "remount,size=3m", str(small)], timeout=30)
        assert taken.returncode == 0
        late = Receiver(small, source, way)
        start = late.at()
        (small / "ballast").write_bytes(bytes(3 * 2**20 - 50_000))
        assert late.send(late.stream(start)) == ["failed No space left on device"]
        assert not late.part.exists()
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True, timeout=30)
