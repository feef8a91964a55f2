"""`up`, `down` and `plan` over several workers with several VMs each.

Guests are boot sectors that halt, and power off when they are asked.
"""

from __future__ import annotations

import pytest

from tests.guests import boot_sector_image, cache_directory
from vmops.lab.daemons import DATABASE

from .fleet_helpers import WORKERS, column, put, running
from .operator import Operator


def test_up_twice_plan_and_down(fleet: Operator) -> None:
    planned = fleet.fab("plan", "--format", "json")
    assert planned.code == 4
    assert [item["action"] for item in planned.json] == ["start"] * 6
    first = fleet.ok("up", "--format", "json").json
    pids = running(fleet)
    assert first == [
        {
            "vm": vm.name,
            "worker": worker,
            "pid": pids[vm.name],
            "changed": True,
            "skipped_interfaces": [],
            "action": "start",
            "error": None,
        }
        for vm, worker in fleet.vms
    ]
    for vm, worker in fleet.vms:
        port = fleet.port(worker, vm.connected[0].tap)
        assert port is not None
        assert port["tag"] == str(vm.interfaces[0].vlan_id)
    assert fleet.ok("plan").code == 0
    second = fleet.ok("up", "--format", "json").json
    assert [(item["pid"], item["changed"], item["action"]) for item in second] == [
        (pids[vm.name], False, "nothing") for vm, _ in fleet.vms
    ]
    assert running(fleet) == pids
    gone = fleet.ok("down", "--format", "json").json
    assert [(item["vm"], item["worker"]) for item in gone] == [(v.name, w) for v, w in fleet.vms]
    assert {(item["changed"], item["how"], item["error"]) for item in gone} == {
        (True, "guest", None)
    }
    for worker in WORKERS:
        assert fleet.qemus(worker) == {}
        assert fleet.taps(worker) == set()
        assert fleet.on(worker, "ls", "/run/vmops") == ""
    assert set(column(fleet.ok("down").out, 2)) == {"was not there"}


@pytest.mark.parametrize(
    ("words", "names"),
    [
        pytest.param((), "a1 a2 b1 b2 c1 c2", id="all"),
        pytest.param(("--vm", "*1"), "a1 b1 c1", id="vm"),
        pytest.param(("--worker", "worker2,worker1"), "b1 b2 a1 a2", id="worker"),
        pytest.param(("--vm", "*1,c2", "--worker", "worker1,worker3"), "a1 c1 c2", id="both"),
        pytest.param(("-H", "worker3"), "c1 c2", id="host"),
        pytest.param(("-H", "worker3", "--vm", "c2"), "c2", id="host-and-vm"),
    ],
)
def test_the_selection(fleet: Operator, words: tuple[str, ...], names: str) -> None:
    host = words[:2] if "-H" in words else ()
    said = fleet.fab(*host, "plan", "--format", "json", *words[len(host) :])
    assert said.code == 4
    assert [item["vm"] for item in said.json] == names.split()
    workers = {worker for vm, worker in fleet.vms if vm.name in names.split()}
    assert {item["worker"] for item in said.json} == workers


FREE = """
[vms.free]
vm_id = 99
ram_mb = 32
cores = 1
vnc_port = 5999
qcow_image = "~/vm_images/free.qcow2"
"""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(("up", "--vm", "a11"), ("a11", 'did you mean "a1"'), id="unknown-vm"),
        pytest.param(("up", "--worker", "worker9"), ("worker9",), id="unknown-worker"),
        pytest.param(("down", "--worker", "worker1", "--vm", "b1"), ("b1", "worker1"), id="none"),
        pytest.param(("-H", "worker1", "up", "--worker", "worker1"), ("-H", "--worker"), id="two"),
        pytest.param(("-H", "worker1", "up", "--vm", "b*"), ("pinned to worker worker2",), id="-H"),
        pytest.param(("up", "--parallel", "-1"), ("--parallel", "1 or more"), id="parallel"),
        pytest.param(("down", "--timeout", "-1"), ("--timeout", "0 seconds"), id="timeout"),
        pytest.param(("plan", "--format", "yaml"), ("yaml", "json"), id="format"),
    ],
)
def test_bad_input_contacts_nothing(
    fleet: Operator, words: tuple[str, ...], said: tuple[str, ...]
) -> None:
    fleet.extra = FREE
    fleet.write()
    before = [worker.connections for worker in fleet.lab.status().workers]
    refused = fleet.fab(*words)
    assert (refused.code, refused.out) == (2, "")
    for word in said:
        assert word in refused.err
    assert [worker.connections for worker in fleet.lab.status().workers] == before


