"""`verify` and `trace` in networks of OVN, on real workers: what is as it should be, and what was
broken on purpose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from vmops.lab import Lab
from vmops.lab.daemons import DaemonName

from .lab_helpers import wait_until
from .operator import Said
from .ovn_site import Site, lab_with_ovn
from .test_ovn import ALL, OwnSite, file

Break = Callable[[Site], AbstractContextManager[None]]
B2 = "tap_2_eth0"
REACH = {("b1", "b2"), ("b1", "g2"), ("b2", "g2")}
REACH |= {(b, a) for a, b in REACH}
CUT = {pair for pair in REACH if "b2" in pair}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A lab of two workers with OVN, and its four VMs plugged: see `VMS` of test_ovn."""
    with lab_with_ovn(tmp_path_factory.mktemp("ovn")) as lab:
        found = OwnSite(lab, tmp_path_factory.mktemp("site"))
        found.write()
        found.ok("ovn.setup")
        found.ok("net.up")
        found.ok("plug", "--vm", ALL)
        yield found


def proof(site: Site) -> tuple[Said, dict[tuple[str, str], str]]:
    said = site.fab("verify", "--format", "json")
    pairs = [item for item in said.json if item["kind"] == "pair"]
    names = [(p["from"].partition(":")[0], p["to"].partition(":")[0]) for p in pairs]
    return said, {name: pair["found"] for name, pair in zip(names, pairs, strict=True)}


def reached(found: dict[tuple[str, str], str]) -> set[tuple[str, str]]:
    return {pair for pair, how in found.items() if how == "reach"}


def listeners(site: Site) -> str:
    return "".join(
        site.on(name, "sh", "-c", "ls -A /run/vmops | grep heard || true")
        for name in ("worker1", "worker2")
    )


def test_who_reaches_whom_and_what_ovn_answers(site: Site) -> None:
    said, found = proof(site)
    assert said.code == 0, said.err
    assert len(found) == 12
    assert set(found.values()) == {"reach", "apart"}
    assert reached(found) == REACH
    services = {
        (item["network"], item["service"]): item["found"]
        for item in said.json
        if item["kind"] == "service"
    }
    assert services == {
        ("blue", "gateway"): "open",
        ("blue", "dhcp"): "open",
        ("green", "gateway"): "open",
        ("green", "dhcp"): "shut",
        ("red", "dhcp"): "shut",
        **{(name, "dns"): "shut" for name in ("blue", "green", "red")},
        **{(name, "internet"): "shut" for name in ("blue", "green", "red")},
    }
    assert all(item["ok"] and item["error"] is None for item in said.json)
    text = site.ok("verify", "--no-services")
    rows = [line.split() for line in text.out.splitlines()]
    assert rows[1] == ["1", "b1:eth0", "blue", "worker1", "-", "o", "o", "."]
    assert "12 pairs as hosts.toml has them: 6 reach each other, 6 are kept apart" in text.err
    assert "no frames were sent" not in text.err
    assert listeners(site) == ""


def test_a_tap_that_nobody_has_open_is_given_back_when_it_was_listened_on(site: Site) -> None:
    """Its VM could not start otherwise."""
    assert site.status_of("b1")["state"] == "stopped"
    site.ok("verify", "--vm", "b1")
    carrier = ("cat", "/sys/class/net/tap_1_eth0/carrier")
    wait_until(lambda: site.on("worker1", *carrier).strip() == "0")


@contextmanager
def no_row(site: Site) -> Iterator[None]:
    site.nbctl("lsp-del", "b2:eth0")
    yield
    site.ok("net.up")


@contextmanager
def for_another_worker(site: Site) -> Iterator[None]:
    site.nbctl("set", "Logical_Switch_Port", "b2:eth0", "options:requested-chassis=worker1")
    yield
    site.ok("net.up")


@contextmanager
def of_another_address(site: Site) -> Iterator[None]:
    site.nbctl("lsp-set-port-security", "b2:eth0", "52:54:00:00:02:01 192.168.10.251")
    yield
    site.ok("net.up")


@contextmanager
def tap_down(site: Site) -> Iterator[None]:
    site.on("worker2", "ip", "link", "set", B2, "down")
    yield
    site.on("worker2", "ip", "link", "set", B2, "up")


@contextmanager
def no_port(site: Site) -> Iterator[None]:
    site.on("worker2", "ovs-vsctl", "del-port", B2)
    yield
    site.ok("plug", "--vm", "b2")


