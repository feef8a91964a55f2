"""Images over SSH to a fake worker: cut, refused, told."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fabric
import pytest

from vmops.core.images.names import FOLDER, Base
from vmops.core.images.progress import Progress
from vmops.errors import CommandTimeout, ConnectionLost, UnexpectedOutput, WorkFailed
from vmops.remote.image import transfer
from vmops.remote.image.image_file import ImageFile
from vmops.remote.image.transfer import push
from vmops.wait import wait_for

from .fake_worker import FakeWorker

Start = Callable[..., FakeWorker]
SIZE = 12 * 2**20


@pytest.fixture
def image(tmp_path: Path) -> Iterator[ImageFile]:
    path = tmp_path / "image"
    with path.open("wb") as file:
        file.write(random.Random(1).randbytes(SIZE // 16) * 4)
        file.write(random.Random(2).randbytes(SIZE // 4).hex().encode()[: SIZE // 4])
        file.truncate(SIZE)
    with ImageFile(path) as opened:
        yield opened


@pytest.fixture
def base(image: ImageFile) -> Base:
    return Base(image.digest(), "raw")


def arrived(home: Path, base: Base) -> Path:
    return Path(base.path.replace("~", str(home)))


def test_what_is_packed_in_itself_is_not_packed_again(
    start: Start, config: fabric.Config, tmp_path: Path
) -> None:
    path = tmp_path / "packed"
    path.write_bytes(random.Random(2).randbytes(3 * 2**20))
    with ImageFile(path) as packed:
        base = Base(packed.digest(), "raw")
        assert not push(start().worker(), packed, base=base, config=config).packed


@pytest.mark.parametrize("packs", [True, False])
def test_an_image_arrives_and_is_not_sent_again(
    start: Start,
    home: Path,
    config: fabric.Config,
    image: ImageFile,
    base: Base,
    packs: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not packs:
        monkeypatch.setattr(transfer, "_can_be_packed", lambda image: False)
    worker = start().worker()
    told: list[Progress] = []
    pushed = push(worker, image, base=base, on_progress=told.append, config=config)
    assert pushed.packed is packs
    assert (pushed.sent > SIZE // 2) is not packs
    assert arrived(home, base).stat().st_size == SIZE
    assert arrived(home, base).stat().st_blocks * 512 <= SIZE // 2 + 65536
    assert told[-1].doing == "checking"
    assert told[-1].done == told[-1].total == SIZE // 2
    assert push(worker, image, base=base, config=config).was_there


def test_a_transfer_that_is_cut_goes_on_where_it_was(
    start: Start,
    home: Path,
    config: fabric.Config,
    image: ImageFile,
    base: Base,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transfer, "_TELL_S", 0)
    fake = start()
    part = arrived(home, base).with_name(f"{base.name}.part")

    def cut(progress: Progress) -> None:
        if progress.done == 4 * 2**20:
            wait_for(lambda: part.stat().st_size > 2**20 or None, 30)
            fake.hang_up()

    with pytest.raises(ConnectionLost) as raised:
        push(fake.worker(), image, base=base, on_progress=cut, config=config)
    assert "goes on where it was cut" in str(raised.value)
    assert not arrived(home, base).exists()
    pushed = push(fake.worker(), image, base=base, config=config)
    assert pushed.resumed_at >= 2**20
    assert pushed.sent < SIZE // 2
    assert arrived(home, base).exists()


def test_a_bad_beginning_is_sent_again(
    start: Start, home: Path, config: fabric.Config, image: ImageFile, base: Base
) -> None:
    """What lay there from a try before may have suffered, in a crash of the worker say."""
    part = arrived(home, base).with_name(f"{base.name}.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(b"bad" * 1000)
    pushed = push(start().worker(), image, base=base, config=config)
    assert pushed.resumed_at == 0
    assert arrived(home, base).exists()


def test_another_image_than_promised_is_refused_by_name_and_sum(
    start: Start, home: Path, config: fabric.Config, image: ImageFile, base: Base
) -> None:
    wrong = Base("0" * 64, "qcow2")
    with pytest.raises(WorkFailed, match=f"its sha256 there is {base.digest}"):
        push(start().worker(), image, base=wrong, config=config)
    assert list(arrived(home, wrong).parent.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told_as_the_worker_says_it(
    start: Start, home: Path, config: fabric.Config, image: ImageFile, base: Base
) -> None:
    (home / "vm_images").write_text("a file in the folder's place")
    with pytest.raises(WorkFailed, match=r"could not be written to .*: Not a directory") as raised:
        push(start().worker(), image, base=base, config=config)
    assert FOLDER in str(raised.value)


def test_a_worker_without_perl_is_told(
    start: Start, home: Path, config: fabric.Config, image: ImageFile, base: Base
) -> None:
    (home / "bin").mkdir()
    (home / "bin/perl").write_text("#!/bin/sh\necho no perl here >&2\nexit 127\n")
    (home / "bin/perl").chmod(0o755)
    with pytest.raises(WorkFailed, match="the receiver there ended: no perl here"):
        push(start().worker(), image, base=base, config=config)


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        pytest.param("exec yes waits", UnexpectedOutput, "says over and over", id="at once"),
        pytest.param(
            "while sleep 0.2; do echo waits; done",
            (UnexpectedOutput, CommandTimeout),
            "over and over|has not answered within 1 s",
            id="slowly",
        ),
        pytest.param("exec yes at 1", UnexpectedOutput, "answers 'at 1'", id="nonsense"),
        pytest.param("exec cat /dev/zero", UnexpectedOutput, "nobody asked for", id="no end"),
        pytest.param(
            "echo at $(head -c 5000 /dev/zero | tr '\\0' 9) plain",
            UnexpectedOutput,
            "answers 'at 9999",
            id="a number of 5000 digits",
        ),
        pytest.param(
            "echo full $(head -c 5000 /dev/zero | tr '\\0' 9) 1",
            UnexpectedOutput,
            "answers 'full 9999",
            id="room of 5000 digits",
        ),
    ],
)
def test_a_receiver_that_never_comes_to_the_point_is_left(
    start: Start,
    home: Path,
    config: fabric.Config,
    image: ImageFile,
    base: Base,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    error: type[Exception] | tuple[type[Exception], ...],
    said: str,
) -> None:
    monkeypatch.setattr(transfer, "_WAITS_S", 1.0)
    (home / "bin").mkdir()
    (home / "bin/perl").write_text(f"#!/bin/sh\n{text}\n")
    (home / "bin/perl").chmod(0o755)
    began = time.monotonic()
    with pytest.raises(error, match=said):
        push(start().worker(), image, base=base, config=config)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash", "/usr/bin/tcsh", "/usr/bin/fish"])
def test_every_login_shell_starts_the_receiver(
    start: Start, home: Path, config: fabric.Config, shell: str, tmp_path: Path
) -> None:
    if not Path(shell).exists():
        pytest.skip(f"there is no {shell}")
    path = tmp_path / "small"
    path.write_bytes(b"small")
    with ImageFile(path) as image:
        base = Base(image.digest(), "raw")
        push(start(shell=shell).worker(), image, base=base, config=config)
    assert arrived(home, base).read_bytes() == b"small"


def test_what_is_no_plain_file_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no plain file"):
        ImageFile(tmp_path)
    with pytest.raises(FileNotFoundError):
        ImageFile(tmp_path / "none")
