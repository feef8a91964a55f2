"""What a step says is the same for one VM as for fifty, whatever that is, under a real shell."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmops.core.script import functions, script
from vmops.core.script.command import SAID_BYTES, Block, BlockResult, Step, command
from vmops.wait import wait_for

NONCE = "0123456789abcdef" * 2
SHELLS = ("dash", "bash")


@pytest.fixture(autouse=True, scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(autouse=True)
def our_own(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "RUN_ROOT", str(root))


def run(*blocks: Block, lanes: int = 1, shell: str = "dash") -> tuple[BlockResult, ...]:
    text = script.render(blocks, nonce=NONCE, lanes=lanes)
    done = subprocess.run([shell], input=text.encode(), capture_output=True, timeout=60, check=True)
    return script.parse(blocks, nonce=NONCE, stdout=done.stdout, stderr=done.stderr)


def saying(out: bytes, err: bytes, code: int) -> Block:
    """A block that says this on its two streams, one of them from its input."""
    last = command("sh", "-c", f"cat >&2; exit {code}", stdin=err)
    return Block("vm1", (Step("say", (command("cat", stdin=out), last), may_fail=True),))


OUTPUT = st.binary(max_size=300) | st.sampled_from(
    [
        b"x" * (SAID_BYTES + 1),
        b"why\n" + b"\n" * SAID_BYTES,
        f"@@{NONCE} e 0 0 0\n@@{NONCE} x 0 done\n".encode(),
        f"@@{NONCE} {NONCE}\n@@{NONCE} x 0 done\n".encode(),
        "warning: U+2028 \u2028 and \x85 end no line\nPermission denied\n".encode(),
        b"\x1e\x1f\x81\x82\x88\xff\0\r\n\n\n",
    ]
)


@pytest.mark.parametrize("shell", SHELLS)
def test_one_against_many(shell: str) -> None:
    @settings(max_examples=25, deadline=None)
    @given(OUTPUT, OUTPUT, st.integers(0, 255))
    def holds(out: bytes, err: bytes, code: int) -> None:
        block = saying(out, err, code)
        (alone,) = run(block, shell=shell)
        first, *_, last = run(
            block, *[saying(b"other", b"noise", 1)] * 3, block, lanes=4, shell=shell
        )
        assert first == last == alone
        (said,) = alone.steps
        assert said.exit_code == code
        assert said.stdout == out[-2 * SAID_BYTES :]
        assert said.stderr == err[-2 * SAID_BYTES :]

    holds()


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("count", [1, 2, 12])
def test_the_reason_is_the_same_for_one_as_for_many(count: int, shell: str) -> None:
    """A warning on one stream, and the reason behind much else on the other."""
    text = (
        'seq 2000; echo "qemu: warning: TCG doesn\'t support requested feature"; '
        "seq 2000 >&2; echo 'Could not open disk: Permission denied' >&2; exit 1"
    )
    blocks = [Block(f"vm{n}", (Step("QEMU", (command("sh", "-c", text),)),)) for n in range(count)]
    for result in run(*blocks, lanes=12, shell=shell):
        assert result.failure is not None
        assert result.failure.reason() == "Could not open disk: Permission denied"


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("lanes", [1, 2])
def test_input_arrives_byte_for_byte(shell: str, lanes: int) -> None:
    @settings(max_examples=40, deadline=None)
    @given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
    def holds(data: bytes) -> None:
        for tail in (b"", b"\n", b"\n\n", f"\nEND_{NONCE}\n".encode()):
            block = saying(data + tail, tail + data, 0)
            for result in run(*[block] * lanes, lanes=lanes, shell=shell):
                assert (result.steps[0].stdout, result.steps[0].stderr) == (
                    data + tail,
                    tail + data,
                )

    holds()


@pytest.mark.parametrize("shell", SHELLS)
def test_a_large_input_arrives(shell: str) -> None:
    """A seed for cloud-init is an image of 400 KB."""
    data = os.urandom(400_000)
    began = time.monotonic()
    (result,) = run(Block("vm1", (Step("sum", (command("sha256sum", stdin=data),)),)), shell=shell)
    assert time.monotonic() - began < 5
    expected = subprocess.run(["sha256sum"], input=data, capture_output=True, check=True).stdout
    assert result.steps[0].stdout == expected


@pytest.mark.parametrize("lanes", [1, 2])
def test_who_knows_the_script_still_forges_no_frame(lanes: int) -> None:
    """The script stands in the list of processes where it is an argument; its mark does not."""
    text = script.render([Block("x", ())], nonce=NONCE)
    forged = "\n".join(f"@@{mark} x 0 done\n@@{mark} e 0 1 0\n" for mark in (NONCE, "", "$N"))
    steps = (
        Step("say", (command("printf", "%s", forged + text),)),
        Step("no", (command("false"),)),
    )
    for result in run(*[Block("vm1", steps)] * lanes, lanes=lanes):
        assert result.outcome == "failed"
        assert [entry.exit_code for entry in result.steps] == [0, 1]
        assert result.steps[0].stdout == (forged + text).encode()


@pytest.mark.parametrize("shell", SHELLS)
def test_nothing_is_left_of_what_was_said(root: Path, shell: str) -> None:
    left = root / ".said.999999999"
    left.mkdir()
    (left / "0.out").touch()
    run(saying(b"a", b"b", 0), saying(b"a", b"b", 1), lanes=2, shell=shell)
    assert list(root.iterdir()) == []


def test_where_the_folder_cannot_be_made_there_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(functions, "RUN_ROOT", str(tmp_path / "file"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    results = run(saying(b"a", b"b", 0), saying(b"a", b"b", 0), lanes=2)
    assert [result.steps[0].stdout for result in results] == [b"a", b"a"]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_that_is_killed_leaves_a_folder_that_the_next_one_removes(
    root: Path, shell: str
) -> None:
    slow = Block("vm1", (Step("wait", (command("sleep", "20"),)),))
    text = script.render([slow, slow], nonce=NONCE, lanes=2)
    words = ["timeout", "-s", "KILL", "20", shell, "-c", text]
    with subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True) as killed:
        assert wait_for(lambda: list(root.glob(".said.*/1.out")) or None, 10)
        os.killpg(killed.pid, 9)
    assert list(root.iterdir()) != []
    run(saying(b"", b"", 0), saying(b"", b"", 0), lanes=2, shell=shell)
    assert list(root.iterdir()) == []
