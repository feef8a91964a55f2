"""What is exported starts the same VM by other means: a shell alone, and a real libvirtd."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.exported import NAMES, leaving
from vmops.core.inventory.guest.cloud_init import CloudInit
from vmops.core.inventory.model import VM, Disk, Interface
from vmops.core.plan.export.libvirt import libvirt

from .fleet_helpers import put
from .lab_helpers import wait_until
from .operator import Operator, small_vm

WORKER = "worker1"
FOLDER = "/home/ubuntu/vm_images/.vmops"
AS_UBUNTU = ("runuser", "-u", "ubuntu", "--")
SYSTEM = ("virsh", "-q", "-c", "qemu:///system")

# What it needs besides is there for as long as it runs: places of its own to write to, and the user
# that Debian's libvirt-daemon-system would have made. There are no cgroups to put a VM into.
LIBVIRTD = """
set -e
mount -t tmpfs tmpfs /var/lib
mount -t tmpfs tmpfs /var/cache
mkdir -p /run/libvirt /run/libvirt-etc
mount -t tmpfs tmpfs /run/libvirt-etc
tar -C /etc -c . | tar -C /run/libvirt-etc -xp
mount --bind /run/libvirt-etc /etc
mkdir -p /etc/libvirt /var/log/libvirt
echo 'libvirt-qemu:x:64055:64055::/:/usr/sbin/nologin' >>/etc/passwd
echo 'libvirt-qemu:x:64055:' >>/etc/group
grep -q ^kvm: /etc/group || echo 'kvm:x:64056:' >>/etc/group
cat >/etc/libvirt/qemu.conf <<'.'
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
cgroup_controllers = []
namespaces = []
security_driver = "none"
stdio_handler = "file"
.
cat >/etc/libvirt/libvirtd.conf <<'.'
unix_sock_dir = "/run/libvirt"
auth_unix_rw = "none"
.
exec libvirtd -d -p /run/libvirtd.pid -f /etc/libvirt/libvirtd.conf
"""


def rich_vm() -> VM:
    """A VM with most of what can be exported: a trunk, a further disk, a virtio disk, a seed."""
    vm = small_vm("web1", 1, 101)
    trunk = Interface("trunk", vlan_id=10, trunks=(20, 30), model="virtio")
    return replace(
        vm,
        vnc_port=None,
        disk_model="virtio",
        disks=(Disk("data", size_gb=1, format="raw"),),
        interfaces=(*vm.interfaces, trunk),
        cloud_init=CloudInit(hostname="web1"),
    )


@pytest.fixture
def web1(operator: Operator) -> VM:
    vm = operator.add(rich_vm(), WORKER, image=False)
    operator.lab.make_image(WORKER, vm.qcow_image, size_mb=1)
    return vm


@pytest.fixture
def libvirtd(operator: Operator) -> Iterator[Operator]:
    """A libvirtd of the worker's own, which is ended with all that it has made."""
    operator.lab.run(WORKER, ["unshare", "-m", "sh", "-c", LIBVIRTD])

    def answers() -> bool:
        return not operator.lab.run(WORKER, [*SYSTEM, "version"], check=False).returncode

    wait_until(answers, seconds=60)
    yield operator
    pid = operator.on(WORKER, "cat", "/run/libvirtd.pid").strip()
    operator.on(WORKER, "kill", pid)
    operator.on(WORKER, "tail", "--sleep-interval=0.05", f"--pid={pid}", "-f", "/dev/null")
    operator.on(WORKER, "rm", "-rf", "/run/libvirt", "/run/libvirt-etc", "/run/libvirtd.pid")


def vlans(operator: Operator, tap: str) -> str:
    """What Open vSwitch has of a port: its VLAN, trunks and mode, a line each."""
    get = ("ovs-vsctl", "--timeout=10", "get", "Port", tap, "tag", "trunks", "vlan_mode")
    return operator.on(WORKER, *get)


def nothing_is_left(operator: Operator, vm: VM) -> None:
    assert operator.qemus(WORKER) == {}
    assert operator.taps(WORKER) == set()
    assert all(operator.port(WORKER, nic.tap) is None for nic in vm.nics)


def exported(operator: Operator, format: str, name: str = "web1") -> Path:
    folder = operator.folder / format
    operator.ok("export", "--format", format, "--vm", name, "--output", f"{folder}/")
    suffix = {"libvirt": "xml", "script": "sh"}[format]
    return folder / f"{name}.{suffix}"


