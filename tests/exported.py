"""VMs of every kind that can be exported, for the tests of several rings."""

from __future__ import annotations

from vmops.core.devices.network.logical import share
from vmops.core.inventory.inventory import Inventory, parse
from vmops.core.plan.export.leaving import Leaving
from vmops.ops.vm.seeds import told

HOSTS = """
[defaults]
user = "ubuntu"
accel = "{accel}"

[workers.w1]
address = "192.0.2.1"
port = 2222

[images.debian]
file = "debian.qcow2"

[vm_defaults]
worker = "w1"
ram_mb = 64
cores = 1

[vms.plain]
vm_id = 1
vnc_port = 5901
qcow_image = "~/vm_images/plain, with a comma.qcow2"
[[vms.plain.interfaces]]
name = "eth1"
vlan_id = 101
mac = "52:54:00:aa:bb:cc"
[[vms.plain.interfaces]]
name = "apart"

[vms.bare]
vm_id = 2
qcow_image = "/tmp/bare.qcow2"

[vms.trunks]
vm_id = 3
qcow_image = "~/trunks.qcow2"
interfaces = [
    {{ name = "native", vlan_id = 10, trunks = [20, 30], model = "virtio" }},
    {{ name = "tagged", trunks = [20], model = "vmxnet3" }},
    {{ name = "a-name-that-is-too-long", vlan_id = 4094, model = "e1000e" }},
]

[vms.cloud]
vm_id = 4
image = "debian"
disk_gb = 5
cloud_init = {{ users = [{{ name = "anna" }}] }}
interfaces = [{{ name = "eth0", vlan_id = 10, model = "virtio", address = "192.0.2.7/24" }}]
disks = [{{ name = "data", size_gb = 2 }}, {{ name = "raw", size_gb = 1, format = "raw" }}]

[vms.uefi]
vm_id = 5
qcow_image = "~/uefi.qcow2"
boot = "uefi"
machine = "q35"
cpu = "Nehalem,+aes,-vmx"
extra_args = ["-device", "virtio-rng-pci", "-device", "edu", "-vga", "cirrus"]
disk_model = "virtio"
interfaces = [{{ name = "eth0", vlan_id = 10, model = "rtl8139" }}]

[vms.cd]
vm_id = 6
qcow_image = "~/cd.qcow2"
boot = "cdrom"
iso = "~/install me.iso"
machine = "pc-i440fx-6.2"
cloud_init = {{ users = [{{ name = "anna" }}] }}

[vms.sata]
vm_id = 7
qcow_image = "~/sata.qcow2"
machine = "q35"
boot = "cdrom"
iso = "/tmp/x.iso"
cloud_init = {{ users = [{{ name = "anna" }}] }}
disks = [{{ name = "data", size_gb = 2 }}]
"""

NAMES = ("plain", "bare", "trunks", "cloud", "uefi", "cd", "sata")


def listed(accel: str = "tcg") -> Inventory:
    """The inventory with all of them."""
    return parse(HOSTS.format(accel=accel), source="hosts.toml")


def leaving(name: str, *, accel: str = "tcg", home: str = "/home/ubuntu") -> Leaving:
    """One of them on its way out."""
    found = listed(accel)
    (vm,) = told([found.vms[name]])
    return Leaving(vm, found.workers["w1"], home, "br-int")


CARRIED = """
[ovn]
northbound = "w1"
gateways = ["w2:eth1"]
outside = "203.0.113.10/24"
next_hop = "203.0.113.1"
[workers.w1]
address = "192.0.2.1"
[workers.w2]
address = "192.0.2.2"
encap_ip = "198.51.100.2"
[networks.blue]
engine = "ovn"
subnet = "192.168.10.0/24"
dhcp = true
dns = true
internet = true
reach = ["green"]
forward = [{ port = 8022, to = "web:22" }]
[networks.green]
engine = "ovn"
subnet = "192.168.20.0/24"
[networks.wired]
engine = "ovn"
vlan_id = 30
[vm_defaults]
ram_mb = 64
cores = 1
qcow_image = "~/{name}.qcow2"
[vms.web]
vm_id = 1
worker = "w1"
interfaces = [{ name = "eth0", network = "blue" }, { name = "eth1", vlan_id = 9 }]
[vms.db]
vm_id = 2
worker = "w2"
interfaces = [{ name = "eth0", network = "wired" }]
"""


def in_ovn(name: str) -> Leaving:
    """A VM in networks that OVN carries, and those."""
    listed = parse(CARRIED, source="hosts.toml")
    vm = listed.vms[name]
    carried = share(listed, {"web": ("blue", "green"), "db": ("wired",)}[name]).wanted
    worker = listed.workers[vm.worker or ""]
    return Leaving(vm, worker, "", worker.bridge, carried=tuple(carried.values()))
