"""`verify` of networks that are served: their gateways, and who gives leases."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from vmops.core.names import NetworkNames
from vmops.lab import Lab

from .course import NODE, Course
from .operator import Said

ROGUE = """
ovs-vsctl --if-exists del-port rogue0 -- add-port br-int rogue0 tag=100 \
  -- set Interface rogue0 type=internal external_ids:vmops-rogue=yes
ip netns add rogue
ip link set dev rogue0 netns rogue
ip -n rogue addr add 192.168.0.77/24 dev rogue0
ip -n rogue link set rogue0 up
ip netns exec rogue dnsmasq --conf-file=/dev/null --port=0 --interface=rogue0 --no-ping \
  --dhcp-range=192.168.0.200,192.168.0.210 --pid-file=/run/rogue.pid \
  --dhcp-leasefile=/run/rogue.leases
"""


@pytest.fixture(scope="module")
def served(wide_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Course]:
    """The first exercise, its four VMs plugged."""
    found = Course(wide_lab, tmp_path_factory.mktemp("served"))
    found.exercise(1)
    found.operator.ok("plug", "--vm", "*")
    yield found
    found.operator.ok("unplug", "--vm", "*")
    found.clean_up()


@contextmanager
def rogue(course: Course) -> Iterator[None]:
    run = course.operator.on
    run("worker1", "sh", "-ec", ROGUE)
    try:
        yield
    finally:
        run("worker1", "sh", "-c", "kill $(cat /run/rogue.pid); ip netns del rogue")
        run("worker1", "ovs-vsctl", "--if-exists", "del-port", "rogue0")


def fails(course: Course) -> Said:
    said = course.operator.fab("verify")
    assert said.code == 1, said
    return said


def test_gateways_and_leases_as_they_should_be(served: Course) -> None:
    said = served.operator.ok("verify", "--format", "json")
    pairs = [item for item in said.json if item["kind"] == "pair"]
    reach = {(p["from"], p["to"]) for p in pairs if p["found"] == "reach"}
    assert ("blue1:eth1", "blue:gateway") in reach
    assert ("blue:gateway", "blue2:eth1") in reach
    assert ("blue1:eth1", "green:gateway") not in reach
    assert len(pairs) == 30
    assert {s["service"]: s["found"] for s in said.json if s.get("network") == "blue"} == {
        **dict.fromkeys(("gateway", "dhcp", "dns", "internet"), "open"),
        **dict.fromkeys(("reach", "node", "kept"), "shut"),
    }
    text = served.operator.ok("verify")
    headings = "NETWORK  GATEWAY  DHCP  DNS  INTERNET  TO green  TO blue  NODE  KEPT"
    assert headings in text.out.splitlines()
    assert "of networks 8 services work and 6 ways are shut" in text.err


def test_a_second_dhcp_server_is_found(served: Course) -> None:
    with rogue(served):
        said = fails(served)
    expected = "192.168.0.77 serves DHCP in network blue, VLAN 100, and only 192.168.0.1 should"
    assert expected in said.err
    served.operator.ok("verify")


def test_a_gateway_with_a_wrong_tag_and_a_dead_dnsmasq(served: Course) -> None:
    port = NetworkNames("blue").port
    served.operator.on(NODE, "ovs-vsctl", "set", "Port", port, "tag=200")
    said = fails(served)
    assert f"blue: gateway: its port {port} is in VLAN 200, and hosts.toml has it in" in said.err
    assert "a lease in network blue" not in said.err
    served.operator.ok("net.up")
    served.operator.ok("verify")
    served.on_node("kill $(cut -d' ' -f1 /run/vmops-net/blue/process)")
    assert "a lease in network blue" in fails(served).err
    served.operator.ok("verify", "--no-services")
    served.operator.ok("net.up")
    served.operator.ok("verify")


def test_where_no_lease_is_wanted_an_offer_is_a_failure(served: Course) -> None:
    served.exercise(2)
    served.operator.ok("verify")
    with rogue(served):
        assert "serves DHCP in network blue, VLAN 100, where nobody should" in fails(served).err
