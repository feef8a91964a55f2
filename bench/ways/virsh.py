"""virsh over qemu+ssh: `virsh create` and `virsh destroy`, with a libvirtd in each worker.

libvirt is no part of a lab's worker. It is started there when its packages are on this machine,
as root and without what a container lacks: no security driver, no cgroups, no mount namespaces.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from bench.errors import BenchFailed
from bench.place import Place
from bench.processes import Call, Processes
from bench.ways.documented import BRIDGE, label
from bench.ways.way import Way, unavailable
from vmops.core.inventory.model import VM, Nic

TITLE = "virsh over qemu+ssh"
CURE = "not installed: scripts/bench --install-peers"


def virsh(place: Place, vms: Sequence[VM]) -> Way:
    """One virsh for the launch of each VM and one for its stop."""
    if not (shutil.which("virsh") and shutil.which("libvirtd")):
        return unavailable("virsh", TITLE, CURE)
    try:
        for worker in dict.fromkeys(str(vm.worker) for vm in vms):
            start_libvirtd(place, worker)
    except BenchFailed as failure:
        return unavailable("virsh", TITLE, f"no libvirtd in a worker: {failure}"[:200])
    start = [Call((*words(place, vm), "create", str(domain_file(place, vm)))) for vm in vms]
    stop = [Call((*words(place, vm), "destroy", label(vm))) for vm in vms]
    return Way("virsh", TITLE, Processes([start]), Processes([stop]))


def start_libvirtd(place: Place, worker: str) -> None:
    """Have one run in the worker. Raises BenchFailed."""
    place.inside(worker, ("sh", "-c", _START_LIBVIRTD))


_START_LIBVIRTD = """
[ ! -e /run/libvirt/libvirt-sock ] || exit 0
mkdir -p /run/var-lib/openvswitch /var/log/libvirt /etc/libvirt
mount --bind /var/lib/openvswitch /run/var-lib/openvswitch
mount --rbind /run/var-lib /var/lib
mount -t tmpfs tmpfs /var/cache
grep -q ^libvirt-qemu: /etc/passwd || {
    echo 'libvirt-qemu:x:64055:64055::/:/usr/sbin/nologin' >>/etc/passwd
    echo 'libvirt-qemu:x:64055:' >>/etc/group
}
cat >/etc/libvirt/libvirtd.conf <<'END'
unix_sock_rw_perms = "0777"
auth_unix_ro = "none"
auth_unix_rw = "none"
END
# The machine has one, by which libvirt would take its workers for the same host.
echo "host_uuid = \\"$(cat /proc/sys/kernel/random/uuid)\\"" >>/etc/libvirt/libvirtd.conf
cat >/etc/libvirt/qemu.conf <<'END'
security_driver = "none"
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
cgroup_controllers = [ ]
namespaces = [ ]
stdio_handler = "file"
END
libvirtd -d
tries=100
until virsh -c qemu:///system list >/dev/null 2>&1; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || { tail -2 /var/log/libvirt/libvirtd.log >&2; exit 1; }
    sleep 0.1
done
"""


def words(place: Place, vm: VM) -> tuple[str, ...]:
    """virsh's words up to its command. It calls an `ssh` that knows the lab's key and hosts."""
    worker = place.worker(str(vm.worker))
    program = place.directory / f"ssh-{worker.name}"
    words = [*place.ssh_options(), "-i", str(place.lab.private_key)]
    program.write_text(f'#!/bin/sh\nexec ssh {shlex.join(words)} "$@"\n')
    program.chmod(0o700)
    where = f"qemu+ssh://ubuntu@{worker.address}:{worker.port}/system"
    return ("virsh", "--quiet", "--connect", f"{where}?command={program}")


def interface_file(place: Place, nic: Nic) -> Path:
    """libvirt's words for one interface, in a file."""
    devices = ElementTree.Element("devices")
    _add_interface(devices, nic)
    path = place.directory / f"{nic.tap}.xml"
    ElementTree.ElementTree(devices[0]).write(path)
    return path


def domain_file(place: Place, vm: VM) -> Path:
    """libvirt's words for the VM, in a file."""
    path = place.directory / f"{vm.name}.xml"
    ElementTree.ElementTree(_domain(vm)).write(path)
    return path


def _domain(vm: VM) -> ElementTree.Element:
    """The same machine as everybody else's, in libvirt's words."""
    domain = ElementTree.Element("domain", type="qemu")
    _add(domain, "name", label(vm))
    _add(domain, "memory", str(vm.ram_mb), unit="MiB")
    _add(domain, "vcpu", str(vm.cores))
    _add(_add(domain, "os"), "type", "hvm", arch="x86_64", machine="pc")
    _add(_add(domain, "features"), "acpi")
    devices = _add(domain, "devices")
    _add(devices, "emulator", "/usr/bin/qemu-system-x86_64")
    disk = _add(devices, "disk", type="file", device="disk")
    _add(disk, "driver", name="qemu", type="qcow2")
    _add(disk, "source", file=vm.qcow_image)
    _add(disk, "target", dev="hda", bus="ide")
    for nic in vm.connected:
        _add_interface(devices, nic)
    _add(devices, "graphics", type="vnc", port=str(vm.vnc_port), listen="0.0.0.0")
    return domain


def _add_interface(devices: ElementTree.Element, nic: Nic) -> None:
    interface = _add(devices, "interface", type="bridge")
    _add(interface, "mac", address=nic.mac)
    _add(interface, "source", bridge=BRIDGE)
    _add(interface, "virtualport", type="openvswitch")
    _add(_add(interface, "vlan"), "tag", id=str(nic.vlan_id))
    _add(interface, "target", dev=nic.tap)
    _add(interface, "model", type="e1000")


def _add(
    parent: ElementTree.Element, name: str, text: str = "", /, **attributes: str
) -> ElementTree.Element:
    child = ElementTree.SubElement(parent, name, attributes)
    child.text = text or None
    return child
