"""The worker's own IP stays off the guests' VLANs, and a bridge keeps its MTU."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import as_guest, frames
from .operator import Operator, small_vm

TAP = "tap_1_eth1"
WORKERS_OWN = "192.0.2.77"


@pytest.fixture
def talkative(operator: Operator) -> Iterator[Operator]:
    """A worker with the kernel's defaults and an address, on which vm1 is plugged."""
    defaults = "/proc/sys/net/ipv6/conf/default"
    script = f"echo 0 >{defaults}/disable_ipv6; echo 1 >{defaults}/accept_ra; ip address {{}}"
    address = f"{WORKERS_OWN}/32 dev lo"
    operator.on("worker1", "sh", "-c", script.format(f"add {address}"))
    operator.add(small_vm("vm1", 1, 101))
    yield operator
    operator.on("worker1", "ip", "address", "del", *address.split())


def listen(operator: Operator, seconds: float, *sent: str, sender: str = TAP) -> list[str]:
    """What vm1 hears when these frames have been sent."""
    program = Path(as_guest.__file__).read_text()
    words = ("python3", "-c", program, TAP, sender, str(seconds))
    return operator.on("worker1", *words, *sent).split()


def made_without_vmops(operator: Operator) -> None:
    script = (
        f"ip tuntap add mode tap name {TAP}; ovs-vsctl add-port br-int {TAP} tag=101; "
        f"ip link set {TAP} up"
    )
    operator.on("worker1", "sh", "-c", script)


def spoken_to(operator: Operator) -> tuple[list[str], str]:
    """What a guest hears that asks for the worker, and what the worker believes then."""
    (link,) = json.loads(operator.on("worker1", "ip", "-json", "link", "show", TAP))
    sent = (
        frames.router_advertisement("2001:db8:66::"),
        frames.who_has(WORKERS_OWN),
        frames.echo_request(link["address"], WORKERS_OWN),
    )
    heard = listen(operator, 4, *sent)
    look = f"for what in address route neigh; do ip -6 -o $what show dev {TAP}; done; "
    look += f"ip -4 neigh show dev {TAP}"
    return heard, operator.on("worker1", "sh", "-c", look)


def test_the_worker_says_nothing_to_a_guest_and_believes_nothing(talkative: Operator) -> None:
    talkative.ok("plug", "--vm", "vm1")
    assert spoken_to(talkative) == ([], "")


def test_without_that_it_would_speak(talkative: Operator) -> None:
    """So that the test above can fail."""
    made_without_vmops(talkative)
    heard, believed = spoken_to(talkative)
    assert heard
    assert "2001:db8:66:" in believed


def test_a_tap_that_was_there_already_is_quiet_from_then_on(talkative: Operator) -> None:
    made_without_vmops(talkative)
    talkative.ok("plug", "--vm", "vm1")
    assert spoken_to(talkative) == ([], "")


def test_a_bridge_of_large_frames_stays_one(operator: Operator) -> None:
    """And they go from VM to VM."""
    for number in (1, 2):
        operator.add(small_vm(f"vm{number}", number, 101))
    large = "ip link set trunk mtu {0}; ip link set br-int mtu {0}"
    mtu = "cat /sys/class/net/br-int/mtu"
    operator.on("worker1", "sh", "-c", large.format(9000))
    try:
        operator.ok("plug", "--vm", "vm1")
        assert operator.on("worker1", "sh", "-c", mtu) == "9000\n"
        operator.ok("plug", "--vm", "vm2")
        large_frame = frames.of_size(8000)
        assert large_frame in listen(operator, 2, large_frame, sender="tap_2_eth1")
        operator.ok("launch", "--vm", "vm*")
        assert operator.on("worker1", "sh", "-c", mtu) == "9000\n"
    finally:
        operator.on("worker1", "sh", "-c", large.format(1500))
