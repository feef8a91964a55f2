"""What crashes leave on a real worker is shown, removed when asked, and nothing else is."""

from __future__ import annotations

import subprocess

from .operator import Operator, small_vm


def crash(operator: Operator, vm: str) -> None:
    pid = operator.qemus("worker1")[vm]
    script = f"kill -9 {pid}; while [ -e /proc/{pid} ]; do sleep 0.02; done"
    operator.on("worker1", "sh", "-c", script)


STRANGERS = (
    "ip tuntap add mode tap name tap_77_eth1; ip link set tap_77_eth1 alias somebody; "
    "ovs-vsctl add-port br-int tap_77_eth1 tag=77 -- set Interface tap_77_eth1"
    " external_ids:iface-id=nova; "
)
REMAINS = (
    "ip tuntap add mode tap name tap_9_eth1; ip link set tap_9_eth1 alias vmops:gone; "
    "ovs-vsctl add-port br-int tap_8_eth1 tag=8 -- set Interface tap_8_eth1"
    " external_ids:vmops-vm=lost; "
    "mkdir /run/vmops/.said.4194303; true >/run/vmops/.lock/forgotten"
)


def test_what_was_left_is_shown_and_removed(operator: Operator) -> None:
    for number in (1, 2):
        operator.add(small_vm(f"vm{number}", number, 100 + number))
    operator.ok("up")
    crash(operator, "vm1")
    operator.on("worker1", "sh", "-c", STRANGERS + REMAINS)
    held = operator.lab.enter("worker1", ["flock", "/run/vmops/.lock/held", "sleep", "60"])
    with subprocess.Popen(held) as holder:
        try:
            found = operator.ok("-H", "worker1", "prune", "--format", "json").json
            assert {(each["kind"], each["name"], each["vm"]) for each in found} == {
                ("run directory", "/run/vmops/vm1", "vm1"),
                ("TAP", "tap_1_eth1", "vm1"),
                ("port", "tap_1_eth1", "vm1"),
                ("TAP", "tap_9_eth1", "gone"),
                ("port", "tap_8_eth1", "lost"),
                ("output", "/run/vmops/.said.4194303", None),
                ("lock", "/run/vmops/.lock/forgotten", "forgotten"),
            }
            assert not any(each["removed"] or each["error"] for each in found)
            shown = operator.ok("-H", "worker1", "prune")
            assert "nothing was removed; to remove it: fab prune --yes" in shown.err
            assert ".lock" not in shown.out
            assert operator.ok("-H", "worker1", "prune", "--format", "json").json == found
            pids = operator.qemus("worker1")
            done = operator.ok("-H", "worker1", "prune", "--yes", "--format", "json").json
            assert all(each["removed"] for each in done)
            assert len(done) == len(found)
            assert operator.on("worker1", "ls", "/run/vmops/.lock/held")
        finally:
            holder.kill()
    assert operator.taps("worker1") == {"tap_2_eth1", "tap_77_eth1"}
    assert operator.port("worker1", "tap_77_eth1") is not None
    assert operator.port("worker1", "tap_1_eth1") is operator.port("worker1", "tap_8_eth1") is None
    assert operator.qemus("worker1") == pids
    assert sorted(pids) == ["vm2"]
    operator.ok("-H", "worker1", "prune", "--yes")
    assert "nothing is left behind" in operator.ok("-H", "worker1", "prune").err
    assert operator.ok("status", "--vm", "vm2", "--format", "json").json[0]["drift"] == []
    operator.ok("launch", "--vm", "vm1")


def test_a_lock_that_was_removed_under_who_waits_is_taken_anew(operator: Operator) -> None:
    """Else two operators would hold two locks of one name."""
    operator.add(small_vm("vm1", 1, 101))
    lock = "/run/vmops/.lock/vm1"
    operator.on("worker1", "sh", "-c", "mkdir -p -m 711 /run/vmops; mkdir -p /run/vmops/.lock")
    script = f"exec 9>>{lock}; flock 9; echo; sleep 5; rm {lock}"
    words = operator.lab.enter("worker1", ["sh", "-c", script])
    with subprocess.Popen(words, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        operator.ok("launch", "--vm", "vm1")
        holder.wait(10)
    assert operator.on("worker1", "ls", "/run/vmops/.lock") == "vm1\n"