@contextmanager
def bound_as_another(site: Site) -> Iterator[None]:
    site.on("worker2", "ovs-vsctl", "set", "Interface", B2, "external_ids:iface-id=nobody")
    yield
    site.ok("plug", "--vm", "b2")


@contextmanager
def two_that_fight(site: Site) -> Iterator[None]:
    twin = ("--", "set", "Interface", "twin", "type=internal", "external_ids:iface-id=b2:eth0")
    site.on("worker1", "ovs-vsctl", "add-port", "br-ovn", "twin", *twin)
    yield
    site.on("worker1", "ovs-vsctl", "del-port", "twin")


@contextmanager
def no_controller(site: Site) -> Iterator[None]:
    lab: Lab = site.lab
    lab.stop_daemon("worker2", "ovn-controller")
    yield
    lab.start_daemon("worker2", "ovn-controller")
    wait_until(lambda: site.status_of("b2")["drift"] == [], seconds=30)


@contextmanager
def no_tunnel(site: Site) -> Iterator[None]:
    lab: Lab = site.lab
    lab.deny_vlans("worker2", [4094])
    yield
    lab.deny_vlans("worker2", [])


@contextmanager
def no_leases(site: Site) -> Iterator[None]:
    site.nbctl("clear", "Logical_Switch_Port", "b1:eth0", "dhcpv4_options")
    yield
    site.ok("net.up")


@contextmanager
def routed_to_red(site: Site) -> Iterator[None]:
    """A way that nobody has asked for: red gets a port of the router, and the router lets it."""
    gateway = ("type=router", "addresses=router", "options:router-port=wrong")
    site.nbctl(
        *("--", "lrp-add", "vmops", "wrong", "0a:00:00:00:00:09", "192.168.30.1/24"),
        *("--", "lsp-add", "vmops-red", "wrong-gateway"),
        *("--", "set", "Logical_Switch_Port", "wrong-gateway", *gateway),
        *("--", "lr-policy-add", "vmops", "500", "ip4.dst == 192.168.30.0/24", "allow"),
    )
    yield
    site.nbctl(
        *("--", "lr-policy-del", "vmops", "500", "ip4.dst == 192.168.30.0/24"),
        *("--", "lrp-del", "wrong", "--", "lsp-del", "wrong-gateway"),
    )


