"""`ssh` and `ping` into networks that OVN carries, and that nothing is left of a door there.

Guests are namespaces behind the TAPs that vmops has plugged, with an sshd in one of them.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator

import pytest

from .lab_helpers import wait_until
from .operator import FAB, ROOT
from .ovn_site import Guest, Site, guests_of, lab_with_ovn

NETWORKS = """
[networks.blue]
engine = "ovn"
subnet = "192.168.10.0/24"
dhcp = true
reach = ["green"]
[networks.green]
engine = "ovn"
subnet = "192.168.20.0/24"
[vm_defaults]
ram_mb = 32
cores = 1
qcow_image = "~/vm_images/{name}.qcow2"
[vms.b1]
vm_id = 1
worker = "worker1"
interfaces = [{ name = "eth0", network = "blue", address = "192.168.10.11" }]
[vms.b2]
vm_id = 2
worker = "worker2"
interfaces = [{ name = "eth0", network = "blue", address = "192.168.10.12" }]
[vms.g2]
vm_id = 3
worker = "worker2"
interfaces = [{ name = "eth0", network = "green", address = "192.168.20.12" }]
"""
ADDRESSES = {"b1": "192.168.10.11", "b2": "192.168.10.12", "g2": "192.168.20.12"}
SSHD = (
    "mkdir -p /run/sshd; exec /usr/sbin/sshd -D -f /dev/null"
    " -o HostKey=/etc/ssh/ssh_host_ed25519_key -o UsePAM=no -o PidFile=none"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with lab_with_ovn(tmp_path_factory.mktemp("ovn")) as lab:
        found = Site(lab, tmp_path_factory.mktemp("site"))
        found.write(NETWORKS)
        found.ok("ovn.setup")
        found.ok("net.up")
        yield found


@pytest.fixture
def guests(site: Site) -> Iterator[dict[str, Guest]]:
    with guests_of(site, tuple(ADDRESSES)) as found:
        for vm, address in ADDRESSES.items():
            found[vm].configure(address, address.rpartition(".")[0] + ".1")
        yield found


@pytest.fixture
def logs_in(guests: dict[str, Guest]) -> Iterator[dict[str, Guest]]:
    """b2's guest takes logins."""
    guest = guests["b2"]
    inside = ("nsenter", f"--net=/run/netns/{guest.vm}", "sh", "-c", SSHD)
    sshd = subprocess.Popen(guest.site.lab.enter("worker2", inside), stdin=subprocess.DEVNULL)
    wait_until(lambda: b":22 " in guest.inside("ss", "-ltn").stdout)
    yield guests
    sshd.kill()
    sshd.wait()


def ports(site: Site) -> list[str]:
    """What is there of doors: ports of OVN, and of the switches."""
    words = (
        "--bare",
        "--columns=name",
        "find",
        "Logical_Switch_Port",
        'external_ids:vmops-door!=""',
    )
    found = site.nbctl(*words).split()
    for worker in ("worker1", "worker2"):
        found += site.on(worker, "ovs-vsctl", "list-ports", "br-ovn").split()
    return [name for name in found if name.startswith("vm")]


def are_shut(site: Site) -> bool:
    return ports(site) == []


def key(site: Site) -> tuple[str, ...]:
    options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes")
    words = [word for option in options for word in ("-o", option)]
    return ("-i", str(site.lab.private_key), *words)


def test_ping_from_the_place_of_another_vm_and_through_the_router(
    site: Site, guests: dict[str, Guest]
) -> None:
    for one, other in (("b1", "b2"), ("b2", "b1"), ("b1", "g2")):
        said = site.ok("ping", "--vm", one, "--to", other, "--format", "json").json
        assert said["address"] == ADDRESSES[other]
        assert said["answered"] >= 2, "the first into a cold tunnel may be lost"
    guests["b2"].inside("ip", "link", "set", "eth0", "down")
    lost = site.fab("ping", "--vm", "b1", "--to", "b2", "--count", "1")
    assert lost.code == 1
    assert "no echo of 1 came from b2 (192.168.10.12)" in lost.err
    wait_until(lambda: are_shut(site))


