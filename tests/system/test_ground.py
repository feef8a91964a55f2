"""TAPs and ports in whatever state they are, as the kernel and OVSDB have them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from vmops import RemoteExecutor, VMLauncher, load
from vmops.ops.act import perform
from vmops.ops.route import Route

from .operator import Operator, small_vm
from .test_identity import late_plan

TAP = "tap_1_eth1"


def link(operator: Operator, tap: str = TAP) -> tuple[bool, str, int]:
    """Whether it is up, its alias and its MTU."""
    (found,) = json.loads(operator.on("worker1", "ip", "-json", "link", "show", tap))
    return "UP" in found["flags"], found.get("ifalias", ""), found["mtu"]


def sh(operator: Operator, script: str) -> str:
    return operator.on("worker1", "sh", "-c", script)


@contextmanager
def stopped_switch(operator: Operator) -> Iterator[None]:
    """An ovs-vswitchd that hangs."""
    pidfile = "/run/openvswitch/ovs-vswitchd.pid"
    sh(operator, f"kill -STOP $(cat {pidfile})")
    try:
        yield
    finally:
        sh(operator, f"kill -CONT $(cat {pidfile})")


@contextmanager
def device_folder(operator: Operator, *filling: str) -> Iterator[None]:
    """A /dev/net of the worker's own."""
    sh(operator, "; ".join(("mount -t tmpfs none /dev/net", *filling)))
    try:
        yield
    finally:
        sh(operator, "umount -l /dev/net")


def start_foreign_qemu(operator: Operator, tap: str = TAP) -> int:
    """A QEMU of somebody else on a TAP that nobody has marked; its PID."""
    sh(
        operator,
        f"ip tuntap add mode tap name {tap} && ip link set dev {tap} mtu 1400 up && "
        f"qemu-system-x86_64 -M none -display none -name foreign -daemonize "
        f"-netdev tap,id=n,ifname={tap},script=no,downscript=no",
    )
    return operator.qemus("worker1")["foreign"]


@pytest.mark.parametrize("state", ["up", "down"])
@pytest.mark.parametrize(
    "task", ["launch", "plug", "boot", "stop", "unplug", "up", "down", "restart"]
)
def test_a_tap_that_a_foreign_qemu_holds_is_left_as_it_is(
    operator: Operator, task: str, state: str
) -> None:
    operator.add(small_vm("vm1", 1, 101))
    pid = start_foreign_qemu(operator)
    sh(operator, f"ip link set dev {TAP} {state}")
    said = operator.fab(task, "--vm", "vm1")
    assert said.code == 1, said
    assert f"vm1: a process that vmops did not start uses its TAP {TAP}" in said.err
    assert link(operator) == (state == "up", "", 1400)
    assert operator.qemus("worker1") == {"foreign": pid}


def test_a_launch_that_fails_gives_a_tap_back_as_it_was(operator: Operator) -> None:
    """QEMU cannot start at all here; the TAP was somebody's, and is not held."""
    vm = operator.add(small_vm("vm1", 1, 101), image=False)
    sh(operator, f"ip tuntap add mode tap name {TAP} && ip link set dev {TAP} mtu 1400")
    sh(operator, f"sudo -u ubuntu sh -c 'echo no image > {vm.qcow_image}'")
    said = operator.fab("launch", "--vm", "vm1")
    assert said.code == 1
    assert link(operator) == (False, "", 1400)
    assert operator.port("worker1", TAP) is None


def test_an_own_tap_that_is_down_is_told_and_set_up_while_the_vm_runs(operator: Operator) -> None:
    operator.add(small_vm("vm1", 1, 101))
    operator.ok("launch", "--vm", "vm1")
    pid = operator.qemus("worker1")["vm1"]
    for down in (f"ip link set dev {TAP} down", f"ovs-ofctl mod-port br-int {TAP} down"):
        sh(operator, down)
        (status,) = operator.ok("status", "--format", "json").json
        (drift,) = status["drift"]
        assert (drift["field"], drift["running"]) == ("interfaces.eth1.tap", "down")
        assert status["interfaces"][0]["plugged"] is False
        assert operator.fab("plan").code == 4
        operator.ok("up")
        assert link(operator)[0]
        assert operator.ok("status", "--format", "json").json[0]["drift"] == []
    assert operator.qemus("worker1") == {"vm1": pid}


