"""The way to a root shell past real sudo, sshd and login shells, as workers have them."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from vmops.core.inventory.model import Worker
from vmops.errors import CommandTimeout, WorkFailed
from vmops.inventory_file import load
from vmops.lab import Lab
from vmops.remote import exchange as exchanges
from vmops.remote.counters import counted
from vmops.remote.exchange import exchange
from vmops.remote.run import run
from vmops.remote.ssh.connection import close_all, connection

from .lab_helpers import wait_until
from .operator import Operator, small_vm

LONG_SCRIPT = "id -u; exit 3\n#" + "x" * 9000
HOME = "/home/ubuntu"


@pytest.fixture
def worker(lab: Lab) -> Iterator[Worker]:
    yield load(lab.inventory).workers["worker1"]
    close_all()


@contextmanager
def file_there(lab: Lab, path: str, text: str, *, mode: str = "644") -> Iterator[None]:
    """A file of a worker, as it was afterwards."""
    script = f"cp -p {path} {path}.was 2>/dev/null; cat >{path}; chmod {mode} {path}"
    back = f"if [ -e {path}.was ]; then mv -f {path}.was {path}; else rm -f {path}; fi"
    lab.run("worker1", ["sh", "-c", script], stdin=text.encode())
    try:
        yield
    finally:
        close_all()
        lab.run("worker1", ["sh", "-c", back])


def test_the_first_exchange_is_two_round_trips_and_the_next_is_one(worker: Worker) -> None:
    """At most: on a busy machine two answers may be read in one, and count as one."""
    connection(worker)
    spent = []
    for _ in range(2):
        before = counted()
        exchange(worker, LONG_SCRIPT, time_limit=10)
        spent.append((counted() - before).round_trips)
    first, then = spent
    assert (1 <= first <= 2, then) == (True, 1)


@pytest.mark.parametrize(
    "setting",
    [
        "log_subcmds",
        "runas_default=nobody",
        "use_pty",
        "log_subcmds, use_pty, log_output",
        "intercept",
    ],
)
@pytest.mark.parametrize("script", [LONG_SCRIPT, "id -u; exit 3\n#" + "x" * 200_000])
def test_sudo_may_be_set_up_otherwise(lab: Lab, worker: Worker, setting: str, script: str) -> None:
    with file_there(lab, "/etc/sudoers.d/zz-setting", f"Defaults {setting}\n", mode="440"):
        for _ in range(2):
            reply = exchange(worker, script, time_limit=10)
            assert (reply.stdout, reply.exit_code) == (b"0\n", 3)


def test_a_vm_lives_where_sudo_logs_each_command(lab: Lab, operator: Operator) -> None:
    """No word of any command may be over 4 KB there: sudo 1.9.13 kills it."""
    operator.add(small_vm("vm1", 1, 101))
    with file_there(lab, "/etc/sudoers.d/zz-setting", "Defaults log_subcmds\n", mode="440"):
        operator.ok("launch", "--vm", "vm1")
        (vm,) = operator.ok("status", "--vm", "vm1", "--format", "json").json
        assert (vm["state"], vm["drift"]) == ("running", [])
        operator.ok("stop", "--vm", "vm1", "--force")
        assert operator.qemus("worker1") == {}


def test_the_narrowest_sudoers_suffices(lab: Lab, worker: Worker) -> None:
    rule = "ubuntu ALL=(root) NOPASSWD: /bin/sh\n"
    with file_there(lab, "/etc/sudoers.d/zz-vmops-lab", rule, mode="440"):
        assert exchange(worker, LONG_SCRIPT, time_limit=10).stdout == b"0\n"


@pytest.mark.parametrize(
    ("rule", "what"),
    [
        ("ubuntu ALL=(root) NOPASSWD: /bin/ls", "sudo asks for a password"),
        ("Defaults requiretty", "sudo there wants a terminal"),
        ("ubuntu ALL=(root) NOPASSWD: ALL, !/bin/sh, !/usr/bin/sh", "does not let ubuntu start"),
    ],
)
def test_a_refusal_of_real_sudo_is_understood(
    lab: Lab, worker: Worker, rule: str, what: str
) -> None:
    path = "zz-vmops-lab" if rule.startswith("ubuntu") else "zzz"
    with (
        file_there(lab, f"/etc/sudoers.d/{path}", f"{rule}\n", mode="440"),
        pytest.raises(WorkFailed, match=what),
    ):
        exchange(worker, "true", time_limit=10)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("read -p 'Which project? ' project\n", id="read"),
        pytest.param("exec sh\n", id="another shell"),
        pytest.param("select x in production staging; do break; done\n", id="menu"),
        pytest.param("sleep 86344\n", id="sleep"),
    ],
)
def test_a_start_up_file_that_reads_is_named_and_nothing_runs_later(
    lab: Lab,
    worker: Worker,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(exchanges, "START_LIMIT_S", 3.0)
    monkeypatch.setattr(exchanges, "SAY_AFTER_S", 0.5)
    with file_there(lab, f"{HOME}/.bashrc", text), caplog.at_level(logging.WARNING, "vmops"):
        with pytest.raises(
            CommandTimeout, match="the login shell of ubuntu has not got to our command"
        ) as caught:
            exchange(worker, "touch /tmp/came-late", time_limit=60)
        assert "a start-up file there (~/.bashrc" in caught.value.cure
        assert "worker1: the login shell of ubuntu has not got to our command" in caplog.text
        left = ["pgrep", "-u", "ubuntu", "-f", "sleep 86344"]
        wait_until(lambda: lab.run("worker1", left, check=False).returncode == 1, seconds=2)
        close_all()
        time.sleep(1)
        assert lab.run("worker1", ["test", "-e", "/tmp/came-late"], check=False).returncode == 1


def test_a_start_up_file_that_prints_does_no_harm(lab: Lab, worker: Worker) -> None:
    text = "echo out; echo err >&2; seq 20000; seq 20000 >&2; set -v\n"
    with file_there(lab, f"{HOME}/.bashrc", text):
        reply = exchange(worker, "echo fine; echo error >&2", time_limit=10)
        assert (reply.stdout, reply.stderr) == (b"fine\n", b"error\n")
        done = run(worker, "echo fine", time_limit=10)
        assert done.stdout.endswith(b"\n20000\nfine\n")
        assert b"vmops" not in done.stderr


@pytest.fixture
def key(lab: Lab) -> str:
    path = f"{HOME}/.ssh/authorized_keys"
    return lab.run("worker1", ["cat", path]).stdout.decode()


def test_a_forced_command_is_quoted_at_once(lab: Lab, worker: Worker, key: str) -> None:
    forced = f'command="echo Only backups here.; exit 7" {key}'
    began = time.monotonic()
    with (
        file_there(lab, f"{HOME}/.ssh/authorized_keys", forced, mode="600"),
        pytest.raises(WorkFailed) as caught,
    ):
        exchange(worker, "true", time_limit=60)
    assert "ended with exit code 7, and said: Only backups here." in caught.value.what
    assert time.monotonic() - began < 5


def test_every_login_sees_the_same_mounts(lab: Lab, worker: Worker, key: str) -> None:
    own = (
        'exec sudo unshare -m --propagation slave sudo -u ubuntu sh -c \\"$SSH_ORIGINAL_COMMAND\\"'
    )
    forced = f'command="{own}" {key}'
    make = "mkdir -p /run/seen && mount -t tmpfs none /run/seen && touch /run/seen/it"
    with file_there(lab, f"{HOME}/.ssh/authorized_keys", forced, mode="600"):
        assert exchange(worker, make, time_limit=10).exit_code == 0
        close_all()
        assert exchange(worker, "test -e /run/seen/it", time_limit=10).exit_code == 0
    assert exchange(worker, "umount /run/seen && rmdir /run/seen", time_limit=10).exit_code == 0


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_worker_costs_one_open_file(worker: Worker) -> None:
    close_all()
    gc.collect()  # what earlier tests left would be counted, and gone afterwards
    before = open_files()
    exchange(worker, "true", time_limit=10)
    run(worker, "true", time_limit=10)
    assert open_files() == before + 1


def test_a_fork_shares_nothing(lab: Lab, tmp_path: Path) -> None:
    """The child works with a login of its own, and its end is not felt in the parent."""
    program = tmp_path / "program.py"
    program.write_text(
        "import os, sys, threading, time\n"
        "from pathlib import Path\n"
        "from vmops.inventory_file import load\n"
        "from vmops.remote.exchange import exchange\n"
        "from vmops.remote.run import run\n"
        "worker = load(Path(sys.argv[1])).workers['worker1']\n"
        "exchange(worker, 'true', time_limit=9)\n"
        "said = []\n"
        "work = lambda: said.append(run(worker, 'sleep 2; echo parent', time_limit=9).stdout)\n"
        "thread = threading.Thread(target=work)\n"
        "thread.start()\n"
        "time.sleep(0.5)\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    print(run(worker, 'echo child', time_limit=5).stdout, flush=True)\n"
        "    print(exchange(worker, 'echo root', time_limit=5).stdout, flush=True)\n"
        "    sys.exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    sys.exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "thread.join()\n"
        "print(said, exchange(worker, 'echo on', time_limit=9).stdout)\n"
    )
    done = subprocess.run(
        [sys.executable, program, lab.inventory],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.stdout.decode().splitlines() == [
        "b'child\\n'",
        "b'root\\n'",
        "[b'parent\\n'] b'on\\n'",
    ], done.stderr.decode()
