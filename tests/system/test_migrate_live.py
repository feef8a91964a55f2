"""VMs that go to another worker while they run, and moves of such that are cut anywhere."""

from __future__ import annotations

import re

import pytest

from .moving import DISKS, FOLDER, listed, moving, place
from .operator import Operator, small_vm

__all__ = ["moving"]

MOVE = ("migrate", "--vm", "web1", "--to")
SLOWLY = ("migrate", "--bandwidth-mbit", "4", "--vm", "web1", "--to")
"""The 16 MiB of its disks alone take half a minute."""


def content(operator: Operator, worker: str) -> list[str]:
    """A sum of what was written to each disk, as a guest would read it."""
    parts = ("bs=1M skip=700 count=716", "bs=64k count=16")
    return [
        operator.on(
            worker,
            "sh",
            "-c",
            f"cd {FOLDER} && qemu-img dd -U -f qcow2 -O raw {part} if={name} of=/tmp/part &&"
            " sha256sum </tmp/part; rm -f /tmp/part",
        )
        for name, part in zip(DISKS, parts, strict=True)
    ]


@pytest.mark.timeout(300)
def test_a_vm_goes_while_it_runs_and_comes_back(moving: Operator) -> None:
    before = content(moving, "worker1")
    assert len(set(before)) == 2
    said = moving.ok(*MOVE, "worker2")
    assert re.search(r"runs on worker2, its guest stood still for \d+ ms", said.err)
    assert moving.qemus("worker1") == {}
    assert list(moving.qemus("worker2")) == ["web1"]
    assert listed(moving, "worker1") == ["moving-web1"]
    assert listed(moving, "worker2") == DISKS
    assert moving.taps("worker1") == set()
    assert moving.port("worker1", "tap_21_eth1") is None
    assert moving.port("worker2", "tap_21_eth1") is not None
    assert content(moving, "worker2") == before
    place(moving, "worker2")
    assert moving.ok("status", "--vm", "web1", "--format", "json").json[0]["state"] == "running"
    assert moving.fab("plan").code == 0
    goes_through_a_file(moving)
    moving.ok(*MOVE, "worker1")
    place(moving, "worker1")
    assert moving.fab("plan").code == 0
    assert content(moving, "worker1") == before
    assert (list(moving.qemus("worker1")), moving.qemus("worker2")) == (["web1"], {})


def goes_through_a_file(operator: Operator) -> None:
    """What a move leaves set in its QEMU does not hold one that saves the memory."""
    operator.ok("suspend", "--vm", "web1")
    operator.ok("resume", "--vm", "web1")


def seen(operator: Operator, worker: str, test: str) -> None:
    """Wait until that is so there."""
    until = f"i=0; until {test}; do i=$((i + 1)); [ $i -lt 6000 ] || exit 1; sleep 0.01; done"
    operator.on(worker, "sh", "-c", until)


def is_mirrored(operator: Operator) -> None:
    """Wait until something has come of its data."""
    seen(operator, "worker2", f"[ $(stat -c %b {FOLDER}/{DISKS[0]} || echo 0) -gt 2000 ]")


@pytest.mark.timeout(400)
def test_it_goes_on_where_it_was_when_the_other_qemu_or_the_operator_is_killed(
    moving: Operator,
) -> None:
    pid = moving.qemus("worker1")["web1"]
    task = moving.begin(*SLOWLY, "worker2")
    is_mirrored(moving)
    moving.on("worker2", "kill", "-9", str(moving.qemus("worker2")["web1"]))
    _, err = task.communicate(timeout=120)
    assert task.returncode == 1
    assert "web1 goes on running on worker1; nothing of the move is left" in err
    assert moving.qemus("worker1") == {"web1": pid}
    assert (moving.qemus("worker2"), listed(moving, "worker2")) == ({}, [])
    assert moving.taps("worker2") == set()

    task = moving.begin(*SLOWLY, "worker2")
    is_mirrored(moving)
    task.kill()
    task.communicate()
    assert moving.qemus("worker1") == {"web1": pid}
    # The guest of the one that waits does not run, whoever asks for it.
    place(moving, "worker2")
    for word in ("launch", "resume"):
        refused = moving.fab("-H", moving.address("worker2"), word, "--vm", "web1")
        assert refused.code == 1
        assert "on its way from worker1 to worker2" in refused.err
    place(moving, "worker1")
    said = moving.ok("migrate", "--vm", "web1", "--to", "worker1")
    assert "it stays on worker1" in said.err
    assert moving.qemus("worker1") == {"web1": pid}
    assert (moving.qemus("worker2"), listed(moving, "worker2")) == ({}, [])
    moving.ok(*MOVE, "worker2")
    assert (moving.qemus("worker1"), list(moving.qemus("worker2"))) == ({}, ["web1"])


def is_marked(worker: str, how: str) -> tuple[str, str]:
    return worker, f"grep -q {how} {FOLDER}/moving-web1 2>/dev/null"


COMES = """
use IO::Socket::UNIX;
my @held;
for (1 .. 600) { push @held, IO::Socket::UNIX->new('/run/vmops/web1/way-nbd.sock') // last }
select undef, undef, undef, 0.05 while -S '/run/vmops/web1/way-nbd.sock';
print scalar @held;
"""


