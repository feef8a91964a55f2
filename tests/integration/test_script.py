"""The scripts under a real POSIX shell: frames, flags, undo, locks, and an operator who is gone."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmops.core.script import script
from vmops.core.script.command import Batch, Block, BlockResult, OnlyIf, Step, command

NONCE = "0123456789abcdef" * 2
SHELLS = ("dash", "bash")


def run(*blocks: Block, shell: str = "dash") -> tuple[BlockResult, ...]:
    text = script.render(blocks, nonce=NONCE)
    done = subprocess.run([shell, "-c", text], capture_output=True, timeout=30, check=False)
    return script.parse(blocks, nonce=NONCE, stdout=done.stdout, stderr=done.stderr)


def step(label: str, *argv: str, **more: object) -> Step:
    return Step(label, (command(*argv),), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("shell", SHELLS)
def test_streams_come_back_apart_and_byte_for_byte(shell: str) -> None:
    both = step("both", "sh", "-c", r"printf 'a\0b\n\n\377'; printf 'no newline' >&2; exit 7")
    (result,) = run(Block("vm", (both,)), shell=shell)
    assert (result.outcome, result.steps[0].exit_code) == ("failed", 7)
    assert result.steps[0].stdout == b"a\0b\n\n\xff"
    assert result.steps[0].stderr == b"no newline"


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(blacklist_characters="\0", codec="utf-8"), min_size=1))
def test_any_word_arrives_as_one_argument(word: str) -> None:
    """Whatever it holds: quotes, newlines, `$()`, a frame of ours, a heredoc's end."""
    plain = step("plain", "printf", "%s\\0", word, f"END_{NONCE}")
    conditional = Step("flagged", (command("printf", "%s\\0", OnlyIf("on", (word, "b"))),))
    (result,) = run(Block("vm", (step("set", "true", sets=("on",)), plain, conditional)))
    assert result.outcome == "done"
    assert result.steps[1].stdout == f"{word}\0END_{NONCE}\0".encode()
    assert result.steps[2].stdout == f"{word}\0b\0".encode()


def test_standard_input_is_the_commands_own_and_never_the_script() -> None:
    greedy = step("greedy", "cat")
    fed = Step("fed", (command("cat", stdin=b"$HOME `id` \\n\n'"),))
    (result,) = run(Block("vm", (greedy, fed)))
    assert [entry.stdout for entry in result.steps] == [b"", b"$HOME `id` \\n\n'"]


def test_a_failure_undoes_the_failing_step_and_all_before_it_backwards(tmp_path: Path) -> None:
    log = tmp_path / "log"

    def note(word: str) -> tuple[str, ...]:
        return ("sh", "-c", f"echo {word} >>{log}")

    steps = tuple(
        Step(name, (command(*note(name)), command(last)), undo=(command(*note(f"undo-{name}")),))
        for name, last in (("one", "true"), ("two", "true"), ("three", "false"), ("four", "true"))
    )
    (result,) = run(Block("vm", steps))
    assert log.read_text().split() == ["one", "two", "three", "undo-three", "undo-two", "undo-one"]
    assert result.outcome == "failed"
    assert result.failure is not None
    assert result.failure.step.label == "three"
    assert not result.not_undone


def test_an_undo_that_fails_is_reported_and_stops_no_other(tmp_path: Path) -> None:
    mark = tmp_path / "undone"
    first = Step("first", (command("true"),), undo=(command("touch", str(mark)),))
    stuck = Step("stuck", (command("false"),), undo=(command("sh", "-c", "echo no >&2; exit 3"),))
    (result,) = run(Block("vm", (first, stuck)))
    assert mark.exists()
    assert [(undo.step.label, undo.reason()) for undo in result.not_undone] == [("stuck", "no")]


def test_a_step_that_may_fail_is_undone_alone_and_the_rest_goes_on(tmp_path: Path) -> None:
    mark = tmp_path / "undone"
    weak = Step("weak", (command("false"),), undo=(command("touch", str(mark)),), may_fail=True)
    (result,) = run(Block("vm", (weak, step("next", "echo", "on"))))
    assert mark.exists()
    assert result.outcome == "done"
    assert result.steps[1].stdout == b"on\n"


