"""Networks that OVN carries and their way out, by a gateway and by the next one when it dies.

The lab's internet is one host of TEST-NET-3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

import pytest

from vmops.lab.layout import OUTSIDE_HOST, OVN_OUTSIDE, SWITCH

from .lab_helpers import wait_until
from .operator import Said
from .ovn_site import Guest, Site, guests_of, lab_with_ovn

GATEWAYS = f"""
northbound = "worker1"
gateways = ["worker2:provider", "worker1:provider"]
outside = "{OVN_OUTSIDE}/24"
next_hop = "{OUTSIDE_HOST}"
name_servers = ["{OUTSIDE_HOST}"]
"""
NETWORKS = """
[networks.blue]
engine = "ovn"
subnet = "192.168.10.0/24"
dhcp = true
internet = {internet}
[networks.green]
engine = "ovn"
subnet = "192.168.20.0/24"
dhcp = true
{green}
[vm_defaults]
ram_mb = 32
cores = 1
qcow_image = "~/vm_images/{{name}}.qcow2"
[vms.b1]
vm_id = 1
worker = "worker3"
interfaces = [{{ name = "eth0", network = "blue" }}]
[vms.g1]
vm_id = 2
worker = "worker1"
interfaces = [{{ name = "eth0", network = "green" }}]
"""


Break = Callable[[Site], AbstractContextManager[None]]


def file(internet: str = "true", green: str = "") -> str:
    return NETWORKS.format(internet=internet, green=green).replace("{{name}}", "{name}")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with lab_with_ovn(tmp_path_factory.mktemp("ovn"), workers=3) as lab:
        found = Site(lab, tmp_path_factory.mktemp("site"))
        found.write(file(), ovn=GATEWAYS)
        yield found


@pytest.fixture
def ready(site: Site) -> Site:
    """The workers follow the central, and it has the networks."""
    site.write(file(), ovn=GATEWAYS)
    site.ok("ovn.setup")
    site.ok("net.up")
    return site


@pytest.fixture
def guests(ready: Site) -> Iterator[dict[str, Guest]]:
    with guests_of(ready, ("b1", "g1")) as found:
        yield found


def test_a_gateway_is_set_up_and_a_device_with_an_address_is_not_taken(site: Site) -> None:
    site.write(file(), ovn=GATEWAYS.replace("worker2:provider", "worker2:uplink"))
    said = site.fab("ovn.setup")
    assert said.code == 1
    assert "uplink has an address of its own, 203.0.113.2/24" in said.err
    site.write(file(), ovn=GATEWAYS.replace("worker2:provider", "worker2:eth9"))
    assert "there is no device and no bridge eth9" in site.fab("ovn.setup").err
    site.write(file(), ovn=GATEWAYS)
    checks = {
        c["name"]: c for one in site.fab("doctor", "--format", "json").json for c in one["checks"]
    }
    assert "OVN's way out" in checks
    # A network may not have a gateway that would be none.
    said = site.fab("net.up", "--network", "blue")
    assert said.code == 1
    assert "OVN does not know worker2, a gateway" in said.err
    assert site.nbctl("lr-list") == ""
    site.ok("ovn.setup")
    words = ("ovs-vsctl", "get", "Open_vSwitch", ".", "external_ids:ovn-bridge-mappings")
    assert site.on("worker2", *words).strip() == '"vmops-outside:br-vmops"'
    assert site.on("worker2", "ovs-vsctl", "list-ports", "br-vmops").split() == ["provider"]
    said = site.ok("ovn.setup", "--format", "json").json
    assert [(one["set"], one["connected"]) for one in said] == [([], True)] * 3
    found = site.fab("doctor", "--format", "json").json
    assert [c["ok"] for one in found for c in one["checks"] if "OVN" in c["name"]] == [True] * 9
    site.ok("net.up")


def test_guests_get_out_where_they_may_and_nobody_gets_in(
    site: Site, guests: dict[str, Guest]
) -> None:
    blue, green = guests["b1"], guests["g1"]
    lease = blue.lease()
    assert lease is not None
    blue.configure(lease["address"], lease["router"])
    wait_until(lambda: blue.pings(OUTSIDE_HOST), seconds=20)
    # Told of no router, it tries all the same.
    other = green.lease()
    assert other is not None
    assert "router" not in other
    green.configure(other["address"], "192.168.20.1")
    assert not green.pings(OUTSIDE_HOST)
    assert not green.pings(lease["address"])
    # Outside only the router's address is seen: a guest's own leads nowhere.
    site.lab.run(SWITCH, ("ip", "route", "replace", "192.168.0.0/16", "via", OVN_OUTSIDE))
    try:
        words = ("ping", "-n", "-q", "-c", "2", "-i", "0.3", "-W", "1", lease["address"])
        assert site.lab.run(SWITCH, words, check=False).returncode != 0
    finally:
        site.lab.run(SWITCH, ("ip", "route", "del", "192.168.0.0/16"))
    assert blue.pings(OUTSIDE_HOST)
    # The way of the tunnels is that of workers too.
    assert not blue.pings("198.51.100.1")


FORWARD = 'forward = [{ port = 8022, to = "g1:22" }]\n'


def test_a_port_outside_leads_to_a_guest_that_gets_out_by_nothing_else(
    ready: Site, guests: dict[str, Guest]
) -> None:
    site, green = ready, guests["g1"]
    site.write(file(green=FORWARD), ovn=GATEWAYS)
    site.ok("net.up")
    assert "forward" in site.networks()["green"]["services"]
    lease = green.lease()
    assert lease is not None
    assert lease["router"] == "192.168.20.1"
    green.configure(lease["address"], lease["router"])
    with green.serving(22, "this is g1"), green.serving(23, "nobody's"):
        wait_until(lambda: site.heard(SWITCH, OVN_OUTSIDE, 8022) == "this is g1", seconds=20)
        assert site.heard(SWITCH, OVN_OUTSIDE, 23) == ""
        assert site.heard(SWITCH, OVN_OUTSIDE, 22) == ""
        assert not green.pings(OUTSIDE_HOST)
        # Another port of the guest, without the network being cut for a moment.
        moved = FORWARD.replace("g1:22", "g1:23")
        site.write(file(green=moved), ovn=GATEWAYS)
        (row,) = [
            r for r in site.fab("plan", "--format", "json").json if r.get("network") == "green"
        ]
        fields = {field["field"] for field in row["fields"]}
        assert f"forward tcp 8022.vips.{OVN_OUTSIDE}:8022" in fields
        site.ok("net.up")
        # A change waits for ovn-northd, and not for controllers.
        wait_until(lambda: site.heard(SWITCH, OVN_OUTSIDE, 8022) == "nobody's", seconds=20)
        site.write(file(), ovn=GATEWAYS)
        site.ok("net.up")
        wait_until(lambda: site.heard(SWITCH, OVN_OUTSIDE, 8022) == "", seconds=20)
    assert site.nbctl("list", "Load_Balancer") == ""


def test_names_of_vms_are_answered_whoever_is_asked(ready: Site, guests: dict[str, Guest]) -> None:
    site, green, blue = ready, guests["g1"], guests["b1"]
    site.write(
        file(green='dns = true\nreach = ["blue"]', internet="true\ndns = true"), ovn=GATEWAYS
    )
    site.ok("net.up")
    own = {}
    for guest in (green, blue):
        lease = guest.lease()
        assert lease is not None
        own[guest.vm] = lease["address"]
        guest.configure(lease["address"], lease["router"])
    wait_until(lambda: green.asks("192.168.20.1", "g1") == [own["g1"]], seconds=20)
    assert green.asks("192.168.20.1", "b1") == [own["b1"]]
    assert green.asks("192.168.20.1", "vm9") is None, "OVN is silent about what it does not know"
    # Where guests get out they are told of who knows the rest; OVN answers in his place.
    wait_until(lambda: blue.asks(OUTSIDE_HOST, "G1") == [own["g1"]], seconds=20)
    listed = site.ok("inventory", "--vm", "b1").out
    assert f'dns = "{OUTSIDE_HOST}"' not in listed, "by DHCP, and not written"
    options = site.nbctl(
        "--bare", "--columns=options", "find", "DHCP_Options", "cidr=192.168.10.0/24"
    )
    assert f"dns_server={OUTSIDE_HOST}" in options
    site.write(file(), ovn=GATEWAYS)
    site.ok("net.up")
    wait_until(lambda: green.asks("192.168.20.1", "g1") is None, seconds=20)
    assert site.nbctl("list", "DNS") == ""


def proof(site: Site) -> tuple[Said, dict[tuple[str, str], str]]:
    """What `verify` says, and what guests of each network are found to get."""
    said = site.fab("verify", "--format", "json")
    found = {
        (one["network"], one["service"]): one["found"]
        for one in said.json
        if one["kind"] == "service"
    }
    return said, found


@contextmanager
def gateways_down(site: Site) -> Iterator[None]:
    """Nothing leaves by the gateways' devices."""
    for worker in ("worker1", "worker2"):
        site.on(worker, "ip", "link", "set", "dev", "provider", "down")
    yield
    for worker in ("worker1", "worker2"):
        site.on(worker, "ip", "link", "set", "dev", "provider", "up")


