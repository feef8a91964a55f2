"""Frames of real guests, seen on the trunk between the workers with their VLAN tags."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from vmops.core.inventory.model import VM
from vmops.lab import Lab

from .lab_helpers import wait_until
from .operator import Operator, small_vm


@contextmanager
def capture(lab: Lab, port: str, *words: str) -> Iterator[list[str]]:
    """The frames on a port of the switch, a line each as tcpdump -e writes them, while it lasts.

    tcpdump ends by itself after ten frames, or with the lab.
    """
    argv = ["timeout", "60", "tcpdump", "-i", port, "-lnne", "-c", "10", *words]
    process = subprocess.Popen(
        lab.enter("switch", argv), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert process.stdout is not None
    while "listening on" not in process.stderr.readline():
        assert process.poll() is None, "tcpdump ended"
    lines: list[str] = []
    try:
        yield lines
        lines.extend(line for line in process.stdout if line.strip())
    finally:
        process.kill()
        process.wait()


def mac_of(vm: VM) -> str:
    return vm.nics[0].mac


def test_a_guests_frames_carry_their_vlan_tag_and_no_other(operator: Operator) -> None:
    """An empty disk makes the iPXE ROM of the e1000 send DHCP."""
    vm = operator.add(small_vm("vm1", 1, 101, ram_mb=128))
    with capture(operator.lab, "worker1", "ether", "src", mac_of(vm)) as frames:
        operator.ok("launch", "--vm", "vm1")
    assert frames, "the guest sent nothing in 60 s"
    tags = {tag for frame in frames for tag in re.findall(r"vlan (\d+)", frame)}
    assert tags == {"101"}
    assert all("802.1Q" in frame for frame in frames)


def test_a_replugged_guest_speaks_on_the_new_vlan(operator: Operator) -> None:
    vm = operator.add(small_vm("vm1", 1, 101, ram_mb=128))
    operator.ok("launch", "--vm", "vm1")
    pid = operator.qemus("worker1")["vm1"]
    operator.vms[0] = (small_vm("vm1", 1, 202, ram_mb=128), "worker1")
    operator.write()
    said = operator.ok("launch", "--vm", "vm1")
    assert "replugged" in said.out
    assert operator.qemus("worker1") == {"vm1": pid}, "without a restart"
    with capture(operator.lab, "worker1", "ether", "src", mac_of(vm)) as frames:
        pass
    tags = {tag for frame in frames for tag in re.findall(r"vlan (\d+)", frame)}
    assert tags == {"202"}


def test_vlans_are_kept_apart_across_workers(operator: Operator) -> None:
    """worker2's port with tag 101 hears the guest on worker1; its port with tag 102 does not."""
    vm = operator.add(small_vm("vm1", 1, 101, ram_mb=128))
    ports = {"in101": 101, "in102": 102}
    for port, tag in ports.items():
        operator.on(
            "worker2",
            *("ovs-vsctl", "--timeout=10", "add-port", "br-int", port, f"tag={tag}"),
            *("--", "set", "Interface", port, "type=internal"),
        )
        operator.on("worker2", "ip", "link", "set", port, "up")

    def received(port: str) -> int:
        """Frames from the guest that the port got; a packet socket sees the port's own too."""
        path = f"/sys/class/net/{port}/statistics/rx_packets"
        return int(operator.on("worker2", "cat", path))

    try:
        before = received("in102")
        operator.ok("launch", "--vm", "vm1")
        with capture(operator.lab, "worker1", "ether", "src", mac_of(vm)) as frames:
            wait_until(lambda: received("in101") > 3, seconds=60)
        assert frames
        assert received("in102") == before
    finally:
        for port in ports:
            operator.on("worker2", "ovs-vsctl", "--timeout=10", "del-port", port)
