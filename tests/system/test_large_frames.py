"""Networks with an MTU of their own: packets of that size pass between workers and the gateway."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vmops.lab import Lab
from vmops.lab.layout import SWITCH

from .course import Course, networks_of
from .net_guests import Guest
from .operator import ROOT

WORKERS = ("worker1", "worker2", "worker3")
HEADERS = 28
"""Of IP and ICMP, before what an echo carries."""


def set_mtu(lab: Lab, mtu: int) -> None:
    """Of all that is between the bridges, and of the bridges."""
    for worker in WORKERS:
        lab.run(SWITCH, ["ip", "link", "set", worker, "mtu", str(mtu)])
        lines = f"ip link set trunk mtu {mtu}; ip link set br-int mtu {mtu}"
        lab.run(worker, ["sh", "-ec", lines])


@pytest.fixture(scope="module")
def large(wide_lab: Lab) -> Iterator[Lab]:
    """The lab with a switch and bridges for large frames."""
    set_mtu(wide_lab, 9000)
    yield wide_lab
    set_mtu(wide_lab, 1500)


@pytest.fixture
def course(large: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Course]:
    found = Course(large, tmp_path_factory.mktemp("large"))
    yield found
    found.clean_up()


def passes(guest: Guest, address: str, size: int) -> bool:
    """Whether a packet of that size is answered, in one piece."""
    words = ("ping", "-n", "-q", "-M", "do", "-c", "5", "-i", "0.2", "-W", "1")
    said = guest.inside(*words, "-s", str(size - HEADERS), address, check=False)
    return "received" in said and " 0 received" not in said


@pytest.mark.parametrize("mtu", [1450, 9000])
def test_what_a_lease_says_is_what_passes(course: Course, mtu: int) -> None:
    text = networks_of(ROOT / "examples" / "exercise-1.toml")
    text = text.replace("vlan_id = 100\n", f"vlan_id = 100\nmtu = {mtu}\n")
    listed = course.write(text.partition("[vms.green1]")[0])
    course.up()
    course.plug(listed)
    for name, guest in course.guests.items():
        guest.sh(f"ip link set {guest.port} mtu 9000", f"ip -n {name} link set eth0 mtu 9000")
        found = course.lease(name)
        assert found["mtu"] == mtu
        guest.inside("ip", "link", "set", "eth0", "mtu", str(found["mtu"]))
    one, other = course.guests["blue1"], "192.168.0.12"
    for address in (other, "192.168.0.1"):
        assert passes(one, address, mtu)
        assert not passes(one, address, mtu + 1)
