"""What a network node does beside the exercises: changes, drift, undo, and what it leaves alone."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator

import pytest

import vmops
from vmops.core.names import NetworkNames
from vmops.core.plan.network import serving
from vmops.lab import Lab

from .course import NODE, OUTSIDE, Course

NETWORKS = """
[networks.blue]
vlan_id = 110
subnet = "192.168.10.0/24"
dhcp = true
dns = true
{blue}
[networks.red-1]
vlan_id = 120
subnet = "192.168.20.0/24"
dhcp = true
{red}
"""
VMS = """
[vm_defaults]
ram_mb = 32
cores = 1
qcow_image = "~/vm_images/{{name}}.qcow2"
[vms.web]
vm_id = 31
worker = "worker1"
vnc_port = 5931
interfaces = [{{ name = "eth1", network = "blue", address = "192.168.10.11"{mac} }}]
[vms.db]
vm_id = 32
worker = "worker2"
vnc_port = 5932
interfaces = [{{ name = "eth1", network = "red-1" }}]
"""
FORWARD = 'forward = [{ port = 8022, to = "web:22" }]'


def file(blue: str = "", red: str = "", mac: str = "") -> str:
    return NETWORKS.format(blue=blue, red=red) + VMS.format(mac=mac and f', mac = "{mac}"')


@pytest.fixture(scope="module")
def shared(wide_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Course]:
    found = Course(wide_lab, tmp_path_factory.mktemp("services"))
    found.plug(found.write(file()))
    yield found
    found.clean_up()


@pytest.fixture
def course(shared: Course) -> Course:
    """Both networks served, as `file()` has them."""
    shared.write(file())
    shared.up()
    return shared


def pids(course: Course) -> dict[str, int]:
    return {name: one["dnsmasq_pid"] for name, one in course.status().items()}


def address(course: Course, vm: str) -> str:
    said = course.operator.ok("inventory", "--vm", vm, "--format", "json").json
    found: str = said["vms"][0]["values"]["interfaces"][0]["address"]
    return found.partition("/")[0]


def test_a_change_of_one_network_leaves_the_other_alone(course: Course) -> None:
    before = pids(course)
    course.lease("db")
    course.write(file(blue="mtu = 1400\ninternet = true"))
    assert course.plan() == {"blue": "mtu internet uplink kept"}
    assert course.operator.fab("plan").code != 0
    assert course.up() == {"blue": "change", "red-1": "nothing"}
    after = pids(course)
    assert after["red-1"] == before["red-1"]
    assert after["blue"] != before["blue"]
    found = course.lease("web")
    assert found["mtu"] == 1400
    assert course.guests["web"].reaches(OUTSIDE)
    assert [one["address"] for one in course.status()["red-1"]["leases"]] == [address(course, "db")]


def test_an_address_that_is_handed_out_is_the_one_that_is_leased(course: Course) -> None:
    assert course.lease("db")["address"] == address(course, "db")


BREAKS = [
    ("kill $(cut -d' ' -f1 /run/vmops-net/blue/process)", "dnsmasq"),
    ("nsenter --net=/run/netns/vmops-blue nft flush chain inet vmops input", "firewall"),
    ("ip -n vmops-blue addr flush dev lan", "addresses and routes"),
    ("ovs-vsctl set Port vml$(cat /run/vmops-net/blue/short) tag=9", "port.vlan_id"),
    ("ovs-vsctl del-port vml$(cat /run/vmops-net/blue/short)", "port"),
    ("echo 0 | nsenter --net=/run/netns/vmops-blue tee /proc/sys/net/ipv4/ip_forward", "addresses"),
    ("ip netns del vmops-blue", "addresses and routes firewall"),
    ("rm /run/vmops-net/blue/spec", "network"),
]


@pytest.mark.parametrize(("script", "field"), BREAKS, ids=[field for _, field in BREAKS])
def test_what_is_broken_is_told_and_mended(course: Course, script: str, field: str) -> None:
    course.on_node(script)
    found = course.plan()
    assert set(found) == {"blue"}
    assert field in found["blue"]
    assert course.up() == {"blue": "change", "red-1": "nothing"}
    assert course.plan() == {}
    assert course.lease("web")["address"] == "192.168.10.11"


OUTER = [
    ("nft delete table inet vmops_$(cat /run/vmops-net/blue/short)", "firewall"),
    ("nft delete table inet $(cat /run/vmops-net/.uplink.uplink)", "firewall"),
    ("echo 0 >/proc/sys/net/ipv4/conf/uplink/forwarding", "addresses and routes"),
    ("ip link del vmu$(cat /run/vmops-net/blue/short)", "addresses and routes"),
]


def test_what_is_broken_of_a_way_out_is_told_and_mended(course: Course) -> None:
    course.write(file(blue="internet = true"))
    course.up()
    course.lease("web")
    for script, field in OUTER:
        course.on_node(script)
        found = course.plan()
        assert set(found) == {"blue"}, script
        assert field in found["blue"]
        assert course.up() == {"blue": "change", "red-1": "nothing"}
        assert course.plan() == {}, script
        assert course.guests["web"].reaches(OUTSIDE), script
        assert "iifname" in course.on_node("nft list table inet $(cat /run/vmops-net/.uplink.*)")


def test_the_lease_of_an_old_mac_goes(course: Course) -> None:
    course.lease("web")
    new = "52:54:00:aa:bb:cc"
    course.write(file(mac=new))
    course.up()
    assert course.status()["blue"]["leases"] == []
    guest = course.guests["web"]
    assert guest.lease(seconds=2) is None
    guest.inside("ip", "link", "set", "eth0", "address", new)
    found = guest.lease()
    assert found is not None
    assert found["address"] == "192.168.10.11"
    guest.inside("ip", "link", "set", "eth0", "address", guest.mac)


def test_strangers_get_a_lease_from_a_range_only(course: Course) -> None:
    guest = course.guests["web"]
    guest.inside("ip", "link", "set", "eth0", "address", "52:54:00:99:99:99")
    assert guest.lease(seconds=2) is None
    course.write(file(blue='range = "192.168.10.100-192.168.10.110"'))
    course.up()
    found = guest.lease()
    assert found is not None
    assert 100 <= int(found["address"].rpartition(".")[2]) <= 110
    guest.inside("ip", "link", "set", "eth0", "address", guest.mac)


def heard_at(course: Course, port: int) -> str:
    """What web is sent at its port 22 by somebody outside who connects to that port of the node."""
    listen = (
        "import socket; s = socket.create_server(('', 22)); s.settimeout(8);"
        " c, a = s.accept(); print(c.recv(100).decode(), a[0])"
    )
    heard: list[str] = []

    def serve() -> None:
        heard.append(course.guests["web"].inside("python3", "-c", listen, check=False))

    server = threading.Thread(target=serve)
    server.start()
    send = (
        "import socket, time; time.sleep(1); s = socket.create_connection"
        f"(('203.0.113.3', {port}), 3); s.send(b'hello'); time.sleep(0.5)"
    )
    course.lab.run("switch", ["python3", "-c", send], check=False)
    server.join()
    return heard[0].strip()


def test_a_forwarded_port_leads_to_its_vm_and_no_other_does(course: Course) -> None:
    course.lease("web")
    course.write(file(blue=FORWARD))
    course.up()
    assert heard_at(course, 8022) == f"hello {OUTSIDE}"
    assert heard_at(course, 8023) == ""
    assert not course.guests["web"].reaches(OUTSIDE, tries=2)
    assert course.counted("blue", "forwarded") == 1


def test_no_address_of_the_node_is_reached_by_guests(course: Course) -> None:
    course.write(file(blue="internet = true"))
    course.up()
    course.lease("web")
    inner = course.on_node("ip -o -4 addr show | grep -o 'inet [0-9.]*' | cut -d' ' -f2").split()
    addresses = [one for one in inner if not one.startswith("127.")]
    assert len(addresses) == 2
    assert course.guests["web"].reaches(OUTSIDE)
    for one in addresses:
        assert not course.guests["web"].reaches(one, tries=1), one
    listen = "import socket; s = socket.create_server(('', 9999)); s.settimeout(3); s.accept()"
    server = threading.Thread(
        target=lambda: course.lab.run(NODE, ["python3", "-c", listen], check=False)
    )
    server.start()
    connect = f"import socket; socket.create_connection(('{addresses[0]}', 9999), 2)"
    assert "timed out" in course.guests["web"].inside(
        "sh", "-c", f'python3 -c "{connect}" 2>&1', check=False
    )
    server.join()


def picture(course: Course) -> str:
    """All of the node's own that could have been touched."""
    return course.on_node(
        "nft list ruleset; ip route; ip -br addr; ip rule; ip netns; grep -r ."
        " /proc/sys/net/ipv4/conf/*/forwarding /proc/sys/net/ipv4/ip_forward;"
        " ls /run/vmops-net; ovs-vsctl --bare --columns=name list Port | sort"
    )


