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
from vmops.remote.root_access import RootAccess
from vmops.remote.ssh.endpoint import endpoint_of

NONCE = "f" * 32
SHELLS = [name for name in ("dash", "bash", "busybox", "ksh", "zsh") if shutil.which(name)]

Ask = Callable[..., tuple[bytes, bytes, int]]


@pytest.fixture(params=SHELLS)
def ask(request: pytest.FixtureRequest, tmp_path: Path) -> Ask:
    """Runs one script in a new loop whose `sh`, and whose user's login shell, is that shell."""
    shell = tmp_path / "sh"
    shell.symlink_to(str(shutil.which(request.param)))
    endpoint = endpoint_of(Worker("w1", address="10.0.0.1", user="root"), fabric.Config())
    access = RootAccess(endpoint, None)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": "/home/me", "USER": "me"}

    def one(script: bytes, limit: int = 10, stray: bytes = b"") -> tuple[bytes, bytes, int]:
        header = f"{access.keyword} {NONCE} {len(script)} {limit}\n".encode()
        done = subprocess.run(
            [shell, "-c", access.command],
            input=stray + header + script,
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
    assert (out, code) == (b"begun\n", 124)


def test_hanging_up_ends_no_script(ask: Ask) -> None:
    assert ask(b"kill -HUP $$; kill -PIPE $$; echo alive")[0] == b"alive\n"
