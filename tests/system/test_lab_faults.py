"""The lab's bad network, seen by a real SSH client."""

from __future__ import annotations

import selectors
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.system.lab_helpers import ssh, ssh_argv, wait_until
from vmops.errors import InventoryError
from vmops.lab import Lab, WorkerStatus

LabUp = Callable[..., Lab]


def worker1(lab: Lab) -> WorkerStatus:
    return lab.status().workers[0]


@pytest.fixture
def bad(lab: Lab) -> Iterator[Lab]:
    """The shared lab, healed afterwards."""
    yield lab
    lab.heal("worker1")
    lab.delay("worker1", 0)
    assert ssh(lab, "worker1", "echo healed").stdout == "healed\n"


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("drop", "Connection refused"),
        ("reset", "reset by peer"),
        ("freeze", "timed out"),
    ],
)
def test_a_fault_ends_logins_of_that_worker_only(bad: Lab, kind: str, message: str) -> None:
    bad.fault("worker1", kind)
    assert worker1(bad).fault == kind
    failed = ssh(bad, "worker1", "true", "ConnectTimeout=1", check=False)
    assert failed.returncode == 255
    assert message in failed.stderr
    assert ssh(bad, "worker2", "hostname").stdout == "worker2\n"
    bad.heal("worker1")
    assert worker1(bad).fault == ""
    assert ssh(bad, "worker1", "hostname").stdout == "worker1\n"


@pytest.mark.parametrize("kind", ["drop", "reset"])
def test_a_fault_cuts_a_session_after_n_bytes(bad: Lab, kind: str) -> None:
    before = worker1(bad)
    bad.fault("worker1", kind, after_bytes=50_000)
    assert worker1(bad).fault == f"{kind} after 50000 bytes"
    failed = ssh(bad, "worker1", "head -c 1000000 /dev/zero", check=False)
    assert failed.returncode == 255
    assert len(failed.stdout) < 50_000
    after = worker1(bad)
    assert after.fault == kind
    assert after.bytes_to_operator - before.bytes_to_operator == 50_000
    assert after.connections - before.connections == 1
    assert after.open_connections == 0


def test_a_frozen_session_goes_on_after_the_heal(bad: Lab) -> None:
    bad.fault("worker1", "freeze", after_bytes=50_000)
    argv = ssh_argv(bad, "worker1", "head -c 1000000 /dev/zero")
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as session:
        wait_until(lambda: worker1(bad).fault == "freeze")
        with pytest.raises(subprocess.TimeoutExpired):
            session.wait(0.3)
        bad.heal("worker1")
        said, _ = session.communicate(timeout=10)
    assert said == bytes(1_000_000)
    assert session.returncode == 0


def test_a_delay_is_felt_at_each_round_trip(bad: Lab) -> None:
    def quickest() -> tuple[float, int]:
        """The best of some logins, as the machine may be busy: seconds, and turns."""
        measured = []
        for _ in range(3):
            turns, began = worker1(bad).turns, time.monotonic()
            ssh(bad, "worker1", "true")
            measured.append((time.monotonic() - began, worker1(bad).turns - turns))
        return min(measured)

    near, _ = quickest()
    bad.delay("worker1", 100)
    assert worker1(bad).delay_ms == 100
    far, turns = quickest()
    assert 5 <= turns <= 12
    assert 0.1 * turns < far < 0.1 * (turns + 4) + 2 * near


@pytest.mark.parametrize(
    ("worker", "kind", "message"),
    [("worker9", "drop", "no worker 'worker9'"), ("worker1", "rain", "no fault 'rain'")],
    ids=["worker", "kind"],
)
def test_a_fault_that_makes_no_sense_is_refused(
    lab: Lab, worker: str, kind: str, message: str
) -> None:
    with pytest.raises(InventoryError, match=message):
        lab.fault(worker, kind)
    assert worker1(lab).fault == ""


def test_max_startups_is_real(lab: Lab) -> None:
    """sshd refuses some of 60 connections that do not log in, and never one of the first ten."""
    there = worker1(lab)
    with ExitStack() as stack, selectors.DefaultSelector() as ready:
        greeted, refused = 0, 0
        for number in range(60):
            made = socket.create_connection((there.address, there.port), timeout=10)
            stack.enter_context(made)
            heard = made.recv(8)
            assert heard in (b"SSH-2.0-", b"Exceeded", b"Not allo", b"")
            greeted += heard == b"SSH-2.0-"
            refused += heard != b"SSH-2.0-"
            assert greeted == number + 1 or number >= 10
            ready.register(made, selectors.EVENT_READ)
        assert refused > 0
    wait_until(lambda: worker1(lab).open_connections == 0)
    wait_until(lambda: ssh(lab, "worker1", "true", check=False).returncode == 0)


def test_forty_sessions_at_once(own_lab: LabUp) -> None:
    lab = own_lab(1, sshd_options=["MaxStartups 100"])
    argv = ssh_argv(lab, "worker1", "read line; echo $line")
    count = ["pgrep", "-cx", "bash"]
    sessions = [
        subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(40)
    ]
    wait_until(lambda: b"40" in lab.run("worker1", count, check=False).stdout, seconds=40)
    assert worker1(lab).open_connections == 40
    said = [session.communicate(b"%d\n" % number)[0] for number, session in enumerate(sessions)]
    assert said == [b"%d\n" % number for number in range(40)]


def test_a_cancelled_connection_leaves_nothing_open(lab: Lab) -> None:
    there = worker1(lab)
    for _ in range(20):
        socket.create_connection((there.address, there.port)).close()
    wait_until(lambda: worker1(lab).open_connections == 0)