def test_the_script_starts_the_very_vm_and_vmops_knows_it(operator: Operator, web1: VM) -> None:
    file = exported(operator, "script")
    assert file.stat().st_mode & 0o077 == 0
    put(operator, WORKER, "~/web1.sh", file.read_bytes())
    # The last disk is made by the SSH user in a folder that vmops makes at the first launch.
    operator.on(WORKER, *AS_UBUNTU, "mkdir", "-p", "-m", "0700", FOLDER)
    as_user = (*AS_UBUNTU, "sudo", "sh", "/home/ubuntu/web1.sh")
    status = operator.lab.run(WORKER, [*as_user, "status"], check=False)
    assert status.returncode == 3
    said = operator.on(WORKER, *as_user, "start")
    pid = operator.qemus(WORKER)["web1"]
    assert said == f"web1 runs, PID {pid}\n"
    assert vlans(operator, "tap_1_eth1").split() == ["101", "[]", "[]"]
    assert vlans(operator, "tap_1_trunk").splitlines() == ["10", "[20, 30]", "native-untagged"]
    assert "password" in operator.on(WORKER, *as_user, "vnc")
    shown = operator.ok("status", "--vm", "web1", "--format", "json").json[0]
    assert (shown["state"], shown["pid"], shown["drift"]) == ("running", pid, [])
    mode = operator.on(WORKER, "stat", "-c", "%U %a", f"{FOLDER}/disk-web1-data.raw")
    assert mode == "ubuntu 600\n"
    assert operator.on(WORKER, *as_user, "start") == said
    assert operator.on(WORKER, *as_user, "stop", "0") == "web1 is stopped\n"
    nothing_is_left(operator, web1)
    assert operator.lab.run(WORKER, ["test", "-e", "/run/vmops/web1"], check=False).returncode == 1
    # Either ends what the other has started.
    operator.ok("launch", "--vm", "web1")
    operator.on(WORKER, *as_user, "stop", "0")
    nothing_is_left(operator, web1)
    operator.on(WORKER, *as_user, "start")
    operator.ok("stop", "--vm", "web1", "--force")
    nothing_is_left(operator, web1)


def test_a_script_that_fails_leaves_nothing(operator: Operator, web1: VM) -> None:
    put(operator, WORKER, "~/web1.sh", exported(operator, "script").read_bytes())
    run = ("env", "SUDO_USER=ubuntu", "sh", "/home/ubuntu/web1.sh")
    operator.on(WORKER, "rm", "/home/ubuntu/vm_images/web1.qcow2")
    done = operator.lab.run(WORKER, [*run, "start"], check=False)
    assert done.returncode == 1
    assert b"there is no disk /home/ubuntu/vm_images/web1.qcow2" in done.stderr
    put(operator, WORKER, "~/vm_images/web1.qcow2", b"no qcow2 at all")
    operator.on(WORKER, *AS_UBUNTU, "mkdir", "-p", "-m", "0700", FOLDER)
    done = operator.lab.run(WORKER, [*run, "start"], check=False)
    assert done.returncode == 1
    assert b"Image is not in qcow2 format" in done.stderr
    nothing_is_left(operator, web1)
    assert operator.lab.run(WORKER, ["test", "-e", "/run/vmops/web1"], check=False).returncode == 1


def test_a_script_cuts_nobody_off(operator: Operator, web1: VM) -> None:
    """Somebody has the VM's TAP open whom the script does not know."""
    put(operator, WORKER, "~/web1.sh", exported(operator, "script").read_bytes())
    operator.on(WORKER, "ip", "tuntap", "add", "mode", "tap", "name", "tap_1_eth1")
    operator.on(WORKER, "ip", "link", "set", "tap_1_eth1", "up")
    words = "-display none -daemonize -pidfile /run/stranger.pid -netdev tap,id=n,ifname=tap_1_eth1"
    line = f"qemu-system-x86_64 -m 32 {words},script=no,downscript=no -device e1000,netdev=n"
    operator.on(WORKER, "sh", "-c", line)
    run = ("env", "SUDO_USER=ubuntu", "sh", "/home/ubuntu/web1.sh")
    for verb in (["start"], ["stop", "0"]):
        done = operator.lab.run(WORKER, [*run, *verb], check=False)
        assert done.returncode == 1
        assert b"a process that this script did not start uses tap_1_eth1" in done.stderr
    assert operator.taps(WORKER) == {"tap_1_eth1"}
    assert len(operator.qemus(WORKER)) == 1


