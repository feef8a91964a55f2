"""What is exported of networks in OVN makes the same ones by other means, and a VM in them runs."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.guests import boot_sector_image, cache_directory

from .fleet_helpers import put
from .ovn_site import Site, lab_with_ovn

FILE = """
[images.small]
file = {image}
[networks.blue]
engine = "ovn"
subnet = "192.168.10.0/24"
dhcp = true
dns = true
internet = true
reach = ["green"]
forward = [{{ port = 8022, to = "b1:22" }}]
[networks.green]
engine = "ovn"
subnet = "192.168.20.0/24"
[vm_defaults]
ram_mb = 32
cores = 1
image = "small"
[vms.b1]
vm_id = 1
worker = "worker1"
interfaces = [{{ name = "eth0", network = "blue" }}]
[vms.g2]
vm_id = 2
worker = "worker2"
interfaces = [{{ name = "eth0", network = "green" }}]
"""


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Both VMs have run, and OVN has nothing of theirs."""
    with lab_with_ovn(tmp_path_factory.mktemp("ovn")) as lab:
        found = Site(lab, tmp_path_factory.mktemp("site"))
        image = json.dumps(str(boot_sector_image(cache_directory())))
        found.write(FILE.format(image=image))
        found.ok("ovn.setup")
        found.ok("up")
        found.ok("down", "--force")
        assert found.nbctl("ls-list") == ""
        yield found


def test_the_networks_and_a_vm_in_them_without_vmops(site: Site) -> None:
    folder = site.folder / "out"
    for format in ("ovn", "script"):
        site.ok("export", "--format", format, "--vm", "b1", "--output", f"{folder}/")
    for name in ("b1.ovn.sh", "b1.sh"):
        put(site, "worker1", f"~/{name}", (folder / name).read_bytes())
    made = ("sh", "/home/ubuntu/b1.ovn.sh")
    site.on("worker1", *made)
    rows = site.nbctl("show")
    assert "is there already" in site.on("worker1", *made)
    assert site.nbctl("show") == rows, "nothing twice"
    # vmops finds what it would have made itself.
    found = site.ok("net.up", "--format", "json").json
    assert {row["network"]: row["changed"] for row in found} == {"blue": False, "green": False}

    run = ("runuser", "-u", "ubuntu", "--", "sudo", "sh", "/home/ubuntu/b1.sh")
    site.on("worker1", *run, "start")
    site.ok("launch", "--vm", "g2")
    shown = site.status_of("b1")
    assert (shown["state"], shown["drift"]) == ("running", [])
    site.ok("verify")
    assert site.on("worker1", *run, "stop", "0") == "b1 is stopped\n"
    assert "tap_1_eth0" not in site.taps("worker1")
