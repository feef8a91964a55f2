"""Networks that OVN carries: VMs on two workers, their leases, whom they reach, what goes wrong.

Guests are namespaces behind the TAPs that vmops has plugged, or QEMUs where that matters.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.guests import boot_sector_image, cache_directory
from vmops.lab import Lab

from .fleet_helpers import put
from .lab_helpers import wait_until
from .operator import Said
from .ovn_site import Guest, Site, guests_of, lab_with_ovn

NETWORKS = """
[networks.blue]
engine = "ovn"
subnet = "192.168.10.0/24"
dhcp = true
{blue}
[networks.green]
engine = "ovn"
subnet = "192.168.20.0/24"
[networks.red]
engine = "ovn"
subnet = "192.168.30.0/24"
[vm_defaults]
ram_mb = 32
cores = 1
qcow_image = "~/vm_images/{{name}}.qcow2"
"""
VMS = {
    "b1": ("worker1", "blue"),
    "b2": ("worker2", "blue"),
    "g2": ("worker2", "green"),
    "r2": ("worker2", "red"),
}
ALL = ",".join(VMS)


def file(blue: str = 'reach = ["green"]') -> str:
    vms = [
        f'[vms.{name}]\nvm_id = {number}\nworker = "{worker}"\n'
        f'interfaces = [{{ name = "eth0", network = "{network}" }}]\n'
        for number, (name, (worker, network)) in enumerate(VMS.items(), start=1)
    ]
    return NETWORKS.format(blue=blue).replace("{{name}}", "{name}") + "\n".join(vms)


class OwnSite(Site):
    """One whose file has the networks above, where nothing else is said."""

    def write(self, text: str | None = None, *, ovn: str | None = None) -> None:
        super().write(file() if text is None else text, ovn=ovn)


@pytest.fixture(scope="module")
def ovn_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with lab_with_ovn(tmp_path_factory.mktemp("ovn")) as lab:
        yield lab


@pytest.fixture(scope="module")
def shared(ovn_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> OwnSite:
    site = OwnSite(ovn_lab, tmp_path_factory.mktemp("site"))
    site.write()
    before = site.fab("doctor", "--format", "json")
    assert before.code == 1
    names = {c["name"] for one in before.json for c in one["checks"] if not c["ok"]}
    assert {"OVN's settings", "OVN's central", "ovn-controller"} <= names
    first = site.fab("plan")
    assert first.code == 1
    for worker in ("worker1", "worker2"):
        assert f"fab -H {worker} ovn.setup" in first.err, "and not: start it anew"
    assert "restart" not in first.err
    said = site.ok("ovn.setup", "--format", "json").json
    assert [(one["worker"], one["set"], one["connected"]) for one in said] == [
        ("worker1", ["listen", "bridge", "tunnels", "central", "outside", "uplink"], True),
        ("worker2", ["bridge", "tunnels", "central", "outside", "uplink"], True),
    ]
    disk = boot_sector_image(cache_directory()).read_bytes()
    for name, (worker, _) in VMS.items():
        put(site, worker, f"~/vm_images/{name}.qcow2", disk)
    return site


@pytest.fixture
def site(shared: OwnSite) -> Iterator[OwnSite]:
    """The networks as `file()` has them, and no VM plugged."""
    shared.write()
    shared.ok("net.up")
    yield shared
    shared.write()
    shared.ok("stop", "--vm", ALL, "--force")


@pytest.fixture
def guests(site: OwnSite) -> Iterator[dict[str, Guest]]:
    with guests_of(site, tuple(VMS)) as found:
        yield found


def test_workers_that_follow_the_central_have_nothing_left_to_set(site: OwnSite) -> None:
    found = {one["worker"]: one for one in site.fab("doctor", "--format", "json").json}
    for worker in ("worker1", "worker2"):
        checks = {check["name"]: check["ok"] for check in found[worker]["checks"]}
        assert checks["OVN"]
        assert checks["OVN's settings"]
        assert checks["ovn-controller"]
    said = site.ok("ovn.setup", "--format", "json").json
    assert [(one["set"], one["connected"]) for one in said] == [([], True)] * 2


def test_guests_have_leases_and_reach_whom_they_should(guests: dict[str, Guest]) -> None:
    leases = {vm: guests[vm].lease() for vm in ("b1", "b2")}
    for vm, lease in leases.items():
        assert lease is not None
        listed = guests[vm].site.ok("inventory", "--vm", vm, "--format", "json").json
        (card,) = listed["vms"][0]["values"]["interfaces"]
        assert lease["address"] == card["address"]
        assert lease["router"] == "192.168.10.1"
        assert lease["mtu"] == 1442
        guests[vm].configure(lease["address"], lease["router"])
    own = {vm: str(lease and lease["address"]) for vm, lease in leases.items()}
    for vm, network in (("g2", "20"), ("r2", "30")):
        listed = guests[vm].site.ok("inventory", "--vm", vm, "--format", "json").json
        own[vm] = listed["vms"][0]["values"]["interfaces"][0]["address"].partition("/")[0]
        guests[vm].configure(own[vm], f"192.168.{network}.1")
    one = guests["b1"]
    assert one.pings(own["b2"]), "to the other worker"
    assert one.pings(own["b2"], "-M", "do", "-s", "1414"), "1442 bytes, the largest that pass"
    assert one.pings(own["g2"]), "through the router"
    assert one.pings("192.168.10.1"), "to the gateway"
    assert not one.pings(own["r2"]), "a network that it does not reach"
    assert not guests["r2"].pings(own["b2"])
    assert guests["r2"].lease(seconds=2) is None, "a network without DHCP"
    # What its port does not have, a guest cannot take.
    one.inside("ip", "addr", "flush", "dev", "eth0")
    one.configure("192.168.10.250", "192.168.10.1")
    assert not one.pings(own["b2"]), "with an address that is not its own"


def test_a_network_that_reaches_another_no_more_is_cut_off_while_it_runs(
    site: OwnSite, guests: dict[str, Guest]
) -> None:
    lease = guests["b1"].lease()
    assert lease is not None
    guests["b1"].configure(lease["address"], "192.168.10.1")
    listed = site.ok("inventory", "--vm", "g2", "--format", "json").json
    other = listed["vms"][0]["values"]["interfaces"][0]["address"].partition("/")[0]
    guests["g2"].configure(other, "192.168.20.1")
    assert guests["b1"].pings(other)
    site.write(file(blue=""))
    assert site.nbctl("lr-list")
    site.ok("net.up")
    assert not guests["b1"].pings(other)
    assert site.nbctl("lr-list") == ""


def test_guests_start_when_their_ports_are_up(site: OwnSite) -> None:
    site.ok("up")
    ports = {k: v for one in site.networks().values() for k, v in one["ports"].items()}
    assert ports == {f"{vm}:eth0": "up" for vm in VMS}
    found = site.status_of("b1")
    assert (found["state"], found["drift"]) == ("running", [])
    (nic,) = found["interfaces"]
    assert (nic["bridge"], nic["ovn_port"], nic["plugged"]) == ("br-ovn", "b1:eth0", True)
    rows = site.ok("plan", "--format", "json").json
    assert {row["action"] for row in rows} == {"nothing"}


def test_a_port_that_ovn_does_not_have_or_has_for_another_worker_is_no_network(
    site: OwnSite,
) -> None:
    site.ok("net.down", "--network", "red")
    said = site.fab("launch", "--vm", "r2")
    assert said.code == 1
    assert "OVN has no port r2:eth0: fab net.up makes it" in said.err
    site.ok("net.up")
    site.nbctl("set", "Logical_Switch_Port", "r2:eth0", "options:requested-chassis=worker1")
    said = site.fab("launch", "--vm", "r2")
    assert "OVN has port r2:eth0 for the worker worker1, and not for this one" in said.err
    assert site.status_of("r2")["state"] == "stopped"
    rows = {row.get("network"): row for row in site.fab("plan", "--format", "json").json}
    assert [field["field"] for field in rows["red"]["fields"]] == [
        "port r2:eth0.options.requested-chassis"
    ]
    site.ok("net.up")
    site.ok("launch", "--vm", "r2")


def test_a_tap_that_was_made_anew_is_alive(site: OwnSite) -> None:
    site.ok("plug", "--vm", "b2")
    tap = site.status_of("b2")["interfaces"][0]["tap"]
    site.on("worker2", "ip", "link", "del", tap)
    wait_until(
        lambda: (
            "true"
            in site.on(
                "worker2", "ovs-vsctl", "get", "Interface", tap, "external_ids:ovn-installed"
            )
        )
    )
    site.ok("plug", "--vm", "b2")
    guest = Guest(site, "b2")
    try:
        assert guest.lease() is not None
    finally:
        guest.leave()


def test_it_is_told_when_a_controller_has_gone_and_again_when_it_is_back(site: OwnSite) -> None:
    site.ok("up", "--vm", "b1,b2,g2")
    lab: Lab = site.lab
    lab.stop_daemon("worker2", "ovn-controller")
    try:
        found = site.status_of("b2")
        (nic,) = found["interfaces"]
        assert nic["plugged"] is False
        assert nic["port"]["error"] is None
        assert [d["running"] for d in found["drift"]] == ["ovn-controller does not run"]
        assert "OVN is down" in site.ok("status", "--vm", "b2").out
        assert site.status_of("b1")["drift"] == [], "the other worker's goes on"
        said: Said = site.fab("plan")
        assert said.code != 0
        assert "ovn-controller does not run" in said.out + said.err
        refused = site.fab("launch", "--vm", "r2")
        assert refused.code == 1
        assert "ovn-controller does not run" in refused.err
        # The change is made: a controller that is silent is not waited for.
        site.write(file(blue="mtu = 1400"))
        site.ok("net.up")
        site.write()
        site.ok("net.up")
    finally:
        lab.start_daemon("worker2", "ovn-controller")
    wait_until(lambda: site.status_of("b2")["drift"] == [], seconds=30)
    site.ok("launch", "--vm", "r2")


def test_what_others_have_in_ovn_is_left_alone_and_ours_goes(site: OwnSite) -> None:
    theirs = site.nbctl("create", "Logical_Switch", "name=vmops-blue")
    site.nbctl(
        "--",
        "lr-add",
        "theirs",
        "--",
        "lrp-add",
        "theirs",
        "out",
        "0a:00:00:00:00:01",
        "10.9.9.1/24",
    )
    try:
        before = site.nbctl("show", "theirs")
        site.write(file(blue='mtu = 1400\nreach = ["green"]'))
        site.ok("net.up")
        assert (
            site.nbctl("--bare", "--columns=ports", "find", "Logical_Switch", "external_ids={}")
            == ""
        )
        site.nbctl("lsp-set-addresses", "b1:eth0", "unknown")
        planned = site.fab("plan", "--format", "json").json
        (row,) = [r for r in planned if r.get("network") == "blue"]
        assert [field["field"] for field in row["fields"]] == ["port b1:eth0.addresses"]
        site.ok("net.up")
        assert "unknown" not in site.nbctl("lsp-get-addresses", "b1:eth0")
        said = site.ok("net.down", "--format", "json").json
        assert {one["network"]: one["changed"] for one in said} == dict.fromkeys(
            ("blue", "green", "red"), True
        )
        tables = ("Logical_Switch_Port", "DHCP_Options", "Logical_Router_Policy")
        assert [site.nbctl("--bare", "--columns=_uuid", "list", table) for table in tables] == [
            ""
        ] * 3
        assert site.nbctl("show", "theirs") == before
        assert site.nbctl("--bare", "--columns=name", "list", "Logical_Switch") == "vmops-blue"
    finally:
        site.nbctl("--if-exists", "lr-del", "theirs", "--", "destroy", "Logical_Switch", theirs)


def test_vlans_beside_ovn_go_on(site: OwnSite) -> None:
    vm = (
        '[vms.v1]\nvm_id = 9\nworker = "worker1"\ninterfaces = [{ name = "eth0", vlan_id = 101 }]\n'
    )
    site.write(file() + vm)
    try:
        site.ok("plug", "--vm", "v1,b1")
        words = ("ovs-vsctl", "--timeout=10", "get", "Port", "tap_9_eth0", "tag")
        assert site.on("worker1", *words).strip() == "101"
        assert site.on("worker1", "ovs-vsctl", "port-to-br", "tap_9_eth0").strip() == "br-int"
        assert site.on("worker1", "ovs-vsctl", "get-fail-mode", "br-int").strip() == ""
        site.ok("verify")
    finally:
        site.ok("unplug", "--vm", "v1")


def test_a_network_moves_to_ovn_and_back_by_its_line(site: OwnSite) -> None:
    """While its guests run: their packets are of the size that OVN carries before, too, or they
    would have to be told."""
    tap = "tap_4_eth0"
    site.ok("launch", "--vm", "r2")
    pid = site.status_of("r2")["pid"]
    red = '[networks.red]\nengine = "ovn"'
    assert red in file()
    for text, bridge in (
        (file().replace(red, "[networks.red]\nvlan_id = 130\nmtu = 1442"), "br-int"),
        (file(), "br-ovn"),
    ):
        site.write(text)
        site.ok("up", "--vm", "r2")
        assert site.on("worker2", "ovs-vsctl", "port-to-br", tap).strip() == bridge
        found = site.status_of("r2")
        assert (found["pid"], found["drift"]) == (pid, [])


def test_what_cannot_be_done_with_it_yet_is_refused(site: OwnSite) -> None:
    said = site.fab("export", "--format", "libvirt", "--vm", "b1")
    assert (said.code, "b1 is in a network that OVN carries" in said.err) == (2, True)
