"""A VM that the documented system has started is taken over, as it runs."""

from __future__ import annotations

import pytest

from .operator import Operator, small_vm

DOCUMENTED = (
    "ip tuntap add mode tap name tap_1_eth1 && ip link set dev tap_1_eth1 up && "
    "ovs-vsctl --may-exist add-port br-int tap_1_eth1 tag=101 && "
    "qemu-system-x86_64 -m 32 -smp 1 -vnc 127.0.0.1:1 -daemonize "
    "-netdev tap,id=net0,ifname=tap_1_eth1,script=no,downscript=no -device e1000,netdev=net0 "
    "-drive file=/home/ubuntu/vm_images/vm1.qcow2,format=qcow2"
)


@pytest.fixture
def documented(operator: Operator) -> Operator:
    """vm1 by the documented lines: no name, no pidfile, no monitor, no mark."""
    operator.add(small_vm("vm1", 1, 101))
    operator.add(small_vm("vm2", 2, 101))
    operator.on("worker1", "sh", "-c", DOCUMENTED)
    return operator


def pid_of(operator: Operator) -> int:
    return int(operator.on("worker1", "pgrep", "-f", "vm1.qcow2").split()[0])


def test_the_documented_systems_vm_is_seen_guarded_and_stopped(documented: Operator) -> None:
    pid = pid_of(documented)
    before = documented.on("worker1", "cat", f"/proc/{pid}/stat").split()[21]
    said = documented.ok("adopt", "--vm", "vm1")
    assert f"vm1 on worker1: adopted, PID {pid}" in said.err
    assert "no monitor" in said.err
    assert documented.on("worker1", "cat", f"/proc/{pid}/stat").split()[21] == before
    shown = documented.ok("status", "--vm", "vm1", "--format", "json").json[0]
    assert (shown["state"], shown["pid"], shown["error"]) == ("running", pid, None)
    assert [nic["plugged"] for nic in shown["interfaces"]] == [True]
    assert documented.ok("pid", "--vm", "vm1").out == f"{pid}\n"
    planned = documented.fab("plan", "--vm", "vm1", "--format", "json")
    assert planned.json[0]["action"] == "restart"
    assert "is vmops' own already" in documented.ok("adopt", "--vm", "vm1").err
    assert documented.fab("unplug", "--vm", "vm1").code == 1
    assert "nothing is left behind" in documented.ok("-H", "worker1", "prune").err
    documented.ok("stop", "--vm", "vm1")
    assert documented.lab.run("worker1", ["test", "-e", f"/proc/{pid}"], check=False).returncode
    assert documented.taps("worker1") == set()
    assert documented.port("worker1", "tap_1_eth1") is None
    documented.ok("launch", "--vm", "vm1")


def test_a_restart_makes_an_adopted_vm_one_of_ours(documented: Operator) -> None:
    documented.ok("adopt", "--vm", "vm1", "--pid", str(pid_of(documented)))
    documented.ok("restart", "--vm", "vm1")
    shown = documented.ok("status", "--vm", "vm1", "--format", "json").json[0]
    assert (shown["state"], shown["drift"]) == ("running", [])


def test_an_adopted_vm_that_ends_by_itself_is_stopped_and_tidied(documented: Operator) -> None:
    pid = pid_of(documented)
    documented.ok("adopt", "--vm", "vm1")
    documented.on(
        "worker1", "sh", "-c", f"kill {pid}; while [ -e /proc/{pid} ]; do sleep 0.1; done"
    )
    shown = documented.ok("status", "--vm", "vm1", "--format", "json").json[0]
    assert shown["state"] == "stopped"
    assert documented.taps("worker1") == set()


def test_what_is_not_the_vms_is_refused_and_nothing_is_done(documented: Operator) -> None:
    pid = pid_of(documented)
    lie = 'exec -a qemu-system-x86_64 perl -e "sleep 60"'
    lie = f"bash -c '{lie}' >/dev/null 2>&1 & echo $!"
    other = int(documented.on("worker1", "sh", "-c", lie))
    for words, why in (
        (["--vm", "vm2"], "no QEMU there tells"),
        (["--vm", "vm2", "--pid", str(pid)], "does not tell that it is vm2"),
        (["--vm", "vm1", "--pid", "1"], "is no QEMU"),
        (["--vm", "vm1", "--pid", str(other)], "does not tell that it is vm1"),
    ):
        said = documented.fab("adopt", *words)
        assert said.code == 1
        assert why in said.err
    said = documented.fab("adopt", "--vm", "*", "--pid", str(pid))
    assert said.code == 2
    assert documented.on("worker1", "cat", "/sys/class/net/tap_1_eth1/ifalias").strip() == ""
    documented.on("worker1", "kill", str(other))


def test_a_process_that_only_names_a_tap_gets_it_not(documented: Operator) -> None:
    """Any user of the worker may write a command line."""
    documented.on("worker1", "kill", "-9", str(pid_of(documented)))
    words = "-netdev tap,id=n,ifname=tap_1_eth1 -device e1000,netdev=n -name vm1"
    script = "import time; time.sleep(60)"
    lie = f"bash -c 'exec -a qemu-system-x86_64 python3 -c \"{script}\" {words}'"
    other = int(documented.on("worker1", "sh", "-c", f"{lie} >/dev/null 2>&1 & sleep 0.5; echo $!"))
    said = documented.fab("adopt", "--vm", "vm1", "--pid", str(other))
    assert said.code == 1
    assert "does not have its TAP tap_1_eth1 open" in said.err
    assert documented.lab.run("worker1", ["ls", "/run/vmops/vm1"], check=False).returncode != 0
    documented.on("worker1", "kill", str(other))


def test_a_vm_that_hosts_toml_does_not_have_is_taken_over_seen_and_stopped(
    documented: Operator,
) -> None:
    pid = pid_of(documented)
    words = ("-H", "worker1", "adopt", "--vm", "stray", "--pid", str(pid))
    said = documented.fab(*words)
    assert said.code == 1
    assert "its TAP tap_1_eth1 is that of vm1 in hosts.toml" in said.err
    documented.vms = [(vm, worker) for vm, worker in documented.vms if vm.name != "vm1"]
    documented.write()
    assert documented.fab("-H", "worker1", "adopt", "--vm", "stray").code == 1
    said = documented.ok(*words)
    assert f"stray on worker1: adopted, PID {pid}" in said.err
    assert 'vnc_port = 5901, qcow_image = "/home/ubuntu/vm_images/vm1.qcow2"' in said.err
    assert "the TAP tap_1_eth1 (no MAC given, VLAN 101)" in said.err
    listed = documented.ok("-H", "worker1", "ps", "--format", "json").json
    assert [one["vm"] for one in listed if one["pid"] == pid] == ["stray"]
    documented.ok("-H", "worker1", "stop", "--vm", "stray")
    assert documented.taps("worker1") == set()
    assert documented.port("worker1", "tap_1_eth1") is None
    assert documented.qemus("worker1") == {}
