"""Domains of libvirt's in the words of hosts.toml: such as people have, and our own come back."""

from __future__ import annotations

import shlex
import string
import tomllib
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.exported import NAMES, leaving
from vmops.core.devices import disk
from vmops.core.devices.machine import cpu_for
from vmops.core.inventory.inventory import parse
from vmops.core.inventory.machine.extra import DEVICES
from vmops.core.inventory.model import VM, Disk, Interface, Worker
from vmops.core.inventory.rules import MODELS
from vmops.core.plan.export.from_libvirt import Found, from_libvirt, in_toml
from vmops.core.plan.export.leaving import Leaving
from vmops.core.plan.export.libvirt import libvirt

from .domains import DESKTOP, ON_LVM, USUAL


def read(xml: str, worker: str = "") -> Found:
    return from_libvirt(xml.encode(), worker=worker)


def said(found: Found) -> str:
    return "\n".join(found.notes)


def test_a_usual_domain_is_taken_and_what_it_lacks_is_said() -> None:
    found = read(USUAL, "w1")
    assert tomllib.loads(in_toml(found))["vms"]["jammy"] == {
        "worker": "w1",
        "ram_mb": 2048,
        "cores": 2,
        "qcow_image": "/var/lib/libvirt/images/jammy.qcow2",
        "disk_model": "virtio",
        "machine": "q35",
        "extra_args": ["-vga", "virtio"],
        "balloon": True,
        "interfaces": [{"name": "eth0", "mac": "52:54:00:6b:3c:58", "model": "virtio"}],
    }
    for what in ("pc-q35-jammy", "eth0: it is in no VLAN", "listens on 0.0.0.0", "rng"):
        assert what in said(found)


def test_a_domain_on_open_vswitch_keeps_its_vlans_and_its_order_of_disks() -> None:
    found = read(ON_LVM)
    assert tomllib.loads(in_toml(found))["vms"]["db-1"] == {
        "ram_mb": 8192,
        "cores": 4,
        "vnc_port": 5907,
        "qcow_image": "~/vm_images/db-1.qcow2",
        "disk_model": "virtio",
        "cpu": "Skylake-Server-IBRS,+md-clear,-hle",
        "machine": "q35",
        "boot": "uefi",
        "interfaces": [
            {
                "name": "eth0",
                "vlan_id": 100,
                "trunks": [200, 300],
                "mac": "52:54:00:aa:00:01",
                "model": "virtio",
            },
            {"name": "eth1", "vlan_id": 42, "mac": "52:54:00:aa:00:02", "model": "rtl8139"},
        ],
    }
    for what in (
        "qemu-img convert -f raw -O qcow2 /dev/vg0/db-1 ~/vm_images/db-1.qcow2",
        "qemu-img convert -f raw -O raw '/srv/the data'\"'\"'s.img' ~/vm_images/.vmops/",
        'name = "sdb", size_gb = ITS SIZE, format = "raw"',
        "secure boot",
        "topology",
        "-O qcow2 /var/lib/libvirt/qemu/nvram/db-1_VARS.fd ~/vm_images/.vmops/disk-db-1-uefi",
        "is on scsi",
    ):
        assert what in said(found)


def test_a_desktop_says_all_that_stays_behind() -> None:
    found = read(DESKTOP)
    table = tomllib.loads(in_toml(found))["vms"]["win11"]
    assert (table["boot"], table["iso"]) == ("cdrom", "/isos/win11.iso")
    assert (table["qcow_image"], table["ram_mb"]) == ("/home/me/win11.qcow2", 4097)
    assert table["machine"] == "pc-q35-7.2"
    assert "disk_model" not in table
    assert "extra_args" not in table
    for what in (
        *("no whole number", "host-model", "floppy fda", "of type user", "no model ne2k_pci"),
        *("spice", "sound, tpm, hostdev", "file=/etc/shadow"),
    ):
        assert what in said(found)