def test_down_leaves_the_node_as_it_was(course: Course) -> None:
    course.operator.ok("net.down")
    before = picture(course)
    course.write(file(blue=f"internet = true\n{FORWARD}", red='reach = ["blue"]'))
    assert course.up() == {"blue": "start", "red-1": "start"}
    there = course.on_node("cat /proc/sys/net/ipv4/ip_forward; nft list tables")
    assert there.split("\n")[0] == "0"
    assert "vmops_up_" in there
    said = course.operator.ok("net.down", "--format", "json").json
    assert {one["network"]: one["action"] for one in said} == {"blue": "remove", "red-1": "remove"}
    assert picture(course) == before
    assert course.operator.ok("net.down", "--format", "json").json == []


def test_a_network_that_cannot_be_made_is_undone_and_the_other_stays(
    course: Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its uplink is not there; and in the second part goes after it was looked for."""
    course.operator.ok("net.down", "--network", "blue")
    head = course.operator.hosts_toml.read_text()
    course.write(file(blue="internet = true"))
    text = course.operator.hosts_toml.read_text().replace('uplink = "uplink"', 'uplink = "eth9"')
    course.operator.hosts_toml.write_text(text)
    for words in (["net.up"], ["plan"], ["doctor", "--worker", NODE]):
        said = course.operator.fab(*words)
        assert said.code == 1, words
        assert "there is no device eth9 to go out by" in said.err
    with monkeypatch.context() as patch:
        patch.setattr(serving, "unfit", lambda *_: None)
        (blue,) = [one for one in course.fleet.networks_up() if one.network == "blue"]
    assert "there is no device eth9 to go out by" in str(blue.error)
    assert "as it was before" in str(blue.error)
    assert "vmops-blue" not in course.on_node("ls /run/netns; ls -d /run/vmops-net/*")
    course.operator.hosts_toml.write_text(head)
    assert course.up() == {"blue": "start", "red-1": "nothing"}
    course.operator.hosts_toml.write_text(text)
    assert course.operator.fab("net.up").code == 1
    course.operator.hosts_toml.write_text(head)
    assert course.up() == {"blue": "nothing", "red-1": "nothing"}
    assert course.lease("web")


def test_an_mtu_that_the_bridge_does_not_carry_is_refused_and_the_network_stays(
    course: Course,
) -> None:
    course.write(file(blue="mtu = 9000"))
    for words in (["net.up"], ["plan"], ["doctor", "--worker", NODE]):
        said = course.operator.fab(*words)
        assert said.code == 1, words
        assert "frames of 9000 bytes do not pass the bridge br-int" in said.err
    assert course.lease("web")["mtu"] is None


def test_a_vlan_that_another_file_has_served_is_refused(course: Course) -> None:
    course.write(file().replace("networks.blue", "networks.other").replace('"blue"', '"other"'))
    said = course.operator.fab("net.up")
    assert said.code == 1
    assert "VLAN 110 is served there by network blue" in said.err
    lost = course.operator.ok("net.status", "--format", "json").json
    assert {one["network"]: one["managed"] for one in lost}["blue"] is False
    course.operator.ok("-H", NODE, "net.down", "--network", "blue")
    assert course.up() == {"other": "start", "red-1": "nothing"}
    course.operator.ok("net.down", "--network", "other")


def test_a_network_moves_to_another_node(course: Course) -> None:
    course.write(file(), node="worker2")
    said = course.operator.ok("net.up", "--format", "json").json
    done = {(one["network"], one["worker"]): one["action"] for one in said}
    assert done == {
        ("blue", "worker2"): "start",
        ("red-1", "worker2"): "start",
        ("blue", NODE): "remove",
        ("red-1", NODE): "remove",
    }
    assert course.lease("web")["address"] == "192.168.10.11"
    course.write(file())
    course.up()


def test_a_node_that_has_rebooted_is_served_anew(course: Course, wide_lab: Lab) -> None:
    course.on_node(
        "for p in $(cut -d' ' -f1 /run/vmops-net/*/process); do kill -9 $p; done;"
        " for n in /run/netns/vmops-*; do ip netns del ${n##*/}; done; rm -rf /run/vmops-net;"
        " nft flush ruleset"
    )
    assert course.plan() == {"blue": "", "red-1": ""}
    assert course.up() == {"blue": "start", "red-1": "start"}
    assert course.lease("web")["address"] == "192.168.10.11"


def test_a_dry_run_shows_what_would_be_done_and_does_nothing(course: Course) -> None:
    before = picture(course)
    shown = course.operator.ok("--dry", "net.up").out
    assert "sudo ip netns add vmops-blue" in shown
    assert "ip netns del vmops-blue" in course.operator.ok("--dry", "net.down").out
    assert picture(course) == before


def test_the_same_from_python(course: Course) -> None:
    fleet = vmops.Fleet(vmops.load(course.operator.hosts_toml))
    assert [one.action for one in fleet.networks_up() if one.network == "blue"] == ["nothing"]
    (blue,) = [one for one in fleet.networks_status("blue") if one.network == "blue"]
    assert (blue.worker, blue.state, blue.drift) == (NODE, "up", ())
    assert all(not one.to_do for one in fleet.networks_plan())
    assert {one.network for one in fleet.networks_down("blue") if one.changed} == {"blue"}
    assert fleet.networks_down("blue")[0].action == "nothing"


def test_doctor_names_what_a_node_lacks(course: Course) -> None:
    found = course.operator.fab("doctor", "--format", "json").json
    checks = {one["worker"]: [c["name"] for c in one["checks"]] for one in found}
    assert {name for name, there in checks.items() if "network node" in there} == {NODE}


CUTS = [("operator", 2_000), ("worker", 9_000), ("worker", 25_000)]


def test_what_is_cut_in_the_middle_is_whole_after_the_same_command(course: Course) -> None:
    """The connection to the node breaks while it makes networks, changes them, or removes them."""
    course.operator.ok("net.down")
    before = picture(course)
    for toward, count in CUTS:
        course.write(file(blue="internet = true", red='reach = ["blue"]'))
        course.lab.fault(NODE, "drop", after_bytes=count, toward=toward)
        course.operator.fab("net.up")
        course.lab.heal(NODE)
        course.operator.ok("net.up")
        assert course.plan() == {}, (toward, count)
        course.write(file(blue="internet = true\nmtu = 1400"))
        course.lab.fault(NODE, "drop", after_bytes=count, toward=toward)
        course.operator.fab("net.up")
        course.lab.heal(NODE)
        assert course.lease("web")
        course.operator.ok("net.up")
        assert course.plan() == {}, (toward, count)
        course.lab.fault(NODE, "drop", after_bytes=count, toward=toward)
        course.operator.fab("net.down")
        course.lab.heal(NODE)
        course.operator.ok("net.down")
        assert picture(course) == before, (toward, count)


def test_what_a_cut_or_a_reboot_leaves_of_a_network_is_pruned(course: Course) -> None:
    course.write(file())
    course.up()
    half = NetworkNames("half")
    row = NetworkNames("rebooted")
    course.on_node(
        f"""set -e
        ip netns add vmops-half
        mkdir /run/vmops-net/half
        ip link add {half.port} type veth peer name lan netns vmops-half
        ovs-vsctl add-port br-int {half.port} tag=77 \
          -- set Interface {half.port} external_ids:vmops-net=half
        ovs-vsctl add-port br-int {row.port} tag=78 \
          -- set Interface {row.port} external_ids:vmops-net=rebooted
        """
    )
    words = ("-H", NODE, "prune", "--format", "json")
    found = course.operator.ok(*words).json
    left = {each["name"] for each in found if each["kind"] == "network"}
    assert left == {"half", "rebooted"}
    held = course.lab.enter(NODE, ["flock", "/run/vmops-net/.lock/node", "cat"])
    with subprocess.Popen(held, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdin.write(b"x")
        holder.stdin.flush()
        assert holder.stdout.read(1) == b"x", "it holds the lock"
        assert course.operator.ok(*words).json == []
        holder.stdin.close()
    done = course.operator.ok(*words, "--yes").json
    assert {each["name"]: each["removed"] for each in done} == dict.fromkeys(left, True)
    assert "vmops-half" not in course.on_node("ls /run/netns /run/vmops-net")
    ports = course.on_node("ovs-vsctl list-ports br-int").split()
    assert half.port not in ports
    assert row.port not in ports
    assert course.operator.ok(*words).json == []
    assert set(course.up().values()) == {"nothing"}