@pytest.mark.timeout(300)
def test_one_whose_qemu_comes_over_and_over_stays(moving: Operator) -> None:
    """It may be ruled by its guest, and each of its connections is processes and threads."""
    pid = moving.qemus("worker1")["web1"]
    for how in ((), ("--direct",)):
        task = moving.begin(*SLOWLY, "worker2", *how)
        is_mirrored(moving)
        held = int(moving.on("worker1", "perl", "-e", COMES))
        _, err = task.communicate(timeout=120)
        assert task.returncode == 1
        assert "makes more connections than a move takes" in err
        assert "web1 goes on running on worker1; nothing of the move is left" in err
        # The few that it may have, and those that had come when it was told to end.
        assert held < 100
        assert moving.qemus("worker1") == {"web1": pid}
        assert (moving.qemus("worker2"), listed(moving, "worker2")) == ({}, [])


POINTS = {
    "worker2 expects it": (MOVE, *is_marked("worker2", "expected")),
    "worker2 receives it": (MOVE, *is_marked("worker2", "receiving")),
    "a QEMU waits there": (MOVE, "worker2", "ls /run/vmops/web1/way-nbd.sock 2>/dev/null"),
    "the way is open": (SLOWLY, "worker1", "ls /run/vmops/web1/way.sock 2>/dev/null"),
    "its disks are mirrored": (
        *(SLOWLY, "worker2"),
        f"[ $(stat -c %b {FOLDER}/{DISKS[0]} 2>/dev/null || echo 0) -gt 2000 ]",
    ),
    "all of it was sent": (MOVE, *is_marked("worker1", "leaving")),
}
"""By what a step is known that has been done."""


@pytest.mark.timeout(500)
def test_the_same_command_goes_on_with_what_was_cut_at_each_step(moving: Operator) -> None:
    before, pid = content(moving, "worker1"), moving.qemus("worker1")["web1"]
    for point, (words, worker, test) in POINTS.items():
        task = moving.begin(*words, "worker2")
        seen(moving, worker, test)
        task.kill()
        task.communicate()
        if point != "all of it was sent":
            assert moving.qemus("worker1") == {"web1": pid}, point
    moving.ok(*MOVE, "worker2")
    assert (moving.qemus("worker1"), list(moving.qemus("worker2"))) == ({}, ["web1"])
    assert listed(moving, "worker1") == ["moving-web1"]
    assert listed(moving, "worker2") == DISKS
    assert content(moving, "worker2") == before
    place(moving, "worker2")
    assert moving.ok("status", "--vm", "web1", "--format", "json").json[0]["state"] == "running"


@pytest.mark.timeout(400)
def test_one_whose_qemu_is_killed_on_its_way_is_a_vm_that_crashed(moving: Operator) -> None:
    """What it had in memory is lost, as of any QEMU that is killed; its disks are where it was."""
    before = content(moving, "worker1")
    task = moving.begin(*SLOWLY, "worker2")
    is_mirrored(moving)
    moving.on("worker1", "kill", "-9", str(moving.qemus("worker1")["web1"]))
    _, err = task.communicate(timeout=120)
    assert task.returncode == 1, err
    assert "it runs no more" in err
    assert moving.qemus("worker1") == {}
    moving.ok("migrate", "--vm", "web1", "--to", "worker1")
    assert (moving.qemus("worker2"), listed(moving, "worker2")) == ({}, [])
    (status,) = moving.ok("status", "--vm", "web1", "--format", "json").json
    assert status["state"] == "crashed"
    moving.ok("launch", "--vm", "web1")
    assert list(moving.qemus("worker1")) == ["web1"]
    assert content(moving, "worker1") == before


IMAGE = "/home/ubuntu/vm_images/web1.qcow2"
"""A qcow_image, which the documented words have QEMU open once more to let go of it."""


@pytest.mark.timeout(200)
def test_one_whose_qemu_cannot_let_go_of_its_disk_stays(operator: Operator) -> None:
    operator.lab.make_image("worker1", IMAGE, size_mb=8)
    noise = "head -c 6M /dev/urandom >/tmp/some && qemu-io -f qcow2 -c"
    operator.on("worker1", "sh", "-c", f"{noise} 'write -q -s /tmp/some 1M 6M' {IMAGE}")
    operator.add(small_vm("web1", 22, 101), image=False)
    operator.ok("launch", "--vm", "web1")
    pid = operator.qemus("worker1")["web1"]

    task = operator.begin("migrate", "--bandwidth-mbit", "16", "--vm", "web1", "--to", "worker2")
    # By now all has been looked at that is looked at before, and seconds go by until the end.
    seen(operator, *is_marked("worker2", "receiving"))
    operator.on("worker1", "chmod", "600", IMAGE)
    _, err = task.communicate(timeout=120)
    assert task.returncode == 1, err
    assert "hand over failed: QEMU could not send its memory, or could not let go" in err
    assert '"return"' not in err
    assert "web1 goes on running on worker1; nothing of the move is left" in err
    assert "fab migrate --cold --vm web1 --to worker2" in err

    refused = operator.fab(*MOVE, "worker2")
    assert refused.code == 1
    assert f"could not let go of its disk: for that it opens {IMAGE} once more" in refused.err
    assert f"chmod o+r {IMAGE}" in refused.err
    assert operator.qemus("worker1") == {"web1": pid}
    assert (operator.qemus("worker2"), listed(operator, "worker2")) == ({}, [])

    operator.on("worker1", "chmod", "644", IMAGE)
    goes_through_a_file(operator)
    operator.ok(*MOVE, "worker2")
    # The one that has waited there opens it once: back it goes whoever may read it.
    assert operator.on("worker2", "stat", "-c", "%a", IMAGE) == "600\n"
    operator.on("worker1", "rm", IMAGE)
    operator.ok(*MOVE, "worker1")
    assert list(operator.qemus("worker1")) == ["web1"]
    operator.on("worker2", "rm", "-f", IMAGE)
    # It has left worker2, whose mark of that is kept.
    operator.clean_up(("worker2",))
