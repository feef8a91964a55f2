"""A network that is dead is not called alive; what is ours of it is mended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from vmops.core.script import functions
from vmops.core.tools import ovs
from vmops.lab import Lab

from .operator import Operator, small_vm

TAP = "tap_1_eth1"
DAEMON = "/run/openvswitch/ovs-vswitchd.pid"
DATABASE = "/run/openvswitch/ovsdb-server.pid"
FILE = "/var/lib/openvswitch/conf.db"


def sh(operator: Operator, script: str) -> str:
    return operator.on("worker1", "sh", "-c", script)


@contextmanager
def broken(operator: Operator, script: str, mending: str) -> Iterator[None]:
    sh(operator, script)
    try:
        yield
    finally:
        sh(operator, mending)


SECURE = "ovs-vsctl set-fail-mode br-int secure; ovs-ofctl del-flows br-int"
USUAL = "ovs-vsctl del-controller br-int -- del-fail-mode br-int"

BROKEN = [
    pytest.param(
        f"kill -STOP $(cat {DAEMON})", f"kill -CONT $(cat {DAEMON})", "SIGSTOP", id="hung"
    ),
    pytest.param(SECURE, USUAL, "br-int forwards nothing", id="secure"),
    pytest.param(
        f"{SECURE}; ovs-ofctl add-flow br-int actions=drop; "
        "ovs-vsctl set-controller br-int tcp:127.0.0.1:1",
        USUAL,
        "br-int forwards nothing",
        id="dead-controller",
    ),
    pytest.param(
        f"{SECURE}; ovs-vsctl set Bridge br-int protocols=OpenFlow14",
        f"{USUAL} -- clear Bridge br-int protocols",
        "br-int forwards nothing",
        id="another-version",
    ),
]


@pytest.mark.parametrize(("script", "mending", "words"), BROKEN)
def test_a_switch_that_passes_nothing_is_told_by_every_task(
    operator: Operator, script: str, mending: str, words: str
) -> None:
    operator.add(small_vm("vm1", 1, 101))
    operator.ok("launch", "--vm", "vm1")
    with broken(operator, script, mending):
        (status,) = operator.fab("status", "--format", "json").json
        (drift,) = status["drift"]
        assert drift["field"] == "interfaces.eth1.switch"
        assert words in drift["running"]
        assert status["interfaces"][0]["plugged"] is False
        assert "eth1:101 dead switch" in operator.fab("status").out
        for task in (("plan",), ("up",), ("launch", "--vm", "vm1")):
            said = operator.fab(*task)
            assert said.code == 1, said
            assert words in said.out + said.err
        assert operator.fab("-H", "worker1", "doctor").code == 1
    assert operator.ok("status", "--format", "json").json[0]["drift"] == []
    assert operator.ok("-H", "worker1", "doctor").code == 0


def test_a_switch_with_flows_of_its_controller_is_alive(operator: Operator) -> None:
    operator.add(small_vm("vm1", 1, 101))
    with broken(operator, f"{SECURE}; ovs-ofctl add-flow br-int actions=normal", USUAL):
        assert "warning" not in operator.ok("launch", "--vm", "vm1").err
        assert operator.ok("status", "--format", "json").json[0]["drift"] == []


def test_a_vm_that_starts_on_a_silent_bridge_is_warned_of(operator: Operator) -> None:
    operator.add(small_vm("vm1", 1, 101))
    with broken(operator, SECURE, USUAL):
        assert "br-int forwards nothing" in operator.ok("launch", "--vm", "vm1").err


def test_a_switch_that_was_killed_is_told(own_lab: Callable[..., Lab], tmp_path: object) -> None:
    operator = Operator(own_lab(), tmp_path)  # type: ignore[arg-type]
    operator.add(small_vm("vm1", 1, 101))
    operator.ok("launch", "--vm", "vm1")
    sh(operator, f"kill -9 $(cat {DAEMON})")
    (status,) = operator.fab("status", "--format", "json").json
    assert [item["running"] for item in status["drift"]] == ["ovs-vswitchd does not run"]
    said = operator.fab("up")
    assert (said.code, "ovs-vswitchd does not run" in said.err) == (1, True)


def test_a_port_without_its_tap_is_told_so(operator: Operator) -> None:
    """As a reboot leaves it."""
    for number in (1, 2):
        operator.add(small_vm(f"vm{number}", number, 101))
        operator.ok("plug", "--vm", f"vm{number}")
    sh(operator, f"ip link del {TAP}")
    assert "eth1:101 no TAP" in operator.ok("status").out
    said = operator.fab("-H", "worker1", "doctor")
    assert said.code == 1
    assert "a port of vm1 without a TAP" in said.err
    operator.ok("unplug", "--vm", "vm1")
    operator.ok("-H", "worker1", "doctor")


def test_a_tap_that_was_removed_under_a_running_vm_takes_a_restart(operator: Operator) -> None:
    """The kernel closes it for good: one that is made anew is not QEMU's, and leads nowhere."""
    operator.add(small_vm("vm1", 1, 101))
    operator.ok("launch", "--vm", "vm1")
    sh(operator, f"ip link del {TAP}")

    def all_say(fault: str, told: str) -> None:
        """What is wrong, and the one cure."""
        (status,) = operator.fab("status", "--format", "json").json
        assert status["interfaces"][0]["plugged"] is False
        assert f"eth1:101 {fault}" in operator.ok("status").out
        assert [one["field"] for one in status["drift"]] == ["interfaces.eth1.tap"]
        (plan,) = operator.fab("plan", "--format", "json").json
        assert plan["action"] == "restart"
        verify = operator.fab("verify")
        assert verify.code == 1
        assert told in verify.err
        for said in (verify, operator.fab("plug", "--vm", "vm1"), operator.fab("up")):
            assert (said.code, "fab restart --vm vm1" in said.err) == (1, True), said

    all_say("no TAP", f"it has no TAP {TAP}")
    assert TAP not in sh(operator, "ls /sys/class/net"), "nothing was made"
    sh(operator, f"ip tuntap add {TAP} mode tap && ip link set {TAP} up alias vmops:vm1")
    all_say("cut off", f"its QEMU does not have its TAP {TAP} open")
    operator.ok("restart", "--vm", "vm1", "--force")
    assert operator.ok("status", "--format", "json").json[0]["drift"] == []
    operator.ok("verify")


