"""The documented calls, each one shell command line or a few, as the documented system made them.

Changed only where they would not do their work: QEMU gets a name and a pidfile, and is found and
killed by it. `pgrep -f 'qemu.*vm1'` finds its own shell over SSH, `pkill -9 -f` kills it.
"""

from __future__ import annotations

import shlex

from vmops.core.inventory.model import VM

BRIDGE = "br-int"


def launch_calls(vm: VM) -> tuple[str, ...]:
    """A call for each interface, one for QEMU and one for the PID."""
    plugs = tuple(
        f"sudo ip tuntap add mode tap name {nic.tap}\n"
        f"sudo ip link set dev {nic.tap} up\n"
        f"sudo ovs-vsctl --may-exist add-port {BRIDGE} {nic.tap} tag={nic.vlan_id}"
        for nic in vm.connected
    )
    found = f"sudo pgrep -F {pidfile(vm)} -f 'qemu.*{label(vm)}'"
    return (*plugs, f"sudo {shlex.join(qemu(vm))}", found)


def stop_calls(vm: VM) -> tuple[str, ...]:
    """A call for QEMU and one for each interface."""
    unplugs = tuple(
        f"sudo ovs-vsctl --if-exists del-port {BRIDGE} {nic.tap}\nsudo ip link del {nic.tap}"
        for nic in vm.connected
    )
    return (f"sudo pkill -9 -F {pidfile(vm)}", *unplugs)


def qemu(vm: VM) -> tuple[str, ...]:
    """The documented command line, under TCG."""
    words = ["qemu-system-x86_64", "-accel", "tcg", "-m", str(vm.ram_mb), "-smp", str(vm.cores)]
    words += ["-vnc", f"0.0.0.0:{(vm.vnc_port or 5900) - 5900}"]
    for number, nic in enumerate(vm.connected):
        words += ["-netdev", f"tap,id=net{number},ifname={nic.tap},script=no,downscript=no"]
        words += ["-device", f"e1000,netdev=net{number},mac={nic.mac}"]
    words += ["-drive", f"file={vm.qcow_image},format=qcow2", "-daemonize"]
    return (*words, "-name", label(vm), "-pidfile", pidfile(vm))


def label(vm: VM) -> str:
    """What QEMU is called on its worker: the same for the same number on every worker."""
    return f"vm{vm.vm_id}"


def pidfile(vm: VM) -> str:
    """Where its PID is."""
    return f"/run/{label(vm)}.pid"
