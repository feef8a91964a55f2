"""`verify` on real workers: what is as it should be, and each thing that was broken on purpose."""

from __future__ import annotations

import shlex

import pytest

from vmops.lab import Lab

from .broken import (
    Break,
    a_flow_drops,
    link_pulled,
    no_port,
    not_on_the_switch,
    not_on_the_trunk,
    stranger,
    switch_is_dead,
    switch_is_held,
    tags_of_its_own,
    tap_down,
    wrong_tag,
)
from .operator import Operator, Said, small_vm


def found(said: Said) -> dict[tuple[str, str], str]:
    pairs = [item for item in said.json if item["kind"] == "pair"]
    return {(p["from"].partition(":")[0], p["to"].partition(":")[0]): p["found"] for p in pairs}


def test_what_is_as_it_should_be(plugged: Operator) -> None:
    said = plugged.ok("verify", "--format", "json")
    reach = {("vm1", "vm3"), ("vm3", "vm1"), ("vm2", "vm4"), ("vm4", "vm2")}
    assert len(said.json) == 12
    assert {pair for pair, how in found(said).items() if how == "reach"} == reach
    assert all(item["ok"] and item["error"] is None for item in said.json)
    text = plugged.ok("verify")
    rows = [line.split() for line in text.out.splitlines()]
    assert rows[1] == ["1", "vm1:eth1", "101", "worker1", "-", ".", "o", "."]
    assert "12 pairs as hosts.toml has them: 4 reach each other, 8 are kept apart" in text.err


def test_it_leaves_ports_and_flows_as_they_were(plugged: Operator) -> None:
    before = [wiring(plugged, worker) for worker in ("worker1", "worker2")]
    plugged.ok("verify")
    assert before == [wiring(plugged, worker) for worker in ("worker1", "worker2")]


def wiring(operator: Operator, worker: str) -> str:
    columns = "--columns=name,admin_state,external_ids"
    ports = operator.on(worker, "ovs-vsctl", columns, "list", "Interface")
    return ports + operator.on(worker, *FLOWS)


FLOWS = ("ovs-ofctl", "--no-stats", "dump-flows", "br-int")

CUT = {("vm1", "vm3"): "apart", ("vm3", "vm1"): "apart"}
BOTH_CUT = CUT | {("vm2", "vm4"): "apart", ("vm4", "vm2"): "apart"}


