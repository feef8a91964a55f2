"""An image sent once over the operator's line, and on from worker to worker."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vmops.core.images.names import FOLDER as IN_HOME
from vmops.inventory_file import load
from vmops.lab import Lab
from vmops.remote.image import beside
from vmops.remote.image.program import Program
from vmops.remote.once import new_keys
from vmops.remote.ssh.connection import connection

from .conftest import free_network, require_a_lab
from .lab_helpers import wait_until
from .operator import Operator

FOLDER = "/home/ubuntu/vm_images/.vmops"
WORKERS = ("worker1", "worker2", "worker3")
DATA = 12 << 20
PAIR = ("image.push", "--worker", "worker1,worker2")
OWN_SSHD = "127.0.0.1:22"
"""The worker's own, which listens all the time."""


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab of three workers."""
    require_a_lab()
    lab = Lab(tmp_path_factory.mktemp("lab"))
    lab.up(3, network=free_network(), owner=os.getpid())
    yield lab
    lab.down()


@pytest.fixture
def operator(three: Lab, tmp_path: Path) -> Iterator[Operator]:
    """With an image `big` of 12 MB of data that cannot be packed, and holes."""
    somebody = Operator(three, tmp_path)
    image(tmp_path / "big.raw", DATA)
    somebody.extra = '[images.big]\nfile = "big.raw"\nformat = "raw"\n'
    somebody.write()
    yield somebody
    for worker in WORKERS:
        somebody.on(worker, "rm", "-rf", FOLDER)


def image(path: Path, data: int) -> str:
    """Its sha256."""
    with path.open("wb") as file:
        file.write(random.Random(1).randbytes(data // 2))
        file.seek(data)
        file.write(random.Random(2).randbytes(data // 2))
        file.truncate(4 * data)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def over_the_line(lab: Lab) -> int:
    """Bytes that have gone to workers from outside."""
    return sum(worker.bytes_to_worker for worker in lab.status().workers)


def listeners(operator: Operator, worker: str) -> set[str]:
    """Where somebody listens on the worker, but for its own sshd."""
    lines = operator.on(worker, "ss", "-Hltn").splitlines()
    return {line.split()[3] for line in lines} - {OWN_SSHD}


def programs(operator: Operator, worker: str) -> list[str]:
    """What runs there for a transfer between workers."""
    ours = "ps -eo args | grep -E '[p]erl -e|[s]sh -F|[s]shd -i' || :"
    return operator.on(worker, "sh", "-c", ours).splitlines()


def is_clean(operator: Operator) -> bool:
    return not any(listeners(operator, w) or programs(operator, w) for w in WORKERS)


def folder(operator: Operator, worker: str) -> list[str]:
    return operator.on(worker, "sh", "-c", f"ls -A {FOLDER} 2>/dev/null ||:").split()


def test_an_image_goes_over_the_operators_line_once(operator: Operator, tmp_path: Path) -> None:
    digest = hashlib.sha256((tmp_path / "big.raw").read_bytes()).hexdigest()
    before = over_the_line(operator.lab)
    said = operator.ok("image.push", "--fan-out", "--format", "json")
    assert DATA < over_the_line(operator.lab) - before < 1.25 * DATA
    assert said.err.count("checking") == 1
    givers = {one["worker"]: one["from"] for one in said.json}
    assert list(givers.values()).count(None) == 1
    assert set(givers.values()) - {None} <= set(WORKERS)
    assert all(one["changed"] and one["sent_bytes"] >= DATA for one in said.json)
    name = f"base-{digest}.raw"
    for worker in WORKERS:
        assert folder(operator, worker) == [name]
        assert operator.on(worker, "sha256sum", f"{FOLDER}/{name}").split()[0] == digest
        told = operator.on(worker, "stat", "-c", "%a %U %b", f"{FOLDER}/{name}")
        mode, user, blocks = told.split()
        assert (mode, user) == ("400", "ubuntu")
        assert int(blocks) * 512 < 1.2 * DATA
    wait_until(lambda: is_clean(operator))
    again = operator.ok("image.push", "--fan-out")
    assert again.err.count("it is there already") == 3


def test_who_has_it_gives_it_and_the_line_is_left_alone(operator: Operator) -> None:
    operator.ok("-H", "worker3", "image.push")
    before = over_the_line(operator.lab)
    said = operator.ok("image.push", "--fan-out")
    assert over_the_line(operator.lab) - before < DATA / 10
    assert "big on worker3: it is there already" in said.err
    assert "from worker3 in" in said.err


def test_nothing_listens_or_runs_when_the_operator_is_gone(
    operator: Operator, tmp_path: Path
) -> None:
    """In the middle of what goes from one to the other. The next one goes on there."""
    digest = image(tmp_path / "big.raw", 16 * DATA)
    part = f"{FOLDER}/base-{digest}.raw.part"
    operator.ok("-H", "worker1", "image.push")
    size = f"stat -c %s {part} 2>/dev/null || echo 0"
    with operator.begin(*PAIR, "--fan-out") as pushing:
        wait_until(lambda: int(operator.on("worker2", "sh", "-c", size)) > DATA, seconds=60)
        pushing.kill()
    wait_until(lambda: is_clean(operator), seconds=30)
    assert folder(operator, "worker2") == [f"base-{digest}.raw.part"]
    said = operator.ok(*PAIR, "--fan-out", "--format", "json")
    (second,) = [one for one in said.json if one["worker"] == "worker2"]
    assert second["from"] == "worker1"
    assert second["resumed_at"] >= DATA


@pytest.mark.parametrize(
    ("broken", "mended", "why"),
    [
        pytest.param(
            ("worker1", "mount --bind /dev/null /usr/bin/ssh"),
            "umount /usr/bin/ssh",
            "there is no ssh to send it with",
            id="no ssh",
        ),
        pytest.param(
            ("worker2", "mount --bind /dev/null /usr/sbin/sshd"),
            "umount /usr/sbin/sshd",
            "there is no sshd to take it with",
            id="no sshd",
        ),
        pytest.param(
            ("worker1", "ip route add unreachable 203.0.113.2"),
            "ip route del unreachable 203.0.113.2",
            "No route to host",
            id="no way",
        ),
        pytest.param(
            ("worker1", f"f=$(echo {FOLDER}/base-*); echo x | dd of=$f bs=1 seek=9 conv=notrunc"),
            ":",
            "it is another image there",
            id="a damaged one",
        ),
    ],
)
def test_what_cannot_go_between_them_comes_from_here_and_says_why(
    operator: Operator, broken: tuple[str, str], mended: str, why: str
) -> None:
    operator.ok("-H", "worker1", "image.push")
    worker, how = broken
    operator.on(worker, "sh", "-c", how)
    try:
        said = operator.ok(*PAIR, "--fan-out", "--format", "json")
    finally:
        operator.on(worker, "sh", "-c", mended)
    told = "big on worker2: sent from here, as worker1 cannot send it there: "
    (note,) = [line for line in said.err.splitlines() if line.startswith(told)]
    assert why in note
    (second,) = [one for one in said.json if one["worker"] == "worker2"]
    assert (second["from"], second["changed"], second["error"]) == (None, True, None)
    wait_until(lambda: is_clean(operator))


def test_who_has_no_key_gets_nowhere(operator: Operator, tmp_path: Path) -> None:
    """Callers that stay silent hold nobody up, another key opens nothing, and the right one does
    so without a shell, a forward or anything but the image's way in."""
    operator.ok("-H", "worker1", "image.push")
    workers = load(operator.hosts_toml).workers
    digest = hashlib.sha256((tmp_path / "big.raw").read_bytes()).hexdigest()
    name = f"base-{digest}.raw"
    taker = Program(connection(workers["worker2"]).live_transport, "worker2", beside.TAKER)
    giver = Program(connection(workers["worker1"]).live_transport, "worker1", beside.GIVER)
    keys, others = new_keys(), new_keys()
    silent: list[subprocess.Popen[bytes]] = []
    try:
        taker.start([IN_HOME, name, digest, str(4 * DATA), str(DATA), "0"])
        assert taker.hear(30) == ["at", "0", "plain"]
        taker.ask(keys.host)
        taker.ask(keys.allowed)
        word, address, port, user = taker.hear(30)
        assert (word, address, user) == ("listens", "203.0.113.2", "ubuntu")
        assert listeners(operator, "worker2") == {f"{address}:{port}"}
        quiet = f"exec 3<>/dev/tcp/{address}/{port}; head -c 4 <&3; read -r never || :"
        inside = operator.lab.enter("worker1", ["bash", "-c", quiet])
        silent += [
            subprocess.Popen(inside, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            for _ in range(3)
        ]
        for one in silent:
            assert one.stdout is not None
            assert one.stdout.read(4) == b"SSH-"
        wrong = Program(connection(workers["worker1"]).live_transport, "worker1", beside.GIVER)
        wrong.start([IN_HOME, name, address, port, user, "0"])
        wrong.ask(others.login)
        wrong.ask(keys.known)
        refused = wrong.hear(30)
        wrong.close()
        assert refused[0] == "failed"
        assert "Permission denied" in " ".join(refused)
        giver.start([IN_HOME, name, address, port, user, "0"])
        giver.ask(keys.login)
        giver.ask(keys.known)
        while (said := giver.hear(60))[0] == "sent":
            pass
        assert said[0] == "given"
        assert taker.hear(60) == ["checks"]
        assert taker.hear(60) == ["done"]
        assert listeners(operator, "worker2") == set()
    finally:
        for one in silent:
            one.communicate()
        taker.close()
        giver.close()


def test_nobody_comes_and_the_door_closes_with_its_program(operator: Operator) -> None:
    workers = load(operator.hosts_toml).workers
    taker = Program(connection(workers["worker2"]).live_transport, "worker2", beside.TAKER)
    keys = new_keys()
    taker.start([IN_HOME, f"base-{'0' * 64}.raw", "0" * 64, "1000", "1000", "0"])
    assert taker.hear(30)[0] == "at"
    taker.ask(keys.host)
    taker.ask(keys.allowed)
    assert taker.hear(30)[0] == "listens"
    assert len(listeners(operator, "worker2")) == 1
    assert folder(operator, "worker2") == [f"base-{'0' * 64}.raw.part"]
    taker.close()
    wait_until(lambda: is_clean(operator))


def test_two_operators_at_once_send_it_once_each_worker(operator: Operator) -> None:
    with (
        operator.begin("image.push", "--fan-out") as first,
        operator.begin("image.push", "--fan-out") as second,
    ):
        ended: list[Callable[[], tuple[str, str]]] = [first.communicate, second.communicate]
        said = [one()[1] for one in ended]
    assert (first.returncode, second.returncode) == (0, 0), said
    for worker in WORKERS:
        assert len(folder(operator, worker)) == 1
