"""A VM in the words of other systems."""

from __future__ import annotations

import json
import re
import shlex
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from tests.exported import NAMES, in_ovn, leaving
from vmops.core.plan.export import extra
from vmops.core.plan.export.formats import FORMATS
from vmops.core.plan.export.incus import incus
from vmops.core.plan.export.leaving import home_of
from vmops.core.plan.export.libvirt import libvirt
from vmops.core.plan.export.ovn import networks
from vmops.core.plan.export.proxmox import proxmox
from vmops.core.plan.export.script import script
from vmops.tasks.vm import export as task

QM = re.compile(
    r"name|memory|balloon|sockets|cores|cpu|kvm|machine|bios|ostype|smbios1|serial\d|agent|ide\d"
    r"|net\d+|args"
)
"""Keys of Proxmox' qm.conf, as its manual has them."""

INCUS = {
    "config": {"limits.cpu", "limits.memory", "security.secureboot", "security.csm"},
    "nic": {"type", "nictype", "parent", "hwaddr", "vlan", "vlan.tagged"},
    "disk": {"type", "path", "pool", "source", "boot.priority"},
}
"""Options of instances and of devices, as Incus' manual has them."""


def domain(name: str, *, accel: str = "tcg") -> ET.Element:
    return ET.fromstring(libvirt(leaving(name, accel=accel)).text)


def conf(name: str) -> dict[str, str]:
    lines = proxmox(leaving(name)).text.splitlines()
    return dict(line.split(": ", 1) for line in lines if not line.startswith("#"))


def test_the_task_has_the_formats_that_there_are() -> None:
    assert tuple(FORMATS) == task.FORMATS


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", NAMES)
def test_every_vm_has_each_way_out_always_the_same(name: str, format: str) -> None:
    found = FORMATS[format](leaving(name))
    assert found == FORMATS[format](leaving(name))
    assert found.text.endswith("\n")
    assert "\0" not in found.text
    has_file = format not in ("script", "ovn")
    assert (found.seed is not None) == (leaving(name).vm.seed is not None and has_file)


def test_an_interface_is_a_port_of_open_vswitch_in_its_vlan() -> None:
    (found,) = domain("plain").findall("devices/interface")
    assert found.get("type") == "bridge"
    source, port, target = (found.find(tag) for tag in ("source", "virtualport", "target"))
    assert source is not None
    assert source.attrib == {"bridge": "br-int"}
    assert port is not None
    assert port.attrib == {"type": "openvswitch"}
    assert target is not None
    assert target.get("dev") == "tap_1_eth1"
    assert [tag.attrib for tag in found.findall("vlan/tag")] == [{"id": "101"}]


def test_a_trunk_keeps_the_vlan_whose_frames_have_no_tag() -> None:
    native, tagged, _ = domain("trunks").findall("devices/interface/vlan")
    assert native.get("trunk") == tagged.get("trunk") == "yes"
    assert [tag.attrib for tag in native] == [
        {"id": "10", "nativeMode": "untagged"},
        {"id": "20"},
        {"id": "30"},
    ]
    assert [tag.attrib for tag in tagged] == [{"id": "20"}]


def test_disks_have_their_formats_paths_and_names() -> None:
    disks = domain("cloud").findall("devices/disk")
    sources = [disk.find("source") for disk in disks]
    assert [source.get("file") for source in sources if source is not None] == [
        "/home/ubuntu/vm_images/.vmops/disk-cloud-root.qcow2",
        "/home/ubuntu/vm_images/.vmops/disk-cloud-data.qcow2",
        "/home/ubuntu/vm_images/.vmops/disk-cloud-raw.raw",
        "/home/ubuntu/vm_images/cloud-seed.iso",
    ]
    drivers = [disk.find("driver") for disk in disks]
    assert [driver.get("type") for driver in drivers if driver is not None] == [
        *("qcow2", "qcow2", "raw", "raw")
    ]
    assert [disk.findtext("serial") for disk in disks] == [None, "data", "raw", None]


