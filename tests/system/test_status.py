"""status and ps on real VMs: what QEMU, the kernel and Open vSwitch say, in numbers and words."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import pytest

from vmops.core.facts import observed as facts
from vmops.core.facts.wiring import SWITCH
from vmops.core.inventory.model import VM
from vmops.inventory_file import load
from vmops.ops.act import ask
from vmops.ops.route import Route
from vmops.ops.vm.status import survey
from vmops.remote.counters import counted
from vmops.remote.ssh.connection import close_all

from .lab_helpers import wait_until
from .monitor_helpers import FIRST, SECOND, listening, tell, wait_gone
from .operator import FAB, ROOT, Operator, small_vm
from .seat import guest, kill, pid_of

IMAGES = "/home/ubuntu/vm_images"
BOOT_SECTOR_BYTES = 2048
DHCP_BYTES = 300


def status(operator: Operator, name: str = "vm1", *, code: int = 0) -> dict[str, Any]:
    said = operator.fab("status", "--vm", name, "--format", "json")
    assert said.code == code, said
    (found,) = said.json
    return dict(found)


def on_an_overlay(operator: Operator) -> VM:
    """vm1 with two interfaces, on an overlay of a boot sector's disk."""
    guest(operator, "vm1")
    operator.ok("stop", "--force", "--vm", "vm1")
    overlay = "qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 vm1.qcow2"
    make = f"cd {IMAGES} && mv vm1.qcow2 base.qcow2 && {overlay}"
    operator.on("worker1", "runuser", "-u", "ubuntu", "--", "sh", "-c", make)
    vm = small_vm("vm1", 1, 101, 102)
    operator.vms = [(vm, "worker1")]
    operator.write()
    operator.ok("launch", "--vm", "vm1")
    wait_until(lambda: status(operator)["disks"][0]["read_bytes"] > 0)
    return vm


