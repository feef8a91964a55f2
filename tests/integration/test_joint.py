"""What blocks do together before they begin, or else each by itself, under a real POSIX shell."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from vmops.core.script import script
from vmops.core.script.command import Block, BlockResult, Command, Step, command
from vmops.wait import wait_for

NONCE = "0123456789abcdef" * 2
SHELLS = ("dash", "bash")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "log").touch()
    return tmp_path / "log"


def run(*blocks: Block, shell: str = "dash") -> tuple[BlockResult, ...]:
    text = script.render(blocks, nonce=NONCE, lanes=12)
    done = subprocess.run([shell, "-c", text], capture_output=True, timeout=60, check=True)
    assert all(line.startswith(b"@@") for line in done.stderr.splitlines()), done.stderr
    return script.parse(blocks, nonce=NONCE, stdout=done.stdout, stderr=done.stderr)


def writing(log: Path, text: str = 'echo "$0 $*"') -> tuple[str, ...]:
    """The words of a command that writes its further ones down in one line."""
    return ("sh", "-c", f"({text}) >>{log}")


def joint(log: Path, name: str, text: str = 'echo "$0 $*"') -> Step:
    """A step with work of its own, and work that it has in common with others."""
    first = (*writing(log, text), "all")
    return Step(
        "join",
        (command(*writing(log), "own", name), Command((*first, name), common=len(first))),
        undo=(command(*writing(log), "undo", name),),
        joint=True,
    )


def block(log: Path, name: str, *steps: Step, guard: str = "true", text: str = "") -> Block:
    first = joint(log, name, text) if text else joint(log, name)
    lock = str(log.parent / "locks" / name)
    return Block(name, (first, *steps), lock=lock, guards=(command(guard),))


def lines(log: Path) -> list[str]:
    return log.read_text().splitlines()


@pytest.mark.parametrize("shell", SHELLS)
def test_what_blocks_have_in_common_is_done_once(log: Path, shell: str) -> None:
    after = Step("after", (command(*writing(log), "after"),))
    results = run(*(block(log, name, after) for name in "abc"), shell=shell)
    assert [result.outcome for result in results] == ["done"] * 3
    assert lines(log) == ["own a", "own b", "own c", "all a b c", "after ", "after ", "after "]


@pytest.mark.parametrize("shell", SHELLS)
def test_what_blocks_begin_with_in_common_is_done_before_what_is_their_own(
    log: Path, shell: str
) -> None:
    """As old rows have to go before devices of their names are made."""

    def clearing(name: str) -> Block:
        made = block(log, name)
        (step,) = made.numbered()
        first = writing(log)
        clear = Command((*first, "clear", name), common=len(first) + 1)
        return made._replace(steps=(step._replace(commands=(clear, *step.commands)),))

    results = run(clearing("a"), block(log, "b"), clearing("c"), shell=shell)
    assert [result.outcome for result in results] == ["done"] * 3
    assert lines(log) == ["clear a c", "own a", "own b", "own c", "all a b c"]


@pytest.mark.parametrize("shell", SHELLS)
def test_more_blocks_than_can_join_do_it_in_groups(log: Path, shell: str) -> None:
    alone = Block("alone", (Step("say", (command("echo", "here"),)),))
    results = run(*(block(log, name) for name in "abcdefgh"), alone, shell=shell)
    assert [result.outcome for result in results] == ["done"] * 9
    assert results[-1].steps[0].stdout == b"here\n"
    assert sorted(line for line in lines(log) if "all" in line) == ["all a b c d e f", "all g h"]


@pytest.mark.parametrize("shell", SHELLS)
def test_what_fails_together_is_taken_back_and_done_by_each(log: Path, shell: str) -> None:
    """As it is with an interface that is bad: the others' blocks do not fail with it."""
    one_only = 'echo "$0 $*"; [ "$#" = 1 ] && [ "$1" != b ]'
    a, b, c = run(*(block(log, name, text=one_only) for name in "abc"), shell=shell)
    assert (a.outcome, b.outcome, c.outcome) == ("done", "failed", "done")
    found = lines(log)
    assert found[:7] == ["own a", "own b", "own c", "all a b c", "undo a", "undo b", "undo c"]
    rest = ["all a", "all b", "all c", "own a", "own b", "own c", "undo b"]
    assert sorted(found[7:]) == rest


