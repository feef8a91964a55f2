"""Launching and stopping on a real worker, read back from OVSDB, the kernel and /proc."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vmops import RemoteExecutor, VMLauncher
from vmops.core.inventory.model import VM, Interface
from vmops.core.names import tap_name

from .lab_helpers import wait_until
from .monitor_helpers import listening
from .operator import ROOT, Operator, small_vm

VM1 = VM(
    "vm1",
    vm_id=1001,
    ram_mb=512,
    cores=1,
    vnc_port=5901,
    qcow_image="~/vm_images/vm1_img.qcow2",
    interfaces=(Interface("eth1", vlan_id=101, mac="52:54:00:03:e9:01"),),
)

DOCUMENTED = [
    *("-m", "512", "-smp", "1", "-vnc", "127.0.0.1:1"),
    *("-netdev", "tap,id=net0,ifname=tap_1001_eth1,script=no,downscript=no"),
    *("-device", "e1000,netdev=net0,mac=52:54:00:03:e9:01"),
    *("-drive", "file=/home/ubuntu/vm_images/vm1_img.qcow2,format=qcow2", "-daemonize"),
]


def command_line(operator: Operator, worker: str, pid: int) -> list[str]:
    raw = operator.lab.run(worker, ["cat", f"/proc/{pid}/cmdline"]).stdout
    return raw.decode().split("\0")[:-1]


def test_launch_is_as_documented_and_stop_leaves_nothing(operator: Operator) -> None:
    operator.add(VM1)
    said = operator.ok("-H", operator.address("worker1"), "launch", "--vm", "vm1")
    pid = operator.qemus("worker1")["vm1"]
    assert said.out == f"vm1 on worker1: runs, PID {pid}\n"
    port = operator.port("worker1", "tap_1001_eth1")
    assert port is not None
    assert (port["tag"], port["bridge"]) == ("101", "br-int")
    for mark in ("attached-mac", "iface-id", f'vm-uuid="{VM1.uuid}"', "vmops-vm=vm1"):
        assert mark in port["external_ids"]
    argv = command_line(operator, "worker1", pid)
    plain = [word.replace(",password=on", "") for word in argv]
    positions = [plain.index(word) for word in DOCUMENTED]
    assert positions == sorted(positions), "the documented arguments, in the documented order"
    for name, value in (
        ("-name", "vm1"),
        ("-uuid", VM1.uuid),
        ("-pidfile", "/run/vmops/vm1/pid"),
        ("-qmp", "unix:/run/vmops/vm1/qmp.sock,server=on,wait=off"),
    ):
        assert argv[argv.index(name) + 1] == value
    assert operator.on("worker1", "cat", "/run/vmops/vm1/pid").strip() == str(pid)
    operator.ok("-H", operator.address("worker1"), "stop", "--force", "--vm", "vm1")
    assert operator.qemus("worker1") == {}
    assert operator.port("worker1", "tap_1001_eth1") is None
    assert operator.taps("worker1") == set()
    assert operator.on("worker1", "ls", "/run/vmops") == ""


def test_qemu_keeps_no_rights_of_root(operator: Operator) -> None:
    operator.add(small_vm("vm1", 1, 101))
    operator.ok("launch", "--vm", "vm1")
    pid = operator.qemus("worker1")["vm1"]
    status = operator.on("worker1", "cat", f"/proc/{pid}/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert set(fields["Uid"].split()) == {"1900000001"}
    assert int(fields["CapEff"], 16) == 0
    assert fields["Seccomp"] == "2", "a filter is in force"


def test_several_interfaces_are_each_on_their_vlan(operator: Operator) -> None:
    vm = operator.add(small_vm("many", 7, 101, 102, None, 4094))
    said = operator.ok("launch", "--vm", "many", "--format", "json")
    assert said.json[0]["skipped_interfaces"] == []
    tags = {nic.tap: str(nic.vlan_id) for nic in vm.connected}
    assert len(tags) == 3
    assert operator.taps("worker1") == set(tags)
    for tap, tag in tags.items():
        port = operator.port("worker1", tap)
        assert port is not None
        assert port["tag"] == tag
    argv = command_line(operator, "worker1", said.json[0]["pid"])
    assert [word.split("mac=")[1] for word in argv if "mac=" in word] == [
        "52:54:00:00:07:01",
        "52:54:00:00:07:02",
        "52:54:00:00:07:04",
    ]


def test_launch_twice_changes_nothing_and_says_so(operator: Operator) -> None:
    operator.add(small_vm("vm1", 1, 101))
    first = operator.ok("launch", "--vm", "vm1", "--format", "json").json[0]
    second = operator.ok("launch", "--vm", "vm1", "--format", "json").json[0]
    assert (first["changed"], second["changed"]) == (True, False)
    assert first["pid"] == second["pid"] == operator.qemus("worker1")["vm1"]
    assert "already runs" in operator.ok("launch", "--vm", "vm1").out


def test_stop_twice_and_stop_of_what_never_ran_are_no_errors(operator: Operator) -> None:
    operator.add(small_vm("vm1", 1, 101))
    assert "was not there" in operator.ok("stop", "--vm", "vm1").err
    operator.ok("launch", "--vm", "vm1")
    operator.ok("stop", "--force", "--vm", "vm1")
    assert "was not there" in operator.ok("stop", "--vm", "vm1").err


def test_vm1_beside_vm10(operator: Operator) -> None:
    for name, number in (("vm1", 1), ("vm10", 10), ("a-vm1", 11), ("vm1.b", 12)):
        operator.add(small_vm(name, number, 101))
    operator.ok("launch", "--vm", "*")
    pids = operator.qemus("worker1")
    assert operator.ok("pid", "--vm", "vm1").out.strip() == str(pids["vm1"])
    assert operator.ok("pid", "--vm", "vm10").out.strip() == str(pids["vm10"])
    operator.ok("stop", "--force", "--vm", "vm1")
    left = operator.qemus("worker1")
    assert left == {name: pid for name, pid in pids.items() if name != "vm1"}
    assert operator.taps("worker1") == {tap_name(n, "eth1") for n in (10, 11, 12)}
    gone = operator.fab("pid", "--vm", "vm1")
    assert (gone.code, gone.out) == (1, "")
    assert gone.err == "error: worker1: vm1 is stopped\n  fab launch --vm vm1 starts it\n"


def test_the_pid_of_a_crashed_vm_is_an_error_with_its_cure(operator: Operator) -> None:
    operator.add(small_vm("vm1", 1))
    pid = operator.ok("launch", "--vm", "vm1", "--format", "json").json[0]["pid"]
    operator.on("worker1", "kill", "-9", str(pid))
    wait_until(lambda: "vm1" not in operator.qemus("worker1"))
    said = operator.fab("pid", "--vm", "vm1")
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("error: worker1: vm1 has crashed\n  fab launch --vm vm1 ")


def test_a_chain_step_by_step_is_the_same_launch(operator: Operator) -> None:
    operator.add(small_vm("vm1", 1, 101))
    steps = ["plug", "--vm", "vm1", "boot", "--vm", "vm1", "pid", "--vm", "vm1"]
    said = operator.ok("-H", "worker1", *steps)
    assert said.out.strip() == str(operator.qemus("worker1")["vm1"])
    assert operator.ok("status", "--format", "json").json[0]["drift"] == []
    refused = operator.fab("unplug", "--vm", "vm1")
    assert (refused.code, operator.taps("worker1")) == (1, {"tap_1_eth1"})
    assert "is running" in refused.err
    operator.ok("stop", "--force", "--vm", "vm1")
    operator.ok("plug", "--vm", "vm1", "unplug", "--vm", "vm1")
    assert operator.taps("worker1") == set()


def test_boot_leaves_out_what_is_not_plugged(operator: Operator) -> None:
    """QEMU as root would make a private TAP of that name, in no bridge."""
    operator.add(small_vm("vm1", 1, 101))
    strict = operator.fab("boot", "--vm", "vm1", "--strict")
    assert (strict.code, operator.qemus("worker1")) == (1, {})
    said = operator.ok("boot", "--vm", "vm1")
    assert "interface eth1 is left out" in said.err
    assert "fab restart --vm vm1" in said.err
    argv = command_line(operator, "worker1", operator.qemus("worker1")["vm1"])
    assert "-netdev" not in argv
    assert operator.taps("worker1") == set()


def test_a_stale_port_gets_the_right_vlan(operator: Operator) -> None:
    operator.add(small_vm("vm1", 1, 101))
    stale = "ip tuntap add mode tap name tap_1_eth1; ovs-vsctl add-port br-int tap_1_eth1 tag=999"
    operator.on("worker1", "sh", "-c", stale)
    operator.ok("launch", "--vm", "vm1")
    port = operator.port("worker1", "tap_1_eth1")
    assert port is not None
    assert port["tag"] == "101"


def test_a_long_name_gets_a_hashed_tap_and_is_told(operator: Operator) -> None:
    vm = VM(
        "vm1",
        vm_id=60001,
        ram_mb=32,
        cores=1,
        vnc_port=5999,
        qcow_image="~/vm_images/vm1.qcow2",
        interfaces=(Interface("management", vlan_id=5), Interface("managements", vlan_id=6)),
    )
    operator.add(vm)
    said = operator.ok("launch", "--vm", "vm1")
    taps = [nic.tap for nic in vm.connected]
    assert operator.taps("worker1") == set(taps)
    assert all(len(tap) <= 15 and tap in said.err for tap in taps)


def make_foreign_port(operator: Operator, tap: str) -> None:
    script = (
        f"ip tuntap add mode tap name {tap}; ovs-vsctl add-port br-int {tap} tag=7 "
        f"-- set Interface {tap} external_ids:iface-id=somebody-else"
    )
    operator.on("worker1", "sh", "-c", script)


def test_a_plug_that_plugs_nothing_fails_and_ends_the_chain(operator: Operator) -> None:
    operator.add(small_vm("vm1", 1, 101))
    make_foreign_port(operator, "tap_1_eth1")
    said = operator.fab("plug", "--vm", "vm1", "boot", "--vm", "vm1")
    assert (said.code, operator.qemus("worker1")) == (1, {})
    assert "vm1: no interface is plugged" in said.err
    assert "plugged already" not in said.err


def test_an_interface_that_fails_is_skipped_and_the_launch_goes_on(operator: Operator) -> None:
    operator.add(small_vm("vm1", 1, 101, 102))
    make_foreign_port(operator, "tap_1_eth1")
    said = operator.ok("launch", "--vm", "vm1", "--format", "json")
    assert said.json[0]["skipped_interfaces"] == ["eth1"]
    assert "error: worker1: vm1: interface eth1 is left out" in said.err
    assert "somebody-else" in said.err
    argv = " ".join(command_line(operator, "worker1", said.json[0]["pid"]))
    assert "tap_1_eth2" in argv
    assert "tap_1_eth1" not in argv
    operator.ok("stop", "--force", "--vm", "vm1")
    foreign = operator.port("worker1", "tap_1_eth1")
    assert foreign is not None
    assert foreign["tag"] == "7", "what belongs to somebody else is left alone"


def test_strict_refuses_and_undoes(operator: Operator) -> None:
    """The second interface fails on the worker itself: a device that is no TAP has its name."""
    operator.add(small_vm("vm1", 1, 101, 102))
    made = ("tap_1_eth2", "type", "veth", "peer", "name", "other_end")
    operator.on("worker1", "ip", "link", "add", *made)
    try:
        said = operator.fab("launch", "--vm", "vm1", "--strict")
        assert said.code == 1, said
        assert "plug eth2 failed" in said.err
        assert "what had been done was undone" in said.err
        assert operator.port("worker1", "tap_1_eth1") is None
        assert operator.taps("worker1") == set()
        assert operator.qemus("worker1") == {}
    finally:
        operator.on("worker1", "ip", "link", "del", made[0])


@pytest.mark.parametrize("how", ["killed", "powered off"])
def test_what_a_dead_vm_left_is_taken_over(operator: Operator, how: str) -> None:
    operator.add(small_vm("vm1", 1, 101))
    operator.ok("launch", "--vm", "vm1")
    signal = "-9" if how == "killed" else "-15"
    pid = operator.qemus("worker1")["vm1"]
    wait = f"kill {signal} {pid}; while [ -e /proc/{pid} ]; do sleep 0.02; done"
    operator.on("worker1", "sh", "-c", wait)
    state = operator.ok("status", "--format", "json").json[0]["state"]
    assert state == ("crashed" if how == "killed" else "stopped")
    said = operator.ok("launch", "--vm", "vm1")
    assert ("had crashed" if how == "killed" else "had powered itself off") in said.err
    assert operator.ok("status", "--format", "json").json[0]["state"] == "running"


def test_a_vm_that_runs_otherwise_is_left_alone_and_the_fields_are_named(
    operator: Operator,
) -> None:
    operator.add(small_vm("vm1", 1, 101))
    operator.ok("launch", "--vm", "vm1")
    pid = operator.qemus("worker1")
    operator.vms[0] = (small_vm("vm1", 1, 101, ram_mb=64), "worker1")
    operator.write()
    said = operator.fab("launch", "--vm", "vm1")
    assert said.code == 1
    assert "ram_mb: 32 -> 64" in said.err
    assert operator.qemus("worker1") == pid


def test_the_documented_api(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    operator.add(VM1)
    monkeypatch.setenv("VMOPS_HOSTS", str(operator.hosts_toml))
    address = operator.address("worker1")
    executor = RemoteExecutor(remote_user="ubuntu")
    assert executor.execute_direct(address, "hostname") == (True, "worker1\n")
    launcher = VMLauncher(executor)
    ok, pid = launcher.launch_vm(address, VM1.to_dict())
    assert (ok, pid) == (True, str(operator.qemus("worker1")["vm1"]))
    assert isinstance(pid, str)
    argv = command_line(operator, "worker1", int(pid))
    assert argv[argv.index("-vnc") + 1] == "0.0.0.0:1"
    assert launcher.stop_vm(address, VM1.to_dict()) is True
    assert operator.qemus("worker1") == {}
    assert operator.taps("worker1") == set()
    assert launcher.stop_vm(address, VM1.to_dict()) is True
    assert launcher.launch_vm(address, {**VM1.to_dict(), "qcow_image": "/no"}) == (False, None)
    assert launcher.launch_vm(address, {"name": "vm1"}) == (False, None)


def test_the_python_of_the_readme_is_safe(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It uses the inventory that it loads, and VNC asks for a password."""
    operator.add(VM1)
    monkeypatch.delenv("VMOPS_HOSTS", raising=False)
    monkeypatch.chdir(operator.folder)
    exec((ROOT / "README.md").read_text().split("```python")[1].split("```")[0], {})
    pid = operator.qemus("worker1")["vm1"]
    assert capsys.readouterr().out == f"vm1 on worker1 runs, PID {pid}\n"
    argv = command_line(operator, "worker1", pid)
    assert argv[argv.index("-vnc") + 1] == "127.0.0.1:1,password=on"