def test_ssh_has_an_address_that_nobody_has_and_several_at_once(
    site: Site, logs_in: dict[str, Guest]
) -> None:
    login = ("ssh", "--vm", "b2", "--user", "ubuntu", "--", *key(site))
    ways = [open_way(site) for _ in range(2)]
    said = site.ok(*login, "echo $SSH_CLIENT; hostname")
    assert said.out.split()[-1] == "worker2"
    assert said.out.split()[0] == "192.168.10.252", "two are taken"
    assert site.fab(*login, "exit 7").code == 7
    config = site.folder / "vmops.conf"
    config.write_text(site.ok("ssh-config", "--user", "ubuntu").out)
    done = subprocess.run(
        ["ssh", "-F", str(config), *key(site), "b2", "cat"],
        input=b"all\0bytes\xff" * 5000,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == b"all\0bytes\xff" * 5000
    # An open door is no drift of its network, and a change of it goes by.
    assert site.networks()["blue"]["drift"] == []
    assert not any(row["changed"] for row in site.ok("net.up", "--format", "json").json)
    for way in ways:
        way.kill()
        way.communicate(timeout=30)
    wait_until(lambda: are_shut(site))


def test_a_door_takes_no_address_that_a_port_has_there(
    site: Site, logs_in: dict[str, Guest]
) -> None:
    """Another hosts.toml has a VM there, of which this one knows nothing."""
    words = ("lsp-set-addresses", "theirs", "0a:00:00:00:00:01 192.168.10.254 fd00::1")
    site.nbctl("lsp-add", "vmops-blue", "theirs", "--", *words)
    try:
        way = open_way(site)
        seat = [name for name in ports(site) if name.startswith("vmops.door.")]
        way.kill()
        way.communicate(timeout=30)
    finally:
        site.nbctl("lsp-del", "theirs")
    assert seat == ["vmops.door.blue.192.168.10.253"]
    wait_until(lambda: are_shut(site))


def open_way(site: Site) -> subprocess.Popen[bytes]:
    """A door that stays open: what comes first is sshd's greeting."""
    way = subprocess.Popen(
        [FAB, "ssh", "--vm", "b2", "--stdio"],
        cwd=ROOT,
        env=site.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert way.stdout is not None
    assert way.stdout.readline().startswith(b"SSH-2.0-"), way.communicate()
    return way


def test_what_a_killed_keeper_leaves_goes_with_the_next_door(
    site: Site, logs_in: dict[str, Guest]
) -> None:
    way = open_way(site)
    keeper = site.nbctl(
        *("--bare", "--columns=external_ids", "find"),
        *("Logical_Switch_Port", 'external_ids:vmops-door!=""'),
    ).partition("=")[2]
    site.on("worker1", "kill", f"-{signal.SIGKILL.value}", keeper)
    way.kill()
    way.communicate(timeout=30)
    wait_until(lambda: ports(site) == ["vmops.door.blue.192.168.10.254"])
    another = open_way(site)
    seat, door = ports(site)
    assert (seat, door[:3]) == ("vmops.door.blue.192.168.10.254", "vmd")
    another.kill()
    another.communicate(timeout=30)
    wait_until(lambda: are_shut(site))


def test_where_ovn_does_not_have_the_network(site: Site) -> None:
    site.ok("net.down", "--network", "green")
    try:
        said = site.fab("ping", "--vm", "g2", "--to", "b1")
        assert said.code == 1
        assert "OVN has no network green: fab net.up makes it" in said.err
        assert said.err.count("error: ") == 1
    finally:
        site.ok("net.up")
    said = site.ok("--dry", "ssh", "--vm", "b2", "--stdio")
    assert "sudo ovn-nbctl create Logical_Switch_Port  # a port in network blue" in said.out
    assert "external_ids:iface-id=PORT" in said.out
