"""What networks let their guests do: what is tried, and what is made of what came of it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.core.facts.proof.guests import Found
from vmops.core.inventory.model import Settings
from vmops.core.inventory.networks.model import Member, Network
from vmops.core.names import NetworkNames
from vmops.core.plan.proof import services
from vmops.core.plan.proof.services import Outcome, Trial, free_address, trials
from vmops.core.tools.proof import guest
from vmops.core.tools.proof.guest import Tried

NODE = Settings(uplink="eth0").worker("node", address="10.9.0.1")
FAR = Settings().worker("far", address="far.example")
MEMBER = Member("web1", "eth0", "52:54:00:00:01:01", "192.168.7.9")


def network(name: str, third: int, **values: Any) -> Network:
    return Network(
        name,
        vlan_id=100 + third,
        subnet=f"192.168.{third}.0/24",
        network_node="node",
        **{"dhcp": True, **values},
    )


def two(**of_blue: Any) -> Trial:
    blue = network("blue", 7, members=(MEMBER,), **of_blue)
    reach = ("blue",) if of_blue.get("reach") else ()
    (trial,) = trials([blue, network("green", 8, reach=reach)], [NODE, FAR], [NODE, FAR], run=1)
    return trial


def numbers(trial: Trial, *services_of_blue: str) -> set[int]:
    return {
        number
        for number, each in enumerate(trial.passages)
        if each.network == "blue" and (each.to or each.service) in services_of_blue
    }


def judged(trial: Trial, seen: set[int], moved: dict[str, int], **values: Any) -> Outcome:
    of_green = {n for n, p in enumerate(trial.passages) if p.network == "green" and p.wanted}
    tried = Tried(seen=frozenset(seen | of_green), **values)
    green = {NetworkNames("blue").link: 1}
    return services.judge(trial, Found(tried, {"blue": moved, "green": green}))


def texts(outcome: Outcome) -> list[str]:
    return [fault.what.removeprefix("network blue: ") for fault in outcome.faults]


LINK = NetworkNames("green").link


@pytest.mark.parametrize(
    ("wanted", "seen", "moved", "words"),
    [
        ({}, (), {}, []),
        ({"internet": True}, ("internet",), {"internet": 1}, []),
        (
            {"internet": True},
            (),
            {"internet": 0},
            ["its guests do not get out by eth0: its firewall counts nothing"],
        ),
        (
            {"internet": True},
            (),
            {"internet": 3},
            [
                "its guests do not get out by eth0, though its firewall lets them: the node's own"
                " does not, or it has no route"
            ],
        ),
        (
            {"internet": True},
            ("internet",),
            {"internet": 0},
            ["its guests get out by eth0 past its firewall: that has not counted it"],
        ),
        ({}, ("internet",), {}, ["its guests get out by eth0, and hosts.toml does not say so"]),
        ({"reach": ("green",)}, ("green",), {LINK: 2}, []),
        (
            {"reach": ("green",)},
            (),
            {LINK: 2},
            ["its guests do not reach network green: they end in that one"],
        ),
        ({}, ("green",), {}, ["its guests reach network green, and hosts.toml does not say so"]),
        ({}, ("node",), {}, ["its guests reach node itself, and hosts.toml does not say so"]),
        (
            {"internet": True},
            ("internet", "kept"),
            {"internet": 1},
            [
                "its guests reach by eth0 addresses that are kept from them, and hosts.toml does"
                " not say so"
            ],
        ),
        ({"dns": True}, ("dns",), {}, []),
        ({"dns": True}, (), {}, ["nobody answers its guests for names"]),
        ({}, ("dns",), {}, ["its guests are answered for names, and hosts.toml does not say so"]),
    ],
)
def test_what_differs_is_said_once(
    wanted: dict[str, Any], seen: tuple[str, ...], moved: dict[str, int], words: list[str]
) -> None:
    trial = two(**wanted)
    found = judged(trial, numbers(trial, "gateway", *seen), moved)
    assert texts(found) == words
    assert len({passage[:3] for passage in found.passages}) == len(found.passages)
    assert all(p.ok for p in found.passages) == (not words or "past" in words[0])


def test_of_a_silent_gateway_only_that_is_said_and_nothing_else_is_known() -> None:
    trial = two(internet=True, dns=True)
    found = judged(trial, set(), {}, silent=frozenset({"blue"}))
    assert texts(found) == ["its gateway, 192.168.7.1, answers nobody there"]
    of_blue = {p.to or p.service: p.found for p in found.passages if p.network == "blue"}
    assert of_blue.pop("gateway") is False
    assert set(of_blue.values()) == {None}
    (to_blue,) = [p for p in found.passages if p.to == "blue"]
    assert to_blue.found is None
    told = services.judge(trial, Found(Tried(gone=frozenset({"blue"})), {}), told={"blue"})
    assert not [fault for fault in told.faults if "blue: its gateway" in fault.what]


def test_an_uplink_that_cannot_be_looked_at_is_told_once_and_proves_nothing() -> None:
    trial = two(internet=True)
    found = judged(trial, numbers(trial, "gateway"), {}, blind=frozenset({"eth0"}))
    assert texts(found) == ["its uplink eth0 cannot be looked at: is it there?"]
    assert {p.found for p in found.passages if p.service in ("internet", "kept")} == {None}


def test_a_name_that_leads_to_another_address() -> None:
    trial = two(dns=True)
    (asked,) = numbers(trial, "dns")
    seen = numbers(trial, "gateway", "dns")
    assert texts(judged(trial, seen, {}, named={asked: "192.168.7.9"})) == []
    words = ["web1 is told to be 192.168.7.66, and has 192.168.7.9"]
    assert texts(judged(trial, seen, {}, named={asked: "192.168.7.66"})) == words


def test_workers_addresses_and_networks_of_other_nodes_are_not_to_be_found_outside() -> None:
    elsewhere = network("red", 9, internet=True)
    red = Network(
        "red",
        vlan_id=9,
        subnet="192.168.9.0/24",
        network_node="far",
        dhcp=True,
        members=elsewhere.members,
    )
    (trial,) = trials([network("blue", 7), red], [NODE], [NODE, FAR], run=1)
    out = {each.target: each.wanted for each in trial.tries if each.kind == "out"}
    assert out == {
        "203.0.113.254": False,
        "169.254.169.254": False,
        "10.9.0.1": False,
        "192.168.9.1": False,
    }
    assert trials([red], [NODE], [NODE, FAR], run=1) == []


def test_where_no_address_is_free_nothing_is_tried() -> None:
    full = Network(
        "tiny",
        vlan_id=5,
        subnet="192.168.9.0/30",
        network_node="node",
        dhcp=True,
        members=(MEMBER._replace(address="192.168.9.2"),),
    )
    (trial,) = trials([full], [NODE], [NODE], run=1)
    assert (trial.tries, trial.crowded) == ((), ("tiny",))


@given(st.integers(0, 2**32 - 1), st.integers(8, 30), st.sets(st.integers(0, 5)))
def test_the_address_of_a_guest_that_is_none_is_nobodys(
    run: int, prefix: int, taken: set[int]
) -> None:
    subnet = IPv4Network(f"10.0.0.0/{prefix}")
    hosts = subnet.num_addresses - 2
    members = tuple(Member("a", f"eth{n}", "", str(subnet[n + 1])) for n in taken if 0 < n < hosts)
    given_network = Network("n", vlan_id=1, subnet=str(subnet), members=members)
    found = free_address(given_network, run)
    used = {m.address for m in members} | {given_network.gateway}
    if found is None:
        assert len(used) == hosts
    else:
        assert found not in used
        assert IPv4Address(found) in subnet
        assert found not in (str(subnet[0]), str(subnet[-1]))


def test_none_of_what_dhcp_gives() -> None:
    small = Network(
        "n",
        vlan_id=1,
        subnet="10.0.0.0/29",
        dhcp=True,
        range="10.0.0.2-10.0.0.5",
        network_node="node",
    )
    assert {free_address(small, run) for run in range(50)} == {"10.0.0.6"}


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    guest.parse(text)


def test_what_was_printed() -> None:
    said = "seen 3\nnamed 4 10.0.0.1\nsilent blue\ngone red\nblind eth0\nseen x\nother\n"
    assert guest.parse(said) == Tried(
        frozenset({3}),
        {4: "10.0.0.1"},
        frozenset({"blue"}),
        frozenset({"red"}),
        frozenset({"eth0"}),
    )
