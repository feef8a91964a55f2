"""VMs that run where they are not to, and MACs that two of them have: what no probe tells."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vmops.core.devices.storage.moving import How, Mark
from vmops.core.inventory.model import VM
from vmops.errors import VmopsError

from .bridged import World, vm


def a_world(*, pinned: str | None) -> tuple[World, VM]:
    """Two workers, where `a` is pinned to one of them, or may be on both; `b` and `c` run there."""
    a = replace(vm("a", 1, 101), worker=pinned)
    b, c = vm("b", 2, 101), vm("c", 3, 102)
    homes = {name: [a] if pinned in (None, name) else [] for name in ("w1", "w2")}
    world = World((), w1=[*homes["w1"], b], w2=[*homes["w2"], c])
    world.run("w1", b)
    world.run("w2", c)
    return world, a


def faults(world: World) -> list[VmopsError]:
    return list(world.judge().faults)


@pytest.mark.parametrize("pinned", [None, "w1", "w2"])
def test_a_vm_that_runs_on_two_workers_is_told_once(pinned: str | None) -> None:
    world, a = a_world(pinned=pinned)
    world.run("w1", a)
    world.run("w2", a)
    (fault,) = faults(world)
    assert fault.vm == "a"
    home, other = ("w2", "w1") if pinned == "w2" else ("w1", "w2")
    assert f"runs on {home} and on {other}" in fault.what
    assert fault.cure == f"to end one: fab -H {other} stop --vm a --elsewhere"


def test_a_vm_that_runs_on_another_worker_than_its_own_is_told() -> None:
    world, a = a_world(pinned="w1")
    del world.ports["w1"][a.nics[0].tap], world.taps["w1"][a.nics[0].tap]
    world.run("w2", a)
    (fault,) = faults(world)
    assert fault.what == "a runs on w2, and hosts.toml has it on w1"


def test_it_may_have_been_moved_where_its_own_worker_cannot_be_asked() -> None:
    world, a = a_world(pinned="w1")
    world.run("w2", a)
    world.unasked = {"w1"}
    assert not faults(world)


@pytest.mark.parametrize("pinned", [None, "w1", "w2"])
@pytest.mark.parametrize("where", ["w1", "w2"])
def test_one_that_runs_where_it_is_to_is_no_fault(pinned: str | None, where: str) -> None:
    world, a = a_world(pinned=pinned)
    world.run(pinned or where, a)
    assert not faults(world)


@pytest.mark.parametrize(
    ("how", "runs"), [("receiving", False), ("elsewhere", False), ("leaving", True)]
)
def test_a_qemu_that_waits_for_the_vm_is_none_that_runs(how: How, runs: bool) -> None:
    world, a = a_world(pinned=None)
    world.run("w1", a)
    world.run("w2", a)
    world.moves["w2"] = {"a": Mark(how, "w1", "token")}
    assert bool(faults(world)) is runs


def test_another_machine_of_the_same_name_is_not_that_vm() -> None:
    world, a = a_world(pinned=None)
    world.run("w1", a)
    world.run("w2", vm("a", 9, 103))
    assert not [fault for fault in faults(world) if "runs on" in fault.what]


@pytest.mark.parametrize("where", ["w1", "w2"])
@pytest.mark.parametrize(
    ("vlan", "told"), [(101, True), (102, False)], ids=["one VLAN", "two VLANs"]
)
def test_two_with_one_mac_in_a_vlan_are_told(where: str, vlan: int, told: bool) -> None:
    world, a = a_world(pinned="w1")
    world.run("w1", a)
    foreign = vm("foreign", 77, vlan)
    world.run(where, foreign, mac=a.nics[0].mac)
    said = [fault for fault in faults(world) if "MAC" in fault.what]
    assert bool(said) is told
    for fault in said:
        assert (fault.vm, fault.worker) == ("foreign", where)
        assert "a:eth0 on w1" in fault.what
        assert fault.cure == f"end one: fab -H {where} stop --vm foreign"


def test_one_that_runs_with_a_mac_that_hosts_toml_gives_another_is_to_be_restarted() -> None:
    world, a = a_world(pinned="w1")
    world.run("w1", a)
    world.run("w1", vm("b", 2, 101), mac=a.nics[0].mac)
    (fault,) = faults(world)
    assert (fault.vm, fault.interface, fault.cure) == ("b", "eth0", "fab restart --vm b")
