"""The four exercises of examples/ with OVN in place of VLANs and of a network node.

What `verify` proves of each is what hosts.toml says, and what was broken on purpose is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from .lab_helpers import wait_until
from .operator import ROOT, Said
from .ovn_site import Site, lab_with_ovn

OWN = """
northbound = "worker1"
gateways = ["worker2:provider", "worker1:provider"]
outside = "203.0.113.253/24"
next_hop = "203.0.113.254"
name_servers = ["203.0.113.254"]
"""


def exercise(number: int) -> str:
    """From its networks on, each carried by OVN."""
    text = (ROOT / "examples" / f"exercise-{number}.toml").read_text()
    networks = text[text.index("[networks.") :]
    carried, count = re.subn(r"^vlan_id = \d+$", 'engine = "ovn"', networks, flags=re.M)
    assert count == 2
    return carried


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with lab_with_ovn(tmp_path_factory.mktemp("ovn")) as lab:
        found = Site(lab, tmp_path_factory.mktemp("site"))
        found.write(exercise(1), ovn=OWN)
        found.ok("ovn.setup")
        found.ok("net.up")
        found.ok("plug", "--vm", "*")
        yield found


def proof(site: Site) -> Any:
    """What `verify` says, as soon as nothing is wrong."""
    heard: list[Said] = []

    def is_well() -> bool:
        heard.append(site.fab("verify", "--format", "json"))
        return heard[-1].code == 0

    wait_until(is_well, seconds=60)
    return heard[-1].json


def proven(site: Site) -> tuple[set[tuple[str, str]], dict[str, set[str]]]:
    """Which VMs reach which, and what guests of each network get, where nothing is wrong."""
    said = proof(site)
    pairs = [one for one in said if one["kind"] == "pair" and one["found"] == "reach"]
    found: dict[str, set[str]] = {"blue": set(), "green": set()}
    for one in said:
        if one["kind"] == "service" and one["found"] == "open":
            found[one["network"]].add(one["service"])
    ends = {(p["from"].partition(":")[0], p["to"].partition(":")[0]) for p in pairs}
    return ends, found


INSIDE = {(f"{net}{one}", f"{net}{3 - one}") for net in ("blue", "green") for one in (1, 2)}
ACROSS = {(f"{a}{m}", f"{b}{n}") for a, b in (("blue", "green"), ("green", "blue"))
          for m in (1, 2) for n in (1, 2)}  # fmt: skip
NO_LEASE = ("clear", "Logical_Switch_Port", "green1:eth1", "dhcpv4_options")
NO_WAY = ("lr-policy-del", "vmops")


@pytest.mark.parametrize(
    ("number", "crossing", "blue", "green", "broken"),
    [
        (1, set(), {"gateway", "dhcp", "dns", "internet"}, None, NO_LEASE),
        (2, set(), {"gateway", "internet"}, None, NO_WAY),
        (3, set(), {"dhcp"}, None, NO_LEASE),
        (4, ACROSS, {"gateway"}, {"gateway", "dhcp"}, NO_WAY),
    ],
)
def test_an_exercise_is_as_its_file_has_it_and_told_when_broken(
    site: Site,
    number: int,
    crossing: set[tuple[str, str]],
    blue: set[str],
    green: set[str] | None,
    broken: tuple[str, ...],
) -> None:
    site.write(exercise(number), ovn=OWN)
    site.ok("net.up")
    pairs, services = proven(site)
    assert pairs == INSIDE | crossing
    assert services == {"blue": blue, "green": blue if green is None else green}
    site.nbctl(*broken)
    wait_until(lambda: site.fab("verify").code == 1, seconds=30)
    site.ok("net.up")


RING = """
[topologies.r]
shape = "ring"
count = 4
template = "router"
engine = "ovn"
workers = ["worker1", "worker2"]
[templates.router]
ram_mb = 32
cores = 1
qcow_image = "~/vm_images/{name}.qcow2"
"""


def test_a_ring_whose_links_ovn_carries(site: Site) -> None:
    site.ok("unplug", "--vm", "*")
    site.write(RING, ovn=OWN)
    site.ok("net.up")
    site.ok("plug", "--vm", "*")
    try:
        assert len([name for name in site.networks() if name.startswith("link-r")]) == 4
        pairs = [one for one in proof(site) if one["kind"] == "pair" and one["found"] == "reach"]
        ends = {(p["from"].partition(":")[0], p["to"].partition(":")[0]) for p in pairs}
        line = {("r1", "r2"), ("r2", "r3"), ("r3", "r4"), ("r4", "r1")}
        assert ends == line | {(b, a) for a, b in line}
    finally:
        site.ok("unplug", "--vm", "*")
        site.ok("net.down")
