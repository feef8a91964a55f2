"""Blocks that run at once in one script, under a real POSIX shell: what each says stays its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from vmops.core.script import script
from vmops.core.script.command import Block, BlockResult, OnlyIf, Step, command

NONCE = "0123456789abcdef" * 2
SHELLS = ("dash", "bash")


def run(*blocks: Block, lanes: int, shell: str = "dash") -> tuple[BlockResult, ...]:
    text = script.render(blocks, nonce=NONCE, lanes=lanes)
    done = subprocess.run([shell, "-c", text], capture_output=True, timeout=30, check=True)
    return script.parse(blocks, nonce=NONCE, stdout=done.stdout, stderr=done.stderr)


def shell_step(label: str, text: str, **more: object) -> Step:
    return Step(label, (command("sh", "-c", text),), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("shell", SHELLS)
def test_blocks_of_several_lanes_run_at_once(tmp_path: Path, shell: str) -> None:
    """Each waits until all others have begun: one after the other they would wait for ever."""
    wait = f"touch {tmp_path}/$0; while [ $(ls {tmp_path} | wc -l) -lt 4 ]; do sleep 0.01; done"
    blocks = [
        Block(f"vm{n}", (Step("meet", (command("sh", "-c", wait, f"vm{n}", time_limit_s=10),)),))
        for n in range(4)
    ]
    assert [result.outcome for result in run(*blocks, lanes=4, shell=shell)] == ["done"] * 4


@pytest.mark.parametrize("lanes", [2, 3, 8])
def test_a_lane_takes_its_blocks_in_turn(tmp_path: Path, lanes: int) -> None:
    """No more than `lanes` at once: a block that finds more directories than that fails."""
    crowd = f"mkdir {tmp_path}/$0; [ $(ls {tmp_path} | wc -l) -le {lanes} ]; e=$?; sleep 0.02; "
    blocks = [
        Block(
            f"vm{n}",
            (
                Step(
                    "one", (command("sh", "-c", f"{crowd}rmdir {tmp_path}/$0; exit $e", f"vm{n}"),)
                ),
            ),
        )
        for n in range(8)
    ]
    assert [result.outcome for result in run(*blocks, lanes=lanes)] == ["done"] * 8


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("count", [0, 1, 3])
def test_there_may_be_more_lanes_than_blocks(count: int, shell: str) -> None:
    blocks = [Block(f"vm{n}", (shell_step("say", f"echo {n}"),)) for n in range(count)]
    results = run(*blocks, lanes=8, shell=shell)
    assert [int(result.steps[0].stdout) for result in results] == list(range(count))


@pytest.mark.parametrize("shell", SHELLS)
def test_what_a_step_prints_comes_back_with_its_own_block(shell: str) -> None:
    """Many short and long answers at once; no frame and no answer is torn."""
    blocks = [
        Block(
            f"vm{n}",
            tuple(
                shell_step(
                    f"s{k}",
                    f"printf '%0{width}d\\n\\n' {n}; echo said {n}.{k} >&2; exit {k % 2}",
                    may_fail=True,
                )
                for k, width in enumerate((1, 700, 5000, 3))
            ),
        )
        for n in range(12)
    ]
    for n, result in enumerate(run(*blocks, lanes=12, shell=shell)):
        assert result.outcome == "done"
        assert [entry.exit_code for entry in result.steps] == [0, 1, 0, 1]
        short, long, endless, last = (entry.stdout.decode() for entry in result.steps)
        assert short == f"{n}\n\n"
        assert long == f"{n:0700d}\n\n"
        assert endless == f"{n:05000d}\n\n"
        assert last == f"{n:03d}\n\n"
        assert [entry.reason() for entry in result.steps] == [f"said {n}.{k}" for k in range(4)]


def test_flags_undo_and_failures_are_as_in_one_lane(tmp_path: Path) -> None:
    undone = tmp_path / "undone"
    bad = Block(
        "bad",
        (
            shell_step("first", "true", undo=(command("touch", str(undone)),)),
            shell_step("second", "echo why >&2; exit 3", undo=(command("false"),)),
            shell_step("third", "true"),
        ),
    )
    flagged = Step("use", (command("echo", "x", OnlyIf("f", ("yes",)), OnlyIf("g", ("no",))),))
    good = Block("good", (shell_step("set", "true", sets=("f",)), flagged))
    failed, done = run(bad, good, lanes=2)
    assert failed.outcome == "failed"
    assert failed.failure is not None
    assert (failed.failure.exit_code, failed.failure.reason()) == (3, "why")
    assert undone.exists()
    assert [undo.step.label for undo in failed.not_undone] == ["second"]
    assert done.outcome == "done"
    assert done.steps[1].stdout == b"x yes\n"


def test_a_lock_that_somebody_holds_stops_its_own_block_only(tmp_path: Path) -> None:
    """The second block lets the first one go on, so it cannot have waited for it."""
    lock, free = tmp_path / "locks" / "vm0", tmp_path / "free"
    lock.parent.mkdir()
    holder = subprocess.Popen(
        ["flock", str(lock), "sh", "-c", f"echo held; while [ ! -e {free} ]; do sleep 0.01; done"],
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    blocked = Block("vm0", (shell_step("in", "true"),), lock=str(lock))
    other = Block("vm1", (Step("free", (command("touch", str(free)),)),))
    try:
        assert [r.outcome for r in run(blocked, other, lanes=2)] == ["done", "done"]
    finally:
        free.touch()
        holder.wait(timeout=10)


def test_the_lock_is_not_inherited(tmp_path: Path) -> None:
    lock = tmp_path / "locks" / "vm1"
    daemon = shell_step("daemon", "sleep 5 >/dev/null 2>&1 & echo $!")
    result, _ = run(Block("vm1", (daemon,), lock=str(lock)), Block("vm2", ()), lanes=2)
    try:
        free = subprocess.run(["flock", "-n", str(lock), "true"], check=False)
        assert free.returncode == 0, "a process that a step left behind holds the lock"
    finally:
        os.kill(int(result.steps[0].stdout), 9)


@pytest.mark.parametrize("undoes", [True, False], ids=["undoes", "finishes"])
def test_when_the_operator_is_gone_each_block_undoes_or_finishes(
    tmp_path: Path, undoes: bool
) -> None:
    gone = tmp_path / "gone"
    wait = f"touch {tmp_path}/$0-one; while [ ! -e {gone} ]; do sleep 0.01; done"

    def block(name: str) -> Block:
        undo = (command("touch", f"{tmp_path}/{name}-undone"),) if undoes else ()
        first = Step("wait", (command("sh", "-c", wait, name),), undo=undo)
        return Block(name, (first, Step("two", (command("touch", f"{tmp_path}/{name}-two"),))))

    text = script.render([block("a"), block("b")], nonce=NONCE, lanes=2)
    reader, writer = os.pipe()
    process = subprocess.Popen(["dash", "-c", text], stdout=writer, stderr=writer)
    os.close(writer)
    os.close(reader)
    gone.touch()
    process.wait(timeout=10)
    last = "undone" if undoes else "two"
    names = {f"{name}-{what}" for name in "ab" for what in ("one", last)}
    assert {path.name for path in tmp_path.iterdir()} == names | {"gone"}
