"""Tunnels between three workers whose switch carries none of their VLANs, but their tunnels."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import pytest

from vmops.core.tools.lines.tunnels import port_to
from vmops.lab import Lab
from vmops.wait import wait_for

from . import frames
from .conftest import PORT, free_network, require_a_lab
from .lab_helpers import wait_until
from .operator import Operator

NETWORKS = """
[networks.blue]
vlan_id = 101
subnet = "192.168.0.0/24"
dhcp = true
[networks.green]
vlan_id = 102
subnet = "192.168.2.0/24"
[vm_defaults]
ram_mb = 32
cores = 1
qcow_image = "~/vm_images/{name}.qcow2"
"""
VMS = (
    ("b1", 1, "blue"),
    ("b2", 2, "blue"),
    ("b3", 3, "blue"),
    ("g1", 1, "green"),
    ("g2", 2, "green"),
)
WORKERS = ("worker1", "worker2", "worker3")
COUNTING = """
ovs-ofctl add-flow br-int priority=7,dl_type=0x88b6,dl_vlan=101,actions=NORMAL
ovs-ofctl add-flow br-int priority=6,dl_type=0x88b6,actions=NORMAL
"""
"""Every bridge counts frames of a type that is nobody's, and not that of probes, those with the tag
of blue and the others."""


def a_frame(size: int) -> str:
    """To everybody, of the type that is counted."""
    return frames.of_size(size).replace("88b5", "88b6", 1)


class Site(Operator):
    """An operator whose workers have nothing but their underlay in common."""

    def prepare(self) -> None:
        text = self.lab.inventory.read_text().partition("\n[vms.")[0]
        for name in WORKERS:
            self.lab.run(name, ["sh", "-c", f"set -e{COUNTING}"])
        vms = (
            f'[vms.{name}]\nvm_id = {vm_id}\nworker = "worker{worker}"\n'
            f'interfaces = [{{ name = "eth0", network = "{network}" }}]\n'
            for vm_id, (name, worker, network) in enumerate(VMS, start=1)
        )
        self.hosts_toml.write_text(text + NETWORKS + "".join(vms))

    def tunnels(self, worker: str) -> list[str]:
        return [
            port for port in self.on(worker, "ovs-vsctl", "list-ports", "br-int").split()
            if port.startswith("vmx")
        ]  # fmt: skip

    def counted(self, worker: str, *, tagged: bool = True) -> int:
        """How many frames of that type the bridge has seen, with the tag of blue or without it."""
        said = self.on(worker, "ovs-ofctl", "dump-flows", "br-int")
        (line,) = [each for each in said.split("\n") if f"priority={7 if tagged else 6}," in each]
        found = re.search(r"n_packets=(\d+)", line)
        assert found
        return int(found[1])

    def send(self, frame: str, *, times: int = 1) -> None:
        """From b1, as if its guest had sent it."""
        for _ in range(times):
            words = f"in_port=tap_1_eth0 packet={frame} actions=resubmit(,0)"
            self.on("worker1", "ovs-ofctl", "packet-out", "br-int", words)

    def copies(self, frame: str, *, times: int, at_least: int) -> dict[str, int]:
        """How many copies of frames of b1 come to the other workers, and back."""
        before = {name: self.counted(name) for name in WORKERS}
        self.send(frame, times=times)
        found: dict[str, int] = {}

        def all_there() -> bool | None:
            found.update({name: self.counted(name) - before[name] for name in WORKERS})
            return (found["worker3"] >= at_least and found["worker2"] >= times) or None

        wait_for(all_there, 20)
        return found

    def networks(self) -> dict[str, Any]:
        found = self.fab("net.status", "--format", "json").json
        return {one["worker"]: one for one in found if one["network"] == "(mesh)"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    require_a_lab()
    lab = Lab(tmp_path_factory.mktemp("mesh"))
    lab.up(workers=3, network=free_network(), port=PORT, owner=os.getpid(), mesh=True)
    try:
        found = Site(lab, tmp_path_factory.mktemp("operator"))
        found.prepare()
        yield found
    finally:
        lab.down()


@pytest.fixture
def laid(site: Site) -> Site:
    site.ok("net.up")
    site.ok("plug", "--vm", "*")
    site.ok("verify", "--no-services")  # the first frame into each tunnel is lost
    return site


def test_before_it_and_with_it(site: Site) -> None:
    site.ok("plug", "--vm", "*")
    alone = site.fab("verify", "--no-services")
    assert alone.code == 1
    assert "its tunnel to worker2: it is missing" in alone.err
    assert site.fab("plan").code in (1, 4)
    made = site.ok("net.up", "--format", "json").json
    mine = {one["worker"]: one["changed"] for one in made if one["network"] == "(mesh)"}
    assert mine == dict.fromkeys(WORKERS, True)
    assert "no guest was asked for an echo" in site.ok("verify", "--ping").err  # none runs
    again = site.ok("net.up", "--format", "json").json
    assert not [one for one in again if one["changed"]]
    assert {tuple(one["tunnels"].values()) for one in site.networks().values()} == {("up", "up")}
    assert "tunnels to worker2, worker3" in site.fab("doctor", "--worker", "worker1").out


def test_frames_travel_with_their_tag_and_once(laid: Site) -> None:
    """With the split horizon of one worker gone they come twice to the third; net.up mends it."""
    frame = a_frame(60)
    untagged = {name: laid.counted(name, tagged=False) for name in WORKERS[1:]}
    once = {"worker1": 0, "worker2": 5, "worker3": 5}
    assert laid.copies(frame, times=5, at_least=5) == once
    ports = laid.tunnels("worker2")
    for port in ports:
        laid.on("worker2", "ovs-vsctl", "set", "Port", port, "protected=false")
    assert laid.copies(frame, times=5, at_least=10)["worker3"] == 10
    said = laid.fab("verify", "--no-services")
    assert said.code == 1
    assert "split horizon: off, and should be on" in said.err
    laid.ok("net.up")
    assert laid.copies(frame, times=5, at_least=5) == once
    assert {name: laid.counted(name, tagged=False) for name in WORKERS[1:]} == untagged


def test_a_frame_of_the_size_that_guests_are_told_passes_and_no_larger_one(laid: Site) -> None:
    told = laid.ok("inventory", "--format", "json").json["networks"][0]["values"]["mtu"]
    before = laid.counted("worker2")
    laid.send(a_frame(told + 1), times=3)
    assert laid.copies(a_frame(told), times=2, at_least=2)["worker2"] == 2
    assert laid.counted("worker2") == before + 2


def test_a_tunnel_that_is_gone_is_named_everywhere_and_made_again(laid: Site) -> None:
    port = port_to("worker2")
    assert "leaves by" in laid.ok("trace", "--from", "b1", "--to", "b2").out
    laid.on("worker1", "ovs-vsctl", "del-port", port)
    said = laid.fab("verify", "--no-services")
    assert said.code == 1
    assert "worker1: its tunnel to worker2: it is missing" in said.err
    assert "VLAN 101 does not pass between worker1 and worker2: worker1's tunnel" in said.err
    traced = laid.fab("trace", "--from", "b1", "--to", "b2")
    assert traced.code == 1
    assert "worker1's tunnel to worker2: it is missing" in traced.err
    assert laid.networks()["worker1"]["tunnels"] == {"worker2": "down", "worker3": "up"}
    assert f"tunnel to worker2: missing -> {port}" in laid.fab("doctor").out
    assert f"tunnel to worker2: missing -> {port}" in laid.fab("plan").out
    laid.ok("net.up")
    laid.ok("verify", "--no-services")


def test_beside_a_trunk_that_carries_the_vlans_no_tunnel_is_made(laid: Site) -> None:
    laid.ok("net.down")
    laid.on("worker3", "ovs-vsctl", "set", "Port", "trunk", "trunks=102,4094")
    try:
        said = laid.fab("net.up")
        assert said.code == 1
        assert "port trunk of br-int leads out too, and carries VLAN 102" in said.err
        between = [[port_to("worker2")], [port_to("worker1")], []]
        assert [laid.tunnels(name) for name in WORKERS] == between
        assert "carries VLAN 102" in laid.fab("doctor", "--worker", "worker3").err
    finally:
        laid.on("worker3", "ovs-vsctl", "set", "Port", "trunk", "trunks=4094")
    laid.ok("net.up")
    laid.ok("verify", "--no-services")


def test_one_wrong_end_turns_no_tunnel_to_it_and_keeps_the_others_from_nothing(laid: Site) -> None:
    """The address is nobody's: those who would send there were turned before that was seen."""
    whole = laid.hosts_toml.read_text()
    laid.hosts_toml.write_text(whole.replace("198.51.100.2", "198.51.100.99"))
    lost = port_to("worker3")
    try:
        laid.on("worker1", "ovs-vsctl", "del-port", lost)
        shown = laid.fab("plan").out
        told = f"tunnel to worker3: missing -> {lost}; left as it is: the tunnel to worker2"
        assert told in shown
        said = laid.fab("net.up")
        assert said.code == 1
        assert "changed, but not the tunnel to worker2" in said.out
        assert lost in laid.tunnels("worker1")
        planned = laid.fab("plan", "--format", "json")
        assert planned.code == 1
        for task, said in (("net.up", laid.fab("net.up", "--format", "json")), ("plan", planned)):
            found = [one for one in said.json if one.get("network") == "(mesh)"]
            actions = {one["worker"]: one["action"] for one in found}
            assert actions == {"worker1": "held", "worker2": "refused", "worker3": "held"}, task
            assert not any(one.get("changed") for one in found)
            held = {one["worker"]: one["held"] for one in found}
            assert held == {"worker1": ["worker2"], "worker2": [], "worker3": ["worker2"]}
            assert "no device there has the address 198.51.100.99" in said.err
        assert "left as it is" in laid.fab("net.up").out
    finally:
        laid.hosts_toml.write_text(whole)
    laid.ok("verify", "--no-services")