def test_the_older_dict(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    operator.add(VM1)
    monkeypatch.setenv("VMOPS_HOSTS", str(operator.hosts_toml))
    old = {
        "vm_id": 1001,
        "name": "vm1",
        "flavor": {"cores": 1, "ram_gb": 0.5},
        "vnc_port": 5901,
        "qcow_image": "~/vm_images/vm1_img.qcow2",
        "owner": "s1",
        "worker_ip": "x",
        "status": "new",
        "pid": None,
        "interfaces": [
            {
                "name": "eth1",
                "vlan_id": 101,
                "mac": "52:54:00:03:e9:01",
                "ip_config": {},
                "link_id": 3,
            }
        ],
    }
    launcher = VMLauncher(RemoteExecutor(), vnc_listen="127.0.0.1")
    ok, pid = launcher.launch_vm(operator.address("worker1"), old)
    assert ok
    assert pid is not None
    argv = command_line(operator, "worker1", int(pid))
    assert argv[argv.index("-m") + 1] == "512"
    assert argv[argv.index("-vnc") + 1] == "127.0.0.1:1,password=on"


def test_status_json_is_as_documented(operator: Operator) -> None:
    operator.add(VM1)
    operator.ok("launch", "--vm", "vm1")
    (found,) = json.loads(operator.ok("status", "--format", "json").out)
    assert found["uptime_s"] >= 0
    expected: dict[str, Any] = {
        "vm": "vm1",
        "worker": "worker1",
        "address": operator.address("worker1"),
        "state": "running",
        "pid": operator.qemus("worker1")["vm1"],
        "vnc": "127.0.0.1:5901",
        "interfaces": [
            {
                "name": "eth1",
                "tap": "tap_1001_eth1",
                "bridge": "br-int",
                "vlan_id": 101,
                "mac": "52:54:00:03:e9:01",
                "plugged": True,
            }
        ],
        "drift": [],
    }
    (nic,) = found["interfaces"]
    (documented,) = expected["interfaces"]
    found["interfaces"] = [{key: nic[key] for key in documented}]
    assert {key: found[key] for key in expected} == expected


def test_a_vm_without_interfaces_has_no_way_to_anybody(operator: Operator) -> None:
    """QEMU would give it a card of its own, with a way out through the worker."""
    vm = operator.add(small_vm("vm1", 1))
    operator.ok("launch", "--vm", "vm1")
    with listening(operator, vm) as monitor:
        monitor.tell("human-monitor-command", command_line="info network")
        assert monitor.hear() == {"return": ""}
