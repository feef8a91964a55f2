"""Who gives leases in a network, and who should."""

from __future__ import annotations

import pytest

from vmops.core.inventory.networks.model import Member, Network
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
    (asking,) = askings([blue(dhcp=True)], world.evidence().ends)
    assert (asking.worker, asking.mac) == ("w2", MEMBER.mac)
    assert askings([blue(dhcp=True)], []) == []


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
