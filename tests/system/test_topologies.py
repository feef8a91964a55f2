"""A ring of five routers: each link a VLAN of its own, traffic that goes round, and a link cut."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from vmops.core.inventory.inventory import Inventory
from vmops.core.inventory.model import VM
from vmops.lab import Lab

from .course import Course
from .net_guests import NO_CHECKSUMS
from .operator import ROOT

EXAMPLE = ROOT / "examples" / "ring.toml"
COUNT = 5


@pytest.fixture
def ring(wide_lab: Lab, tmp_path: Path) -> Iterator[tuple[Course, Inventory]]:
    found = Course(wide_lab, tmp_path)
    _, begin, rest = EXAMPLE.read_text().partition("[vm_defaults]")
    found.defaults = 'link_vlans = "2000-2999"\n'
    yield found, found.write(begin + rest)
    found.operator.fab("unplug", "--vm", "*")


def test_every_link_carries_its_two_ends_and_nobody_else(ring: tuple[Course, Inventory]) -> None:
    course, _ = ring
    course.operator.ok("plug", "--vm", "*")
    course.operator.ok("verify")


class Router:
    """A namespace with a port for each interface of a VM, which forwards."""

    def __init__(self, course: Course, vm: VM) -> None:
        self.course, self.vm = course, vm

    def run(self, *lines: str, check: bool = True) -> str:
        words = ["sh", "-ec" if check else "-c", "\n".join(lines)]
        return self.course.lab.run(str(self.vm.worker), words, check=check).stdout.decode()

    def make(self) -> None:
        name, inside = self.vm.name, f"nsenter --net=/run/netns/{self.vm.name}"
        self.run(f"ip netns add {name}", f"{inside} sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'")
        for nic in self.vm.connected:
            port = f"{name}-{nic.name}"
            self.run(
                f"ip link add {port} type veth peer name {nic.name} netns {name}",
                f"ovs-vsctl -- --if-exists del-port {port}"
                f" -- add-port br-int {port} tag={nic.vlan_id}",
                f"ip link set {port} up; ip -n {name} link set {nic.name} up",
                f"{inside} perl -e '{NO_CHECKSUMS.replace('eth0', nic.name)}'",
            )

    def remove(self) -> None:
        for nic in self.vm.connected:
            port = f"{self.vm.name}-{nic.name}"
            self.run(f"ovs-vsctl --if-exists del-port {port}; ip link del {port}", check=False)
        self.run(f"ip netns del {self.vm.name}", check=False)

    def ip(self, words: str) -> str:
        return self.run(f"ip -n {self.vm.name} {words}")

    def reaches(self, target: str) -> bool:
        words = f"nsenter --net=/run/netns/{self.vm.name} ping -n -q -i 0.2 -W 2 -c 3 {target}"
        return " 0 received" not in self.run(words, check=False)


def test_traffic_goes_round_and_a_cut_is_seen(
    ring: tuple[Course, Inventory],
) -> None:
    """Loopback 10.0.0.N on router N; each sends what is not its own on to the next one."""
    course, listed = ring
    names = [f"r{n}" for n in range(1, COUNT + 1)]
    routers = {name: Router(course, listed.vms[name]) for name in names}
    try:
        for router in routers.values():
            router.make()
            router.ip(f"addr add 10.0.0.{router.vm.name[1:]}/32 dev lo")
            router.ip("link set lo up")
        for number, name in enumerate(names):
            after = names[(number + 1) % COUNT]
            mine, theirs = _link(routers[name].vm, routers[after].vm)
            routers[name].ip(f"addr add 10.1.{number}.1/30 dev {mine}")
            routers[after].ip(f"addr add 10.1.{number}.2/30 dev {theirs}")
            routers[name].ip(f"route add default via 10.1.{number}.2 dev {mine}")
        sent = "10.0.0.1"
        for target in names[1:]:
            ask = f"10.0.0.{target[1:]}"
            assert routers["r1"].reaches(f"-I {sent} {ask}"), f"r1 does not reach {target}"
        mine, _ = _link(routers["r3"].vm, routers["r4"].vm)
        routers["r3"].run(f"ovs-vsctl del-port r3-{mine}")
        assert not routers["r1"].reaches(f"-I {sent} 10.0.0.4")
    finally:
        for router in routers.values():
            router.remove()


def _link(one: VM, other: VM) -> tuple[str, str]:
    """The interfaces by which two VMs are linked."""
    return next(
        (mine.name, theirs.name)
        for mine in one.connected
        for theirs in other.connected
        if mine.vlan_id == theirs.vlan_id
    )
