"""What a worker says of its images folder, and how a transfer is told."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.core.facts.images import FOLDER, Folder, disk_sums, sum_of
from vmops.core.facts.question import Answers, Question, Unanswered
from vmops.core.images.names import Base
from vmops.core.images.progress import Progress
from vmops.core.script.command import BlockResult, Step, StepResult
from vmops.tasks.image.display import in_lines, size, words

DIGEST = "ab" * 32
BASE = Base(DIGEST, "qcow2")


def name(path: str) -> str:
    return path.encode().hex()


def read(said: str) -> Folder:
    step = StepResult(Step(FOLDER.name, ()), 0, stdout=said.encode())
    return Answers(BlockResult("", "done", [step]))[FOLDER]


def chain(*images: str) -> str:
    return "".join(f"{image}\n" for image in images) + "\n"


OVER = f"name {name('/home/u/vm_images/a')} as  id 8:1 looks qcow2"


@pytest.mark.parametrize(
    "line", ["", "x", "0" * 63, f"{DIGEST[:-1]}/", "../../.ssh", DIGEST.upper(), f"\\\\{DIGEST}"]
)
def test_what_is_no_sha256_does_not_become_a_name(line: str) -> None:
    asked: tuple[Question[Any], ...] = (disk_sums(["/a.qcow2"]), sum_of(BASE))
    for question in asked:
        step = StepResult(Step(question.name, ()), 0, stdout=f"{line} *stdin\n".encode())
        with pytest.raises(Unanswered):
            Answers(BlockResult("", "done", [step]))[question]


def test_nothing_there_is_an_empty_folder() -> None:
    assert read("chains\n\n") == Folder()
    assert read("") == Folder()


@pytest.mark.parametrize(
    "behind",
    [
        f"name {name(f'/gone/base-{DIGEST}.qcow2')} as 00 fault stat why {name('No such file')}",
        f"name {name('/home/u/link')} as 00 id 8:7",
    ],
)
def test_a_disk_stands_on_a_base_by_its_name_or_by_being_it(behind: str) -> None:
    """A header may name a home that was moved; a link may have any name."""
    there = f"base base-{DIGEST}.qcow2 100 50 7 8:7\n"
    folder = read(f"{there}chains\n{chain(OVER, behind)}")
    (kept,) = folder.kept
    assert (kept.base, kept.disks, kept.is_in_use) == (BASE, ("/home/u/vm_images/a",), True)
    assert folder.find(BASE) is kept


def test_another_disk_and_what_is_half_there_say_nothing_of_a_base() -> None:
    lines = f"base base-{DIGEST}.qcow2 100 50 7 8:7\nbase base-{'0' * 64}.raw.part 9 9 9 8:9\n"
    folder = read(f"{lines}chains\n{chain(OVER)}")
    assert [(kept.is_whole, kept.is_in_use) for kept in folder.kept] == [
        (True, False),
        (False, False),
    ]
    assert folder.find(Base("0" * 64, "raw")) is None
    assert folder.unread == ()


def test_who_has_a_base_open_uses_it() -> None:
    folder = read(f"pid 77 8:7\nbase base-{DIGEST}.qcow2 100 50 7 8:7\nchains\n\n")
    assert (folder.kept[0].holders, folder.kept[0].is_in_use) == ((77,), True)


def test_what_could_not_be_read_is_told_and_what_is_absent_is_not() -> None:
    denied = f"name {name('/a')} as  fault open why {name('Permission denied')}"
    absent = f"name {name('/b')} as 00 fault stat why {name('No such file or directory')}"
    folder = read(f"chains\n{chain(denied)}{chain(OVER, absent)}")
    assert folder.unread == ("/a: Permission denied",)


@given(st.text(max_size=200) | st.text("base chains\n.0123456789abpid ", max_size=200))
def test_any_answer_is_read_or_refused(said: str) -> None:
    with suppress(Unanswered):
        read(said)


@pytest.mark.parametrize(
    ("number", "said"),
    [(0, "0 B"), (999, "999 B"), (1500, "2 kB"), (2_500_000, "2.5 MB"), (3e12, "3.0 TB")],
)
def test_sizes_are_read_by_people(number: float, said: str) -> None:
    assert size(number) == said


@pytest.mark.parametrize(
    ("progress", "said"),
    [
        (
            Progress("sending", 500_000_000, 2_000_000_000, 0, 0, 5.0),
            "sending: 25 % of 2.0 GB, 100.0 MB/s, 15 s left",
        ),
        (
            Progress("sending", 500_000_000, 2_000_000_000, 400_000_000, 0, 1.0),
            "sending: 25 % of 2.0 GB, 100.0 MB/s, 15 s left",
        ),
        (Progress("fetching", 1_000_000, 0, 0, 0, 1.0), "fetching: 1.0 MB, 1.0 MB/s"),
        (Progress("sending", 0, 10, 0, 0, 0.0), "sending: 0 % of 10 B, 0 B/s"),
        (Progress("mirroring", 10**9, 10**9, 0, 0, 0.01), "mirroring: 100 % of 1.0 GB"),
        (Progress("sending", 1, 1000, 0, 0, 10.0), "sending: 0 % of 1 kB, 0 B/s, 2:46:30 left"),
        (Progress("checking", 10, 10, 0, 0, 1.0), "checking"),
    ],
)
def test_a_transfer_in_words(progress: Progress, said: str) -> None:
    assert words(progress) == said


def test_in_a_pipe_there_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tell = in_lines()
    now = [0.0]
    monkeypatch.setattr("vmops.tasks.image.display.time.monotonic", lambda: now[0])
    for second in range(12):
        now[0] = 100.0 + second
        tell("debian", "w1", Progress("sending", second, 12, 0, 0, 1.0))
    tell("debian", "w1", Progress("checking", 12, 12, 0, 0, 1.0))
    tell("debian", "w1", None)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("debian on w1: sending: 0 % of 12 B")
    assert lines[-1] == "debian on w1: checking"