def test_libvirt_defines_and_starts_the_vm_and_plugs_it(libvirtd: Operator, web1: VM) -> None:
    file = exported(libvirtd, "libvirt")
    put(libvirtd, WORKER, "~/web1.xml", file.read_bytes())
    seed = (file.parent / "web1-seed.iso").read_bytes()
    put(libvirtd, WORKER, "~/vm_images/web1-seed.iso", seed)
    libvirtd.on(WORKER, *AS_UBUNTU, "mkdir", "-p", "-m", "0700", FOLDER)
    libvirtd.on(WORKER, *AS_UBUNTU, "truncate", "-s", "1G", f"{FOLDER}/disk-web1-data.raw")
    libvirtd.on(WORKER, *SYSTEM, "define", "--validate", "/home/ubuntu/web1.xml")
    libvirtd.on(WORKER, *SYSTEM, "start", "web1")
    assert libvirtd.on(WORKER, *SYSTEM, "domstate", "web1").strip() == "running"
    assert vlans(libvirtd, "tap_1_eth1").split() == ["101", "[]", "[]"]
    tag, trunks, mode = vlans(libvirtd, "tap_1_trunk").splitlines()
    # libvirt counts the VLAN without tags among the trunks; Open vSwitch does as well.
    assert (tag, trunks, mode) == ("10", "[10, 20, 30]", "native-untagged")
    dumped = ET.fromstring(libvirtd.on(WORKER, *SYSTEM, "dumpxml", "web1"))
    macs = [mac.get("address") for mac in dumped.findall("devices/interface/mac")]
    assert macs == [nic.mac for nic in web1.nics]
    # Where vmops has them too: a guest calls its interfaces after these (ens3).
    slots = [each.get("slot") for each in dumped.findall("devices/interface/address")]
    assert slots == ["0x03", "0x04"]
    buses = [each.get("model") for each in dumped.findall("devices/controller[@type='scsi']")]
    assert buses == ["virtio-scsi"]
    back = libvirtd.ok("-H", WORKER, "from-libvirt", "--vm", "web1")
    assert "web1-seed.iso is left out" in back.err
    assert "has a VM of that name already" in back.err
    libvirtd.on(WORKER, *SYSTEM, "destroy", "web1")
    libvirtd.on(WORKER, *SYSTEM, "undefine", "web1")
    nothing_is_left(libvirtd, web1)
    # Out and back: what libvirt has said of it is a VM that vmops starts again.
    head = libvirtd.lab.inventory.read_text().partition("\n[vms.")[0]
    libvirtd.hosts_toml.write_text(f"{head}\n{back.out}")
    libvirtd.ok("launch", "--vm", "web1")
    shown = libvirtd.ok("status", "--vm", "web1", "--format", "json").json[0]
    assert (shown["state"], shown["drift"]) == ("running", [])
    assert vlans(libvirtd, "tap_1_trunk").splitlines() == ["10", "[20, 30]", "native-untagged"]
    assert [nic["mac"] for nic in shown["interfaces"]] == macs


def test_libvirt_starts_every_kind_of_vm(libvirtd: Operator) -> None:
    """Its schema knows nothing of what a machine has room for, and its QEMU does."""
    libvirtd.on(WORKER, *AS_UBUNTU, "mkdir", "-p", "-m", "0700", FOLDER)
    for name in NAMES:
        text = libvirt(leaving(name)).text
        put(libvirtd, WORKER, f"~/{name}.xml", text.encode())
        for source in ET.fromstring(text).findall("devices/disk/source"):
            path = source.get("file", "")
            kind = "qcow2" if path.endswith("qcow2") else "raw"
            libvirtd.on(WORKER, *AS_UBUNTU, "qemu-img", "create", "-q", "-f", kind, path, "1M")
        libvirtd.on(WORKER, *SYSTEM, "define", "--validate", f"/home/ubuntu/{name}.xml")
        try:
            libvirtd.on(WORKER, *SYSTEM, "start", name)
            for nic in leaving(name).vm.connected:
                assert libvirtd.port(WORKER, nic.tap) is not None
            libvirtd.on(WORKER, *SYSTEM, "destroy", name)
        finally:
            libvirtd.on(WORKER, *SYSTEM, "undefine", "--nvram", name)


def test_a_domain_that_is_not_there_is_told_with_virshs_words(libvirtd: Operator) -> None:
    said = libvirtd.fab("-H", WORKER, "from-libvirt", "--vm", "nobody")
    assert said.code == 1
    assert "failed to get domain 'nobody'" in said.err
    assert said.out == ""