@pytest.mark.parametrize(
    ("xml", "why"),
    [
        ("", "no XML"),
        ("<domain", "no XML"),
        ("<?xml version='1.0' encoding='klingon'?><domain/>", "no XML|encoding"),
        ("<?xml version='1.0' encoding='utf-16'?><domain/>", "no XML|encoding"),
        ("<network><name>default</name></network>", "must be a <domain>"),
        ("<domainsnapshot><name>s</name></domainsnapshot>", "must be a <domain>"),
        ("<!DOCTYPE domain [<!ENTITY a 'b'>]><domain/>", "DOCTYPE"),
        ("<domain type='xen'><name>x</name><os><type>linux</type></os></domain>", "os type"),
        (USUAL.replace("x86_64", "aarch64"), "aarch64"),
        (USUAL.replace("jammy<", "my VM<"), "cannot be a VM's"),
        (USUAL.replace("2097152", "much"), "how much memory"),
        (USUAL.replace("KiB", "furlongs"), "how much memory"),
        (USUAL.replace("device='disk'", "device='lun'"), "has no disk"),
        (ON_LVM.replace("<tag id='200'/>", "<tag id='100'/>"), "cannot be a VM here"),
        (ON_LVM.replace("AA:00:01", "aa:00:02"), "cannot be a VM here"),
    ],
)
def test_what_cannot_be_a_vm_is_refused(xml: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read(xml)


def what_it_is(vm: VM, *, home: str, accel: str) -> dict[str, Any]:
    """All of a VM that libvirt can know."""
    return {
        "name": vm.name,
        "vm_id": vm.vm_id,
        "size": (vm.ram_mb, vm.cores, vm.vnc_port),
        "first": (disk.absolute(vm.qcow_image, home), vm.image, vm.disk, vm.disk_gb),
        "disks": (vm.drive_model, vm.disks),
        "balloon": vm.balloon,
        "machine": (vm.machine or "pc", cpu_for(vm, accel=accel), vm.extra_args),
        "boot": (vm.boot or "disk", vm.iso and disk.absolute(vm.iso, home)),
        "nics": [
            (nic.name, nic.tap, nic.mac, nic.model, nic.vlan_id, nic.interface.trunks)
            for nic in vm.connected
        ],
    }


def comes_back(found: Leaving) -> None:
    xml = libvirt(found).text
    back = in_toml(from_libvirt(xml.encode()))
    images = '[images.debian]\nfile = "debian.qcow2"\n'
    (vm,) = parse(back + images, source="hosts.toml").vms.values()
    accel = "tcg" if found.worker.accel == "tcg" else "kvm"
    assert what_it_is(vm, home=found.home, accel=accel) == what_it_is(
        found.vm, home=found.home, accel=accel
    )


@pytest.mark.parametrize("accel", ["kvm", "tcg"])
@pytest.mark.parametrize("name", NAMES)
def test_a_vm_that_left_comes_back_as_it_was(name: str, accel: str) -> None:
    comes_back(leaving(name, accel=accel))


NAME = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
PATH = st.text(
    alphabet=st.characters(codec="utf-8", categories=("L", "N", "P", "S"), exclude_characters="/"),
    min_size=1,
    max_size=20,
).map(lambda text: f"/srv/x{text}.qcow2")
VLAN = st.integers(1, 4094)


@st.composite
def interfaces(draw: st.DrawFn) -> list[Interface]:
    names = draw(st.lists(NAME, max_size=4, unique=True))
    found = []
    for place, name in enumerate(names):
        native = draw(st.none() | VLAN)
        trunks = [vlan for vlan in draw(st.sets(VLAN, max_size=3)) if vlan != native]
        mac = f"52:54:01:00:00:{place:02x}" if draw(st.booleans()) else ""
        model = draw(st.sampled_from(MODELS))
        found.append(Interface(name, vlan_id=native, trunks=tuple(trunks), mac=mac, model=model))
    return found


@st.composite
def extra_args(draw: st.DrawFn) -> list[str]:
    devices = draw(st.lists(st.sampled_from(DEVICES), max_size=3))
    found = [word for device in devices for word in ("-device", device)]
    card = draw(st.sampled_from([None, "cirrus", "qxl", "virtio", "none"]))
    found += ["-device", "edu,addr=0x9"] if draw(st.booleans()) else []
    return [*found, *(["-vga", card] if card else [])]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-8-sig"])
def test_a_doctype_is_refused_in_every_encoding(encoding: str) -> None:
    """What it declares may be a million times as long."""
    declared = "<!DOCTYPE domain [<!ENTITY a 'x'>]>"
    head = f"<?xml version='1.0' encoding='{encoding.removesuffix('-sig').removesuffix('-le')}'?>"
    with pytest.raises(ValueError, match=r"DOCTYPE|no XML"):
        from_libvirt(f"{head}{declared}{USUAL.strip()}".encode(encoding))
    word = USUAL.replace("jammy</name>", "jammy</name><title>no &lt;!DOCTYPE here</title>")
    assert from_libvirt(word.encode()).name == "jammy"


def test_no_word_of_a_domain_is_a_command_in_what_is_to_be_typed() -> None:
    for text, odd in ((ON_LVM, "type='raw'"), (USUAL, "type='qcow2'")):
        found = from_libvirt(text.replace(odd, 'type="raw; reboot #"').encode())
        (told,) = [note for note in found.notes if "stopped, on the worker:" in note][:1]
        words = shlex.split(told.partition("on the worker: ")[2].split("; and in")[0])
        assert words[:4] == ["qemu-img", "convert", "-f", "raw; reboot #"]


@st.composite
def leavings(draw: st.DrawFn) -> Leaving:
    names = st.from_regex(r"[a-z0-9][a-z0-9_]{0,10}", fullmatch=True)
    disks = draw(
        st.lists(names.filter(lambda name: name not in ("root", "uefi")), max_size=3, unique=True)
    )
    image = draw(st.none() | st.just("debian"))
    boot = draw(st.sampled_from([None, "disk", "uefi", "cdrom"]))
    features = st.lists(st.sampled_from(["+aes", "-vmx", "+avx2", "-hle"]), unique=True)
    models = st.sampled_from(["host", "max", "Nehalem", "EPYC-Rome-v2"])
    cpu = draw(st.none() | st.builds(lambda m, f: ",".join([m, *f]), models, features))
    vm = VM(
        draw(NAME),
        vm_id=draw(st.integers(1, 65535)),
        ram_mb=draw(st.integers(1, 1 << 24)),
        cores=draw(st.integers(1, 255)),
        vnc_port=draw(st.none() | st.integers(5900, 65535)),
        qcow_image="" if image else draw(PATH),
        image=image,
        disk_gb=draw(st.none() | st.integers(1, 99)) if image else None,
        disk="clone" if image and draw(st.booleans()) else None,
        disks=tuple(
            Disk(name, size_gb=draw(st.integers(1, 9)), format=draw(st.sampled_from(FORMATS)))
            for name in disks
        ),
        cpu=cpu,
        disk_model=draw(st.sampled_from([None, "ide", "virtio"])),
        boot=boot,
        iso=draw(PATH) if boot == "cdrom" else None,
        balloon=draw(st.booleans()),
        machine=draw(st.sampled_from([None, "pc", "q35", "pc-q35-7.2", "pc-i440fx-6.2"])),
        extra_args=tuple(draw(extra_args())),
        interfaces=tuple(draw(interfaces())),
    )
    accel = draw(st.sampled_from(["kvm", "tcg", "auto"]))
    home = draw(st.sampled_from(["/root", "/home/ubuntu", "/srv/odd, home"]))
    return Leaving(vm, Worker("w1", address="192.0.2.1", accel=accel), home, "br-int")


FORMATS = ("qcow2", "raw")


@given(leavings())
def test_every_vm_that_leaves_comes_back(found: Leaving) -> None:
    comes_back(found)


TAGS = st.sampled_from(
    [
        *("name", "os", "type", "memory", "vcpu", "devices", "disk", "source", "driver", "target"),
        *("interface", "mac", "vlan", "tag", "model", "virtualport", "cpu", "feature", "graphics"),
        *("metadata", "boot", "loader", "nvram", "domain"),
    ]
)
WORDS = st.sampled_from(
    ["", "0", "-1", "1", "4095", "x", "hvm", "x86_64", "qcow2", "99999999999999999999", "é", "\"'"]
) | st.text(alphabet=string.printable[:95], max_size=10)
KEYS = st.sampled_from(
    [
        *("type", "device", "file", "dev", "bus", "id", "trunk", "nativeMode", "address", "name"),
        *("mode", "policy", "port", "unit", "order", "arch", "machine"),
    ]
)


@st.composite
def nonsense(draw: st.DrawFn, depth: int = 3) -> str:
    tag = "domain" if depth == 3 else draw(TAGS)
    attributes = draw(st.dictionaries(KEYS, WORDS, max_size=3))
    written = "".join(f" {key}={quoteattr(value)}" for key, value in attributes.items())
    inside = [draw(nonsense(depth - 1)) for _ in range(draw(st.integers(0, 4)))] if depth else []
    return f"<{tag}{written}>{escape(draw(WORDS))}{''.join(inside)}</{tag}>"


@given(st.one_of(nonsense(), st.sampled_from([USUAL, ON_LVM, DESKTOP])), st.data())
def test_whatever_it_says_is_refused_or_makes_a_hosts_toml(xml: str, data: st.DataObject) -> None:
    """Values are exchanged for others at random, in domains that are good too."""
    parts = xml.split("'")
    for _ in range(data.draw(st.integers(0, 4))):
        if len(parts) > 2:
            place = data.draw(st.integers(0, (len(parts) - 2) // 2)) * 2 + 1
            parts[place] = data.draw(
                st.sampled_from(["", "0", "-5", "x,y", "70000", "openvswitch"])
            )
    try:
        found = from_libvirt("'".join(parts).encode())
    except ValueError:
        return
    (vm,) = parse(in_toml(found), source="hosts.toml").vms.values()
    assert vm.name == found.name