def batch(together: str, *apart: str) -> Batch:
    return Batch(
        step("together", together, sets=("a", "b")),
        tuple(step(n, cmd, sets=(n,), may_fail=True) for n, cmd in zip("ab", apart, strict=True)),
    )


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        pytest.param(batch("true", "false", "false"), b"x A B y\n", id="together-is-enough"),
        pytest.param(batch("false", "true", "false"), b"x A y\n", id="one-by-one-where-it-fails"),
        pytest.param(batch("false", "false", "true"), b"x B y\n", id="each-for-itself"),
        pytest.param(batch("false", "false", "false"), b"x y\n", id="none"),
    ],
)
def test_a_batch_falls_back_to_one_by_one(steps: Batch, words: bytes) -> None:
    asked = command("echo", "x", OnlyIf("a", ("A",)), OnlyIf("b", ("B",)), "y")
    (result,) = run(Block("vm", (steps, Step("use", (asked,)))))
    used = result.find("use")
    assert used is not None
    assert used.stdout == words


def test_blocks_stand_for_themselves() -> None:
    bad = Block("bad", (step("no", "false", sets=("f",)),))
    good = Block("good", (Step("echo", (command("echo", "q", OnlyIf("f", ("leaked",))),)),))
    results = run(bad, good)
    assert [result.outcome for result in results] == ["failed", "done"]
    assert results[1].steps[0].stdout == b"q\n"


def test_a_guard_that_fails_means_that_nothing_is_done(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    block = Block("vm", (step("touch", "touch", str(mark)),), guards=(command("false"),))
    (result,) = run(block)
    assert result.outcome == "changed"
    assert not mark.exists()


def test_a_time_limit_ends_the_command() -> None:
    slow = Step("slow", (command("sleep", "30", time_limit_s=1),))
    (result,) = run(Block("vm", (slow,)))
    assert result.steps[0].exit_code in (124, 125)


def test_the_lock_is_taken_and_not_inherited(tmp_path: Path) -> None:
    lock = tmp_path / "locks" / "vm1"
    held = Step("held", (command("flock", "-n", str(lock), "true"),), may_fail=True)
    daemon = step("daemon", "sh", "-c", "sleep 5 >/dev/null 2>&1 & echo $!")
    (result,) = run(Block("vm1", (held, daemon), lock=str(lock)))
    try:
        assert result.steps[0].exit_code == 1
        free = subprocess.run(["flock", "-n", str(lock), "true"], check=False)
        assert free.returncode == 0, "a process that a step left behind holds the lock"
    finally:
        os.kill(int(result.steps[1].stdout), 9)


@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize("shell", SHELLS)
def test_a_lock_that_cannot_be_made_is_not_called_somebody_elses(
    tmp_path: Path, shell: str, lanes: int
) -> None:
    (tmp_path / "locks").touch()
    mark = tmp_path / "mark"
    block = Block("vm1", (step("touch", "touch", str(mark)),), lock=str(tmp_path / "locks" / "vm1"))
    text = script.render([block] * lanes, nonce=NONCE, lanes=lanes)
    done = subprocess.run([shell, "-c", text], capture_output=True, timeout=30, check=True)
    blocks = [block] * lanes
    for result in script.parse(blocks, nonce=NONCE, stdout=done.stdout, stderr=done.stderr):
        assert (result.outcome, result.steps) == ("unlocked", ())
        assert str(tmp_path / "locks") in result.why
    assert not mark.exists()


@pytest.mark.parametrize("undoes", [True, False], ids=["undoes", "finishes"])
def test_when_the_operator_is_gone_the_block_undoes_or_finishes(
    tmp_path: Path, undoes: bool
) -> None:
    """The reader of the output goes away during the first step."""
    one, two, undone = (tmp_path / name for name in ("one", "two", "undone"))
    undo = (command("touch", str(undone)),) if undoes else ()
    wait = f"touch {one}; while [ ! -e {tmp_path}/gone ]; do sleep 0.02; done"
    block = Block("vm", (Step("wait", (command("sh", "-c", wait),), undo=undo), touch(two)))
    text = script.render([block], nonce=NONCE)
    reader, writer = os.pipe()
    process = subprocess.Popen(["dash", "-c", text], stdout=writer, stderr=writer)
    os.close(writer)
    os.close(reader)
    (tmp_path / "gone").touch()
    process.wait(timeout=10)
    assert one.exists()
    assert undone.exists() is undoes
    assert two.exists() is not undoes


def touch(path: Path) -> Step:
    return step("touch", "touch", str(path))


def test_an_answer_that_is_cut_short_is_lost_not_done() -> None:
    block = Block("vm", (step("one", "echo", "1"), step("two", "echo", "2")))
    text = script.render([block], nonce=NONCE)
    whole = subprocess.run(["dash", "-c", text], capture_output=True, timeout=30, check=True)
    for length in range(len(whole.stdout)):
        cut = whole.stdout[:length]
        (result,) = script.parse([block], nonce=NONCE, stdout=cut, stderr=b"")
        assert result.outcome == "lost"
