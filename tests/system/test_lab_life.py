"""A lab's life: up, growing, dying, down."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.conftest import free_network, require_a_lab
from tests.system.lab_helpers import lab_namespaces, links, mounts, processes_in, ssh, wait_until
from vmops.errors import InventoryError, WorkFailed
from vmops.lab import Lab

LabUp = Callable[..., Lab]


def test_two_workers_take_logins_within_seconds(own_lab: LabUp) -> None:
    began = time.monotonic()
    lab = own_lab(2)
    for worker in ("worker1", "worker2"):
        assert ssh(lab, worker, "hostname").stdout == f"{worker}\n"
    assert time.monotonic() - began < 10


def test_up_again_changes_nothing(lab: Lab) -> None:
    before = (lab.status(), lab.inventory.stat().st_mtime_ns, lab.known_hosts.read_text())
    lab.up(2)
    assert (lab.status(), lab.inventory.stat().st_mtime_ns, lab.known_hosts.read_text()) == before


def test_growing_keeps_the_workers_and_the_users_vms(own_lab: LabUp) -> None:
    lab = own_lab(1)
    with lab.inventory.open("a") as inventory:
        inventory.write('\n[vms.mine]\nvm_id = 7\nqcow_image = "~/mine.qcow2"\n')
    pid = lab.status().workers[0].pid
    grown = lab.up(3)
    assert [worker.name for worker in grown.workers] == ["worker1", "worker2", "worker3"]
    assert grown.workers[0].pid == pid
    content = tomllib.loads(lab.inventory.read_text())
    assert list(content["workers"]) == ["worker1", "worker2", "worker3"]
    assert list(content["vms"]) == ["vm1", "vm2", "mine"]
    assert ssh(lab, "worker3", "hostname").stdout == "worker3\n"
    assert len(lab.up(1).workers) == 3


def test_the_inventory_leads_to_the_workers(lab: Lab) -> None:
    content = tomllib.loads(lab.inventory.read_text())
    assert content["defaults"]["known_hosts"] == str(lab.known_hosts)
    for name, worker in content["workers"].items():
        with socket.create_connection((worker["address"], worker["port"]), timeout=5) as made:
            assert made.recv(8) == b"SSH-2.0-"
        assert Path(worker["identity_file"]) == lab.private_key
        assert name in ("worker1", "worker2")
    assert lab.private_key.stat().st_mode & 0o077 == 0


def test_two_ups_at_once_make_one_lab(own_lab: LabUp, tmp_path: Path) -> None:
    network = own_lab(1).status().workers[0].address.rpartition(".")[0]
    octets = network.split(".")
    other = f"{octets[0]}.1.{octets[2]}"
    script = "import sys; from vmops.lab import Lab; Lab(sys.argv[1]).up(2, network=sys.argv[2])"
    argv = [sys.executable, "-c", script, str(tmp_path / "both"), other]
    both = Lab(tmp_path / "both")
    try:
        runs = [subprocess.Popen(argv) for _ in range(2)]
        assert [run.wait(30) for run in runs] == [0, 0]
        assert [worker.state for worker in both.status().workers] == ["running"] * 2
        assert ssh(both, "worker2", "hostname").stdout == "worker2\n"
    finally:
        both.down()


def test_a_worker_that_died_is_seen_and_started_again(own_lab: LabUp) -> None:
    lab = own_lab(2)
    pid = lab.status().workers[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: lab.status().workers[0].state == "down")
    assert ssh(lab, "worker1", "true", check=False).returncode == 255
    assert ssh(lab, "worker2", "hostname").stdout == "worker2\n"
    with pytest.raises(WorkFailed, match="worker1 is down"):
        lab.run("worker1", ["true"])
    lab.up(2)
    assert ssh(lab, "worker1", "hostname").stdout == "worker1\n"


def test_a_killed_supervisor_takes_everything_with_it(own_lab: LabUp) -> None:
    lab = own_lab(2)
    spaces = lab_namespaces(lab)
    ssh(lab, "worker1", "setsid sleep 1000 </dev/null >/dev/null 2>&1 &")
    assert len(processes_in(spaces)) > 8
    os.kill(lab.status().pid, signal.SIGKILL)
    wait_until(lambda: not processes_in(spaces))
    assert lab.find() is None
    assert lab.down()
    assert not lab.directory.exists()


def test_a_killed_lab_can_be_brought_up_again(own_lab: LabUp) -> None:
    lab = own_lab(1)
    os.kill(lab.status().pid, signal.SIGKILL)
    lab.up(2)
    assert ssh(lab, "worker1", "hostname").stdout == "worker1\n"


def test_a_lab_ends_with_its_owner(tmp_path: Path) -> None:
    require_a_lab()
    script = (
        "import os, sys; from vmops.lab import Lab;"
        "Lab(sys.argv[1]).up(1, network=sys.argv[2], owner=os.getpid());"
        "print('up', flush=True); sys.stdin.read()"
    )
    lab = Lab(tmp_path / "lab")
    argv = [sys.executable, "-c", script, str(lab.directory), free_network()]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"up\n"
        spaces = lab_namespaces(lab)
        owner.kill()
    wait_until(lambda: lab.find() is None and not processes_in(spaces))
    assert lab.down()


def test_down_leaves_nothing(own_lab: LabUp) -> None:
    before = (links(), mounts())
    lab = own_lab(2)
    spaces = lab_namespaces(lab)
    assert len(spaces) == 15
    lab.run("worker1", ["ip", "tuntap", "add", "mode", "tap", "name", "tap0"])
    ssh(lab, "worker1", "setsid sleep 1000 </dev/null >/dev/null 2>&1 &")
    assert (links(), mounts()) == before
    assert lab.down()
    assert not lab.directory.exists()
    assert not processes_in(spaces)
    assert not [line for line in mounts() if any(space in line for space in spaces)]
    assert (links(), mounts()) == before
    assert not lab.down()


def test_an_address_that_is_taken_leaves_no_lab(own_lab: LabUp, tmp_path: Path) -> None:
    taken = own_lab(1).status().workers[0]
    network = taken.address.rpartition(".")[0]
    second = Lab(tmp_path / "second")
    with pytest.raises(WorkFailed, match=r"worker1 cannot listen at .*, port .*in use"):
        second.up(1, network=network)
    with pytest.raises(WorkFailed, match=r"--network .* --port"):
        second.up(1, network=network)
    assert second.find() is None
    assert not second.directory.exists()


def test_of_a_new_lab_whose_second_worker_does_not_start_nothing_is_left(tmp_path: Path) -> None:
    require_a_lab()
    network = free_network()
    lab = Lab(tmp_path / "lab")
    with socket.create_server((f"{network}.2", 2222)):
        with pytest.raises(WorkFailed, match=r"worker2 cannot listen at .*in use"):
            lab.up(2, network=network)
        assert lab.find() is None
        assert not lab.directory.exists()
        lab.up(1, network=network)
        try:
            with pytest.raises(WorkFailed, match="worker2 cannot listen at"):
                lab.up(2)
            assert [worker.name for worker in lab.status().workers] == ["worker1"]
        finally:
            lab.down()


def test_an_sshd_option_that_does_not_exist_is_told_and_leaves_no_lab(tmp_path: Path) -> None:
    require_a_lab()
    lab = Lab(tmp_path / "lab")
    with pytest.raises(WorkFailed, match=r"worker1 did not start: .*option: Nonsense"):
        lab.up(1, network=free_network(), sshd_options=["Nonsense yes"])
    assert not lab.directory.exists()


def test_a_directory_that_is_not_a_labs_is_left_alone(tmp_path: Path) -> None:
    require_a_lab()
    (tmp_path / "thesis.txt").write_text("ten years of work")
    lab = Lab(tmp_path)
    with pytest.raises(WorkFailed, match="not empty"):
        lab.up(1)
    assert not lab.down()
    assert (tmp_path / "thesis.txt").read_text() == "ten years of work"


def test_other_settings_are_refused_while_the_lab_lives(lab: Lab) -> None:
    with pytest.raises(WorkFailed, match="other settings"):
        lab.up(2, port=2299)
    with pytest.raises(WorkFailed, match="without a mesh"):
        lab.up(2, mesh=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"network": "10.0.0"}, "three octets"),
        ({"network": "127.0.999"}, "three octets"),
        ({"port": 0}, "1 to 65535"),
        ({"workers": 0}, "1 to 250"),
    ],
    ids=["not loopback", "no octet", "port", "no workers"],
)
def test_nonsense_is_refused_and_leaves_no_directory(
    tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    require_a_lab()
    lab = Lab(tmp_path / "lab")
    with pytest.raises(InventoryError, match=message):
        lab.up(**settings)  # type: ignore[arg-type]
    assert not lab.directory.exists()