def test_a_running_vm_in_all_its_numbers(operator: Operator) -> None:
    vm = on_an_overlay(operator)
    found = status(operator)
    pid = pid_of(operator, vm)
    known = {
        "vm": "vm1",
        "worker": "worker1",
        "address": operator.address("worker1"),
        "state": "running",
        "monitor": "running",
        "managed": True,
        "pid": pid,
        "vnc": "127.0.0.1:5901",
        "image": f"{IMAGES}/vm1.qcow2",
        "drift": [],
        "error": None,
    }
    assert {key: found[key] for key in known} == known
    (disk,) = found["disks"]
    assert disk["images"] == [f"{IMAGES}/vm1.qcow2", f"{IMAGES}/base.qcow2"]
    assert disk["name"] == disk["device"] == "ide0-hd0"
    assert disk["virtual_size"] == 1 << 20
    assert disk["read_bytes"] == BOOT_SECTOR_BYTES
    assert disk["written_bytes"] == 0
    resident = operator.on("worker1", "sh", "-c", f"grep VmRSS /proc/{pid}/status").split()[1]
    assert abs(found["memory_mb"] - int(resident) // 1024) <= 2
    assert 0 < found["cpu_s"] <= found["uptime_s"] * 4
    assert [(nic["name"], nic["plugged"]) for nic in found["interfaces"]] == [
        ("eth1", True),
        ("eth2", True),
    ]
    tags = [nic["port"]["tag"] for nic in found["interfaces"]]
    assert tags == [101, 102]


def test_traffic_is_counted_as_the_guest_sees_it(operator: Operator) -> None:
    """An empty disk makes the card's firmware ask for an address, again and again."""
    operator.add(small_vm("vm1", 1, 101))
    operator.ok("launch", "--vm", "vm1")

    def bytes_of(direction: str) -> int:
        return int(status(operator)["interfaces"][0][f"{direction}_bytes"])

    wait_until(lambda: bytes_of("sent") > DHCP_BYTES, seconds=60)
    before = bytes_of("received")
    send = "import socket; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)"
    frame = "s.bind(('tap_1_eth1', 0)); s.send(b'\\xff' * 12 + b'\\x08\\x00' + bytes(500))"
    operator.on("worker1", "python3", "-c", f"{send}; {frame}")
    wait_until(lambda: bytes_of("received") >= before + 514)


def test_drift_is_told_field_by_field_and_ports_are_as_they_are(operator: Operator) -> None:
    vm = on_an_overlay(operator)
    operator.on("worker1", "ovs-vsctl", "set", "Port", "tap_1_eth1", "tag=7")
    operator.on("worker1", "ovs-vsctl", "del-port", "tap_1_eth2")
    operator.vms = [(small_vm("vm1", vm.vm_id, 101, 102, ram_mb=64), "worker1")]
    operator.write()
    found = status(operator)
    assert {d["field"]: (d["running"], d["wanted"]) for d in found["drift"]} == {
        "ram_mb": ("32", "64"),
        "interfaces.eth1.vlan_id": ("7", "101"),
        "interfaces.eth2.port": ("missing", "tap_1_eth2"),
    }
    first, second = found["interfaces"]
    assert (first["vlan_id"], first["plugged"], first["port"]["tag"]) == (101, False, 7)
    assert (second["plugged"], second["port"]) == (False, None)
    line = operator.ok("status").out.splitlines()[1]
    assert "eth1:7 differs, eth2:102 no port" in line
    assert "ram_mb: 32 -> 64; interfaces.eth1.vlan_id: 7 -> 101" in line


def test_ports_that_a_look_removes_are_not_told_as_there(operator: Operator) -> None:
    vm = on_an_overlay(operator)
    tell(operator, vm, "quit")
    wait_gone(operator, vm)
    assert operator.port("worker1", "tap_1_eth1") is not None
    found = status(operator)
    assert found["state"] == "stopped"
    assert [(nic["plugged"], nic["port"]) for nic in found["interfaces"]] == [(False, None)] * 2
    assert operator.port("worker1", "tap_1_eth1") is None


@pytest.mark.parametrize(
    ("how", "state", "code", "reason"),
    [
        ("pause", "paused", 0, ""),
        ("-STOP", "unknown", 1, "held by a signal (SIGSTOP)"),
        ("-KILL", "crashed", 0, ""),
        ("-TERM", "stopped", 0, ""),
    ],
)
def test_each_state_is_told_as_it_is(
    operator: Operator, how: str, state: str, code: int, reason: str
) -> None:
    vm = guest(operator)
    pid = pid_of(operator, vm)
    if how == "pause":
        operator.ok("pause", "--vm", "vm1")
    else:
        kill(operator, vm, how)
    if state in ("crashed", "stopped"):
        wait_until(lambda: "vm1" not in operator.qemus("worker1"))
    found = status(operator, code=code)
    assert found["state"] == state
    assert found["pid"] == (pid if state in ("paused", "unknown") else None)
    assert reason in (found["error"] or "")
    assert operator.fab("ps").out.splitlines()[1].split()[2] == state


def test_the_switch_is_asked_where_there_is_a_vm_or_a_tap(operator: Operator) -> None:
    operator.add(small_vm("vm1", 1, 101))
    route = Route(load(operator.hosts_toml).worker("worker1"))

    def switch() -> bytes:
        answer = ask(route, *facts.for_status()).raw(SWITCH)
        assert answer is not None
        return answer.stdout

    try:
        assert switch() == b"none\n"
        assert status(operator)["interfaces"][0]["port"] is None
        operator.ok("plug", "--vm", "vm1")
        assert b"tap_1_eth1" in switch()
        found = status(operator)
        (nic,) = found["interfaces"]
        assert (found["state"], nic["plugged"], nic["port"]["tag"]) == ("stopped", True, 101)
        operator.ok("unplug", "--vm", "vm1")
        assert switch() == b"none\n"
    finally:
        close_all()


def test_a_monitor_that_does_not_answer_is_said_and_the_rest_is_told(operator: Operator) -> None:
    vm = guest(operator)
    guest(operator, "vm2")
    with listening(operator, vm, FIRST), listening(operator, vm, SECOND):
        said = operator.fab("status", "--format", "json")
    assert said.code == 1
    silent, well = said.json
    assert (silent["state"], silent["monitor"]) == ("unknown", None)
    assert silent["pid"] == pid_of(operator, vm)
    assert silent["memory_mb"] > 0
    assert "the monitor is busy or does not answer: no greeting within 2 s" in silent["error"]
    assert well["state"] == "running"
    assert "error: worker1: vm1: the monitor is busy" in said.err


def test_status_is_told_while_somebody_else_holds_the_first_monitor(operator: Operator) -> None:
    vm = guest(operator)
    with listening(operator, vm, FIRST):
        assert status(operator)["state"] == "running"


def test_a_worker_that_is_down_is_unknown_and_hides_no_other(operator: Operator) -> None:
    guest(operator, "vm1")
    operator.add(small_vm("vm2", 2), "worker2", image=False)
    operator.lab.fault("worker2", "drop")
    try:
        said = operator.fab("status", "--format", "json")
        listed = operator.fab("ps")
    finally:
        operator.lab.heal("worker2")
    assert said.code == listed.code == 3
    assert {found["vm"]: found["state"] for found in said.json} == {
        "vm1": "running",
        "vm2": "unknown",
    }
    assert said.err.count("error: worker2: ") == 1
    assert "unknown" in listed.out


def test_ps_lists_what_hosts_toml_does_not_know(operator: Operator) -> None:
    guest(operator, "vm1")
    guest(operator, "stray")
    known = list(operator.vms)
    operator.vms = [(vm, worker) for vm, worker in known if vm.name != "stray"]
    operator.write()
    lines = operator.ok("ps").out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["vm1", "stray"]
    assert "unmanaged" not in lines[0]
    assert "running unmanaged" in lines[1]
    stray = operator.ok("ps", "--format", "json").json[1]
    assert (stray["managed"], stray["monitor"], stray["vnc"]) == (
        False,
        "running",
        "127.0.0.1:5902",
    )
    assert [found["vm"] for found in operator.ok("status", "--format", "json").json] == ["vm1"]
    operator.vms = known


def test_the_monitors_of_all_are_asked_in_the_one_exchange(operator: Operator) -> None:
    vms = [guest(operator, name) for name in ("vm1", "vm2", "vm3")]
    listed = load(operator.hosts_toml)
    route = Route(listed.worker("worker1"))
    wanted = [listed.vms[vm.name] for vm in vms]
    try:
        survey(route, wanted)
        before = counted()
        found = survey(route, wanted)
        used = counted() - before
    finally:
        close_all()
    assert [vm.state for vm in found.vms] == ["running"] * 3
    assert (used.connections, used.exchanges, used.channels) == (0, 1, 0)


@pytest.mark.parametrize("words", ["status", "ps", "plan", "doctor", "status --format json"])
def test_a_reader_who_leaves_early_is_no_failure(operator: Operator, words: str) -> None:
    operator.add(small_vm("vm1", 1, 101))
    reader, writer = os.pipe()
    os.close(reader)
    argv = [FAB, "-H", "worker1", *words.split()]
    ended = subprocess.run(
        argv,
        cwd=ROOT,
        env=operator.environment(),
        stdin=subprocess.DEVNULL,
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(writer)
    told = operator.fab("-H", "worker1", *words.split())
    assert ended.stderr.decode() == told.err
    assert ended.returncode == told.code


@pytest.mark.parametrize("task", ["status", "ps"])
def test_bad_options_and_dry_contact_nobody(operator: Operator, task: str) -> None:
    operator.add(small_vm("vm1", 1), image=False)
    before = operator.lab.status().workers[0].connections
    assert operator.fab(task, "--interval", "0").code == 2
    assert operator.fab(task, "--format", "xml").code == 2
    said = operator.ok("--dry", task).out
    assert said.startswith("# on worker1")
    assert '{"execute": "query-blockstats"}' in said
    assert "sudo cat /proc/net/dev" in said
    assert operator.lab.status().workers[0].connections == before