@pytest.mark.parametrize(
    ("broken", "changed", "words"),
    [
        (
            wrong_tag,
            CUT | {(a, b): "reach" for a in ("vm1", "vm2", "vm4") for b in ("vm1", "vm2", "vm4")},
            "vm1: eth1: its port tap_1_eth1 is in VLAN 102, and hosts.toml has it in VLAN 101",
        ),
        (tap_down, CUT, "vm1: eth1: its TAP tap_1_eth1 is down"),
        (link_pulled, CUT, "vm1: eth1: its link is pulled (nic.down)"),
        (no_port, CUT, "vm1: eth1: its TAP tap_1_eth1 is no port of the switch"),
        (
            not_on_the_switch,
            CUT,
            "VLAN 101 does not pass between worker1 and worker2: the switch between does not carry"
            " it, as VLAN 102 passes",
        ),
        (
            not_on_the_trunk,
            CUT,
            "VLAN 101 does not pass between worker1 and worker2: port trunk of worker2 carries only"
            " VLAN 102",
        ),
        (switch_is_held, BOTH_CUT, "worker2: nothing passes its switch: ovs-vswitchd is held"),
        (switch_is_dead, BOTH_CUT, "worker2: nothing passes its switch: ovs-vswitchd does not run"),
        (
            a_flow_drops,
            {("vm1", "vm3"): "apart"},
            "vm1: eth1: the switch drops what comes from its port",
        ),
        (stranger, {}, "worker2: port foreign0 is in VLAN 101"),
        (
            tags_of_its_own,
            {(a, b): "reach" for a in ("vm1", "vm2", "vm4") for b in ("vm1", "vm2", "vm4")},
            "vm1: eth1: its port tap_1_eth1 is in VLAN 101 with native-untagged []",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_thing_that_is_broken_on_purpose_is_found_and_named(
    plugged: Operator, broken: Break, changed: dict[tuple[str, str], str], words: str
) -> None:
    as_it_was = found(plugged.ok("verify", "--format", "json"))
    wanted = as_it_was | {pair: how for pair, how in changed.items() if pair[0] != pair[1]}
    with broken(plugged):
        said = plugged.fab("verify", "--format", "json")
    assert said.code == 1
    assert found(said) == wanted
    assert words in said.err
    faults = [item for item in said.json if item["kind"] == "fault"]
    assert len(faults) == 1, "each cause once"
    assert words in faults[0]["error"]


@pytest.mark.parametrize("broken", [wrong_tag, tap_down, no_port, tags_of_its_own])
def test_the_cure_that_is_named_cures(plugged: Operator, broken: Break) -> None:
    with broken(plugged):
        said = plugged.fab("verify")
        cure = said.err.partition("\n  fab ")[2].partition("\n")[0]
        plugged.ok(*shlex.split(cure, comments=True))
        plugged.ok("verify")


def test_a_guest_with_several_vlans(plugged: Operator) -> None:
    plugged.extra = """
[vms.router]
vm_id = 9
worker = "worker2"
ram_mb = 32
cores = 1
vnc_port = 5909
qcow_image = "~/vm_images/router.qcow2"
interfaces = [{ name = "eth1", vlan_id = 101, trunks = [102] }]
"""
    plugged.write()
    plugged.ok("plug", "--vm", "router")
    try:
        how = found(plugged.ok("verify", "--vm", "router", "--format", "json"))
        assert set(how.values()) == {"reach"}
        plugged.on("worker2", "ovs-vsctl", "set", "Port", "tap_9_eth1", "trunks=103")
        said = plugged.fab("verify", "--vm", "router", "--format", "json")
        assert said.code == 1
        assert {p for p, word in found(said).items() if word != "reach"} == {
            ("router", "vm2"),
            ("vm2", "router"),
            ("router", "vm4"),
            ("vm4", "router"),
        }
        assert "is in VLAN 101 with native-untagged [103], and hosts.toml has it in" in said.err
    finally:
        plugged.ok("unplug", "--vm", "router")


def test_a_port_that_may_be_there_is_known(plugged: Operator) -> None:
    with stranger(plugged):
        plugged.ok("verify", "--known", "foreign*")
        assert plugged.fab("verify", "--known", "other*").code == 1


def test_a_worker_that_cannot_be_asked_is_3_and_its_pairs_are_unknown(plugged: Operator) -> None:
    plugged.lab.fault("worker2", "drop")
    try:
        said = plugged.fab("verify", "--format", "json")
    finally:
        plugged.lab.heal("worker2")
    assert said.code == 3
    assert {pair: how for pair, how in found(said).items() if how != "unknown"} == {
        ("vm1", "vm2"): "apart",
        ("vm2", "vm1"): "apart",
    }


def test_what_is_not_plugged_has_no_part_in_it_and_that_is_said(plugged: Operator) -> None:
    plugged.ok("unplug", "--vm", "vm1")
    said = plugged.ok("verify")
    assert "left out, as they are not plugged: vm1" in said.err
    assert "vm1:eth1" not in said.out


def test_only_pairs_of_one_vm(plugged: Operator) -> None:
    said = plugged.ok("verify", "--vm", "vm1", "--format", "json")
    assert len(said.json) == 6
    assert all("vm1:eth1" in (item["from"], item["to"]) for item in said.json)
    assert plugged.fab("verify", "--vm", "nobody").code == 2


def test_a_dry_run_shows_what_would_be_sent(plugged: Operator) -> None:
    said = plugged.ok("--dry", "verify")
    assert "sudo ovs-ofctl packet-out br-int" in said.out
    assert "sudo ovs-appctl fdb/show br-int" in said.out


def test_the_labs_switch_leaves_vlans_out_by_task(plugged: Operator, lab: Lab) -> None:
    at = {"VMOPS_LAB_DIR": str(lab.directory)}
    words = ("lab.vlans", "--worker", "worker1")
    try:
        assert plugged.fab(*words, "--without", "102", env=at).code == 0
        assert "VLAN 102 does not pass" in plugged.fab("verify").err
    finally:
        assert plugged.fab(*words, env=at).code == 0
    plugged.ok("verify")
    assert plugged.fab(*words, "--without", "4095", env=at).code == 2


def test_where_nothing_is_plugged_nothing_is_proved(operator: Operator) -> None:
    operator.add(small_vm("vm1", 1, 101), image=False)
    said = operator.fab("verify")
    assert said.code == 1
    assert "left out, as they are not plugged: vm1" in said.err
    assert "nothing was proved: none of these VMs is plugged\n  fab up" in said.err


def test_where_none_of_those_that_are_named_is_plugged_nothing_is_proved(
    operator: Operator,
) -> None:
    operator.add(small_vm("vm1", 1, 101), image=False)
    operator.add(small_vm("vm2", 2, 101), image=False)
    operator.ok("plug", "--vm", "vm1")
    said = operator.fab("verify", "--vm", "vm2", "--no-services")
    assert (said.code, said.out) == (1, "")
    assert "left out, as they are not plugged: vm2" in said.err
    assert "nothing was proved: none of these VMs is plugged\n  fab up" in said.err
    assert operator.fab("verify", "--vm", "vm1", "--no-services").code == 0
