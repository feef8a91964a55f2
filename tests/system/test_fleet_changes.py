"""`up` and `plan` of what differs from hosts.toml, and of what cannot be started."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vmops import load
from vmops.ops.route import Group, Route
from vmops.ops.vm import lifecycle
from vmops.ops.vm.changes import look_to_start
from vmops.ops.vm.lifecycle import USUAL_TERMS
from vmops.remote.counters import counted
from vmops.remote.ssh.connection import close_all

from .fleet_helpers import change, column, running
from .lab_helpers import wait_until
from .operator import Operator


def test_a_port_that_was_retagged_by_hand_is_replugged(fleet: Operator) -> None:
    fleet.ok("up")
    pids = running(fleet)
    tap = fleet.vms[2][0].connected[0].tap
    fleet.on("worker2", "ovs-vsctl", "set", "Port", tap, "tag=999")
    planned = fleet.fab("plan")
    assert planned.code == 4
    assert "interfaces.eth1.vlan_id: 999 -> 111" in planned.out
    assert column(planned.out, 2) == ["nothing", "nothing", "replug", *["nothing"] * 3]
    (found,) = fleet.fab("plan", "--vm", "b1", "--format", "json").json
    assert found["fields"] == [
        {
            "field": "interfaces.eth1.vlan_id",
            "running": "999",
            "wanted": "111",
            "live": True,
            "later": False,
        }
    ]
    assert column(fleet.ok("up").out, 2)[2] == "replugged"
    port = fleet.port("worker2", tap)
    assert port is not None
    assert port["tag"] == "111"
    assert running(fleet) == pids, "nothing was restarted"
    assert fleet.fab("plan").code == 0


def test_a_restart_is_done_only_when_it_is_asked_for(fleet: Operator) -> None:
    fleet.ok("up")
    pids = running(fleet)
    change(fleet, "a1", ram_mb=48)
    planned = fleet.fab("plan", "--vm", "a*")
    assert planned.code == 4
    assert column(planned.out, 2) == ["restart", "nothing"]
    assert "ram_mb: 32 -> 48" in planned.out
    refused = fleet.fab("up")
    assert refused.code == 1
    assert "a1 runs, but not as the inventory says: ram_mb: 32 -> 48" in refused.err
    assert "fab restart --vm a1" in refused.err
    assert "to restart it: fab up --restart --vm a1" in planned.err
    change(fleet, "a2", ram_mb=48)
    for task in ("up", "plan"):
        told = fleet.fab(task).err
        assert told.count("to restart all 2: fab up --restart --vm a1,a2") == 1
        assert "fab restart" not in told
    change(fleet, "a2", ram_mb=32)
    assert running(fleet) == pids
    first, second = fleet.ok("up", "--vm", "a*", "--restart", "--format", "json").json
    assert (first["action"], second["action"]) == ("restart", "nothing")
    assert first["pid"] == running(fleet)["a1"] != pids["a1"]
    assert second["pid"] == pids["a2"]
    assert fleet.fab("plan").code == 0


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        pytest.param({"qcow_image": "~/vm_images/none.qcow2"}, "no image", id="image"),
        pytest.param({"ram_mb": 16_000_000}, "16000000 MiB", id="memory"),
    ],
)
def test_what_could_not_start_again_is_not_restarted(
    fleet: Operator, values: dict[str, object], reason: str
) -> None:
    fleet.ok("up", "--vm", "a*")
    pids = running(fleet)
    change(fleet, "a1", **values)
    said = fleet.fab("up", "--vm", "a*", "--restart")
    assert said.code == 1
    assert reason in said.err
    assert running(fleet) == pids


def test_memory_for_some_is_memory_for_none(fleet: Operator) -> None:
    """Each of the two fits alone. The other workers are not concerned."""
    facts = fleet.on("worker1", "cat", "/proc/meminfo").split()
    available = int(facts[facts.index("MemAvailable:") + 1]) // 1024
    for name in ("a1", "a2"):
        change(fleet, name, ram_mb=available * 6 // 10)
    for words in (("plan",), ("up",)):
        said = fleet.fab(*words)
        assert said.code == 1
        assert "none of a1, a2 is started: together they need" in said.err
        assert f"{2 * (available * 6 // 10)} MiB of memory" in said.err
        assert said.err.count("MiB are available") == 1, "said once"
    assert sorted(running(fleet)) == ["b1", "b2", "c1", "c2"]
    fleet.ok("up", "--overcommit")
    assert len(running(fleet)) == 6


def test_memory_for_some_is_memory_for_no_restart(fleet: Operator) -> None:
    fleet.ok("up", "--vm", "a*")
    pids = running(fleet)
    facts = fleet.on("worker1", "cat", "/proc/meminfo").split()
    available = int(facts[facts.index("MemAvailable:") + 1]) // 1024
    for name in ("a1", "a2"):
        change(fleet, name, ram_mb=available * 6 // 10)
    for words in (("plan", "--vm", "a*"), ("up", "--vm", "a*", "--restart"), RESTART):
        said = fleet.fab(*words)
        assert said.code == 1
        assert "none of a1, a2 is started: together they need" in said.err
    assert running(fleet) == pids
    fleet.ok(*RESTART, "--overcommit")
    assert set(running(fleet)) == {"a1", "a2"}
    assert not set(running(fleet).values()) & set(pids.values())


RESTART = ("restart", "--vm", "a*", "--force")


def test_launch_knows_the_same_rule(fleet: Operator) -> None:
    change(fleet, "a1", ram_mb=16_000_000)
    said = fleet.fab("launch", "--vm", "a*")
    assert said.code == 1
    assert "none of a1, a2 is started" in said.err
    assert running(fleet) == {}
    assert "--overcommit" in fleet.ok("--help", "launch").out


def test_a_vnc_port_in_use_is_seen_before_anything_starts(fleet: Operator) -> None:
    port = fleet.vms[1][0].vnc_port
    listen = f"socat -u TCP-LISTEN:{port},fork STDOUT >/dev/null 2>&1 & echo $!"
    listener = fleet.on("worker1", "sh", "-c", listen).strip()
    try:
        wait_until(lambda: f":{port} " in fleet.on("worker1", "ss", "-ltnH"))
        said = fleet.fab("up")
    finally:
        fleet.on("worker1", "kill", listener)
    assert said.code == 1
    assert f"none of a1, a2 is started: TCP port {port} is in use, a2's vnc_port" in said.err
    assert sorted(running(fleet)) == ["b1", "b2", "c1", "c2"]
    assert fleet.taps("worker1") == set()


def test_a_bad_interface_stops_no_other_vm_that_starts_with_it(fleet: Operator) -> None:
    """A device that is no TAP has its name, which is seen only when it is to be made."""
    fleet.on("worker1", "ip", "link", "add", "tap_2_eth1", "type", "veth", "peer", "name", "other")
    try:
        said = fleet.fab("up")
        assert said.code == 1
        assert set(running(fleet)) == {"a1", "b1", "b2", "c1", "c2"}
        assert "a2: interface eth1 is left out" in said.err, "its only one"
        port = fleet.port("worker1", "tap_1_eth1")
        assert port is not None
        assert port["tag"] == "101"
        assert fleet.port("worker1", "tap_2_eth1") is None
    finally:
        fleet.on("worker1", "ip", "link", "del", "tap_2_eth1")


def test_up_looks_at_everything_in_one_exchange_and_acts_in_another(fleet: Operator) -> None:
    listed = load(fleet.hosts_toml)
    vms = listed.vms_on(listed.workers)
    groups = [Group(Route(listed.worker(name)), vms[name]) for name in listed.workers]
    try:
        before = counted()
        elsewhere, seen = look_to_start(groups, [], USUAL_TERMS)
        assert (counted() - before).exchanges == len(groups)
        found = [
            came for g in seen for came in lifecycle.launch(g.route, g.vms, elsewhere=elsewhere)
        ]
        assert (counted() - before).exchanges == 2 * len(groups)
    finally:
        close_all()
    assert {came.vm: came.pid for came in found} == running(fleet)


def test_what_was_seen_and_is_so_no_more_is_looked_at_again(fleet: Operator) -> None:
    """Somebody else starts one of the VMs after the look."""
    listed = load(fleet.hosts_toml)
    group = Group(Route(listed.worker("worker1")), listed.vms_on(["worker1"])["worker1"])
    other = group.vms[0].name
    try:
        elsewhere, (seen,) = look_to_start([group], [], USUAL_TERMS)
        fleet.ok("launch", "--vm", other)
        pid = running(fleet)[other]
        first, *rest = lifecycle.launch(seen.route, seen.vms, elsewhere=elsewhere)
    finally:
        close_all()
    assert (first.error, first.action, first.pid) == (None, "nothing", pid)
    assert [(came.error, came.action) for came in rest] == [(None, "start")] * len(rest)


def test_a_worker_that_cannot_be_asked_has_seen_nothing(fleet: Operator) -> None:
    listed = load(fleet.hosts_toml)
    gone = replace(listed.worker("worker2"), name="gone", port=9, address="127.0.0.1")
    groups = [Group(Route(listed.worker("worker1"))), Group(Route(gone))]
    try:
        elsewhere, (first, second) = look_to_start(groups, [], USUAL_TERMS)
    finally:
        close_all()
    assert (set(elsewhere.seen), set(elsewhere.unasked)) == ({"worker1"}, {"gone"})
    assert first.route.seen is not None
    assert second.route.seen is None