def test_a_vm_that_is_pinned_nowhere_is_placed_by_h_and_stopped_wherever_it_is(
    fleet: Operator,
) -> None:
    fleet.extra = FREE
    fleet.write()
    fleet.lab.make_image("worker2", "~/vm_images/free.qcow2", size_mb=1)
    started = fleet.ok("-H", "worker2", "up", "--format", "json").json
    assert [item["vm"] for item in started] == ["free", "b1", "b2"]
    (gone,) = fleet.ok("down", "--force", "--vm", "free", "--format", "json").json
    assert (gone["vm"], gone["worker"], gone["changed"]) == ("free", "worker2", True)
    assert sorted(running(fleet)) == ["b1", "b2"]


def test_a_vm_that_was_moved_while_it_runs(fleet: Operator) -> None:
    fleet.ok("up", "--vm", "a1,b1")
    a1 = fleet.vms[0][0]
    put(fleet, "worker2", a1.qcow_image, boot_sector_image(cache_directory()).read_bytes())
    fleet.vms[0] = (a1, "worker2")
    fleet.write()
    (planned,) = fleet.fab("plan", "--vm", "a1,a2", "--format", "json").json[-1:]
    assert (planned["vm"], planned["worker"], planned["action"]) == ("a1", "worker2", "refused")
    said = fleet.fab("up", "--vm", "a1,a2")
    assert said.code == 1
    assert "a1 runs on worker1, and hosts.toml has it on worker2" in said.err
    assert "fab -H worker1 stop --vm a1 --elsewhere" in said.err
    proof = fleet.fab("verify", "--no-services")
    assert proof.code == 1
    assert "a1 runs on worker1, and hosts.toml has it on worker2" in proof.err
    assert "no VM that hosts.toml has here" not in proof.err
    refused = fleet.fab("stop", "--vm", "a1", "--elsewhere")
    assert (refused.code, "-H" in refused.err) == (2, True)
    fleet.ok("-H", "worker1", "stop", "--vm", "a1", "--elsewhere")
    assert set(fleet.qemus("worker1")) == {"a2"}
    fleet.ok("up", "--vm", "a1,a2")
    assert "a1" in fleet.qemus("worker2")


def test_what_hosts_toml_does_not_have_any_more_is_told_at_the_end(fleet: Operator) -> None:
    fleet.ok("up", "--vm", "a1,a2,b1")
    everything = list(fleet.vms)
    fleet.vms = [placed for placed in everything if placed[0].name in ("a2", "b2")]
    fleet.write()
    first = "a1 on worker1"
    cure = "fab -H worker1 stop --vm a1"
    told = f"VMs run that hosts.toml does not have: {first}, b1 on worker2; to end one: {cure}"
    try:
        for code, *words in ((4, "plan"), (0, "up"), (0, "down", "--yes", "--force")):
            said = fleet.fab(*words)
            assert said.code == code, words
            assert said.err.splitlines()[-1] == f"2 {told}", words
            named = fleet.fab(*words, "--vm", "a2", "--format", "json")
            assert "hosts.toml does not have" not in named.err, words
        here = fleet.ok("down", "--worker", "worker1", "--force").err.splitlines()[-1]
        assert here == f"1 VM runs that hosts.toml does not have: {first}; to end it: {cure}"
        assert set(fleet.qemus("worker1")) == {"a1"}
        fleet.ok("-H", "worker1", "stop", "--vm", "a1", "--force")
        fleet.ok("-H", "worker2", "stop", "--vm", "b1", "--force")
        assert "hosts.toml does not have" not in fleet.fab("plan").err
    finally:
        fleet.vms = everything
        fleet.write()


def transactions(operator: Operator, worker: str, word: str) -> list[str]:
    """The ovs-vsctl calls that changed the worker's switch and hold the word, from its log."""
    log = operator.on(worker, "ovsdb-tool", "show-log", DATABASE)
    return [line for line in log.splitlines() if "ovs-vsctl" in line and word in line]


def test_the_ports_of_a_worker_are_one_transaction(fleet: Operator) -> None:
    before = transactions(fleet, "worker1", "add-port")
    fleet.ok("up")
    (made,) = transactions(fleet, "worker1", "add-port")[len(before) :]
    for tap in ("tap_1_eth1", "tap_2_eth1"):
        assert f"add-port br-int {tap}" in made


def test_status_of_many_workers(fleet: Operator) -> None:
    fleet.ok("up")
    found = fleet.ok("status", "--parallel", "2", "--format", "json").json
    assert [(item["vm"], item["state"]) for item in found] == [
        (vm.name, "running") for vm, _ in fleet.vms
    ]
