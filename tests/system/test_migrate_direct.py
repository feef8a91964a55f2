"""Live moves that go from worker to worker, and not over the operator's line."""

from __future__ import annotations

import pytest

from vmops.core.names import RunDirectory
from vmops.core.script.functions import program
from vmops.inventory_file import load
from vmops.remote import direct
from vmops.remote.image.program import Program
from vmops.remote.once import new_keys
from vmops.remote.ssh.connection import connection

from .lab_helpers import wait_until
from .moving import DISKS, WORKERS, listed, moving
from .operator import Operator
from .test_migrate_live import content, is_mirrored

__all__ = ["moving"]

DATA = 16 << 20
"""Of its disks; all of it is sent to the other worker."""

MOVE = ("migrate", "--direct", "--vm", "web1", "--to")
SLOWLY = ("migrate", "--direct", "--bandwidth-mbit", "4", "--vm", "web1", "--to")


def over_the_line(operator: Operator) -> int:
    """Bytes that have gone to workers from outside."""
    return sum(worker.bytes_to_worker for worker in operator.lab.status().workers)


def left(operator: Operator) -> list[str]:
    """What runs, listens or lies there for a move on either worker."""
    ours = "ps -eo args | grep -E '[p]erl -e|[s]sh -F|[s]shd -i' || :"
    doors = "ss -Hltn | grep -v 127.0.0.1: || :"
    place = "ls -d /run/vmops/web1/way /run/vmops/web1/way.sock 2>/dev/null || :"
    found = (
        operator.on(worker, "sh", "-c", each) for worker in WORKERS for each in (ours, doors, place)
    )
    return [each for each in found if each]


@pytest.mark.timeout(300)
def test_nothing_of_it_goes_over_the_operators_line(moving: Operator) -> None:
    before = content(moving, "worker1")
    moving.ok("image.push")
    sent = over_the_line(moving)
    said = moving.ok(*MOVE, "worker2")
    assert over_the_line(moving) - sent < DATA / 10
    assert "web1: runs on worker2, its guest stood still for" in said.err
    assert "by way of" not in said.err
    assert (moving.qemus("worker1"), list(moving.qemus("worker2"))) == ({}, ["web1"])
    assert listed(moving, "worker2") == DISKS
    assert content(moving, "worker2") == before
    wait_until(lambda: not left(moving), seconds=30)


ENDS = {
    "its ssh": r"kill $(pgrep -f '^[^ ]*ssh -F .* here$')",
    "its program": "kill -9 $(pgrep -f '^perl -e')",
}
"""What carries it at the worker that it leaves."""


@pytest.mark.timeout(400)
def test_one_that_loses_the_way_goes_on_where_it_was(moving: Operator) -> None:
    pid = moving.qemus("worker1")["web1"]
    for what, end in ENDS.items():
        with moving.begin(*SLOWLY, "worker2") as task:
            is_mirrored(moving)
            moving.on("worker1", "sh", "-c", end)
            _, err = task.communicate(timeout=120)
        assert task.returncode == 1, what
        assert "web1 goes on running on worker1; nothing of the move is left" in err, what
        assert (moving.qemus("worker1"), moving.qemus("worker2")) == ({"web1": pid}, {}), what
        assert listed(moving, "worker2") == []
        wait_until(lambda: not left(moving), seconds=30)
    with moving.begin(*SLOWLY, "worker2") as task:
        is_mirrored(moving)
        task.kill()
    wait_until(lambda: not left(moving), seconds=30)
    assert moving.qemus("worker1") == {"web1": pid}
    moving.ok(*MOVE, "worker2")
    assert (moving.qemus("worker1"), list(moving.qemus("worker2"))) == ({}, ["web1"])


@pytest.mark.timeout(300)
def test_one_that_cannot_go_that_way_goes_by_way_of_the_operator(moving: Operator) -> None:
    moving.on("worker2", "mount", "--bind", "/dev/null", "/usr/sbin/sshd")
    try:
        said = moving.ok(*MOVE, "worker2")
    finally:
        moving.on("worker2", "umount", "/usr/sbin/sshd")
    why = "by way of this machine, as worker1 cannot send it to worker2: there is no sshd"
    assert f"web1: {why}" in said.err
    assert (moving.qemus("worker1"), list(moving.qemus("worker2"))) == ({}, ["web1"])
    moving.ok("stop", "--vm", "web1", "--force")
    back = moving.ok(*MOVE, "worker1")
    assert "web1: by way of this machine, as --direct is for a VM that runs" in back.err


@pytest.mark.timeout(300)
def test_who_has_the_key_reaches_the_streams_and_nothing_else(operator: Operator) -> None:
    """No shell, no file, no forward; without the key not even that."""
    workers = load(operator.hosts_toml).workers
    one = Program(connection(workers["worker2"]).live_transport, "worker2", direct.DESTINATION)
    keys, others = new_keys(), new_keys()
    try:
        one.start(["~", RunDirectory("web1").path, "20"])
        for line in (program("reach.pl").encode().hex(), keys.host, keys.allowed):
            one.ask(line)
        word, address, port, user = one.hear(30)
        assert word == "listens"
        for name, login in (("key", keys.login), ("other", others.login)):
            text = bytes.fromhex(login).decode()
            operator.on("worker1", "sh", "-c", f"umask 077; printf %s '{text}' >/tmp/{name}")

        def called(key: str, *words: str) -> str:
            options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o BatchMode=yes"
            line = f"ssh -F none -i /tmp/{key} {options} -o IdentitiesOnly=yes -p {port}"
            said = f"{line} {' '.join(words)} 2>&1 </dev/null || echo ended $?"
            return operator.on("worker1", "sh", "-c", said)

        there = f"{user}@{address}"
        assert "Permission denied" in called("other", there, "here")
        for refused in ("id", "'nbd; id'", "ram/../nbd", ""):
            said = called("key", there, refused)
            assert "ended 1" in said
            assert "uid=" not in said
        assert "forwarding failed" in called(
            "key", "-R 0:127.0.0.1:22", "-o ExitOnForwardFailure=yes", there, "id"
        )
        assert "prohibited" in called("key", "-W 127.0.0.1:22", there)
        assert "no such file" in called("key", there, "nbd").lower()
        assert "here" in called("key", there, "here").splitlines()
        assert one.hear(30) == ["here"]
        assert "refused" in called("key", there, "here")
    finally:
        operator.on("worker1", "rm", "-f", "/tmp/key", "/tmp/other")
        one.close()
    wait_until(lambda: not left(operator), seconds=30)