def test_an_underlay_that_is_too_small_is_refused(laid: Site) -> None:
    def mtu() -> str:
        return laid.on("worker2", "cat", "/sys/class/net/underlay/mtu").strip()

    laid.on("worker2", "ovs-vsctl", "set", "Interface", "underlay", "mtu_request=1400")
    try:
        wait_until(lambda: mtu() == "1400")
        said = laid.fab("net.up")
        assert said.code == 1
        assert "frames of 1446 bytes do not pass its tunnels: in one they become 1500" in said.err
        assert "write mtu = 1346 or less" in said.err
    finally:
        laid.on("worker2", "ovs-vsctl", "set", "Interface", "underlay", "mtu_request=1500")
        wait_until(lambda: mtu() == "1500")


def test_tunnels_to_a_worker_that_the_file_has_lost_are_pruned_and_no_others(laid: Site) -> None:
    whole = laid.hosts_toml.read_text()
    lost = re.sub(r"\[vms\.b3\]\n(.+\n)*", "", whole)
    lost = re.sub(r"\[workers\.worker3\]\n(.+\n)*", "", lost)
    try:
        laid.hosts_toml.write_text(lost.replace('mesh = "vxlan"\n', ""))
        found = laid.ok("prune", "--format", "json").json
        assert "tunnel" not in {one["kind"] for one in found}
        laid.hosts_toml.write_text(lost)
        found = laid.ok("prune", "--format", "json").json
        tunnels = [(one["worker"], one["name"]) for one in found if one["kind"] == "tunnel"]
        assert tunnels == [(name, port_to("worker3")) for name in ("worker1", "worker2")]
        assert len(laid.tunnels("worker1")) == 2
        laid.ok("prune", "--yes")
        assert [laid.tunnels(name) for name in WORKERS[:2]] == [
            [port_to("worker2")],
            [port_to("worker1")],
        ]
    finally:
        laid.hosts_toml.write_text(whole)
    laid.ok("net.up")
    laid.ok("verify", "--no-services")


def test_net_down_takes_all_of_it_and_nothing_else(laid: Site) -> None:
    shown = laid.ok("--dry", "net.down").out
    assert f"--if-exists del-port {port_to('worker2')}" in shown
    before = {
        name: set(laid.on(name, "ovs-vsctl", "list-ports", "br-int").split()) for name in WORKERS
    }
    laid.ok("net.down")
    for name in WORKERS:
        left = set(laid.on(name, "ovs-vsctl", "list-ports", "br-int").split())
        gone = {port for port in before[name] - left if not port.startswith("vml")}
        assert gone == {port_to(other) for other in WORKERS if other != name}
    assert "no network was there" in laid.ok("net.down").err
