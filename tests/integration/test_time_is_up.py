"""A script whose time is up, and a switch that does not follow, under a real POSIX shell."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from vmops.core.script import groups, script
from vmops.core.script.command import Batch, Block, BlockResult, Command, Step, command

NONCE = "0123456789abcdef" * 2
SHELLS = ("dash", "bash")


def note(log: Path, word: str) -> Command:
    return command("sh", "-c", f'echo "$0" >>{log}', word)


def run(blocks: list[Block], lanes: int, *argv: str, path: str = "") -> tuple[BlockResult, ...]:
    text = script.render(blocks, nonce=NONCE, lanes=lanes)
    done = subprocess.run(
        [*argv, text],
        capture_output=True,
        timeout=30,
        check=False,
        env={**os.environ, "PATH": f"{path}:{os.environ['PATH']}"},
    )
    return script.parse(blocks, nonce=NONCE, stdout=done.stdout, stderr=done.stderr)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("lanes", [1, 12])
@pytest.mark.parametrize("shared", [False, True], ids=["apart", "joint"])
def test_what_can_be_undone_is_undone(tmp_path: Path, shell: str, lanes: int, shared: bool) -> None:
    """The time is up in the middle of a step that may fail: the work does not go on after it."""
    log = tmp_path / "log"
    blocks = [
        Block(
            name,
            (
                Step("make", (note(log, "make"),), undo=(note(log, f"undo {name}"),), joint=shared),
                Step("slow", (command("sleep", "20"),), may_fail=True),
                Step("more", (note(log, "more"),), may_fail=True),
            ),
            lock=str(tmp_path / "locks" / name),
        )
        for name in "ab"[: 1 if lanes == 1 else 2]
    ]
    results = run(blocks, lanes, "timeout", "-k", "5", "1", shell, "-c")
    assert [result.outcome for result in results] == ["failed"] * len(blocks)
    made, *undone = log.read_text().splitlines()[len(blocks) - 1 :]
    assert made == "make"
    assert sorted(undone) == [f"undo {block.subject}" for block in blocks]


@pytest.mark.parametrize("shell", SHELLS)
def test_what_cannot_be_undone_is_finished(tmp_path: Path, shell: str) -> None:
    log = tmp_path / "log"
    slow = Step("slow", (command("sleep", "20"),), may_fail=True)
    blocks = [Block("a", (slow, Step("more", (note(log, "more"),))))]
    (result,) = run(blocks, 1, "timeout", "-k", "5", "1", shell, "-c")
    assert (result.outcome, log.read_text()) == ("done", "more\n")


def plug(tap: str, *, shared: bool = False) -> Step:
    words = Command(("vsctl", "add-port", tap), common=1)
    return Step(tap, (words,), may_fail=not shared, joint=shared)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("count", [1, 2])
def test_a_switch_that_does_not_follow_is_asked_once(
    tmp_path: Path, shell: str, count: int
) -> None:
    """It takes 10 s each time: not once more for each interface, and not for each VM."""
    program = tmp_path / "ovs-vsctl"
    program.write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/asked\nkill -s ALRM $$\n')
    program.chmod(0o755)
    blocks = [
        Block(
            name,
            (Batch(plug("all", shared=True), (plug("t1"), plug("t2"))), Step("x", ())),
            lock=str(tmp_path / "locks" / name),
        )
        for name in "ab"[:count]
    ]
    results = run(blocks, count, shell, "-c", path=str(tmp_path))
    assert len((tmp_path / "asked").read_text().splitlines()) == 1
    for result in results:
        assert result.outcome == "done"
        for tap in ("t1", "t2"):
            found = result.find(tap)
            assert found is not None
            assert "the switch has not taken it within 10 s" in found.reason()


@pytest.mark.parametrize(
    ("sizes", "at_once", "lanes"),
    [
        pytest.param([1] * 36, 12, [3] * 12, id="single"),
        pytest.param([6, 6, 6, 2], 12, [2, 2], id="joint"),
        pytest.param([6, *[1] * 30], 12, [1] + [5] * 6, id="mixed"),
        pytest.param([2, *[1] * 34], 12, [1, 6, 6, 6, 6, 5, 5], id="a small group"),
        pytest.param([2, 1], 3, [1, 1], id="few"),
        pytest.param([], 1, [], id="none"),
    ],
)
def test_groups_and_single_blocks_share_the_lanes(
    sizes: list[int], at_once: int, lanes: list[int]
) -> None:
    found = groups.lanes([tuple(range(size)) for size in sizes], at_once)
    assert [len(lane) for lane in found] == lanes
    assert sorted(number for lane in found for number in lane) == list(range(len(sizes)))
