"""The library's own SSH against real sshd and sudo, on good days and bad."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import fabric
import pytest

from vmops.core.inventory.model import Worker
from vmops.errors import CommandTimeout, ConnectionLost, MonitorError, VmopsError, WorkerUnreachable
from vmops.inventory_file import load
from vmops.lab import Lab
from vmops.remote.counters import counted
from vmops.remote.exchange import exchange
from vmops.remote.forward import forward_unix, open_socket
from vmops.remote.run import CommandLine, run
from vmops.remote.ssh.connection import close_all, connection

from .lab_helpers import wait_until

SOCKET = "/tmp/echo.sock"


def worker_of(lab: Lab) -> Worker:
    return load(lab.inventory).workers["worker1"]


@pytest.fixture
def worker(lab: Lab) -> Iterator[Worker]:
    yield worker_of(lab)
    close_all()


@pytest.fixture
def bad(lab: Lab, worker: Worker) -> Iterator[Lab]:
    """The shared lab, healed afterwards."""
    yield lab
    lab.heal("worker1")
    lab.delay("worker1", 0)


@pytest.fixture
def shared_terminal(lab: Lab) -> Iterator[None]:
    """sudo as Debian 12 sets it up: `use_pty`."""
    sudoers = "/etc/sudoers.d/use-pty"
    lab.run("worker1", ["sh", "-c", f"echo 'Defaults use_pty' >{sudoers}; chmod 440 {sudoers}"])
    yield
    lab.run("worker1", ["rm", "-f", sudoers])


def sleeping(lab: Lab, seconds: int) -> bool:
    found = lab.run("worker1", ["pgrep", "-x", "-f", f"sleep {seconds}"], check=False)
    return found.returncode == 0


def test_an_exchange_is_root_over_one_connection(worker: Worker) -> None:
    close_all()
    before = counted()
    script = 'id -u; echo "$VMOPS_USER $VMOPS_HOME"; hostname'
    for _ in range(5):
        reply = exchange(worker, script, time_limit=10)
        assert reply.stdout == b"0\nubuntu /home/ubuntu\nworker1\n"
    spent = counted() - before
    assert (spent.connections, spent.channels, spent.exchanges) == (1, 1, 5)


@pytest.mark.usefixtures("shared_terminal")
def test_no_byte_is_lost_on_the_way_through_sudo(worker: Worker) -> None:
    digits = random.Random(7).randbytes(4_000_000).hex()
    reply = exchange(worker, f"printf %s {digits}; printf '\\000\\377\\r\\n' >&2", time_limit=30)
    assert reply.stdout.decode() == digits
    assert reply.stderr == b"\0\xff\r\n"
    data = random.Random(8).randbytes(20_000_000)
    assert run(worker, CommandLine("sudo cat", data), time_limit=30).stdout == data


@pytest.mark.usefixtures("shared_terminal")
@pytest.mark.parametrize(
    "command",
    ["sudo sleep 86311", "sudo sleep 86311; true", "sudo sh -c 'trap : TERM; sleep 86311; :'"],
)
def test_what_sudo_started_ends_when_the_time_is_up(lab: Lab, worker: Worker, command: str) -> None:
    with pytest.raises(CommandTimeout, match="it was ended there"):
        run(worker, command, time_limit=1)
    assert not sleeping(lab, 86311)


def test_a_script_ends_when_its_time_is_up(lab: Lab, worker: Worker) -> None:
    script = "(trap '' TERM; sleep 86322) & sleep 86322"
    with pytest.raises(CommandTimeout, match="it was ended there"):
        exchange(worker, script, time_limit=1)
    wait_until(lambda: not sleeping(lab, 86322), seconds=2)


@pytest.mark.parametrize(
    ("work", "within"),
    [
        pytest.param(lambda w: exchange(w, "sleep 60", time_limit=90), 15, id="exchange"),
        pytest.param(lambda w: run(w, "sleep 60", time_limit=90), 15, id="run"),
        pytest.param(
            lambda w: run(w, CommandLine("cat >/dev/null", bytes(600_000_000)), time_limit=90),
            15,
            id="upload",
        ),
    ],
)
def test_a_worker_that_stops_answering_is_noticed(
    bad: Lab, worker: Worker, work: Callable[[Worker], object], within: float
) -> None:
    exchange(worker, "true", time_limit=10)
    threading.Timer(0.3, bad.fault, ("worker1", "freeze")).start()
    started = time.monotonic()
    with pytest.raises(ConnectionLost, match="worker1: the connection was lost: it "):
        work(worker)
    assert time.monotonic() - started < within


def test_the_work_goes_on_when_the_operator_is_cut_off(bad: Lab, worker: Worker) -> None:
    bad.run("worker1", ["rm", "-f", "/tmp/begun", "/tmp/finished"])

    def cut_off() -> None:
        wait_until(lambda: bad.run("worker1", ["sh", "-c", "ls /tmp/begun || :"]).stdout)
        bad.fault("worker1", "reset")

    threading.Thread(target=cut_off).start()
    script = "touch /tmp/begun; sleep 2; echo >/dev/stdout; touch /tmp/finished"
    with pytest.raises(ConnectionLost):
        exchange(worker, script, time_limit=30)
    bad.heal("worker1")
    wait_until(lambda: exchange(worker, "test -e /tmp/finished", time_limit=9).exit_code == 0)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("drop", "refuses connections"),
        ("reset", "hung up before the login"),
        ("freeze", "says nothing for 2 s"),
    ],
)
def test_a_worker_that_cannot_be_reached(bad: Lab, worker: Worker, fault: str, said: str) -> None:
    bad.fault("worker1", fault)
    quickly = fabric.Config(overrides={"connect_kwargs": {"timeout": 2}})
    with pytest.raises(WorkerUnreachable, match=said):
        connection(worker, config=quickly)
    bad.heal("worker1")
    assert exchange(worker, "true", time_limit=10).exit_code == 0


def test_more_logins_at_once_than_sshd_takes(own_lab: Callable[..., Lab], tmp_path: Path) -> None:
    lab = own_lab(1, sshd_options=["MaxStartups 2:100:4"])
    workers = []
    for number in range(12):
        known_hosts = tmp_path / f"known_hosts{number}"
        shutil.copy(lab.known_hosts, known_hosts)
        workers.append(replace(worker_of(lab), known_hosts=str(known_hosts)))
    try:
        with ThreadPoolExecutor(12) as pool:
            assert all(pool.map(lambda each: connection(each).is_connected, workers))
        assert lab.status().workers[0].connections > len(workers), "nobody was hung up on"
    finally:
        close_all()


def test_few_sessions_are_shared(own_lab: Callable[..., Lab]) -> None:
    lab = own_lab(1, sshd_options=["MaxSessions 2"])
    worker = worker_of(lab)
    try:
        with ThreadPoolExecutor(12) as pool:
            answers = pool.map(lambda n: exchange(worker, f"echo {n}", time_limit=30), range(24))
            assert [int(reply.stdout) for reply in answers] == list(range(24))
    finally:
        close_all()


@pytest.fixture
def echo(lab: Lab) -> Iterator[None]:
    """Somebody who says back what is said, on a UNIX socket of worker1."""
    listen = ["socat", f"UNIX-LISTEN:{SOCKET},fork,mode=666", "EXEC:cat"]
    with subprocess.Popen(lab.enter("worker1", listen)) as server:
        wait_until(lambda: lab.run("worker1", ["test", "-S", SOCKET], check=False).returncode == 0)
        yield
        server.terminate()
    lab.run("worker1", ["rm", "-f", SOCKET])


@pytest.mark.usefixtures("echo")
class TestSockets:
    def test_a_socket_of_the_worker_is_here(self, worker: Worker) -> None:
        for _ in range(12):
            with open_socket(worker, SOCKET) as stream:
                stream.settimeout(5)
                stream.sendall(b"hello")
                assert stream.recv(100) == b"hello"

    def test_and_as_a_local_port(self, worker: Worker) -> None:
        data = random.Random(9).randbytes(5_000_000)
        with (
            forward_unix(worker, SOCKET) as forward,
            socket.create_connection(("127.0.0.1", forward.port), 5) as caller,
        ):
            threading.Thread(target=caller.sendall, args=(data,), daemon=True).start()
            answer = bytearray()
            while len(answer) < len(data):
                answer += caller.recv(65536)
        assert answer == data

    @pytest.mark.parametrize("path", ["/tmp/none.sock", "/tmp"], ids=["absent", "a folder"])
    def test_what_is_no_socket_is_told(self, worker: Worker, path: str) -> None:
        with pytest.raises(MonitorError, match=f"worker1: {path} cannot be opened"):
            open_socket(worker, path)

    def test_a_socket_of_somebody_else_is_told(self, lab: Lab, worker: Worker) -> None:
        lab.run("worker1", ["chmod", "600", SOCKET])
        with pytest.raises(MonitorError, match="may the SSH user open that socket"):
            open_socket(worker, SOCKET)


INTERRUPTED = """
import sys
from pathlib import Path
from vmops.inventory_file import load
from vmops.remote.exchange import exchange
worker = load(Path(sys.argv[1])).workers["worker1"]
print("ready", flush=True)
exchange(worker, "echo >/tmp/begun; sleep 30", time_limit=60)
"""


@pytest.mark.parametrize("frozen", [False, True], ids=["", "frozen"])
def test_ctrl_c_ends_the_process_at_once(bad: Lab, worker: Worker, frozen: bool) -> None:
    bad.run("worker1", ["rm", "-f", "/tmp/begun"])
    argv = [sys.executable, "-c", INTERRUPTED, str(bad.inventory)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as operator:
        begun = ["test", "-e", "/tmp/begun"]
        wait_until(lambda: bad.run("worker1", begun, check=False).returncode == 0)
        if frozen:
            bad.fault("worker1", "freeze")
        os.kill(operator.pid, signal.SIGINT)
        started = time.monotonic()
        operator.wait(15)
        assert time.monotonic() - started < 3
        assert operator.returncode == -signal.SIGINT


def test_no_sudo_password_is_needed_twice(lab: Lab, worker: Worker) -> None:
    """A real sudo that asks, and the password that fab asked for."""
    sudoers = "/etc/sudoers.d/zzz-asks"
    lab.run("worker1", ["sh", "-c", "echo 'ubuntu:open sesame' | chpasswd"])
    lab.run("worker1", ["sh", "-c", f"echo 'ubuntu ALL=(ALL) PASSWD: ALL' >{sudoers}"])
    try:
        with pytest.raises(VmopsError, match="sudo asks for a password"):
            exchange(worker, "id -u", time_limit=10)
        close_all()
        for password, said in (("wrong", "sudo refused the password"), ("open sesame", None)):
            asked = fabric.Config(overrides={"sudo": {"password": password}})
            if said is None:
                for _ in range(2):
                    assert exchange(worker, "id -u", time_limit=10, config=asked).stdout == b"0\n"
            else:
                with pytest.raises(VmopsError, match=said):
                    exchange(worker, "id -u", time_limit=10, config=asked)
            close_all()
    finally:
        lab.run("worker1", ["rm", "-f", sudoers])
