"""Who gives leases in a network, and who should."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from vmops.core.inventory.networks.model import Member, Network
from vmops.core.names import NetworkNames
from vmops.core.plan.proof.evidence import Proof
from vmops.core.plan.proof.leases import Asking, askings, lease_faults
from vmops.core.tools.proof import door
from vmops.core.tools.proof.door import Offer

from .bridged import World, vm

MEMBER = Member("a", "eth0", "52:54:00:00:01:01", "192.168.7.9")


def blue(*, dhcp: bool) -> Network:
    return Network(
        "blue",
        vlan_id=101,
        subnet="192.168.7.0/24",
        dhcp=dhcp,
        network_node="w1",
        members=(MEMBER,),
    )


OURS, OTHER = Offer("192.168.7.1", "192.168.7.9"), Offer("192.168.7.66", "192.168.7.200")


@pytest.mark.parametrize(
    ("dhcp", "offers", "words"),
    [
        (True, [OURS], []),
        (False, [], []),
        (True, [], ["nobody offers 52:54:00:00:01:01 a lease in network blue"]),
        (False, [OTHER], ["192.168.7.66 serves DHCP in network blue, VLAN 101, where nobody shou"]),
        (
            True,
            [OTHER, OURS],
            ["192.168.7.66 serves DHCP in network blue, VLAN 101, and only 192.168.7.1 should"],
        ),
        (
            True,
            [OTHER],
            [
                "192.168.7.66 serves DHCP in network blue",
                "192.168.7.1 offers no lease in network blue",
            ],
        ),
    ],
)
def test_offers(dhcp: bool, offers: list[Offer], words: list[str]) -> None:
    asking = Asking(blue(dhcp=dhcp), "w2", MEMBER.mac)
    faults = lease_faults({"blue": (asking, offers)})
    assert len(faults) == len(words)
    assert all(fault.what.startswith(word) for fault, word in zip(faults, words, strict=True))


def test_a_network_is_asked_far_from_its_node() -> None:
    world = World(w1=[vm("a", 1, 101)], w2=[vm("b", 2, 101)])
    (asking,) = askings([blue(dhcp=True)], world.judge())
    assert (asking.worker, asking.mac) == ("w2", MEMBER.mac)
    assert not asking.cut
    assert askings([blue(dhcp=True)], Proof([], [], [])) == []


def far_from_its_gateway() -> World:
    # VLAN 102 passes between the same workers: what is cut is 101 alone.
    network = blue(dhcp=True)
    return World([network], w1=[vm("a", 1, 102)], w2=[vm("b", 2, 101), vm("c", 3, 102)])


GATEWAY = NetworkNames("blue").port


def cut_between(world: World) -> None:
    world.carried = {"w2": {101}}


def other_vlan(world: World) -> None:
    world.change("w1", GATEWAY, tag=102)


def not_served(world: World) -> None:
    del world.ports["w1"][GATEWAY]


@pytest.mark.parametrize(
    ("breaks", "offers", "words"),
    [
        (None, [], ["nobody offers"]),
        (cut_between, [], []),
        (other_vlan, [], []),
        (not_served, [], []),
        (cut_between, [OTHER], ["192.168.7.66 serves DHCP"]),
    ],
)
def test_a_lease_that_cannot_come_is_told_by_its_cause(
    breaks: Callable[[World], None] | None, offers: list[Offer], words: list[str]
) -> None:
    world = far_from_its_gateway()
    if breaks is not None:
        breaks(world)
    proof = world.judge()
    (asking,) = askings([blue(dhcp=True)], proof)
    assert asking.worker == "w2"
    assert bool(proof.faults) == (breaks is not None)
    faults = lease_faults({"blue": (asking, offers)})
    assert len(faults) == len(words)
    assert all(fault.what.startswith(word) for fault, word in zip(faults, words, strict=True))


@pytest.mark.parametrize(
    ("line", "offer"),
    [
        ("offer 192.168.7.1 192.168.7.9", OURS),
        ("offer 192.168.7.1", None),
        ("", None),
    ],
)
def test_the_line_of_an_offer(line: str, offer: Offer | None) -> None:
    assert door.parse_offer(line) == offer