@contextmanager
def let_out(site: Site) -> Iterator[None]:
    """Somebody lets green out, whose guests are to stay inside."""
    router = site.nbctl("--bare", "--columns=_uuid", "list", "Logical_Router")
    match = "ip4.src == 192.168.20.0/24"
    site.nbctl("lr-policy-add", router, "300", match, "allow")
    site.nbctl("lr-nat-add", router, "snat", OVN_OUTSIDE, "192.168.20.0/24")
    yield
    site.nbctl("lr-policy-del", router, "300", match)
    site.nbctl("lr-nat-del", router, "snat", "192.168.20.0/24")


@contextmanager
def another_name(site: Site) -> Iterator[None]:
    """Somebody has given a name another address."""
    (names,) = site.nbctl(
        "--bare", "--columns=_uuid", "find", "DNS", "external_ids:vmops-net=blue"
    ).split()
    site.nbctl("set", "DNS", names, 'records:b1="192.168.10.99"')
    yield


BROKEN: tuple[tuple[Break, tuple[str, str], str, str], ...] = (
    (gateways_down, ("blue", "internet"), "shut", "network blue: its guests do not get out"),
    (let_out, ("green", "internet"), "open", "its guests get out by provider of worker2"),
    (another_name, ("blue", "dns"), "open", "b1 is said to be 192.168.10.99, not "),
)