@pytest.mark.parametrize(
    ("accel", "type", "mode"),
    [("tcg", "qemu", "maximum"), ("kvm", "kvm", "host-passthrough"), ("auto", "kvm", None)],
)
def test_the_accelerator_decides_type_and_cpu(accel: str, type: str, mode: str | None) -> None:
    found = domain("plain", accel=accel)
    assert found.get("type") == type
    cpu = found.find("cpu")
    assert cpu is not None
    assert cpu.get("mode") == (mode or "host-passthrough")
    notes = libvirt(leaving("plain", accel=accel)).notes
    assert any("without KVM" in note for note in notes) == (accel == "auto")


def test_a_seed_beside_a_virtio_disk_is_on_the_one_controller_that_is_there() -> None:
    """libvirt counts the letters: one behind the seventh would be on a controller that no kernel
    for clouds knows."""
    assert [each.get("model") for each in domain("cloud").findall("devices/controller")] == [
        "virtio-scsi",
        "none",
    ]
    (target,) = [
        each for each in domain("cloud").findall("devices/disk/target") if each.get("bus") == "scsi"
    ]
    assert target.get("dev") == "sda"


def test_devices_of_extra_args_get_slots_that_libvirt_leaves_free() -> None:
    args = ("-device", "edu", "-device", "usb-kbd", "-device", "VGA,addr=0x9", "-vga", "qxl")
    assert extra.for_libvirt((*args, "-no-reboot")) == (
        "qxl",
        ("-device", "edu,addr=0x1b", "-device", "usb-kbd", "-device", "VGA,addr=0x9", "-no-reboot"),
    )
    assert extra.for_libvirt(()) == ("vga", ())


def test_no_two_disks_of_a_domain_have_one_place() -> None:
    for name in NAMES:
        targets = domain(name).findall("devices/disk/target")
        places = [target.get("dev") for target in targets]
        assert len(places) == len(set(places))


@pytest.mark.parametrize("name", NAMES)
def test_proxmox_gets_keys_that_it_has(name: str) -> None:
    found = conf(name)
    assert all(QM.fullmatch(key) for key in found)
    vm = leaving(name).vm
    nets = [value for key, value in found.items() if key.startswith("net")]
    assert len(nets) == len(vm.connected)
    for net, nic in zip(nets, vm.connected, strict=True):
        assert net.startswith(f"{nic.model}={nic.mac.upper()},bridge=br-int")
        assert ("tag=" in net) == (nic.vlan_id is not None)


def test_proxmox_brings_each_disk_to_a_slot_of_its_own() -> None:
    for name in NAMES:
        text = proxmox(leaving(name)).text
        assert text.count("qm importdisk ") == 1 + len(leaving(name).vm.disks)
        slots = re.findall(r"qm set \d+ --((?:virtio|ide|sata)\d+) ", text)
        assert len(slots) == len(set(slots)) == 1 + len(leaving(name).vm.disks)
        assert f"order={'ide2;' if leaving(name).vm.boot == 'cdrom' else ''}{slots[0]}" in text


def test_proxmox_numbers_never_meet() -> None:
    assert "/10001.conf" in proxmox(leaving("plain")).text
    assert conf("trunks")["net0"].endswith("tag=10,trunks=20;30")
    assert "tag=" not in conf("trunks")["net1"]


@pytest.mark.parametrize("name", NAMES)
def test_incus_gets_keys_that_it_has(name: str) -> None:
    """Read as what it is, two levels of keys and JSON scalars."""
    section, device = "", ""
    devices: dict[str, dict[str, str]] = {}
    for line in incus(leaving(name)).text.splitlines():
        if line.startswith("#"):
            continue
        depth = len(line) - len(line.lstrip())
        key, _, value = line.strip().partition(": ")
        if depth == 0:
            section = key.rstrip(":")
        elif section == "config":
            assert key in INCUS["config"]
            json.loads(value)
        elif depth == 2:
            device = json.loads(key.rstrip(":"))
            devices[device] = {}
        else:
            devices[device][key] = json.loads(value)
    assert devices["root"]["path"] == "/"
    assert all(set(found) <= INCUS[found["type"]] for found in devices.values())
    assert "--vm --no-profiles <" in incus(leaving(name)).text
    nics = [found for found in devices.values() if found["type"] == "nic"]
    assert [nic["hwaddr"] for nic in nics] == [nic.mac for nic in leaving(name).vm.connected]


