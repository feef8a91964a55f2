"""What the bench's other ways run: the documented calls, and the scripts they are measured by."""

from __future__ import annotations

import pytest

from bench.machines import DISK, fleet, machine
from bench.ways.documented import launch_calls, stop_calls
from bench.ways.optimised import launch_script, stop_script


@pytest.mark.parametrize("interfaces", [1, 4, 8])
def test_the_documented_system_makes_a_call_for_each_interface(interfaces: int) -> None:
    vm = machine("bench", interfaces=interfaces)
    assert len(launch_calls(vm)) == interfaces + 2
    assert len(stop_calls(vm)) == interfaces + 1


def test_a_documented_call_is_the_documented_lines() -> None:
    plug, *_ = launch_calls(machine("bench"))
    assert plug.splitlines() == [
        "sudo ip tuntap add mode tap name tap_1900_eth1",
        "sudo ip link set dev tap_1900_eth1 up",
        "sudo ovs-vsctl --may-exist add-port br-int tap_1900_eth1 tag=101",
    ]


def test_vms_of_the_same_number_take_the_same_calls_on_every_worker() -> None:
    first, second = fleet(("worker1", "worker2"), each=1)
    assert first.name != second.name
    assert launch_calls(first) == launch_calls(second)
    assert stop_calls(first) == stop_calls(second)


@pytest.mark.parametrize("script", [launch_script, stop_script], ids=["launch", "stop"])
def test_the_optimised_script_is_one_batch_and_one_transaction(script: object) -> None:
    written = script(fleet(("worker1",), each=3))  # type: ignore[operator]
    assert written.count("ip -batch") == 1
    assert written.count("ovs-vsctl") == 1
    assert all(f"tap_{1900 + n}_eth{i}" in written for n in range(3) for i in range(1, 5))


def test_the_disk_can_be_booted_from() -> None:
    assert DISK[510:512] == b"\x55\xaa"
    assert len(DISK) == 1 << 20