@pytest.mark.parametrize(
    ("broken", "wanted", "words"),
    [
        (no_row, REACH - CUT, "worker2: b2: eth0: OVN has no port b2:eth0"),
        (
            for_another_worker,
            REACH - CUT,
            "worker2: b2: eth0: OVN has its port otherwise than hosts.toml:"
            " options.requested-chassis",
        ),
        (
            of_another_address,
            REACH - CUT,
            "worker2: b2: eth0: OVN has its port otherwise than hosts.toml: port_security",
        ),
        (tap_down, REACH - CUT, "worker2: b2: eth0: its TAP tap_2_eth0 is down"),
        (no_port, REACH - CUT, "worker2: b2: eth0: its TAP tap_2_eth0 is no port of the switch"),
        (
            bound_as_another,
            REACH - CUT,
            "worker2: b2: eth0: its port tap_2_eth0 is bound to OVN port nobody",
        ),
        (two_that_fight, REACH, "worker2: b2: eth0: port twin of worker1 says that it is b2:eth0"),
        (no_controller, None, "worker2: ovn-controller does not run"),
        (
            no_tunnel,
            {("b2", "g2"), ("g2", "b2")},
            "OVN's tunnel from worker1 to worker2 carries nothing",
        ),
        (
            no_leases,
            REACH,
            "worker1: b1: eth0: OVN has its port otherwise than hosts.toml: dhcpv4_options",
        ),
        (
            routed_to_red,
            REACH | {(one, "r2") for one in ("b1", "b2", "g2")},
            "its packets come to r2:eth0, and hosts.toml keeps them apart",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_thing_that_is_broken_on_purpose_is_found_and_named(
    site: Site, broken: Break, wanted: set[tuple[str, str]] | None, words: str
) -> None:
    with broken(site):
        said, found = proof(site)
    assert said.code == 1
    # What a controller leaves when it goes depends on how it went.
    assert wanted is None or reached(found) == wanted
    assert words in said.err
    faults = [item for item in said.json if item["kind"] == "fault"]
    is_leak = broken is routed_to_red
    assert len(faults) == (3 if is_leak else 1), "each cause once"


def test_all_of_it_was_mended(site: Site) -> None:
    wait_until(lambda: proof(site)[0].code == 0, seconds=30)


def test_a_worker_that_cannot_be_asked_is_3_and_its_pairs_are_unknown(site: Site) -> None:
    lab: Lab = site.lab
    lab.fault("worker2", "drop")
    try:
        said, found = proof(site)
    finally:
        lab.heal("worker2")
    assert said.code == 3
    assert set(found.values()) == {"unknown"}


def test_a_dry_run_shows_what_would_be_sent_and_heard(site: Site) -> None:
    said = site.ok("--dry", "verify")
    assert "hear the frames of this run" in said.out
    assert "sudo ovs-ofctl packet-out br-ovn" in said.out
    assert "sudo ovn-sbctl find Port_Binding" in said.out
    said = site.ok("--dry", "trace", "--from", "b1", "--to", "b2")
    assert "sudo ovn-trace 'inport ==" in said.out


def test_the_way_of_a_packet_through_ovn(site: Site) -> None:
    said = site.ok("trace", "--from", "b1", "--to", "g2")
    for words in (
        "b1:eth0, 52:54:00:00:01:01, sends by port tap_1_eth0",
        "network blue: to the router",
        "routed to network green",
        "router: it may pass, by ip4.src == 192.168.10.0/24",
        "network green: to port g2:eth0",
        "port g2:eth0 is bound to worker2, and up",
        "from worker1 to worker2 by OVN's tunnel",
        "port tap_3_eth0 gives it out to g2:eth0: one has come",
    ):
        assert words in said.out
    assert "frames of b1:eth0 come to g2:eth0" in said.err
    found = site.ok("trace", "--from", "b1", "--to", "b2", "--format", "json").json
    assert found["arrives"] is True
    assert all(step["ok"] for step in found["steps"])


def test_where_it_ends(site: Site) -> None:
    said = site.fab("trace", "--from", "b1", "--to", "r2")
    assert said.code == 1
    assert "router: no network that it reaches has that address: dropped" in said.out
    assert "hosts.toml keeps them apart" in said.err
    with for_another_worker(site):
        said = site.fab("trace", "--from", "b1", "--to", "b2", "--format", "json")
    assert said.code == 1
    assert said.json["steps"][-1]["text"] == "port b2:eth0 is bound to no worker"
    assert "OVN has its port otherwise than hosts.toml" in said.json["error"]


def test_the_central_goes_and_comes_back_while_frames_pass(site: Site) -> None:
    lab: Lab = site.lab
    daemons: tuple[DaemonName, ...] = ("northbound", "southbound")
    for name in daemons:
        lab.stop_daemon("worker1", name)
    try:
        wait_until(lambda: "OVN is down" in site.ok("status", "--vm", "b2").out, seconds=30)
        said, found = proof(site)
        assert said.code == 1
        assert reached(found) == REACH
        assert "worker2: ovn-controller has no connection to OVN's central" in said.err
        assert "worker1: OVN's central cannot be asked" in said.err
    finally:
        for name in daemons:
            lab.start_daemon("worker1", name)
    wait_until(lambda: proof(site)[0].code == 0, seconds=60)


def test_a_silent_controller_makes_hv_wait_and_no_change_of_ours(site: Site) -> None:
    """Its flags stay, and its guests' frames pass; a change is made, whoever waits or not."""
    pid = "$(cat /run/ovn/ovn-controller.pid)"
    site.on("worker2", "sh", "-c", f"kill -STOP {pid}")
    try:
        waits = "ovn-nbctl --timeout=3 --wait=hv set NB_Global . external_ids:tried=yes; echo $?"
        assert site.on("worker1", "sh", "-c", waits).split()[-1] == "142"
        assert "tried=yes" in site.nbctl("get", "NB_Global", ".", "external_ids")
        site.write(file(blue='mtu = 1400\nreach = ["green"]'))
        site.ok("net.up")
        said, found = proof(site)
        assert said.code == 1
        assert reached(found) == REACH
        assert "worker2: ovn-controller does not answer" in said.err
        flag = ("ovs-vsctl", "get", "Interface", B2, "external_ids:ovn-installed")
        assert "true" in site.on("worker2", *flag)
    finally:
        site.on("worker2", "sh", "-c", f"kill -CONT {pid}")
        site.write()
        site.ok("net.up")
    wait_until(lambda: proof(site)[0].code == 0, seconds=60)