def is_told(site: Site, passage: tuple[str, str], found: str, words: str) -> bool:
    said, services = proof(site)
    return services[passage] == found and words in said.err


def test_verify_tells_of_names_and_of_the_way_out(ready: Site) -> None:
    site = ready
    both = {"green": 'dns = true\nreach = ["blue"]', "internet": "true\ndns = true"}
    site.write(file(**both), ovn=GATEWAYS)
    site.ok("net.up")
    site.ok("plug", "--vm", "b1,g1")
    try:
        wait_until(lambda: proof(site)[0].code == 0, seconds=60)
        assert proof(site)[1] == {
            **dict.fromkeys(
                [(name, each) for name in ("blue", "green") for each in ("gateway", "dhcp", "dns")],
                "open",
            ),
            ("blue", "internet"): "open",
            ("blue", "kept"): "shut",
            ("green", "internet"): "shut",
        }
        for broken, passage, found, words in BROKEN:
            with broken(site):
                wait_until(partial(is_told, site, passage, found, words), seconds=30)
            site.ok("net.up")
    finally:
        site.write(file(**both), ovn=GATEWAYS)
        site.ok("unplug", "--vm", "b1,g1")


def test_another_gateway_takes_over(site: Site, guests: dict[str, Guest]) -> None:
    """Which takes a third worker: a gateway that hears from no other takes itself for cut off."""
    blue = guests["b1"]
    lease = blue.lease()
    assert lease is not None
    blue.configure(lease["address"], lease["router"])
    wait_until(lambda: blue.pings(OUTSIDE_HOST), seconds=30)
    site.lab.stop_daemon("worker2", "ovs-vswitchd")
    try:
        wait_until(lambda: blue.pings(OUTSIDE_HOST), seconds=60)
    finally:
        site.lab.start_daemon("worker2", "ovs-vswitchd")


def test_a_way_out_that_is_broken_is_told_and_mended_and_goes_with_the_last(ready: Site) -> None:
    site = ready
    route = site.nbctl("--bare", "--columns=_uuid", "list", "Logical_Router_Static_Route")
    router = site.nbctl("--bare", "--columns=_uuid", "list", "Logical_Router")
    site.nbctl("remove", "Logical_Router", router, "static_routes", route)
    (row,) = [r for r in site.fab("plan", "--format", "json").json if r.get("network") == "blue"]
    assert [field["field"] for field in row["fields"]] == ["default route"]
    assert [str(d) for d in site.networks()["green"]["drift"]] == []
    site.ok("net.up", "--network", "green")
    assert site.nbctl("list", "Logical_Router_Static_Route") == "", "another network's way out"
    site.ok("net.up")
    assert site.nbctl("list", "Logical_Router_Static_Route") != ""
    site.write(file(internet="false"), ovn=GATEWAYS)
    site.ok("net.up")
    assert site.nbctl("lr-list") == ""
    switches = site.nbctl("--bare", "--columns=name", "list", "Logical_Switch").split()
    assert sorted(switches) == ["vmops-blue", "vmops-green"]
