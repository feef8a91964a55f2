"""`trace` on real workers: the way of a frame, and where it ends."""

from __future__ import annotations

import pytest

from .broken import (
    Break,
    a_flow_drops,
    link_pulled,
    not_on_the_switch,
    switch_is_dead,
    tap_down,
    wrong_tag,
)
from .operator import Operator


def test_a_frame_that_arrives(plugged: Operator) -> None:
    said = plugged.ok("trace", "--from", "vm1:eth1", "--to", "vm3")
    lines = [" ".join(line.split()) for line in said.out.splitlines()]
    assert lines[3] == "3 worker1 ok it leaves by trunk in VLAN 101"
    assert lines[4] == "4 between ok it comes to worker2 by port trunk in VLAN 101"
    assert lines[-1].endswith("port tap_3_eth1 gives it out to vm3:eth1")
    assert "frames of vm1:eth1 come to vm3:eth1" in said.err
    steps = plugged.ok("trace", "--vm", "vm1", "--to", "vm3", "--format", "json").json
    assert steps["arrives"] is True
    assert len(steps["steps"]) == len(lines) - 1


@pytest.mark.parametrize(
    ("broken", "last", "why", "cure"),
    [
        (
            wrong_tag,
            "worker2 ENDS it goes to ",
            "its port tap_1_eth1 is in VLAN 102",
            "fab plug --vm vm1",
        ),
        (
            link_pulled,
            "worker1 ENDS its link is pulled",
            "pulled (nic.down)",
            "fab nic.up --vm vm1:",
        ),
        (tap_down, "worker1 ENDS its TAP tap_1_eth1 is down", "is down", "fab plug --vm vm1"),
        (
            not_on_the_switch,
            "between ENDS it does not come to worker2 in VLAN 101",
            "the switch between does not carry it",
            "allow VLAN 101 on the switch's ports of",
        ),
        (a_flow_drops, "worker1 ENDS it is dropped", "the switch drops what comes", "fab trace"),
        (
            switch_is_dead,
            "between ENDS it does not come to worker2 in VLAN 101",
            "worker2: nothing passes its switch: ovs-vswitchd does not run",
            "fab doctor",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_where_it_ends_and_why(
    plugged: Operator, broken: Break, last: str, why: str, cure: str
) -> None:
    with broken(plugged):
        said = plugged.fab("trace", "--from", "vm1", "--to", "vm3")
    assert said.code == 1
    assert last in " ".join(said.out.splitlines()[-1].split())
    assert why in said.err
    assert cure in said.err


def test_two_vlans_on_one_worker_are_kept_apart(plugged: Operator) -> None:
    said = plugged.fab("trace", "--from", "vm1", "--to", "vm2")
    assert said.code == 1
    assert "the one is in VLAN 101 and the other in VLAN 102, which are kept apart" in said.err


def test_a_flow_for_some_frames_only(plugged: Operator) -> None:
    """What is asked about may be more than a plain frame."""
    words = ("trace", "--from", "vm1", "--to", "vm3", "--flow")
    drop = "in_port=tap_1_eth1,icmp,actions=drop"
    plugged.on("worker1", "ovs-ofctl", "add-flow", "br-int", drop)
    try:
        plugged.ok(*words, "arp")
        said = plugged.fab(*words, "icmp")
        assert said.code == 1
        assert "it is dropped" in said.out
    finally:
        plugged.on("worker1", "ovs-ofctl", "del-flows", "br-int", "in_port=tap_1_eth1")
    nonsense = plugged.fab(*words, "no such thing")
    assert nonsense.code == 1
    assert "no such thing" in nonsense.err


def test_who_is_not_there_is_said(plugged: Operator) -> None:
    assert plugged.fab("trace", "--from", "vm1", "--to", "nobody").code == 2
    assert plugged.fab("trace", "--from", "vm1", "--to", "vm2:eth7").code == 2
    assert plugged.fab("trace", "--from", "vm1", "--to", "vm1").code == 2
    assert plugged.fab("trace", "--from", "vm1").code == 2
    plugged.ok("unplug", "--vm", "vm3")
    said = plugged.fab("trace", "--from", "vm1", "--to", "vm3")
    assert said.code == 1
    assert "vm3 has no plugged interface eth1" in said.err
    plugged.lab.fault("worker1", "drop")
    try:
        assert plugged.fab("trace", "--from", "vm1", "--to", "vm2").code == 3
    finally:
        plugged.lab.heal("worker1")