def test_an_interface_called_root_takes_no_disks_place() -> None:
    found = leaving("plain")
    (first, *_) = found.vm.interfaces
    vm = replace(found.vm, interfaces=(replace(first, name="root"),))
    text = incus(found._replace(vm=vm)).text
    assert (text.count('"root":'), text.count('"nic-root":')) == (1, 1)


def test_what_does_not_go_along_is_said() -> None:
    # What is written of networks is no VM.
    for format in (each for name, each in FORMATS.items() if name != "ovn"):
        assert any("apart is not connected" in note for note in format(leaving("plain")).notes)
    assert any("-vmx" in note for note in proxmox(leaving("uefi")).notes)
    assert any("becomes virtio" in note for note in incus(leaving("plain")).notes)
    assert any("one-time password" in note for note in libvirt(leaving("plain")).notes)


@pytest.mark.parametrize("has", [True, False])
def test_a_balloon_goes_along(has: bool) -> None:
    found = leaving("bare")
    found = found._replace(vm=replace(found.vm, balloon=has))
    model = "virtio" if has else "none"
    assert f'<memballoon model="{model}"' in libvirt(found).text
    assert f"\nballoon: {found.vm.ram_mb if has else 0}\n" in proxmox(found).text
    assert ("virtio-balloon-pci,id=balloon" in script(found).text) is has


def test_a_path_is_one_word_wherever_a_shell_reads_it() -> None:
    hostile = "/srv/a b'$(reboot)\";.qcow2"
    found = leaving("bare")
    found = found._replace(vm=replace(found.vm, qcow_image=hostile))
    assert f"[ -e {shlex.quote(hostile)} ]" in script(found).text
    for format in (proxmox, incus):
        (line,) = [line for line in format(found).text.splitlines() if "qemu-img" in line]
        _, *ssh = shlex.split(line)
        assert hostile in shlex.split(ssh[-1])


def test_the_home_of_the_ssh_user() -> None:
    worker = leaving("plain").worker
    assert home_of(worker) == "/home/ubuntu"
    assert home_of(replace(worker, user="root")) == "/root"
    assert home_of(replace(worker, user=None)) == "/home/ubuntu"


def test_networks_in_ovn_are_made_by_what_each_worker_is_called_there() -> None:
    found = networks(in_ovn("web"))
    assert found.suffix == ".ovn.sh"
    assert found.notes == ("web: eth1 is in no network of OVN: left out",)
    lines = [line.strip() for line in found.text.splitlines()]
    assert "chassis_1=$(chassis 192.0.2.1)" in lines
    assert "chassis_2=$(chassis 198.51.100.2)" in lines
    made = [line.split()[3] for line in lines if line.startswith("-- --id=")]
    assert made.count("Logical_Switch") == 3, "the two, and that of the way out"
    assert made.count("Logical_Router") == 1
    (port,) = (line for line in lines if "'name=\"web:eth0\"'" in line)
    assert "'options:requested-chassis=\"'\"$chassis_1\"'\"'" in port
    assert "u0000" not in found.text
    for what in ("the router", "network blue", "network green"):
        assert f"# {what[0].upper()}{what[1:]}." in lines
    # One that is routed nowhere needs no router.
    alone = networks(in_ovn("db")).text
    assert "Logical_Router" not in alone
    assert "localnet" in alone


def test_the_script_of_a_vm_in_ovn_waits_for_its_port() -> None:
    text = script(in_ovn("web")).text
    assert "external_ids:iface-id=" in text
    assert "wait-until Interface tap_1_eth0 external_ids:ovn-installed=true" in text
    assert "wait-until Interface tap_1_eth1" not in text
    assert 'read -r mtu <"/sys/class/net/br-ovn/mtu"' in text