@pytest.mark.parametrize("shell", SHELLS)
def test_a_guard_that_fails_keeps_its_own_block_out(log: Path, shell: str) -> None:
    blocks = [block(log, "a"), block(log, "b", guard="false"), block(log, "c")]
    results = run(*blocks, shell=shell)
    assert [result.outcome for result in results] == ["done", "changed", "done"]
    assert lines(log) == ["own a", "own c", "all a c"]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_lock_that_somebody_holds_keeps_its_own_block_out(log: Path, shell: str) -> None:
    """It is let go when the others have done theirs, so these cannot have waited for it."""
    locks = log.parent / "locks"
    locks.mkdir()
    hold = f"echo held; while [ $(grep -c after {log}) != 2 ]; do sleep 0.01; done"
    words = ["flock", str(locks / "b"), "sh", "-c", hold]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        after = Step("after", (command(*writing(log), "after"),))
        results = run(*(block(log, name, after) for name in "abc"), shell=shell)
    assert [result.outcome for result in results] == ["done"] * 3
    found = lines(log)
    assert found[:3] == ["own a", "own c", "all a c"]
    assert found[-3:] == ["own b", "all b", "after "]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_block_that_fails_later_takes_back_its_own_share(log: Path, shell: str) -> None:
    bad = Step("bad", (command("false"),))
    a, b = run(block(log, "a", bad), block(log, "b"), shell=shell)
    assert (a.outcome, b.outcome) == ("failed", "done")
    assert {undone.step.label for undone in a.undone} == {"bad", "join"}
    assert lines(log) == ["own a", "own b", "all a b", "undo a"]


@pytest.mark.parametrize("shell", SHELLS)
def test_each_lock_is_held_as_long_as_its_own_block_works(log: Path, shell: str) -> None:
    """b waits for a's lock while it holds its own, and a leaves a process behind."""
    locks = log.parent / "locks"
    left = Step("left", (command("sh", "-c", f"sleep 60 >/dev/null 2>&1 & echo $! >{log}.pid"),))
    wait = f"until flock -n {locks}/a true; do sleep 0.01; done; ! flock -n {locks}/b true"
    free = Step("free", (command("sh", "-c", wait, time_limit_s=10),))
    results = run(block(log, "a", left), block(log, "b", free), shell=shell)
    try:
        assert [result.outcome for result in results] == ["done"] * 2
        for name in "ab":
            taken = subprocess.run(["flock", "-n", str(locks / name), "true"], check=False)
            assert taken.returncode == 0, f"{name} is still locked"
    finally:
        subprocess.run(["kill", Path(f"{log}.pid").read_text().strip()], check=True)


@pytest.mark.parametrize("shell", SHELLS)
def test_when_the_operator_is_gone_each_takes_back_its_share(log: Path, shell: str) -> None:
    wait = f"touch {log}.begun; while [ ! -e {log}.gone ]; do sleep 0.01; done"
    blocks = [
        block(log, name, Step("wait", (command("sh", "-c", wait, time_limit_s=10),)))
        for name in "ab"
    ]
    text = script.render(blocks, nonce=NONCE, lanes=12)
    words = [shell, "-c", text]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as operator:
        assert wait_for(lambda: Path(f"{log}.begun").exists() or None, 10)
        assert operator.stdout is not None
        operator.stdout.close()
        Path(f"{log}.gone").touch()
        operator.wait(timeout=20)
    found = lines(log)
    assert found[:3] == ["own a", "own b", "all a b"]
    assert sorted(found[3:]) == ["undo a", "undo b"]