@pytest.mark.parametrize(
    "change",
    [
        "set Port TAP tag=7 trunks=5,6 vlan_mode=native-tagged",
        "set Interface TAP external_ids:iface-id=other -- set Port TAP tag=9",
        "set Port TAP tag=[]",
        "--if-exists del-port TAP -- --may-exist add-br br1 -- add-port br1 TAP tag=101 "
        "-- set Interface TAP external_ids:vmops-vm=vm1",
    ],
    ids=["trunk", "tag", "no-tag", "another-bridge"],
)
def test_a_replug_that_fails_leaves_the_port_as_it_was(operator: Operator, change: str) -> None:
    """The switch hangs after the look. One that was open to every VLAN keeps the VLAN it got."""
    vm = operator.add(small_vm("vm1", 1, 101))
    operator.ok("launch", "--vm", "vm1")
    pid = operator.qemus("worker1")["vm1"]
    operator.on("worker1", "ovs-vsctl", *change.replace("TAP", TAP).split())
    row = "ovs-vsctl --columns=tag,trunks,vlan_mode list Port {0}; ovs-vsctl port-to-br {0}; "
    row += "ovs-vsctl --columns=external_ids list Interface {0}"
    before = sh(operator, row.format(TAP))
    if "tag=[]" in change:
        before = before.replace(": []", ": 101", 1)
    route = Route(load(operator.hosts_toml).worker("worker1"))
    late = late_plan(route, vm)
    assert late.block is not None
    with stopped_switch(operator):
        (result,) = perform(route, [late.block], time_limit_s=60)
        (failed,) = [step for step in result.steps if not step.ok]
        assert "the switch has not taken it within 10 s" in failed.reason()
        assert sh(operator, row.format(TAP)) == before
        said = operator.fab("launch", "--vm", "vm1")
        assert (said.code, "ovs-vswitchd is held by a signal" in said.err) == (1, True)
    operator.ok("launch", "--vm", "vm1")
    assert operator.ok("status", "--format", "json").json[0]["drift"] == []
    assert operator.qemus("worker1") == {"vm1": pid}
    assert link(operator)[0]


@pytest.mark.parametrize("tag", [101, 999])
@pytest.mark.parametrize("left", ["row", "row and device"])
def test_a_launch_over_what_was_left_has_its_tap_up(
    operator: Operator, tag: int, left: str
) -> None:
    """A row without a device is what a reboot leaves."""
    operator.add(small_vm("vm1", 1, 101, 102))
    for _ in range(4):
        for tap in (TAP, "tap_1_eth2"):
            make = f"ip tuntap add mode tap name {tap};" if left != "row" else ""
            sh(operator, f"{make} ovs-vsctl add-port br-int {tap} tag={tag} 2>/dev/null")
        operator.ok("launch", "--vm", "vm1")
        assert [link(operator, tap)[0] for tap in (TAP, "tap_1_eth2")] == [True, True]
        assert operator.ok("status", "--format", "json").json[0]["drift"] == []
        operator.ok("stop", "--vm", "vm1", "--force")


def test_no_user_of_the_worker_takes_a_tap_that_is_plugged(operator: Operator) -> None:
    take = (
        'open my $t, "+<", "/dev/net/tun" or die "no device: $!"; my $r = pack "a16 s x22", shift,'
        ' 0x1002; ioctl $t, 0x400454ca, $r or die "refused: $!\\n"; print "taken"'
    )
    as_user = ("sudo", "-u", "ubuntu", "sh", "-c", 'perl -e "$0" "$1" 2>&1 || true', take)
    operator.add(small_vm("vm1", 1, 101))
    with device_folder(operator, "mknod -m 666 /dev/net/tun c 10 200"):
        operator.on("worker1", "ip", "tuntap", "add", "mode", "tap", "name", "tap_9_eth1")
        assert operator.on("worker1", *as_user, "tap_9_eth1") == "taken", "as everybody's is"
        operator.ok("plug", "--vm", "vm1")
        assert operator.on("worker1", *as_user, TAP) == "refused: Operation not permitted\n"
        operator.ok("boot", "--vm", "vm1")
    assert operator.ok("status", "--format", "json").json[0]["drift"] == []


def test_a_launch_that_plugs_nothing_starts_nothing(operator: Operator) -> None:
    """A device that is no TAP has the name: that is seen only when the TAP is to be made."""
    operator.add(small_vm("vm1", 1, 101))
    sh(operator, f"ip link add {TAP} type veth peer name other_end")
    try:
        said = operator.fab("launch", "--vm", "vm1", "--format", "json")
        assert (said.code, operator.qemus("worker1")) == (1, {})
        assert "no interface could be plugged" in said.err
        assert "interface eth1 is left out" in said.err, "and why"
        assert operator.on("worker1", "ls", "/run/vmops") == ""
        launcher = VMLauncher(RemoteExecutor(inventory=load(operator.hosts_toml)))
        address = operator.address("worker1")
        ok, pid = launcher.launch_vm(address, small_vm("vm1", 1, 101).to_dict())
        assert (ok, pid) == (True, str(operator.qemus("worker1")["vm1"])), "as documented"
    finally:
        sh(operator, f"ip link del {TAP}")


def test_without_a_tun_device_doctor_and_launch_say_so(operator: Operator) -> None:
    operator.add(small_vm("vm1", 1, 101))
    with device_folder(operator):
        for task in ("launch", "plug", "up"):
            said = operator.fab(task, "--vm", "vm1")
            assert said.code == 1
            assert "no /dev/net/tun" in said.err
        assert operator.qemus("worker1") == {}
        said = operator.fab("-H", "worker1", "doctor")
        assert said.code == 1
        assert "/dev/net/tun: missing" in said.err
    operator.ok("-H", "worker1", "doctor")