@pytest.mark.parametrize("vlan", [50, 101])
def test_a_fake_bridge_is_one(operator: Operator, vlan: int) -> None:
    """It is one VLAN of another bridge, and may be named where a bridge may."""
    operator.add(small_vm("vm1", 1, vlan))
    inventory = operator.hosts_toml.read_text()
    named = inventory.replace("[workers.worker1]", '[workers.worker1]\nbridge = "fake0"')
    with broken(operator, "ovs-vsctl add-br fake0 br-int 50", "ovs-vsctl del-br fake0"):
        operator.hosts_toml.write_text(named)
        operator.ok("-H", "worker1", "doctor")
        operator.ok("launch", "--vm", "vm1")
        assert sh(operator, f"ovs-vsctl get Port {TAP} tag") == f"{vlan}\n"
        assert operator.ok("status", "--format", "json").json[0]["drift"] == []
        assert operator.ok("launch", "--vm", "vm1").out.count("already runs") == 1
        sh(operator, f"ovs-vsctl set Port {TAP} tag=7")
        operator.ok("up")
        assert sh(operator, f"ovs-vsctl get Port {TAP} tag") == f"{vlan}\n"
        operator.ok("stop", "--vm", "vm1", "--force")


def test_a_database_is_asked_for_a_mark_only_where_one_was_made(operator: Operator) -> None:
    """OVSDB has all that it was told in its file: a grep costs a quarter of a question."""
    marks = [ovs.DRAINED, ovs.AWAY]
    stub = "vsctl() { echo asked; }"
    script = "\n".join(
        [functions.needed("drained_facts"), stub, f"drained_facts {' '.join(marks)}"]
    )
    forget = "ovs-appctl -t ovsdb-server ovsdb-server/compact"
    sh(operator, forget)
    for mark in marks:
        assert sh(operator, script) == ""
        sh(operator, f"ovs-vsctl set Open_vSwitch . external_ids:{mark}=vm1")
        assert sh(operator, script) == "asked\n"
        sh(operator, f"ovs-vsctl remove Open_vSwitch . external_ids {mark}")
        sh(operator, forget)
    away = f"mv {DATABASE} {DATABASE}.away"
    with broken(operator, away, f"mv {DATABASE}.away {DATABASE}"):
        assert sh(operator, script) == "asked\n", "it is not known who has OVSDB's file"
    # What a package left behind, where OVSDB has another: that knows of no mark.
    another = f"cp {FILE} {FILE}.copy; mv {FILE} {FILE}.real; mv {FILE}.copy {FILE}"
    with broken(operator, another, f"mv {FILE}.real {FILE}"):
        assert sh(operator, script) == "asked\n"
    assert sh(operator, script) == ""
