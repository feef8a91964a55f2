"""Tunnels between workers: what is planned for them, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from vmops.core.devices.network import service
from vmops.core.devices.network.mesh import NAME, Mesh
from vmops.core.facts.network.underlay import Underlay
from vmops.core.plan.network import mesh
from vmops.core.plan.network.mesh import Ground
from vmops.core.script.command import Step
from vmops.core.tools import ovs
from vmops.core.tools.lines.tunnels import MESH, Tunnel, port_to
from vmops.ops.network.mesh import agreed

from .test_mesh import BLUE, HEAD, VMS, of, read

LISTED = read(BLUE, *VMS)
W1 = LISTED.workers["w1"]
WANTED = of("w1", BLUE, *VMS)
(TO_W2,) = WANTED.tunnels
ROOM = Underlay("eth0", 1500)


def port_of(one: Tunnel, **changes: Any) -> ovs.Port:
    made = ovs.Port(
        name=one.port,
        bridge="br-int",
        tag=None,
        trunks=one.vlans,
        vlan_mode="trunk",
        external_ids={MESH: one.peer},
        ofport=4,
        protected=True,
        kind="vxlan",
        options=one.options,
    )
    return made._replace(**changes)


def ground(*ports: ovs.Port, found: Underlay | None = ROOM, **changes: Any) -> Ground:
    switch = ovs.Switch({"br-int": "system"}, {port.name: port for port in ports})
    return Ground(switch._replace(**changes), frozenset({"tap_1_eth0"}), found)


def words(step: Step | None) -> list[str]:
    assert step is not None
    return [" ".join(entry.words()) for entry in step.commands]


def test_tunnels_that_are_held_are_left_as_they_are_and_those_that_are_right_are_not_held() -> None:
    held = WANTED._replace(held=("w2",))
    elsewhere = port_of(TO_W2, options={**TO_W2.options, "remote_ip": "10.0.0.9"})
    for there, action in ((ground(), "held"), (ground(elsewhere), "held")):
        found = mesh.bring(W1, held, there)
        assert found is not None
        assert (found.change.action, found.step, found.refused) == (action, None, None)
        assert (found.change.held, bool(found.change.drift)) == (("w2",), True)
    found = mesh.bring(W1, held, ground(port_of(TO_W2)))
    assert found is not None
    assert (found.change.action, found.step, found.change.held) == ("nothing", None, ())
    own = mesh.bring(W1, held, ground(found=None))
    assert own is not None
    assert own.refused is not None


TO_W4 = Tunnel("w4", "10.0.0.1", "10.0.0.4", TO_W2.vlans)
THREE = WANTED._replace(tunnels=(TO_W2, TO_W4), held=("w2",))
ASTRAY = port_of(TO_W2, options={**TO_W2.options, "remote_ip": "10.0.0.9"}, trunks=(5, 7))


@pytest.mark.parametrize("to_w2", [None, ASTRAY], ids=["none yet", "another way"])
def test_the_others_are_changed_and_nothing_of_the_one_that_is_held(to_w2: ovs.Port | None) -> None:
    there = [to_w2] if to_w2 is not None else []
    old = port_of(TO_W4, trunks=(5,))
    lost = port_of(Tunnel("w9", "10.0.0.1", "10.0.0.8", (5,)))
    for ports in ([], [old], [port_of(TO_W4), lost]):
        found = mesh.bring(W1, THREE, ground(*there, *ports))
        assert found is not None
        action = "change" if [*there, *ports] else "start"
        assert (found.change.action, found.change.held) == (action, ("w2",))
        assert all("w2" not in drift.field for drift in found.change.drift)
        assert found.step is not None
        undo = " ".join(found.step.undo[0].words())
        assert not [line for line in (*words(found.step), undo) if TO_W2.port in line]
    done = mesh.bring(W1, THREE, ground(*there, port_of(TO_W4)))
    assert done is not None
    assert (done.change.action, done.change.held, done.step) == ("held", ("w2",), None)
    right = mesh.bring(W1, THREE, ground(port_of(TO_W2), old))
    assert right is not None
    assert (right.change.action, right.change.held) == ("change", ())


def test_tunnels_are_held_to_who_is_not_fit() -> None:
    shares = service.shares(LISTED, ["blue"], ["w1", "w2", "w4"])
    found = agreed(shares, ["w2"])
    assert all(share.mesh is not None and share.mesh.held == ("w2",) for share in found.values())
    assert agreed(shares, []) == shares
    bare = read(BLUE, *VMS, head=HEAD.replace('mesh = "vxlan"\n', ""))
    alone = service.shares(bare, ["blue"], ["w1"])
    assert agreed(alone, ["w1"]) == alone


def test_a_tunnel_is_made_in_one_transaction_with_all_that_keeps_it_from_harm() -> None:
    found = mesh.bring(W1, WANTED, ground())
    assert found is not None
    assert (found.change.network, found.change.action) == (NAME, "start")
    made, read_back = words(found.step)
    for word in (
        f"--may-exist add-port br-int {TO_W2.port}",
        "tag=[] trunks=[5,7,8,9,100] vlan_mode=trunk protected=true",
        "type=vxlan",
        '"10.0.0.2"',
        MESH,
    ):
        assert word in made
    assert made.count("vsctl") == 1
    assert read_back == f"holds_tunnels {TO_W2.port}"
    assert found.step is not None
    assert f"--if-exists del-port {TO_W2.port}" in " ".join(found.step.undo[0].words())


def test_what_is_laid_as_asked_is_left_alone() -> None:
    found = mesh.bring(W1, WANTED, ground(port_of(TO_W2)))
    assert found is not None
    assert (found.change.action, found.step) == ("nothing", None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trunks": (5,)}, "VLANs: trunk [5] -> trunk [5, 7, 8, 9, 100]"),
        ({"trunks": ()}, "VLANs: trunk of all VLANs ->"),
        ({"tag": 5}, "VLANs: 5 with trunk"),
        ({"protected": False}, "split horizon: off -> on"),
        ({"kind": "geneve"}, "way: geneve 10.0.0.1 to 10.0.0.2"),
        ({"options": {"remote_ip": "10.9.9.9"}}, "way: vxlan any to 10.9.9.9 ->"),
        ({"bridge": "br0"}, "bridge: br0 -> br-int"),
        ({"error": "File exists"}, "port: File exists -> plugged"),
    ],
)
def test_whatever_differs_is_changed_and_put_back_where_that_fails(
    changes: dict[str, Any], said: str
) -> None:
    seen = ground(port_of(TO_W2, **changes))
    found = mesh.bring(W1, WANTED, seen)
    assert found is not None
    assert found.change.action == "change"
    assert f"tunnel to w2, {said}" in "; ".join(map(str, found.change.drift))
    assert found.step is not None
    back = " ".join(found.step.undo[0].words())
    assert f"add-port {changes.get('bridge', 'br-int')} {TO_W2.port}" in back
    is_anew = bool({"bridge", "error"} & changes.keys())
    assert (f"del-port {TO_W2.port}" in words(found.step)[0]) is is_anew
    assert list(mesh.broken(WANTED, seen.switch)) == ["w2"]
    assert not mesh.check(W1, WANTED, seen).ok


def test_one_that_is_missing_beside_others_is_named() -> None:
    both = of("w1", BLUE, "dhcp = true\n", *VMS)
    seen = ground(port_of(both.tunnels[0]))
    found = mesh.bring(W1, both, seen)
    assert found is not None
    assert found.change.action == "change"
    assert [str(each) for each in found.change.drift] == [
        f"tunnel to w3: missing -> {port_to('w3')}"
    ]
    assert [str(each) for each in mesh.faults(W1, both, seen.switch, ())] == [
        "w1: its tunnel to w3: it is missing\n  fab net.up"
    ]


def test_one_that_leads_to_nobody_of_the_file_goes() -> None:
    old = Tunnel("gone", "10.0.0.1", "10.0.0.9", (5,))
    found = mesh.bring(W1, WANTED, ground(port_of(TO_W2), port_of(old)))
    assert found is not None
    assert f"tunnel to gone: {old.port} -> none" in map(str, found.change.drift)
    assert words(found.step) == [f"vsctl -- --if-exists del-port {old.port}"]


def test_all_go_where_none_is_wanted_and_nothing_is_said_where_none_was() -> None:
    none = Mesh("br-int")
    found = mesh.bring(W1, none, ground(port_of(TO_W2)))
    assert found is not None
    assert found.change.action == "remove"
    assert words(found.step) == [f"vsctl -- --if-exists del-port {TO_W2.port}"]
    assert mesh.bring(W1, none, ground(ovs.Port("vmxother", "br-int", None))) is None


TRUNK = ovs.Port("eth1", "br-int", None, ofport=1)


@pytest.mark.parametrize(
    ("trunks", "words_of_it"),
    [
        ((9, 11, 12), "there: sudo ovs-vsctl set Port eth1 trunks=11,12 vlan_mode=trunk"),
        (
            (),
            "there, with the VLANs that it is to carry in place of 4094:"
            " sudo ovs-vsctl set Port eth1 trunks=4094 vlan_mode=trunk",
        ),
        (
            (9,),
            "there, with the VLANs that it is to carry in place of 4094:"
            " sudo ovs-vsctl set Port eth1 trunks=4094 vlan_mode=trunk",
        ),
    ],
)
def test_the_cure_of_a_loop_can_be_typed_and_ends_it(
    trunks: tuple[int, ...], words_of_it: str
) -> None:
    port = TRUNK._replace(trunks=trunks)
    found = mesh.bring(W1, WANTED, ground(port))
    assert found is not None
    assert found.refused is not None
    assert found.refused.cure.endswith(words_of_it)
    told_to = found.refused.cure.partition("trunks=")[2].partition(" ")[0]
    mended = TRUNK._replace(trunks=tuple(map(int, told_to.split(","))), vlan_mode="trunk")
    after = mesh.bring(W1, WANTED, ground(mended))
    assert after is not None
    assert after.refused is None


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (ground(TRUNK), "port eth1 of br-int leads out too, and carries VLANs 5, 7, 8, 9, 100"),
        (
            ground(TRUNK._replace(trunks=(9, 11))),
            "eth1 of br-int leads out too, and carries VLAN 9",
        ),
        (
            ground(TRUNK._replace(tag=11, vlan_mode="native-untagged")),
            "eth1 of br-int leads out too",
        ),
        (ground(port_of(TO_W2, external_ids={})), f"a port {TO_W2.port} already, which vmops has"),
        (ground(found=None), "no device there has the address 10.0.0.1, where its tunnels begin"),
        (ground(found=Underlay("eth0", 1499)), "in one they become 1500, and the MTU of eth0 is"),
        (ground(fault="no socket"), "Open vSwitch does not answer: no socket"),
        (ground(bridges={"br0": ""}), "no bridge br-int; Open vSwitch has: br0"),
    ],
)
def test_what_would_do_harm_is_refused_before_anything_changes(seen: Ground, said: str) -> None:
    found = mesh.bring(W1, WANTED, seen)
    assert found is not None
    assert found.step is None
    assert found.refused is not None
    assert said in str(found.refused)
    assert found.refused.cure
    assert not mesh.check(W1, WANTED, seen).ok


@pytest.mark.parametrize(
    "port",
    [
        TRUNK._replace(trunks=(11, 12)),
        TRUNK._replace(bridge="br0"),
        TRUNK._replace(tag=100),
        TRUNK._replace(tag=100, vlan_mode="dot1q-tunnel"),
        TRUNK._replace(name="tap_1_eth0"),
        TRUNK._replace(name="br-int"),
        TRUNK._replace(external_ids={"vmops-vm": "a"}, tag=5, vlan_mode="native-untagged"),
    ],
)
def test_what_leads_nowhere_or_carries_other_vlans_is_no_harm(port: ovs.Port) -> None:
    found = mesh.bring(W1, WANTED, ground(port))
    assert found is not None
    assert found.refused is None


def test_that_none_is_laid_yet_is_no_fault_of_the_worker() -> None:
    found = mesh.check(W1, WANTED, ground())
    assert (found.ok, found.found) == (True, "no tunnels yet: up lays them to w2")
