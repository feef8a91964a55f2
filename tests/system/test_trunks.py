"""Interfaces with several VLANs: how their ports are made, read back, changed and told."""

from __future__ import annotations

from dataclasses import replace

from vmops.core.inventory.model import Interface

from .operator import Operator, small_vm

TAP = "tap_1_eth1"


def columns(operator: Operator) -> list[str]:
    words = ("ovs-vsctl", "--timeout=10", "get", "Port", TAP, "tag", "trunks", "vlan_mode")
    return operator.on("worker1", *words).splitlines()


def with_vlans(operator: Operator, *, vlan_id: int | None = None, trunks: tuple[int, ...]) -> None:
    interface = Interface("eth1", vlan_id=vlan_id, trunks=trunks)
    ((vm, worker),) = operator.vms or [(small_vm("vm1", 1, 101), "worker1")]
    operator.vms.clear()
    operator.add(replace(vm, interfaces=(interface,)), worker, image=False)


def test_a_trunk_is_made_changed_and_told(operator: Operator) -> None:
    with_vlans(operator, trunks=(102, 101))
    operator.ok("plug", "--vm", "vm1")
    assert columns(operator) == ["[]", "[101, 102]", "trunk"]
    (status,) = operator.ok("status", "--vm", "vm1", "--format", "json").json
    assert status["interfaces"][0]["plugged"]
    assert status["interfaces"][0]["trunks"] == [101, 102]
    with_vlans(operator, vlan_id=9, trunks=(101,))
    (status,) = operator.ok("status", "--vm", "vm1", "--format", "json").json
    assert not status["interfaces"][0]["plugged"]
    operator.ok("plug", "--vm", "vm1")
    assert columns(operator) == ["9", "[101]", "native-untagged"]
    with_vlans(operator, vlan_id=9, trunks=())
    operator.ok("plug", "--vm", "vm1")
    assert columns(operator) == ["9", "[]", "[]"]


def test_a_mode_that_somebody_has_changed_is_mended(operator: Operator) -> None:
    with_vlans(operator, vlan_id=9, trunks=(101,))
    operator.ok("plug", "--vm", "vm1")
    operator.on("worker1", "ovs-vsctl", "clear", "Port", TAP, "vlan_mode")
    assert "was already" not in operator.ok("plug", "--vm", "vm1").err
    assert columns(operator) == ["9", "[101]", "native-untagged"]
