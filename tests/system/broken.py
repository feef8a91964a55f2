"""Things that are broken on purpose in a network, and mended again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from vmops.core.tools.ovs import LINK

from .operator import Operator

MARK = f"external_ids:{LINK}=pulled"

Break = Callable[[Operator], AbstractContextManager[None]]


@contextmanager
def wrong_tag(operator: Operator) -> Iterator[None]:
    operator.on("worker1", "ovs-vsctl", "set", "Port", "tap_1_eth1", "tag=102")
    yield


@contextmanager
def tap_down(operator: Operator) -> Iterator[None]:
    operator.on("worker1", "ip", "link", "set", "dev", "tap_1_eth1", "down")
    yield


@contextmanager
def link_pulled(operator: Operator) -> Iterator[None]:
    operator.on("worker1", "ovs-vsctl", "set", "Interface", "tap_1_eth1", MARK)
    try:
        yield
    finally:
        key = MARK.partition("=")[0].partition(":")[2]
        operator.on(
            "worker1", "ovs-vsctl", "remove", "Interface", "tap_1_eth1", "external_ids", key
        )


@contextmanager
def no_port(operator: Operator) -> Iterator[None]:
    operator.on("worker1", "ovs-vsctl", "del-port", "tap_1_eth1")
    yield


@contextmanager
def not_on_the_switch(operator: Operator) -> Iterator[None]:
    operator.lab.deny_vlans("worker2", [101])
    try:
        yield
    finally:
        operator.lab.deny_vlans("worker2", [])


@contextmanager
def not_on_the_trunk(operator: Operator) -> Iterator[None]:
    operator.on("worker2", "ovs-vsctl", "set", "Port", "trunk", "trunks=102")
    try:
        yield
    finally:
        operator.on("worker2", "ovs-vsctl", "clear", "Port", "trunk", "trunks")


@contextmanager
def switch_is_held(operator: Operator) -> Iterator[None]:
    pid = operator.on("worker2", "cat", "/run/openvswitch/ovs-vswitchd.pid").strip()
    operator.on("worker2", "kill", "-STOP", pid)
    try:
        yield
    finally:
        operator.on("worker2", "kill", "-CONT", pid)


@contextmanager
def switch_is_dead(operator: Operator) -> Iterator[None]:
    operator.lab.stop_daemon("worker2", "ovs-vswitchd")
    try:
        yield
    finally:
        operator.lab.start_daemon("worker2", "ovs-vswitchd")


@contextmanager
def a_flow_drops(operator: Operator) -> Iterator[None]:
    operator.on("worker1", "ovs-ofctl", "add-flow", "br-int", "in_port=tap_1_eth1,actions=drop")
    try:
        yield
    finally:
        operator.on("worker1", "ovs-ofctl", "del-flows", "br-int", "in_port=tap_1_eth1")


@contextmanager
def stranger(operator: Operator) -> Iterator[None]:
    add = ("--", "set", "Interface", "foreign0", "type=internal")
    operator.on("worker2", "ovs-vsctl", "add-port", "br-int", "foreign0", "tag=101", *add)
    try:
        yield
    finally:
        operator.on("worker2", "ovs-vsctl", "--if-exists", "del-port", "foreign0")


@contextmanager
def tags_of_its_own(operator: Operator) -> Iterator[None]:
    """A port that lets its guest choose the VLAN."""
    operator.on("worker1", "ovs-vsctl", "set", "Port", "tap_1_eth1", "vlan_mode=native-untagged")
    yield
