"""`fab run` and `fab script` as one sees them: bytes, order, and what is given with an error."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import time
from pathlib import Path

import pexpect
import pytest

from .operator import FAB, ROOT, Operator


def fab(operator: Operator, *words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [FAB, *words],
        cwd=ROOT,
        env=operator.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (r"printf 'a\n\n\n'", b"a\n\n\n"),
        ("printf a", b"a"),
        (r"printf '\377\000\r\n\033[31m'", b"\xff\0\r\n\x1b[31m"),
        ("true", b""),
    ],
)
def test_run_is_byte_for_byte(operator: Operator, command: str, expected: bytes) -> None:
    done = fab(operator, "-H", "worker1", "run", command)
    assert (done.returncode, done.stdout, done.stderr) == (0, expected, b"")
    done = fab(operator, "-H", "worker1", "run", f"({command}) >&2")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", expected)


def test_gzip_comes_through(operator: Operator) -> None:
    done = fab(operator, "-H", "worker1", "run", "gzip -c /etc/hosts; head -c 4096 /etc/hosts >&2")
    assert gzip.decompress(done.stdout) == done.stderr


@pytest.mark.parametrize("command", ["run", "script"])
def test_what_came_before_the_time_was_up_is_given(
    operator: Operator, tmp_path: Path, command: str
) -> None:
    text = "echo step 1; echo why >&2; printf half; sleep 60"
    (tmp_path / "script").write_text(text)
    what = text if command == "run" else str(tmp_path / "script")
    done = fab(operator, "-H", "worker1", command, what, "--timeout", "1")
    assert (done.returncode, done.stdout) == (1, b"step 1\nhalf")
    assert done.stderr.startswith(b"why\n")
    assert b"took longer than 1 s; it was ended there" in done.stderr


def test_what_came_before_the_connection_was_lost_is_given(operator: Operator) -> None:
    killed = "echo step 1; sleep 0.3; sudo kill -9 $(ps -o ppid= -p $PPID) $PPID; sleep 9"
    done = fab(operator, "-H", "worker1", "run", killed)
    assert (done.returncode, done.stdout) == (1, b"step 1\n")
    assert b"the connection was lost" in done.stderr


def test_output_comes_as_it_is_printed(operator: Operator) -> None:
    running = subprocess.Popen(
        [FAB, "-H", "worker1", "run", "echo first; sleep 5; echo second"],
        cwd=ROOT,
        env=operator.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert running.stdout is not None
    assert os.read(running.stdout.fileno(), 100) == b"first\n"
    read_at = time.monotonic()
    assert running.stdout.read() == b"second\n"
    assert time.monotonic() - read_at > 3
    assert running.wait() == 0


def test_several_workers_are_told_apart(operator: Operator) -> None:
    command = "hostname; echo mine; printf 'no end'; hostname >&2"
    done = fab(operator, "run", "--worker", "worker1,worker2", command)
    assert done.returncode == 0
    lines = sorted(done.stdout.decode().splitlines())
    assert lines == [
        f"{w}: {text}" for w in ("worker1", "worker2") for text in ("mine", "no end", w)
    ]
    assert sorted(done.stderr.decode().splitlines()) == ["worker1: worker1", "worker2: worker2"]


def test_a_reader_that_leaves_ends_it(operator: Operator) -> None:
    began = time.monotonic()
    line = f"{FAB} -H worker1 run 'yes; sleep 30' | head -1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"],
        cwd=ROOT,
        env=operator.environment(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"y\n", b"")
    assert time.monotonic() - began < 20


def test_memory_stays_flat(operator: Operator) -> None:
    command = "head -c 300M /dev/zero"
    # Of a child of this process it would be the most that this one has, which it began as.
    asked = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True)"
    told = "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)"
    with subprocess.Popen(
        [sys.executable, "-c", f"{asked}; {told}", FAB, "-H", "worker1", "run", command],
        cwd=ROOT,
        env=operator.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        stream, errors = running.stdout, running.stderr
        assert stream is not None
        assert errors is not None
        assert sum(iter(lambda: len(stream.read(1 << 20)), 0)) == 300 * 2**20
        most = errors.read().split()[-1]
    assert running.returncode == 0
    assert int(most) < 120_000


def test_nothing_acts_on_a_terminal(operator: Operator) -> None:
    words = ["-H", "worker1", "run", r"printf '\033]0;title\007 \033[2Jhere'"]
    terminal = pexpect.spawn(
        FAB, words, cwd=str(ROOT), env=operator.environment(), timeout=30, encoding="utf-8"
    )
    assert terminal.read() == "^[]0;title^G here\r\n"


SCRIPTS = {
    "cat": "echo one\ncat >/dev/null\necho two\n",
    "read": "echo one\nread -r x\necho two\n",
    "while": "echo one\nwhile read -r x; do echo eaten; done\necho two\n",
    "python": "echo one\npython3 - || true\necho two\n",
    "for": "echo one\nfor x in 1 2; do cat; done\necho two\n",
    "sudo": "echo one\nsudo cat\necho two\n",
    "function": "f() {\n  cat\n}\necho one\nf\necho two\n",
    "no last newline": "echo one\ncat\necho two",
}


@pytest.mark.parametrize("text", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_no_line_of_a_script_eats_the_rest(operator: Operator, tmp_path: Path, text: str) -> None:
    (tmp_path / "script").write_text(text)
    done = fab(operator, "-H", "worker1", "script", str(tmp_path / "script"))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"one\ntwo\n", b"")


@pytest.mark.parametrize(
    ("text", "out", "code"),
    [
        ("echo one\nexit 3\necho two", b"one\n", 3),
        ("echo one\nfalse", b"one\n", 1),
        ("set -e\necho one\nfalse\necho two", b"one\n", 1),
        ("echo one\nif true; then\necho two", b"one\n", None),
        ("trap 'echo bye' EXIT\necho $1 $# $0; exit 4", b"x y 2 bash\nbye\n", 4),
        ("exec false", b"", 1),
        ("# nothing\n", b"", 0),
        ("", b"", 0),
    ],
)
def test_the_exit_code_is_that_of_the_whole_script(
    operator: Operator, tmp_path: Path, text: str, out: bytes, code: int | None
) -> None:
    (tmp_path / "script").write_text(text)
    done = fab(operator, "-H", "worker1", "script", str(tmp_path / "script"), "--args", "'x y' z")
    assert done.stdout == out
    assert done.returncode == (0 if code == 0 else 1)
    assert code in (0, None) or b"exit code %d" % code in done.stderr


def test_a_long_script_runs(operator: Operator, tmp_path: Path) -> None:
    (tmp_path / "script").write_text("echo begin\n" + "# a line of no use\n" * 50_000 + "echo end")
    done = fab(operator, "-H", "worker1", "script", str(tmp_path / "script"))
    assert (done.returncode, done.stdout) == (0, b"begin\nend\n")
