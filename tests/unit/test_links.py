"""[[links]] and [topologies]: VLANs by the names of their ends, and shapes of many VMs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.core.inventory import normal_form
from vmops.core.inventory.inventory import Inventory, parse
from vmops.core.inventory.networks.links import pairs
from vmops.core.inventory.written_out import as_toml
from vmops.core.names import link_network

from .test_inventory import complaints

HEAD = """
[defaults]
link_vlans = "2000-2999"
[vm_defaults]
ram_mb = 1
cores = 1
qcow_image = "/{name}"
[templates.router]
interfaces = [{ name = "eth0", vlan_id = 5 }]
"""
TWO = '[vms.r1]\ninterfaces = [{ name = "eth2" }]\n[vms.r2]\n'
LINK = '[[links]]\nends = ["r1:eth2", "r2:eth2"]\n'


def read(*parts: str) -> Inventory:
    return parse(HEAD + "".join(parts), source="hosts.toml")


def vlans(listed: Inventory) -> dict[str, int | None]:
    return {
        f"{vm.name}:{nic.name}": nic.vlan_id
        for vm in listed.vms.values()
        for nic in vm.interfaces
        if (nic.vlan_id or 0) >= 2000
    }


def test_a_link_is_a_vlan_of_its_own_between_two_interfaces() -> None:
    listed = read(TWO, LINK)
    found = vlans(listed)
    assert set(found) == {"r1:eth2", "r2:eth2"}
    assert len(set(found.values())) == 1
    assert 2000 <= (found["r1:eth2"] or 0) <= 2999
    assert "# the link to r2:eth2" in as_toml(listed, tuple(listed.vms.values()))


def test_its_vlan_does_not_depend_on_the_order() -> None:
    other = '[[links]]\nends = ["r2:eth3", "r1:eth3"]\n'
    swapped = LINK.replace('"r1:eth2", "r2:eth2"', '"r2:eth2", "r1:eth2"')
    one, two = read(TWO, LINK, other), read(TWO, other, swapped)
    assert vlans(one) == vlans(two)
    assert vlans(read(TWO, LINK))["r1:eth2"] == vlans(one)["r1:eth2"]


def test_what_is_printed_means_the_same() -> None:
    listed = read('[topologies.ring]\nshape = "ring"\ncount = 4\ntemplate = "router"\n')
    again = parse(as_toml(listed, tuple(listed.vms.values())), source="hosts.toml")
    assert vlans(again) == vlans(listed)


def test_a_ring_of_routers() -> None:
    listed = read('[topologies.r]\nshape = "ring"\ncount = 5\ntemplate = "router"\n')
    assert list(listed.vms) == ["r1", "r2", "r3", "r4", "r5"]
    for vm in listed.vms.values():
        assert [nic.name for nic in vm.interfaces] == ["eth0", "eth1", "eth2"]
    found = vlans(listed)
    assert len(found) == 10
    assert len(set(found.values())) == 5
    ends: dict[int | None, list[str]] = {}
    for end, vlan in found.items():
        ends.setdefault(vlan, []).append(end.split(":")[0])
    neighbours = [["r1", "r2"], ["r1", "r5"], ["r2", "r3"], ["r3", "r4"], ["r4", "r5"]]
    assert sorted(map(sorted, ends.values())) == neighbours


@pytest.mark.parametrize("shape", ["line", "ring", "star", "tree", "mesh"])
def test_a_link_to_a_vm_of_a_topology_moves_nothing_of_it(shape: str) -> None:
    topology = f'[topologies.r]\nshape = "{shape}"\ncount = 4\ntemplate = "router"\n'
    ends = "".join(f'[[links]]\nends = ["c:eth{n}", "r{n}:eth9"]\n' for n in range(1, 5))
    before, after = read(topology), read(topology, "[vms.c]\n", ends)
    for name, vm in before.vms.items():
        *others, added = after.vms[name].interfaces
        assert added.name == "eth9"
        assert tuple(others) == vm.interfaces


def test_a_topology_goes_round_its_workers() -> None:
    workers = '[workers.a]\naddress = "10.0.0.1"\n[workers.b]\naddress = "10.0.0.2"\n'
    text = '[topologies.r]\nshape = "line"\ncount = 3\ntemplate = "router"\n'
    listed = read(workers, text, 'workers = ["b", "a"]\n')
    assert [vm.worker for vm in listed.vms.values()] == ["b", "a", "b"]
    assert listed.origins["vms", "r1", "worker"] == "[topologies.r]"


@given(st.sampled_from(["line", "ring", "star", "tree", "mesh"]), st.integers(3, 20))
def test_shapes_hang_together(shape: str, count: int) -> None:
    found = pairs(shape, count)
    assert len(set(found)) == len(found)
    assert all(1 <= a < b <= count for a, b in found)
    reached = {1}
    for _ in range(count):
        reached |= {n for pair in found for n in pair if set(pair) & reached}
    assert reached == set(range(1, count + 1))
    size = {"line": count - 1, "star": count - 1, "tree": count - 1, "ring": count}
    assert len(found) == size.get(shape, count * (count - 1) // 2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            TWO + LINK.replace("r2:", "r9:"),
            "links[0].ends[1]: 'r9:eth2': is not a VM's; there is: r1, r2",
        ),
        (
            TWO + LINK + '[[links]]\nends = ["r1:eth2", "r2:eth9"]\n',
            "links[1].ends[0]: 'r1:eth2': must not be an end of links[0] too",
        ),
        (
            '[vms.r1]\ninterfaces = [{ name = "eth2", vlan_id = 7 }]\n[vms.r2]\n' + LINK,
            "vms.r1.interfaces[0].vlan_id: 7: must be left out, as links[0] says it",
        ),
        (
            TWO + '[[links]]\nends = ["r1:eth2"]\n',
            "links[0].ends: ('r1:eth2',): must be two ends, each a VM and an interface, as in"
            ' ["r1:eth2", "r2:eth2"]',
        ),
        (
            '[topologies.r]\nshape = "ring"\ncount = 2\ntemplate = "router"\n',
            "topologies.r.count: 2: must be 3 or more for a ring",
        ),
        (
            '[topologies.r]\nshape = "line"\ncount = 2\ntemplate = "ruter"\n',
            "topologies.r.template: 'ruter': is no template; did you mean \"router\"?",
        ),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_path_value_and_rule(text: str, expected: str) -> None:
    found = complaints(HEAD + text)
    assert found[0].replace("['r1:eth2']", "('r1:eth2',)") == f"hosts.toml: {expected}"


def test_links_need_vlans_of_their_own() -> None:
    text = HEAD.replace('link_vlans = "2000-2999"', "")
    assert complaints(text + TWO + LINK) == (
        "hosts.toml: defaults.link_vlans: missing: must be given in [defaults], as there are links",
    )
    few = HEAD.replace("2000-2999", "2000-2000")
    assert complaints(few + TWO + LINK + LINK.replace("eth2", "eth3"))[0].endswith("no VLAN left")


RING = '[topologies.r]\nshape = "{0}"\ncount = {1}\ntemplate = "router"\n'
WEB = '[vms.web]\ncount = {0}\ntemplate = "router"\n'
TO_R = '[vms.x]\ninterfaces = [{ name = "eth0" }]\n[[links]]\nends = ["x:eth0", "r1:eth9"]\n'


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (RING.format("rnig", 4) + TO_R, "topologies.r.shape"),
        (RING.format("ring", 2) + TO_R, "topologies.r.count"),
        (RING.format("line", '"x"') + TO_R, "topologies.r.count"),
        (WEB.format('"x"') + TO_R.replace("r1", "web1"), "vms.web.count"),
        (WEB.format(0) + '[vms.x]\napart = ["web1"]\n', "vms.web.count"),
    ],
)
def test_a_vm_that_a_faulty_table_would_make_is_not_told_to_be_missing(
    text: str, where: str
) -> None:
    (said,) = complaints(HEAD + text)
    assert said.startswith(f"hosts.toml: {where}: ")


@pytest.mark.parametrize("value", ['"2999-2000"', "5", '""'])
def test_link_vlans_that_cannot_be_read_are_not_told_to_be_missing(value: str) -> None:
    (said,) = complaints(HEAD.replace('"2000-2999"', value) + TWO + LINK)
    assert said.startswith("hosts.toml: defaults.link_vlans: ")
    assert "missing" not in said


def test_a_vlan_that_is_used_already_is_no_links() -> None:
    text = HEAD.replace("2000-2999", "2000-2001")
    taken = '[vms.x]\ninterfaces = [{ name = "eth0", vlan_id = 2000 }]\n'
    found = vlans(parse(text + TWO + LINK + taken, source="hosts.toml"))
    assert found["r1:eth2"] == 2001


# Carried by OVN

OVN = """
[ovn]
northbound = "w1"
[workers.w1]
address = "192.0.2.1"
"""
OF_OVN = LINK.replace("ends", 'engine = "ovn"\nends')


def test_a_link_of_ovn_is_a_network_of_its_own_and_takes_no_vlan() -> None:
    listed = parse(HEAD.replace('link_vlans = "2000-2999"', "") + OVN + TWO + OF_OVN, source="x")
    assert vlans(listed) == {}
    (network,) = listed.networks.values()
    assert (network.name, network.engine, network.subnet) == ("link-r1.eth2-r2.eth2", "ovn", None)
    assert [f"{m.vm}:{m.interface}" for m in network.members] == ["r1:eth2", "r2:eth2"]
    assert {nic.port for vm in listed.vms.values() for nic in vm.nics} == {"r1:eth2", "r2:eth2"}
    written = as_toml(listed, tuple(listed.vms.values()))
    assert "# the link to r2:eth2" in written


def test_links_have_the_engine_of_networks_unless_they_say_another() -> None:
    head = HEAD.replace("[defaults]", '[defaults]\nengine = "ovn"') + OVN
    ring = '[topologies.ring]\nshape = "ring"\ncount = 3\ntemplate = "router"\n'
    listed = parse(head + TWO + LINK + ring + 'engine = "vlan"\n', source="x")
    assert list(listed.networks) == ["link-r1.eth2-r2.eth2"]
    assert len(vlans(listed)) == 6
    listed = parse(head + ring, source="x")
    assert sorted(listed.networks) == [
        f"link-ring{a}.eth{m}-ring{b}.eth{n}"
        for a, m, b, n in ((1, 1, 2, 1), (1, 2, 3, 2), (2, 2, 3, 1))
    ]


def test_an_end_of_such_a_link_has_the_address_that_it_is_given() -> None:
    own = 'address = "10.0.0.1/30", gateway = "10.0.0.2"'
    two = f'[vms.r1]\ninterfaces = [{{ name = "eth2", {own} }}]\n[vms.r2]\n'
    listed = parse(HEAD + OVN + two + OF_OVN, source="x")
    again = parse(as_toml(listed, tuple(listed.vms.values())), source="x")
    for found in (listed, again):
        (nic,) = found.vms["r1"].nics
        assert (nic.interface.address, nic.interface.gateway) == ("10.0.0.1/30", "10.0.0.2")
        assert nic.interface.network == "link-r1.eth2-r2.eth2"
    (said,) = complaints(HEAD + OVN + two.replace("/30", "") + OF_OVN)
    assert "vms.r1.interfaces[0].address: '10.0.0.1': must have its prefix" in said


def test_a_network_that_has_a_links_name_is_told() -> None:
    taken = '[networks."link-r1.eth2-r2.eth2"]\nvlan_id = 7\n'
    (said,) = complaints(HEAD + OVN + TWO + OF_OVN + taken)
    assert "links[0]: r1:eth2 r2:eth2: link-r1.eth2-r2.eth2, which is its network" in said


@given(st.text("ab-._", min_size=1, max_size=70), st.text("ab-._", min_size=1, max_size=70))
def test_a_links_name_is_one_that_a_network_can_have(one: str, other: str) -> None:
    ends = (f"{one}:eth0", f"{other}:eth0")
    assert normal_form.name(link_network(ends)) is not None
    assert link_network(ends) == link_network(ends[::-1])
