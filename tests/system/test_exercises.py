"""The exercises of examples/: leases, the way out, and what crosses VLANs, by packets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vmops.inventory_file import load
from vmops.lab import Lab

from .course import OUTSIDE, Course, networks_of
from .operator import ROOT

ADDRESSES = {
    "blue1": "192.168.0.11",
    "blue2": "192.168.0.12",
    "green1": "192.168.2.11",
    "green2": "192.168.2.12",
}
GATEWAYS = {"blue": "192.168.0.1", "green": "192.168.2.1"}
EXAMPLES = sorted((ROOT / "examples").glob("exercise-*.toml"))


@pytest.fixture(scope="module")
def course(wide_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Course]:
    found = Course(wide_lab, tmp_path_factory.mktemp("course"))
    found.plug(found.write(networks_of(EXAMPLES[0])))
    yield found
    found.clean_up()


def crosses(course: Course, one: str, other: str) -> bool:
    """Whether anything answers on the other side: the guest itself, or the gateway there."""
    network = other.rstrip("12")
    targets = (ADDRESSES[other], GATEWAYS[network])
    return any(course.guests[one].reaches(target, tries=2) for target in targets)


def neighbours_reach_each_other(course: Course) -> bool:
    """The two clients of a VLAN are on two workers."""
    pairs = (("blue1", "blue2"), ("green2", "green1"))
    return all(course.guests[one].reaches(ADDRESSES[other]) for one, other in pairs)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_an_inventory_of_its_own(path: object) -> None:
    listed = load(str(path))
    found = {m.vm: m.address for network in listed.networks.values() for m in network.members}
    assert found == ADDRESSES


def test_leases_by_mac_and_a_way_out(course: Course) -> None:
    course.exercise(1)
    for name, address in ADDRESSES.items():
        found = course.lease(name)
        gateway = GATEWAYS[name.rstrip("12")]
        assert (found["address"], found["router"], found["dns"]) == (address, gateway, gateway)
    assert neighbours_reach_each_other(course)
    assert all(guest.reaches(OUTSIDE) for guest in course.guests.values())
    assert course.counted("blue", "internet") > 0
    before = course.counted("blue", "dropped")
    assert not crosses(course, "blue1", "green1")
    assert not crosses(course, "green2", "blue2")
    assert course.counted("blue", "dropped") > before
    assert course.guests["blue1"].looks_up("blue2", GATEWAYS["blue"]) == ["192.168.0.12"]
    leases = {one["mac"]: one["address"] for one in course.status()["blue"]["leases"]}
    assert leases == {course.guests[n].mac: ADDRESSES[n] for n in ("blue1", "blue2")}


def test_static_addresses_and_a_way_out(course: Course) -> None:
    course.exercise(2)
    for name, address in ADDRESSES.items():
        course.set_static(name, address)
    assert course.guests["blue1"].lease(seconds=2) is None
    assert course.guests["green1"].lease(seconds=2) is None
    assert course.status()["blue"]["dnsmasq_pid"] is None
    assert neighbours_reach_each_other(course)
    assert all(guest.reaches(OUTSIDE) for guest in course.guests.values())
    assert not crosses(course, "blue1", "green2")
    assert not crosses(course, "green1", "blue1")


def test_leases_by_mac_and_no_way_out(course: Course) -> None:
    course.exercise(3)
    for name, address in ADDRESSES.items():
        assert course.lease(name)["address"] == address
    assert neighbours_reach_each_other(course)
    assert not course.guests["blue1"].reaches(OUTSIDE, tries=2)
    assert not course.guests["green2"].reaches(OUTSIDE, tries=2)
    assert "1 received" in course.on_node(f"ping -n -q -c 1 -W 5 {OUTSIDE}")
    assert not crosses(course, "blue1", "green1")
    assert not crosses(course, "green1", "blue1")


def test_routed_both_ways_with_leases_in_one_vlan(course: Course) -> None:
    course.exercise(4)
    for name in ("blue1", "blue2"):
        course.set_static(name, ADDRESSES[name])
    assert course.guests["blue1"].lease(seconds=2) is None
    for name in ("green1", "green2"):
        assert course.lease(name)["address"] == ADDRESSES[name]
    before = course.counted("blue", "to green"), course.counted("green", "to blue")
    assert course.guests["blue1"].reaches(ADDRESSES["green2"])
    assert course.guests["green1"].reaches(ADDRESSES["blue2"])
    after = course.counted("blue", "to green"), course.counted("green", "to blue")
    assert after[0] > before[0]
    assert after[1] > before[1]
    assert not course.guests["blue1"].reaches(OUTSIDE, tries=2)
    assert not course.guests["green2"].reaches(OUTSIDE, tries=2)


def test_back_again_nothing_is_left_of_what_was_routed(course: Course) -> None:
    course.exercise(4)
    course.exercise(3)
    for name in ADDRESSES:
        course.lease(name)
    assert not crosses(course, "blue1", "green1")
    assert "to" not in "".join(course.status()["blue"]["counters"]).replace("internet", "")
    assert course.exercise(3) == {"blue": "nothing", "green": "nothing"}
