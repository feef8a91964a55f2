"""Whose guest is to answer whom, and what is made of the answers."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.core.inventory.networks.model import Member, Network
from vmops.core.plan.proof import pings
from vmops.core.plan.proof.pings import Ping
from vmops.core.tools.proof import echo
from vmops.core.tools.proof.echo import Heard


def network(number: int, vms: Collection[str], reach: tuple[str, ...] = ()) -> Network:
    members = [
        Member(vm, "eth0", "", f"10.0.{number}.{place}") for place, vm in enumerate(vms, start=11)
    ]
    return Network(
        f"n{number}",
        vlan_id=number,
        subnet=f"10.0.{number}.0/24",
        dhcp=True,
        reach=reach,
        network_node="w1",
        members=tuple(members),
    )


RUNNING = {"a": "w1", "b": "w2", "c": "w2", "d": "w1"}


def test_gateways_ask_what_runs_and_what_they_serve() -> None:
    listed = [network(1, ["a", "b", "stopped"]), network(2, ["c"])]
    found = pings.from_gateways(listed, RUNNING, {"w1"})
    assert [(p.source, p.worker, p.target, p.address) for p in found] == [
        ("n1:gateway", "w1", "a", "10.0.1.11"),
        ("n1:gateway", "w1", "b", "10.0.1.12"),
        ("n2:gateway", "w1", "c", "10.0.2.11"),
    ]
    assert pings.from_gateways(listed, RUNNING, {"w2"}) == []


@pytest.mark.parametrize("is_reached", [True, False])
def test_guests_are_answered_in_their_networks_and_where_these_reach(is_reached: bool) -> None:
    first = network(1, ["a", "b"], ("n2",) if is_reached else ())
    second = network(2, ["c", "stopped"], ("n1",) if is_reached else ())
    found = pings.from_guests([first, second, network(3, ["d"])], RUNNING)
    of_a = {p.target: p.wanted for p in found if p.source == "a"}
    assert of_a == {"b": True, "n1:gateway": True, "c": is_reached, "d": False}
    of_c = {p.target: p.wanted for p in found if p.source == "c"}
    assert of_c == {"n2:gateway": True, "a": is_reached, "b": is_reached, "d": False}


def test_each_cause_is_said_once() -> None:
    gateway = Ping("n:gateway", "w1", "b", "10.0.0.12", found=False)
    others = [
        Ping("a", "w1", "b", "10.0.0.12", found=False),
        Ping("a", "w1", "c", "10.0.0.13", found=False),
        Ping("a", "w1", "d", "10.0.0.14", found=None),
        Ping("a", "w1", "e", "10.9.0.15", wanted=False, found=True),
        Ping("b", "w2", "a", "10.0.0.11", found=True),
    ]
    assert [fault.what for fault in pings.faults([gateway, *others])] == [
        "its guest does not answer at 10.0.0.12: n:gateway asks in vain",
        "its guest is not answered by c (10.0.0.13)",
        "its guest is answered by e (10.9.0.15), which hosts.toml keeps apart",
    ]


def test_what_was_printed() -> None:
    said = "blue reply 10.0.0.1\nblue reply 10.0.0.2\ngone red\nblue reply\nother\n"
    found = echo.parse(said)
    assert found == Heard({"blue": frozenset({"10.0.0.1", "10.0.0.2"})}, frozenset({"red"}))
    assert echo.parse_of_guest("reply 10.0.0.1\r\nreply\nx y z\n") == {"10.0.0.1"}


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    echo.parse(text)
    echo.parse_of_guest(text)


def test_an_address_is_no_part_of_the_program() -> None:
    *words, last = echo.from_a_guest(["10.0.0.1", "$(reboot)"])
    assert last == "$(reboot)"
    assert not [word for word in words if "reboot" in word]
