"""Interfaces of a VM that are added, moved, pulled and removed while its guest runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.guests import PROMPT, cache_directory, linux_image
from vmops.core.inventory.model import VM, Interface

from .lab_helpers import wait_until
from .operator import Operator
from .seat import guest, pid_of, piped

ETH1 = Interface("eth1", vlan_id=101)
ETH2 = Interface("eth2", vlan_id=102, model="virtio")
TAP2 = "tap_1_eth2"
MAC2 = "52:54:00:00:01:02"


@pytest.fixture
def linux(operator: Operator) -> VM:
    """A VM of the small Linux with one interface, which has booted to its prompt."""
    vm = guest(operator, "vm1", image=linux_image(cache_directory()), ram_mb=96)
    return change(operator, vm, ETH1)


def change(operator: Operator, vm: VM, *interfaces: Interface) -> VM:
    changed = replace(vm, interfaces=interfaces)
    operator.vms = [(changed, "worker1")]
    operator.write()
    return changed


def typed(operator: Operator, command: str) -> str:
    """What a shell in the guest prints."""
    keys = f"echo BE''GUN; {command}; echo EN''DED\r".encode()
    said = piped(operator, keys, "--until", "ENDED", "--timeout", "30")
    assert said.code == 0, said
    return said.out.partition("BEGUN")[2].partition("ENDED")[0].replace("\r", "").strip()


def sends_into(operator: Operator, vlan_id: int) -> bool:
    """Whether the switch has learnt the guest's MAC in that VLAN, from a frame of the guest."""
    found = operator.on("worker1", "ovs-appctl", "--timeout=5", "fdb/show", "br-int").splitlines()
    return any(line.split()[1:3] == [str(vlan_id), MAC2] for line in found[1:])


def say_something(operator: Operator) -> None:
    typed(
        operator,
        f"cd /sys/class/net; N=$(grep -l {MAC2} */address); N=${{N%/*}}; cd /;"
        " ip link set $N up; ip address add 10.2.0.1/16 dev $N; arping -c 1 -w 1 -I $N 10.2.0.9",
    )


def is_as_asked(operator: Operator) -> bool:
    (status,) = operator.ok("status", "--vm", "vm1", "--format", "json").json
    return operator.fab("plan", "--vm", "vm1").code == 0 and not status["drift"]


@pytest.mark.timeout(300)
def test_a_guest_gets_an_interface_that_is_moved_pulled_and_taken_out_again(
    operator: Operator, linux: VM
) -> None:
    piped(operator, b"\r", "--until", PROMPT, "--timeout", "60")
    if not is_as_asked(operator):
        operator.ok("launch", "--vm", "vm1")
    pid = pid_of(operator, linux)

    change(operator, linux, ETH1, ETH2)
    planned = operator.fab("plan", "--vm", "vm1", "--format", "json")
    assert planned.code == 4
    (entry,) = planned.json
    assert entry["action"] == "change"
    assert [(field["field"], field["live"]) for field in entry["fields"]] == [
        ("interfaces.eth2", True)
    ]
    assert "runs, changed" in operator.ok("launch", "--vm", "vm1").out
    assert is_as_asked(operator)
    say_something(operator)
    assert sends_into(operator, 102)

    change(operator, linux, ETH1, replace(ETH2, vlan_id=103))
    operator.ok("up", "--vm", "vm1")
    say_something(operator)
    assert sends_into(operator, 103)

    card = f"$(dirname $(grep -l {MAC2} /sys/class/net/*/address))"
    carrier = f"cat {card}/carrier"
    operator.ok("nic.down", "--vm", "vm1:eth2")
    assert typed(operator, carrier) == "0"
    (status,) = operator.ok("status", "--vm", "vm1", "--format", "json").json
    assert [nic["link"] for nic in status["interfaces"]] == ["up", "down"]
    assert "already down" in operator.ok("nic.down", "--vm", "vm1:eth2").err
    operator.ok("nic.up", "--vm", "vm1:eth2")
    assert typed(operator, carrier) == "1"

    # One that it was started with, which has no id in QEMU, and back in.
    change(operator, linux, replace(ETH1, vlan_id=None), ETH2)
    operator.ok("launch", "--vm", "vm1")
    assert "52:54:00:00:01:01" not in typed(operator, "cat /sys/class/net/*/address")
    assert operator.taps("worker1") == {TAP2}
    change(operator, linux, ETH1)
    operator.ok("launch", "--vm", "vm1")
    assert is_as_asked(operator)
    assert "52:54:00:00:01:01" in typed(operator, "cat /sys/class/net/*/address")
    assert MAC2 not in typed(operator, "cat /sys/class/net/*/address")
    assert operator.taps("worker1") == {"tap_1_eth1"}
    assert operator.port("worker1", TAP2) is None
    assert pid_of(operator, linux) == pid


def test_a_guest_that_does_not_let_go_keeps_its_card_and_what_stands_behind_it(
    operator: Operator,
) -> None:
    """The boot sector knows nothing of PCI: it never gives a card up."""
    vm = change(operator, guest(operator), ETH1)
    operator.ok("launch", "--vm", "vm1")
    change(operator, vm, ETH1, replace(ETH2, model="e1000"))
    operator.ok("launch", "--vm", "vm1")
    change(operator, vm, ETH1)
    for _ in range(2):
        said = operator.fab("launch", "--vm", "vm1")
        assert said.code == 1
        assert "eth2 could not be removed: its guest has not let go of it" in said.err
        assert {TAP2, "tap_1_eth1"} == operator.taps("worker1")
        row = operator.port("worker1", TAP2)
        assert row is not None
        assert row["tag"] == "102"
    # A reset completes what the guest did not do: what is left is taken away.
    operator.ok("reset", "--vm", "vm1")
    wait_until(lambda: operator.fab("launch", "--vm", "vm1").code == 0, seconds=30)
    assert operator.taps("worker1") == {"tap_1_eth1"}
    assert is_as_asked(operator)


def test_what_was_added_goes_with_the_vm_and_comes_back_with_it(operator: Operator) -> None:
    vm = change(operator, guest(operator), ETH1)
    operator.ok("launch", "--vm", "vm1")
    change(operator, vm, ETH1, ETH2)
    operator.ok("launch", "--vm", "vm1")
    operator.ok("restart", "--force", "--vm", "vm1")
    assert is_as_asked(operator)
    # By its mark too, where hosts.toml has lost it.
    change(operator, vm, ETH1)
    operator.ok("stop", "--force", "--vm", "vm1")
    assert operator.taps("worker1") == set()
    assert operator.port("worker1", TAP2) is None
