"""Decisions of `launch`, `plug` and `boot`: from what is wanted and what is observed to steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from vmops.core.inventory.model import Interface
from vmops.core.plan import starting
from vmops.core.plan.phase import Plan
from vmops.core.script import groups
from vmops.core.tools import ip, ovs
from vmops.errors import LaunchFailed, PortConflict, WorkFailed

from .worlds import (
    EMPTY,
    HOST,
    TAP1,
    TAP2,
    VM1,
    WORKER,
    commands,
    dead,
    labels,
    plugged,
    running,
    without_port,
)


def test_a_launch_plugs_all_at_once_and_can_fall_back_to_one_by_one() -> None:
    made = starting.launch(WORKER, VM1, EMPTY)
    assert made.action == "start"
    plugging = ["plug all", "plug eth1", "plug eth2", "network"]
    assert labels(made) == [*plugging, "run directory", "QEMU", "pid"]
    together = commands(made, "plug all")
    assert len([c for c in together if c.startswith("set_up_taps ")]) == 1, "one for all TAPs"
    assert len([c for c in together if c.startswith("vsctl ")]) == 1, "one transaction"
    assert commands(made, "plug eth1")[0] == (
        "set_up_taps br-int sudo ip tuntap add mode tap name tap_1001_eth1 user 1900001001\n"
        "sudo ip link set dev tap_1001_eth1 alias vmops:vm1 mtu $(cat /sys/class/net/br-int/mtu) "
        "tap_1001_eth1"
    )
    first = [command.split()[0] for command in commands(made, "plug eth1")]
    assert first == ["set_up_taps", "vsctl", "raise_taps", "holds_ports"]


def test_vms_that_plug_together_have_their_taps_made_by_one_ip() -> None:
    vms = [VM1, replace(VM1, name="vm2", vm_id=1002, vnc_port=5999)]
    blocks = [starting.launch(WORKER, vm, EMPTY).block for vm in vms]
    steps = [groups.step_of(block) for block in blocks if block is not None]
    found = groups.commands([step[1] for step in steps if step is not None])
    (made,) = [entry.words() for entry in found if entry.words()[0] == "set_up_taps"]
    assert made[:2] == ("set_up_taps", "br-int")
    taps = [word for word in made[2:] if " " not in word]
    assert taps == [TAP1, TAP2, "tap_1002_eth1", "tap_1002_eth2"]
    assert [word.count("tuntap add") for word in made[2:] if " " in word] == [2, 2]


def test_a_vm_without_any_network_is_not_started_but_by_the_documented_class() -> None:
    assert "network" not in labels(starting.launch_bare(WORKER, VM1, EMPTY))
    taken = {tap: ip.Tap("vmops:vm9") for tap in (TAP1, TAP2)}
    with pytest.raises(
        PortConflict, match=f"no interface can be plugged: eth1: TAP {TAP1} belongs"
    ):
        starting.launch(WORKER, VM1, EMPTY._replace(taps=taken))
    assert len(starting.launch_bare(WORKER, VM1, EMPTY._replace(taps=taken)).skips) == 2


def test_without_a_tun_device_nothing_is_begun() -> None:
    seen = EMPTY._replace(host=HOST._replace(tun=False))
    for act in (starting.launch, starting.plug):
        with pytest.raises(WorkFailed, match="no /dev/net/tun"):
            act(WORKER, VM1, seen)
    lonely = replace(VM1, interfaces=(Interface("eth1"),))
    assert starting.launch(WORKER, lonely, seen).action == "start"


def test_taps_are_roots_alone_where_user_ids_are_shared() -> None:
    seen = EMPTY._replace(host=HOST._replace(whole_uid_range=False))
    made = starting.plug(WORKER, VM1, seen)
    assert "name tap_1001_eth1 user 0\n" in commands(made, "plug eth1")[0]


def test_a_row_without_a_device_goes_before_the_device_is_made() -> None:
    """The switch would open it while it is down, and set it down again when the row goes."""
    seen = plugged()._replace(taps={})
    found = commands(starting.launch(WORKER, VM1, seen), "plug all")
    assert found[0] == f"vsctl -- --if-exists del-port {TAP1} -- --if-exists del-port {TAP2}"
    assert found[1].startswith("set_up_taps ")


@pytest.mark.parametrize("interfaces", [1, 2, 8])
def test_a_launch_is_one_block_whatever_the_number_of_interfaces(interfaces: int) -> None:
    nics = tuple(Interface(f"eth{n}", vlan_id=100 + n) for n in range(1, interfaces + 1))
    made = starting.launch(WORKER, replace(VM1, interfaces=nics), EMPTY)
    assert made.block is not None
    assert made.block.lock == "/run/vmops/.lock/vm1"


def test_auto_takes_kvm_only_where_it_can_be_opened() -> None:
    auto = replace(WORKER, accel="auto")
    without = EMPTY._replace(host=HOST._replace(kvm="denied"))
    assert "-enable-kvm" in commands(starting.launch(auto, VM1, EMPTY), "QEMU")[0]
    assert "-accel tcg" in commands(starting.launch(auto, VM1, without), "QEMU")[0]


def test_a_vm_without_a_connected_interface_needs_no_switch() -> None:
    lonely = replace(VM1, interfaces=(Interface("eth1"),))
    seen = EMPTY._replace(switch=ovs.Switch(fault="down"))
    assert labels(starting.launch(WORKER, lonely, seen)) == ["run directory", "QEMU", "pid"]


def test_strict_steps_end_the_block_where_lenient_ones_do_not() -> None:
    for strict in (False, True):
        made = starting.launch(WORKER, VM1, EMPTY, strict=strict)
        assert made.block is not None
        apart = [step for step in made.block.numbered() if step.label.startswith("plug eth")]
        assert [step.may_fail for step in apart] == [not strict] * 2


@pytest.mark.parametrize(
    ("pidfile", "note"), [(True, "had crashed"), (False, "had powered itself off")]
)
def test_leftovers_of_a_dead_vm_go_first(pidfile: bool, note: str) -> None:
    made = starting.launch(WORKER, VM1, dead(pidfile=pidfile))
    assert labels(made)[0] == "leftovers"
    assert any(note in line for line in made.notes)


@pytest.mark.parametrize("start", [starting.launch, starting.boot])
def test_images_are_looked_at_again_when_what_a_dead_vm_left_has_ended(
    start: Callable[..., Plan],
) -> None:
    """Its processes may have them open, and write until then."""
    found = labels(start(WORKER, VM1, dead(pidfile=True)))
    assert found.index("leftovers") < found.index("image") < found.index("run directory")
    assert "image" not in labels(start(WORKER, VM1, plugged()))


def test_boot_takes_part_with_what_is_plugged_only() -> None:
    half = without_port(plugged(), TAP2)
    made = starting.boot(WORKER, VM1, half)
    assert [skip.interface for skip in made.skips] == ["eth2"]
    assert made.block is not None
    assert made.block.numbered()[0].sets == ("nic1",)
    with pytest.raises(LaunchFailed, match="eth2 is not plugged"):
        starting.boot(WORKER, VM1, half, strict=True)


def test_plug_of_what_is_plugged_is_nothing() -> None:
    assert starting.plug(WORKER, VM1, plugged()).action == "nothing"
    assert labels(starting.plug(WORKER, VM1, without_port(plugged(), TAP2))) == [
        "plugged",
        "plug eth2",
    ]


def test_plug_of_a_running_vm_only_wants_it_to_be_the_same() -> None:
    block = starting.plug(WORKER, VM1, without_port(running(), TAP2)).block
    assert block is not None
    assert [guard.argv for guard in block.guards] == [("still_running", "vm1", "4821", "5000")]


@pytest.mark.parametrize("pidfile", [True, False])
def test_plug_begins_a_new_life_for_a_vm_that_died(pidfile: bool) -> None:
    """What it plugs is not what the dead one left, so nobody tidies it away."""
    assert labels(starting.plug(WORKER, VM1, dead(pidfile=pidfile))) == ["leftovers", "plugged"]


def test_the_ports_of_several_vms_are_one_transaction_each_with_its_own_words() -> None:
    vm2 = replace(VM1, name="vm2", vm_id=1002, vnc_port=5902)
    plans = [starting.launch(WORKER, vm, EMPTY) for vm in (VM1, vm2)]
    found = [groups.step_of(made.block) for made in plans if made.block is not None]
    together = [
        entry.words() for entry in groups.commands([step for _, step in filter(None, found)])
    ]
    (transaction,) = [words for words in together if words[0] == "vsctl"]
    for vm in (VM1, vm2):
        for nic in vm.connected:
            assert ("add-port", "br-int", nic.tap, f"tag={nic.vlan_id}") in zip(
                transaction, transaction[1:], transaction[2:], transaction[3:], strict=False
            )
    assert together[-1][0] == "holds_ports"
    assert len(together[-1]) == 1 + 2 * 4
