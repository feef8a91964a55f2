"""What a worker of the lab is: a machine of its own, on a trunk with the others."""

from __future__ import annotations

import select
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.lab_helpers import ssh, wait_until
from vmops.errors import WorkFailed
from vmops.lab import Lab, kernel
from vmops.lab.daemons import DaemonName


def test_ubuntu_has_bash_a_home_and_sudo_without_a_password(lab: Lab) -> None:
    said = ssh(lab, "worker1", "id -un; echo $SHELL; pwd; sudo -n id -un; ls -d vm_images").stdout
    assert said.split() == ["ubuntu", "/bin/bash", "/home/ubuntu", "root", "vm_images"]


def test_sudo_works_on_a_terminal(lab: Lab) -> None:
    assert "use_pty" in ssh(lab, "worker1", "sudo cat /etc/sudoers").stdout
    said = ssh(lab, "worker1", "sudo -n tty", "RequestTTY=force").stdout
    assert said.startswith("/dev/pts/")


def test_workers_do_not_see_each_other(lab: Lab) -> None:
    marker = "31415"
    ssh(lab, "worker1", f"setsid sleep {marker} </dev/null >/dev/null 2>&1 & touch /tmp/mine")
    find = "pgrep -fx 'sleep 31415' | wc -l; ls /tmp; ps -e | wc -l"
    here = ssh(lab, "worker1", find).stdout.split()
    there = ssh(lab, "worker2", find).stdout.split()
    assert here[0] == "1"
    assert "mine" in here
    assert there[0] == "0"
    assert "mine" not in there
    assert int(there[-1]) < 20
    ssh(lab, "worker1", "pkill -fx 'sleep 31415'; rm /tmp/mine")


def test_a_worker_does_not_touch_this_machine(lab: Lab) -> None:
    accounts = Path("/etc/passwd").read_bytes()
    sudoers = sorted(Path("/etc/sudoers.d").iterdir())
    refused = ssh(
        lab, "worker1", "for d in / /usr /var /opt; do sudo touch $d/x; done", check=False
    )
    assert refused.stderr.count("Read-only file system") == 4
    ssh(lab, "worker1", "sudo useradd guest1 && sudo touch /root/x /etc/x /run/x /var/tmp/x")
    assert Path("/etc/passwd").read_bytes() == accounts
    assert sorted(Path("/etc/sudoers.d").iterdir()) == sudoers
    assert not any(Path(place, "x").exists() for place in ("/root", "/etc", "/run", "/var/tmp"))


def test_orphans_are_reaped(lab: Lab) -> None:
    ssh(lab, "worker1", "setsid sh -c 'sleep 0.05 &' </dev/null >/dev/null 2>&1; sleep 0.1")
    wait_until(lambda: "Z" not in ssh(lab, "worker1", "ps -eo stat=").stdout, seconds=3)


def test_the_bridge_is_there_with_its_trunk(lab: Lab) -> None:
    said = ssh(
        lab, "worker1", "sudo ovs-vsctl list-ports br-int; sudo ovs-vsctl get port trunk tag"
    )
    assert said.stdout.split() == ["trunk", "[]"]


def test_daemons_can_be_stopped_and_started(lab: Lab) -> None:
    daemons: tuple[DaemonName, ...] = ("ovs-vswitchd", "ovsdb-server")
    for daemon in daemons:
        lab.stop_daemon("worker2", daemon)
    failed = ssh(lab, "worker2", "sudo ovs-vsctl --timeout=5 show", check=False)
    assert "database connection failed" in failed.stderr
    for daemon in reversed(daemons):
        lab.start_daemon("worker2", daemon)
    assert "br-int" in ssh(lab, "worker2", "sudo ovs-vsctl --timeout=5 list-br").stdout


def test_an_image_is_ubuntus(lab: Lab) -> None:
    lab.make_image("worker1", "~/vm_images/test.qcow2", size_mb=10)
    said = ssh(
        lab, "worker1", "stat -c %U vm_images/test.qcow2; qemu-img info vm_images/test.qcow2"
    )
    assert said.stdout.startswith("ubuntu\n")
    assert "10 MiB" in said.stdout
    ssh(lab, "worker1", "rm vm_images/test.qcow2")
    with pytest.raises(WorkFailed, match="no/such"):
        lab.make_image("worker1", "/no/such/place", size_mb=10)


class Station:
    """A UDP socket in a worker's network, on an internal port of br-int with that tag."""

    def __init__(self, lab: Lab, worker: str, *, tag: int, address: str) -> None:
        self.lab, self.worker, self.port = lab, worker, f"st{tag}"
        lab.run(
            worker,
            f"ovs-vsctl add-port br-int {self.port} tag={tag}"
            f" -- set interface {self.port} type=internal".split(),
        )
        lab.run(worker, ["ip", "address", "add", f"{address}/24", "dev", self.port])
        lab.run(worker, ["ip", "link", "set", self.port, "up"])
        pid = next(w.pid for w in lab.status().workers if w.name == worker)
        thread = threading.Thread(target=self._bind, args=(Path(f"/proc/{pid}/ns/net"), address))
        thread.start()
        thread.join()

    def _bind(self, network: Path, address: str) -> None:
        kernel.enter_network(network)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 7000))

    def retag(self, tag: int) -> None:
        self.lab.run(self.worker, ["ovs-vsctl", "set", "port", self.port, f"tag={tag}"])

    def reaches(self, other: Station, *, seconds: float) -> bool:
        """True when a datagram arrives; several are sent, as the first waits for ARP."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.socket.sendto(b"hello", other.socket.getsockname())
            if select.select([other.socket], [], [], 0.1)[0]:
                return other.socket.recv(100) == b"hello"
        return False

    def close(self) -> None:
        self.socket.close()
        self.lab.run(self.worker, ["ovs-vsctl", "del-port", "br-int", self.port])


@pytest.fixture
def stations(lab: Lab) -> Iterator[tuple[Station, Station]]:
    """One on each worker, both on VLAN 101."""
    one = Station(lab, "worker1", tag=101, address="10.9.101.1")
    two = Station(lab, "worker2", tag=101, address="10.9.101.2")
    yield one, two
    one.close()
    two.close()


def test_a_vlan_spans_the_workers_and_no_other_does(stations: tuple[Station, Station]) -> None:
    one, two = stations
    assert one.reaches(two, seconds=5)
    two.retag(102)
    one.lab.run(one.worker, ["ip", "neighbour", "flush", "dev", one.port])
    assert not one.reaches(two, seconds=1)
    one.retag(102)
    assert one.reaches(two, seconds=5)


def test_frames_on_the_trunk_carry_their_tag(lab: Lab, stations: tuple[Station, Station]) -> None:
    one, two = stations
    watch = ["tcpdump", "-i", "worker2", "-Z", "root", "-lnec", "1", "vlan 101 and udp port 7000"]
    argv = lab.enter("switch", watch)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as seen:
        assert seen.stderr is not None
        while "listening on" not in seen.stderr.readline():
            pass
        assert one.reaches(two, seconds=5)
        said, _ = seen.communicate(timeout=10)
    assert "ethertype 802.1Q (0x8100)" in said
    assert "vlan 101," in said
