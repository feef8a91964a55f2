"""The loop that runs scripts as root, under the shells that workers have as `sh`."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import fabric
import pytest

from vmops.core.inventory.model import Worker
from vmops.remote.framing import FramedStream
from vmops.remote.root_access import FIRST_MESSAGE_BYTES, RootAccess
from vmops.remote.ssh.endpoint import endpoint_of

NONCE = "f" * 32
SHELLS = [name for name in ("dash", "bash", "busybox", "ksh", "zsh") if shutil.which(name)]

Ask = Callable[..., tuple[bytes, bytes, int]]


@pytest.fixture(params=["with the command", "on its input"])
def goes_with_the_command(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "with the command")


@pytest.fixture(params=SHELLS)
def ask(request: pytest.FixtureRequest, tmp_path: Path, goes_with_the_command: bool) -> Ask:
    """Runs one script in a new loop whose `sh`, and whose user's login shell, is that shell."""
    shell = tmp_path / "sh"
    shell.symlink_to(str(shutil.which(request.param)))
    endpoint = endpoint_of(Worker("w1", address="10.0.0.1", user="root"), fabric.Config())
    access = RootAccess(endpoint, None)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": "/home/me", "USER": "me"}

    def one(script: bytes, limit: int = 10, stray: bytes = b"") -> tuple[bytes, bytes, int]:
        header = f"{access.keyword} {NONCE} {len(script)} {limit}\n".encode()
        message = stray + header + script
        line, rest = access.command(), message
        if goes_with_the_command and len(message) < FIRST_MESSAGE_BYTES:
            line, rest = access.command_with(message, 28), b""
        done = subprocess.run(
            [shell, "-c", line],
            input=rest,
            capture_output=True,
            check=False,
            timeout=30,
            env=env,
        )
        data, errors = bytearray(), bytearray()
        out, err = FramedStream(data, NONCE), FramedStream(errors, NONCE)
        data += done.stdout
        errors += done.stderr
        assert out.is_complete()
        assert err.is_complete()
        return out.content(), err.content(), out.code

    return one


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (b"echo out; echo err >&2; exit 5", (b"out\n", b"err\n", 5)),
        (b'echo "$VMOPS_USER $VMOPS_HOME"; cat', (b"me /home/me\n", b"", 0)),
        (b"f() { echo in $1; }\nf 'a  b'\n\n\n", (b"in a b\n", b"", 0)),
        (b"printf 'a\\000\\377'", (b"a\0\xff", b"", 0)),
        ("echo 'é \\ ! $x'".encode(), ("é \\ ! $x\n".encode(), b"", 0)),
        (b"x=" + b"y" * 300_000 + b"; echo ${#x}", (b"300000\n", b"", 0)),
        (b"", (b"", b"", 0)),
    ],
    ids=["streams", "environment", "function", "bytes", "quotes", "long", "empty"],
)
def test_a_script_runs(ask: Ask, script: bytes, expected: tuple[bytes, bytes, int]) -> None:
    assert ask(script) == expected


def test_a_stray_line_is_skipped(ask: Ask) -> None:
    assert ask(b"echo fine", stray=b"a password $(touch x) \\\n") == (b"fine\n", b"", 0)


def test_the_time_limit_holds(ask: Ask) -> None:
    started = time.monotonic()
    out, _, code = ask(b"echo begun; (trap '' TERM; sleep 77) & sleep 77", limit=1)
    assert time.monotonic() - started < 5
    assert out == b"begun\n"
    assert code in (124, 125)


def test_hanging_up_ends_no_script(ask: Ask) -> None:
    assert ask(b"kill -HUP $$; kill -PIPE $$; echo alive")[0] == b"alive\n"


@pytest.mark.parametrize("shell", SHELLS)
def test_a_first_script_that_comes_too_late_does_not_run(tmp_path: Path, shell: str) -> None:
    access = RootAccess(
        endpoint_of(Worker("w1", address="10.0.0.1", user="me"), fabric.Config()), None
    )
    (tmp_path / "sh").symlink_to(str(shutil.which(shell)))
    sudo = tmp_path / "sudo"
    sudo.write_text('#!/bin/sh\nshift 3; sleep 1.2; exec "$@"\n')
    sudo.chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": "/home/me", "USER": "me"}
    script = b"echo done"
    message = f"{access.keyword} {NONCE} {len(script)} 9\n".encode() + script
    said = [
        subprocess.run(
            ["sh", "-c", access.command_with(message, within_s)],
            capture_output=True,
            check=False,
            timeout=30,
            env=env,
        ).stdout
        for within_s in (1, 20)
    ]
    assert [b"\ndone\n" in each for each in said] == [False, True]


def test_what_sudo_sees_and_logs_is_short() -> None:
    """sudo 1.9.13 with `log_subcmds` kills a command whose line is over 4 KB."""
    access = RootAccess(
        endpoint_of(Worker("w1", address="10.0.0.1", user="me"), fabric.Config()), None
    )
    assert len(access.command()) < 3000
    assert len(access.command_with(b"x" * 9000, 9)) > 9000
