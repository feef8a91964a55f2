"""Tunnels between workers: what hosts.toml may say of them, their names, and what packets show."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.core.devices.network import service
from vmops.core.devices.network.mesh import Mesh, share
from vmops.core.facts.network.underlay import Underlay, underlay
from vmops.core.inventory.complaints import InvalidValue
from vmops.core.inventory.guest.told import Seed
from vmops.core.inventory.inventory import Inventory, parse
from vmops.core.inventory.written_out import as_json, as_toml
from vmops.core.script.command import Step, StepResult
from vmops.core.tools.lines.tunnels import Tunnel, port_to
from vmops.core.tools.proof import trace
from vmops.core.tools.proof.trace import Output
from vmops.ops.vm.seeds import told

HEAD = """
[defaults]
mesh = "vxlan"
network_node = "w3"
[workers.w1]
address = "10.0.0.1"
[workers.w2]
address = "10.0.0.2"
[workers.w3]
address = "10.0.0.3"
[workers.w4]
address = "10.0.0.4"
[vm_defaults]
ram_mb = 1
cores = 1
qcow_image = "/{name}"
"""
BLUE = '[networks.blue]\nvlan_id = 100\nsubnet = "192.168.0.0/24"\n'
FREE = '[networks.free]\nvlan_id = 300\nsubnet = "192.168.3.0/24"\n'


def a_vm(name: str, worker: str, *interfaces: str) -> str:
    listed = ", ".join(f'{{ name = "eth{n}", {keys} }}' for n, keys in enumerate(interfaces))
    pin = f'worker = "{worker}"\n' if worker else ""
    return f"[vms.{name}]\n{pin}interfaces = [{listed}]\n"


VMS = (
    a_vm("a", "w1", 'network = "blue"'),
    a_vm("b", "w2", "vlan_id = 7", "vlan_id = 5, trunks = [8, 9]"),
)


def read(*parts: str, head: str = HEAD) -> Inventory:
    return parse(head + "".join(parts), source="hosts.toml")


def of(worker: str, *parts: str) -> Mesh:
    found = share(read(*parts), worker)
    assert found is not None
    return found


def test_each_worker_that_has_a_vm_or_serves_a_network_has_a_tunnel_to_each_other() -> None:
    """And it carries the VLANs in use: those of a network that nobody is in are not."""
    parts = (BLUE, "dhcp = true\n", FREE, *VMS)
    assert read(*parts).mesh_workers == ("w1", "w2", "w3")
    found = of("w1", *parts)
    vlans = (5, 7, 8, 9, 100)
    assert found.tunnels == (
        Tunnel("w2", "10.0.0.1", "10.0.0.2", vlans),
        Tunnel("w3", "10.0.0.1", "10.0.0.3", vlans),
    )
    assert of("w4", *parts).tunnels == ()
    assert read(BLUE, *VMS).mesh_workers == ("w1", "w2")


def test_both_ends_of_a_tunnel_agree() -> None:
    parts = (BLUE, *VMS)
    (there,), (back,) = of("w1", *parts).tunnels, of("w2", *parts).tunnels
    assert (there.local, there.remote, there.vlans) == (back.remote, back.local, back.vlans)


def test_a_vm_that_is_pinned_nowhere_may_be_on_any_worker() -> None:
    assert read(BLUE, a_vm("a", "", 'network = "blue"')).mesh_workers == ("w1", "w2", "w3", "w4")


def test_without_a_mesh_there_is_no_share_and_tunnels_are_left_alone() -> None:
    listed = read(BLUE, *VMS, head=HEAD.replace('mesh = "vxlan"\n', ""))
    assert share(listed, "w1") is None
    assert listed.networks["blue"].mtu is None
    assert service.shares(listed, ["blue"], ["w1"])["w1"].mesh is None


def test_what_is_understood_is_a_file_that_means_the_same() -> None:
    listed = read(BLUE, *VMS)
    text = as_toml(listed, list(listed.vms.values()))
    assert parse(text, source="hosts.toml").mesh_workers == listed.mesh_workers
    assert as_json(listed, [])["mesh"] == "vxlan"
    for again in (copy.copy(listed), pickle.loads(pickle.dumps(listed))):
        assert again == listed


@pytest.mark.parametrize(
    ("text", "head", "mtu"),
    [
        ("", HEAD, 1446),
        ("mtu = 1400\n", HEAD, 1400),
        ("", HEAD.replace("10.0.0.", "fd00::"), 1426),
    ],
)
def test_guests_are_told_how_much_a_tunnel_carries(text: str, head: str, mtu: int) -> None:
    found = share(read(BLUE, text, *VMS, head=head), "w1")
    assert found is not None
    assert found.mtu == mtu
    assert found.needs_mtu == (1500 if not text else mtu + 54)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (
            HEAD.replace('"10.0.0.2"', '"two.example"'),
            "workers.w2.encap_ip: missing: must be given, as tunnels of the mesh end there and its"
            " address is no IP address of its own",
        ),
        (
            HEAD.replace('"10.0.0.2"', '"127.0.0.2"'),
            "workers.w2.encap_ip: missing: must be given",
        ),
        (
            HEAD.replace('"10.0.0.2"', '"10.0.0.2"\nencap_ip = "10.0.0.1"'),
            "workers.w2.encap_ip: '10.0.0.1': must differ from that of workers.w1",
        ),
        (
            HEAD.replace('"10.0.0.2"', '"fd00::2"'),
            "workers.w2.encap_ip: 'fd00::2': must be of one family with that of workers.w1",
        ),
        (HEAD.replace('"vxlan"', '"gre"'), "defaults.mesh: 'gre': must be one of \"vxlan\""),
    ],
)
def test_what_a_mesh_cannot_be_made_of(head: str, said: str) -> None:
    with pytest.raises(InvalidValue) as found:
        read(BLUE, *VMS, head=head)
    assert said in str(found.value)


OF_OVN = """
[ovn]
northbound = "w1"
[networks.blue]
engine = "ovn"
subnet = "192.168.0.0/24"
"""


@pytest.mark.parametrize(
    ("networks", "head", "mtu"),
    [
        (BLUE, HEAD, 1446),
        (f"{BLUE}mtu = 8946\n", HEAD, 8946),
        (BLUE, HEAD.replace("10.0.0.", "fd00::"), 1426),
        (BLUE, HEAD.replace('mesh = "vxlan"\n', ""), None),
        (f"{BLUE}mtu = 1450\n", HEAD.replace('mesh = "vxlan"\n', ""), 1450),
        (OF_OVN, HEAD.replace('mesh = "vxlan"\n', ""), 1442),
        (f"{OF_OVN}mtu = 1400\n", HEAD.replace('mesh = "vxlan"\n', ""), 1400),
        (f"{BLUE}dhcp = true\n", HEAD, None),
        ("[networks.blue]\nvlan_id = 100\n", HEAD, None),
    ],
)
def test_a_guest_that_is_told_its_address_is_told_how_much_passes(
    networks: str, head: str, mtu: int | None
) -> None:
    """One that asks by DHCP hears it there, and one that is told nothing has no seed."""
    listed = read(networks, a_vm("a", "w1", 'network = "blue"'), head=head)
    (nic,) = listed.vms["a"].nics
    assert nic.interface.mtu == mtu
    (seeded,) = told([listed.vms["a"]])
    assert isinstance(seeded.seed, Seed) or not listed.vms["a"].is_told
    if isinstance(seeded.seed, Seed):
        assert [card.mtu for card in seeded.seed.nics] == [mtu]
    again = parse(as_toml(listed, list(listed.vms.values())), source="hosts.toml")
    assert again.vms["a"].nics[0].interface.mtu == mtu


@pytest.mark.parametrize(
    ("interface", "said"),
    [
        ('network = "blue", mtu = 1400', "mtu: 1400: must be left out, as network blue says it"),
        ("vlan_id = 7, mtu = 1400", "mtu: 1400: must be left out, as there is neither"),
        ("vlan_id = 7, dhcp = true, mtu = 100", "mtu: 100: must be 576 to 9216"),
    ],
)
def test_an_mtu_is_said_where_it_can_be_told(interface: str, said: str) -> None:
    with pytest.raises(InvalidValue) as found:
        read(BLUE, a_vm("a", "w1", interface))
    assert said in str(found.value)
    read(BLUE, a_vm("a", "w1", 'vlan_id = 7, address = "10.0.0.5/24", mtu = 1400'))


def test_a_worker_without_a_part_in_it_may_have_any_address() -> None:
    read(BLUE, *VMS, head=HEAD.replace('"10.0.0.4"', '"four.example"'))


def test_an_inventory_that_is_made_by_hand_is_held_to_the_same() -> None:
    listed = read(BLUE, *VMS)
    workers = {**listed.workers, "w2": replace(listed.workers["w2"], address="two.example")}
    with pytest.raises(InvalidValue, match=r"workers\.w2\.encap_ip: missing"):
        replace(listed, workers=workers)


def test_the_device_of_tunnels() -> None:
    question = underlay("10.0.0.1")
    assert question.read(StepResult(Step("x", ()), 0, b"eth0 9000\n")) == Underlay("eth0", 9000)
    assert question.read(StepResult(Step("x", ()), 0, b"")) is None


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", fullmatch=True))
def test_names_of_tunnels_fit(peer: str) -> None:
    assert len(port_to(peer)) <= 15


def test_names_of_tunnels_differ() -> None:
    assert len({port_to(f"worker{number}") for number in range(500)}) == 500


OWN = (
    "tnl_push(tnl_port(vxlan_sys_4789),header(size=50,type=4,eth(dst=72:58:b6:3b:31:f2,"
    "src=0e:0c:05:f7:be:7e,dl_type=0x0800),ipv4(src=198.51.100.1,dst=198.51.100.2,proto=17,tos=0),"
    "udp(src=0,dst=4789,csum=0x0),vxlan(flags=0x8000000,vni=0x766d6f)),out_port(underlay)),"
    "push_vlan(vid=4094,pcp=0),trunk"
)
KERNEL = "set(tunnel(tun_id=0x766d6f,src=10.0.0.1,dst=10.0.0.2,ttl=64,tp_dst=4789,flags(df|key)))"
KERNEL_V6 = "set(tunnel(tun_id=0x766d6f,ipv6_src=fd00::1,ipv6_dst=fd00::2,ttl=64,flags(df|key)))"


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        (
            f"push_vlan(vid=101,pcp=0),br-int,clone({OWN}),{OWN}",
            [Output("br-int", 101), Output("tunnel to 198.51.100.2", 101)],
        ),
        (
            f"push_vlan(vid=101,pcp=0),{KERNEL},vxlan_sys_4789,pop_vlan,tap1",
            [Output("tunnel to 10.0.0.2", 101), Output("tap1", None)],
        ),
        (
            f"push_vlan(vid=7,pcp=0),{KERNEL_V6},vxlan_sys_4789",
            [Output("tunnel to fd00::2", 7)],
        ),
    ],
    ids=["userspace", "kernel", "kernel-v6"],
)
def test_a_tunnel_among_the_ways_out(actions: str, expected: list[Output]) -> None:
    assert list(trace.parse(f"Datapath actions: {actions}\n").outputs) == expected
