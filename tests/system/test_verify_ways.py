"""`verify` of what networks let their guests do: in each exercise, and with one thing broken."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vmops.core.names import NetworkNames
from vmops.lab import Lab

from .course import Course
from .lab_helpers import wait_until

OPEN: dict[int, dict[str, set[str]]] = {
    1: {name: {"gateway", "dhcp", "dns", "internet"} for name in ("blue", "green")},
    2: {name: {"gateway", "internet"} for name in ("blue", "green")},
    3: {name: {"gateway", "dhcp"} for name in ("blue", "green")},
    4: {"blue": {"gateway", "to green"}, "green": {"gateway", "dhcp", "to blue"}},
}
SHUT = {"gateway", "dhcp", "dns", "internet", "node", "kept"}


@pytest.fixture(scope="module")
def course(wide_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Course]:
    found = Course(wide_lab, tmp_path_factory.mktemp("ways"))
    found.exercise(1)
    found.operator.ok("plug", "--vm", "*")
    yield found
    found.operator.ok("unplug", "--vm", "*")
    found.clean_up()


@pytest.mark.parametrize("number", sorted(OPEN))
def test_each_exercise_is_as_it_should_be(course: Course, number: int) -> None:
    course.exercise(number)
    proven = course.fleet.verify()
    assert proven.errors == []
    ways: dict[str, dict[str, bool | None]] = {"blue": {}, "green": {}}
    for each in proven.passages:
        ways[each.network][f"to {each.to}" if each.to else each.service] = each.found
        if each.found and each.service in ("internet", "reach"):
            assert each.counted, "the firewall has counted it"
    assert {name: {w for w, found in its.items() if found} for name, its in ways.items()} == OPEN[
        number
    ]
    assert set(ways["blue"]) == SHUT | {"to green"}
    assert None not in {found for its in ways.values() for found in its.values()}


def inside(network: str, *lines: str) -> str:
    return "\n".join(f"nsenter --net=/run/netns/vmops-{network} {line}" for line in lines)


def short(network: str) -> str:
    return NetworkNames(network).short


DROP = "nft insert rule inet vmops forward drop"
ACCEPT = "nft insert rule inet vmops forward accept"
OTHERS = (
    "nft 'add table inet other; add chain inet other across"
    " { type filter hook forward priority 9; policy drop; }'"
)
ROUTES = (
    "ip -n vmops-blue link add away type veth peer name away netns vmops-green",
    "ip -n vmops-blue link set away up",
    "ip -n vmops-green link set away up",
    "ip -n vmops-blue route add 192.168.2.0/24 dev away",
    "ip -n vmops-green route add 192.168.0.0/24 dev away",
    *(
        f"nsenter --net=/run/netns/vmops-{name} sh -c 'cd /proc/sys/net/ipv4;"
        " echo 1 >conf/away/proxy_arp; echo 0 >neigh/away/proxy_delay'"
        for name in ("blue", "green")
    ),
)
NO_ROUTES = "ip -n vmops-blue link del away"


@pytest.mark.parametrize(
    ("number", "broken", "mended", "words"),
    [
        (1, inside("blue", DROP), "", ["blue: its guests do not get out by uplink: its firewall"]),
        (
            1,
            inside("blue", ACCEPT),
            "",
            ["blue: its guests get out by uplink past its firewall", "its guests reach by uplink"],
        ),
        (
            1,
            OTHERS,
            "nft delete table inet other",
            [
                f"{name}: its guests do not get out by uplink, though its firewall lets them"
                for name in ("blue", "green")
            ],
        ),
        (
            3,
            "\n".join((*ROUTES, inside("blue", ACCEPT), inside("green", ACCEPT))),
            NO_ROUTES,
            ["blue: its guests reach network green", "green: its guests reach network blue"],
        ),
        (
            4,
            inside("green", DROP),
            "",
            [
                "blue: its guests do not reach network green: they end in that one",
                "green: its guests do not reach network blue: its firewall counts nothing",
            ],
        ),
        (
            1,
            f"nft insert rule inet vmops_{short('blue')} input accept; nft flush chain inet"
            f" vmops_{short('blue')} input; {inside('blue', ACCEPT)}",
            "",
            ["blue: its guests reach worker3 itself"],
        ),
        (
            1,
            inside("blue", "ip link set dev lan arp off"),
            inside("blue", "ip link set dev lan arp on"),
            ["network blue: its gateway, 192.168.0.1, answers nobody there", "nobody offers"],
        ),
    ],
    ids=["drop", "accept", "the-nodes-own", "crossing", "in-the-other", "the-node", "no-arp"],
)
def test_what_was_broken_on_purpose_is_found_and_net_up_mends_it(
    course: Course, number: int, broken: str, mended: str, words: list[str]
) -> None:
    course.exercise(number)
    course.on_node(f"set -e\n{broken}")
    try:
        faults = [str(error) for error in course.fleet.verify().errors]
    finally:
        course.on_node(mended or "true")
        course.up()
    for word in words:
        assert [fault for fault in faults if word in fault], (word, faults)
    assert course.plan() == {}


def test_a_dead_dnsmasq_gives_no_names(course: Course) -> None:
    course.exercise(1)
    course.on_node("kill $(cut -d' ' -f1 /run/vmops-net/green/process)")
    said = course.operator.fab("verify")
    assert said.code == 1
    assert "network green: nobody answers its guests for names" in said.err
    course.up()


def test_names_that_lead_elsewhere(course: Course) -> None:
    course.exercise(1)
    hosts = "/run/vmops-net/blue/hosts"
    course.on_node(
        f"sed -i 's/192.168.0.11 /192.168.0.99 /' {hosts}; kill -HUP"
        " $(cut -d' ' -f1 /run/vmops-net/blue/process)"
    )

    def is_told() -> bool:
        faults = map(str, course.fleet.verify().errors)
        return any("blue1 is told to be 192.168.0.99, and has 192.168.0.11" in f for f in faults)

    wait_until(is_told, seconds=30)
    course.on_node("kill $(cut -d' ' -f1 /run/vmops-net/blue/process)")
    course.up()


def test_nothing_of_it_is_left_on_the_node(course: Course) -> None:
    course.exercise(1)
    look = (
        "ip -br link; ovs-vsctl list-ports br-int; ls -A /run/vmops /run/vmops-net;"
        " nft -s list ruleset"
    )
    assert course.fleet.verify().errors == []
    before = course.on_node(look)
    course.fleet.verify()
    assert course.on_node(look) == before
