"""A rate at a TAP of a real worker: launched, changed by hand, told as drift, mended, removed.

The lab has the userspace datapath, where only what goes to a guest can be impaired, and a kernel
that may lack netem: what a real one does is tried in tests/integration/test_impairing.py.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from vmops.core.inventory.model import VM, Interface

from .operator import Operator, small_vm

ETH1 = Interface("eth1", vlan_id=101, rate_mbit=10, impaired="in")
TAP = "tap_1_eth1"
TRY_NETEM = ("unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")


def rate(operator: Operator) -> float | None:
    """What the kernel lets through to the guest, in Mbit/s; None without a bound."""
    said = operator.on("worker1", "tc", "-j", "qdisc", "show", "dev", TAP, "root")
    rates = [row["options"]["rate"] for row in json.loads(said) if row["kind"] == "tbf"]
    return rates[0] * 8 / 1e6 if rates else None


def change(operator: Operator, vm: VM, interface: Interface) -> None:
    operator.vms = [(replace(vm, interfaces=(interface,)), "worker1")]
    operator.write()


def plan(operator: Operator) -> tuple[int, list[Any]]:
    planned = operator.fab("plan", "--vm", "vm1", "--format", "json")
    (entry,) = planned.json
    return planned.code, [(f["field"], f["running"], f["live"]) for f in entry["fields"]]


def test_a_rate_is_set_changed_told_mended_and_gone(operator: Operator) -> None:
    vm = small_vm("vm1", 1)
    operator.add(vm)
    change(operator, vm, ETH1)
    operator.ok("launch", "--vm", "vm1")
    pid = operator.qemus("worker1")["vm1"]
    assert rate(operator) == 10
    assert plan(operator) == (0, [])

    said = operator.ok("net.impair", "--vm", "vm1:eth1", "--rate-mbit", "5", "--impaired", "in")
    assert "eth1 is now impaired: in: 5 Mbit/s" in said.err
    again = operator.ok("net.impair", "--vm", "vm1:eth1", "--rate-mbit", "5", "--impaired", "in")
    assert "was already" in again.err
    # The switch makes all its ports anew in its mind, and leaves what it finds there alone.
    internal = ("--", "set", "Interface", "p", "type=internal")
    operator.on("worker1", "ovs-vsctl", "add-port", "br-int", "p", *internal)
    operator.on("worker1", "ip", "link", "set", TAP, "down")
    operator.on("worker1", "ip", "link", "set", TAP, "up")
    operator.on("worker1", "ovs-vsctl", "del-port", "br-int", "p")
    assert rate(operator) == 5
    assert plan(operator) == (4, [("interfaces.eth1.impaired", "in: 5 Mbit/s", True)])
    (status,) = operator.ok("status", "--vm", "vm1", "--format", "json").json
    (nic,) = status["interfaces"]
    assert nic["plugged"]
    assert nic["impaired"]["in"]["rate_mbit"] == 5
    assert not any(nic["impaired"]["out"].values())

    operator.ok("up", "--vm", "vm1")
    assert rate(operator) == 10
    # A port that is made anew is opened anew, and a switch removes a queue that it finds then.
    operator.on("worker1", "ovs-vsctl", "del-port", TAP)
    operator.ok("up", "--vm", "vm1")
    assert rate(operator) == 10
    change(operator, vm, replace(ETH1, rate_mbit=20))
    operator.ok("up", "--vm", "vm1")
    assert rate(operator) == 20
    operator.ok("net.impair", "--vm", "vm1:eth1", "--clear")
    assert rate(operator) is None
    change(operator, vm, replace(ETH1, rate_mbit=None, impaired="both"))
    assert plan(operator) == (0, [])
    assert operator.qemus("worker1")["vm1"] == pid


def test_what_cannot_be_is_refused_in_one_sentence_and_nothing_is_done(operator: Operator) -> None:
    vm = small_vm("vm1", 1)
    operator.add(vm)
    change(operator, vm, replace(ETH1, impaired="both"))
    refused = operator.fab("launch", "--vm", "vm1")
    assert refused.code == 1
    assert "br-int is of the userspace datapath" in refused.err
    assert 'impaired = "in"' in refused.err
    assert operator.taps("worker1") == set()
    assert "traffic control" in operator.fab("doctor", "--worker", "worker1").out

    change(operator, vm, replace(ETH1, rate_mbit=None, delay_ms=20))
    has_netem = operator.lab.run("worker1", TRY_NETEM, check=False).returncode == 0
    launched = operator.fab("launch", "--vm", "vm1")
    assert launched.code == (0 if has_netem else 1)
    assert ("no netem (sch_netem)" in launched.err) is not has_netem
    assert ("modprobe sch_netem" in launched.err) is not has_netem
    assert operator.taps("worker1") == ({TAP} if has_netem else set())
