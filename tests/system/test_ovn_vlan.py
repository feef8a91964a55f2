"""A network that OVN carries and that is in a VLAN too: its guests meet machines of that VLAN."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .lab_helpers import wait_until, wait_until_said
from .ovn_site import Site, guests_of, lab_with_ovn

FILE = """
[networks.blue]
engine = "ovn"
{vlan}
subnet = "192.168.30.0/24"
dhcp = true
[networks.green]
engine = "ovn"
subnet = "192.168.20.0/24"
[vm_defaults]
ram_mb = 32
cores = 1
qcow_image = "~/vm_images/{{name}}.qcow2"
[vms.b1]
vm_id = 1
worker = "worker1"
interfaces = [{{ name = "eth0", network = "blue", address = "192.168.30.11" }}]
[vms.b2]
vm_id = 2
worker = "worker2"
interfaces = [{{ name = "eth0", network = "blue", address = "192.168.30.12" }}]
[vms.v1]
vm_id = 3
worker = "worker1"
interfaces = [{{ name = "eth0", vlan_id = 30, address = "192.168.30.21/24" }}]
[vms.v2]
vm_id = 4
worker = "worker2"
interfaces = [{{ name = "eth0", vlan_id = 30, address = "192.168.30.22/24" }}]
[vms.g2]
vm_id = 5
worker = "worker2"
interfaces = [{{ name = "eth0", network = "green" }}]
"""
IN_VLAN = ("b1", "b2", "v1", "v2")
MAPPED = ("ovs-vsctl", "get", "Open_vSwitch", ".", "external_ids:ovn-bridge-mappings")


def file(vlan: str = "vlan_id = 30") -> str:
    return FILE.format(vlan=vlan)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with lab_with_ovn(tmp_path_factory.mktemp("ovn")) as lab:
        found = Site(lab, tmp_path_factory.mktemp("site"))
        found.write(file())
        found.ok("ovn.setup")
        found.ok("net.up")
        yield found


def reached(site: Site) -> set[tuple[str, str]]:
    """Who reaches whom by `verify`, where it finds nothing wrong."""
    said = site.fab("verify", "--format", "json")
    pairs = [
        one
        for one in said.json
        if not said.code and one["kind"] == "pair" and one["found"] == "reach"
    ]
    return {(p["from"].partition(":")[0], p["to"].partition(":")[0]) for p in pairs}


def test_ovns_guests_and_those_of_the_vlan_reach_each_other(site: Site) -> None:
    for worker in ("worker1", "worker2"):
        assert "vmops-vlans:br-int" in site.on(worker, *MAPPED)
    addresses = {"b1": "192.168.30.11", "v2": "192.168.30.22"}
    with guests_of(site, tuple(addresses)) as guests:
        lease = guests["b1"].lease()
        assert lease is not None
        assert (lease["address"], lease["mtu"]) == ("192.168.30.11", 1500)
        for vm, address in addresses.items():
            guests[vm].configure(address)
        assert guests["b1"].pings(addresses["v2"], "-M", "do", "-s", "1414")
        assert guests["v2"].pings(addresses["b1"])
        assert guests["v2"].lease(seconds=2) is None, "OVN answers its own guests only"


def test_verify_knows_it_and_says_where_it_is_cut(site: Site) -> None:
    site.ok("plug", "--vm", "*")
    wanted = {(a, b) for a in IN_VLAN for b in IN_VLAN if a != b}
    try:
        wait_until(lambda: reached(site) == wanted, seconds=60)
        found = site.networks()["blue"]
        assert (found["engine"], found["vlan_id"], found["drift"]) == ("ovn", 30, [])
        said = site.ok("trace", "--from", "b1", "--to", "v2")
        assert "OVN gets into VLAN 30" in said.out
        assert (
            "from worker1 to worker2 in VLAN 30"
            in site.ok("trace", "--from", "b1", "--to", "b2").out
        )
        site.on(
            "worker2", *MAPPED[:1], "remove", *MAPPED[2:4], "external_ids", "ovn-bridge-mappings"
        )
        try:
            between = "VLAN 30 does not pass between"
            wait_until_said(lambda: site.fab("verify").err, between, seconds=60)
            # The first frame that is lost may be so while the controllers still change their flows.
            words = ("trace", "--from", "v1", "--to", "b2")
            lost = "does not come out at"
            wait_until_said(lambda: str(site.fab(*words)), lost, seconds=60)
        finally:
            site.ok("ovn.setup")
        # Without its line the network is OVN's alone again, and nothing joins the two.
        site.write(file(vlan=""))
        site.ok("net.up")
        wait_until(
            lambda: reached(site) == {("b1", "b2"), ("b2", "b1"), ("v1", "v2"), ("v2", "v1")},
            seconds=30,
        )
        site.write(file())
        (row,) = [
            r for r in site.fab("plan", "--format", "json").json if r.get("network") == "blue"
        ]
        assert "vlan" in {field["field"] for field in row["fields"]}
    finally:
        site.write(file())
        site.ok("unplug", "--vm", "*")


def test_networks_that_nobody_has_any_more_are_pruned_and_one_in_use_is_kept(site: Site) -> None:
    site.ok("plug", "--vm", "g2")
    site.write(file().partition("[networks.blue]")[0])
    try:
        said = site.ok("prune", "--format", "json").json
        found = {one["name"]: one["kept"] for one in said if one["kind"] == "network of OVN"}
        assert found["blue"] is None
        assert "its port g2:eth0 is up" in found["green"]
        site.nbctl("ls-add", "somebodys")
        site.ok("-H", "worker1", "prune", "--yes")
        switches = site.nbctl("--bare", "--columns=name", "list", "Logical_Switch").split()
        assert sorted(switches) == ["somebodys", "vmops-green"]
    finally:
        site.nbctl("--if-exists", "ls-del", "somebodys")
        site.write(file())
        site.ok("net.up")
        site.ok("unplug", "--vm", "g2")
