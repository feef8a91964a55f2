"""What a VM boots from, its machine, and words for QEMU besides."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from typing import Any

import pytest

from vmops.core.devices import machine
from vmops.core.devices.disk import NOTHING_THERE, unobjectionable
from vmops.core.devices.display import Screen
from vmops.core.devices.storage import boot
from vmops.core.devices.storage.boot import Firmware, RunningBoot
from vmops.core.facts import supposed
from vmops.core.facts.host import FIRMWARE
from vmops.core.facts.observed import Observed, for_starting
from vmops.core.inventory.complaints import InvalidValue, key_path
from vmops.core.inventory.hosts_toml import read_hosts_toml
from vmops.core.inventory.machine import extra
from vmops.core.inventory.model import VM
from vmops.core.plan import health, restarting, starting
from vmops.core.plan.stopping import KILLED
from vmops.core.script.command import Step, StepResult
from vmops.errors import LaunchFailed

from .worlds import EMPTY, VM1, WORKER, commands, labels, running

BARE = replace(VM1, interfaces=())
UEFI = replace(BARE, boot="uefi")
CD = replace(BARE, boot="cdrom", iso="~/iso/debian,12.iso")
OVMF = Firmware("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd")
LAUNCH = machine.Launch("tcg", "max", "/a.qcow2", Screen("::1", 5901), 5, "/home/u", OVMF)


def line(vm: VM) -> machine.CommandLine:
    return machine.parse(machine.build(vm, LAUNCH).words())


def world(vm: VM, *, there: bool = True, firmware: Firmware = OVMF) -> Observed:
    images = {VM1.qcow_image: unobjectionable(VM1.qcow_image)}
    for path, (_, format) in boot.asked(vm).items():
        images[path] = (
            unobjectionable(path, format.removeprefix("base:")) if there else NOTHING_THERE
        )
    return EMPTY._replace(images=images, firmware=firmware)


@pytest.mark.parametrize(
    ("vm", "found"),
    [
        (BARE, RunningBoot()),
        (UEFI, RunningBoot("uefi")),
        (CD, RunningBoot("cdrom", "/home/u/iso/debian,12.iso")),
    ],
)
def test_what_is_booted_is_read_back(vm: VM, found: RunningBoot) -> None:
    assert line(vm).boot == found
    assert line(vm).image == "/a.qcow2"
    assert machine.drift(line(vm), vm, LAUNCH) == []


def test_the_machine_and_more_words_are_read_back() -> None:
    words = ("-device", "virtio-rng-pci", "-rtc", "base=localtime", "-no-reboot")
    vm = replace(UEFI, machine="q35", extra_args=words)
    argv = (*machine.build(vm, LAUNCH).words(), "-runas", "5:5")
    found = machine.parse(argv)
    assert (found.machine, found.extra) == ("q35", words)
    assert machine.parse((*argv[:-2], "-run-with", "user=5:5")).extra == words
    assert line(BARE).extra == ()
    drift = [str(each) for each in machine.drift(found, BARE, LAUNCH)]
    assert drift == [
        "machine: q35 -> pc",
        "boot: uefi -> disk",
        f"extra_args: {' '.join(words)} -> none",
    ]
    assert machine.drift(line(BARE), replace(BARE, machine="pc", boot="disk"), LAUNCH) == []


def test_uefi_variables_are_made_once_and_go_with_a_start_that_fails() -> None:
    made = starting.launch(WORKER, UEFI, world(UEFI, there=False))
    assert labels(made)[0] == "UEFI variables"
    path = "~/vm_images/.vmops/disk-vm1-uefi.qcow2"
    assert commands(made, "UEFI variables") == [f"make_variables {OVMF.variables} {path}"]
    assert made.block is not None
    assert [undo.words() for undo in made.block.numbered()[0].undo] == [("remove_disk", path)]
    assert ("no_disk", path) in [guard.words() for guard in made.block.guards]
    assert "UEFI variables" not in labels(starting.launch(WORKER, UEFI, world(UEFI)))


@pytest.mark.parametrize(
    ("vm", "seen", "what", "cure"),
    [
        (UEFI, world(UEFI, firmware=Firmware()), "no UEFI firmware", "sudo apt install ovmf"),
        (CD, world(CD, there=False), "no image ~/iso/debian,12.iso", "correct vms.vm1.iso"),
    ],
)
def test_what_lacks_is_told_before_anything_is_done(
    vm: VM, seen: Observed, what: str, cure: str
) -> None:
    with pytest.raises(LaunchFailed) as refused:
        starting.launch(WORKER, vm, seen)
    assert what in refused.value.what
    assert cure in refused.value.cure


def test_a_cd_that_is_an_image_of_another_kind_is_refused() -> None:
    """QEMU is told that it is raw, so that no header makes it open another file."""
    seen = world(CD)
    assert CD.iso is not None
    (image,) = seen.images[CD.iso]
    images = {**seen.images, CD.iso: (image._replace(looks="qcow2"),)}
    with pytest.raises(LaunchFailed, match="taken for a raw image and is a qcow2 one"):
        starting.launch(WORKER, CD, seen._replace(images=images))


def test_a_restart_knows_the_way_back_to_what_was_booted() -> None:
    ran = replace(CD, machine="q35", extra_args=("-no-reboot",))
    seen = running(ran, before=world(ran))
    made = restarting.restart(WORKER, BARE, seen, manner=KILLED)
    back = made.phases[0].recovery
    assert back is not None
    argv = next(step for step in back.numbered() if step.label == "QEMU").commands[0].words()
    found = machine.parse(argv)
    assert (found.boot.boot, found.machine, found.extra) == ("cdrom", "q35", ("-no-reboot",))


def test_only_who_boots_by_uefi_asks_for_it() -> None:
    assert FIRMWARE in for_starting([BARE, UEFI])
    assert FIRMWARE not in for_starting([BARE, CD])
    found = FIRMWARE.read(StepResult(Step("x", ()), 0, stdout=b"/a /b\n"))
    assert found == Firmware("/a", "/b")
    assert FIRMWARE.read(StepResult(Step("x", ()), 0, stdout=b"")) == Firmware()


def test_doctor_names_the_package() -> None:
    (check,) = health._uefi([UEFI], world(UEFI, firmware=Firmware()))
    assert (check.ok, check.cure) == (False, "there: sudo apt install ovmf")
    assert health._uefi([UEFI], world(UEFI))[0].ok
    assert health._uefi([BARE], EMPTY) == []


@pytest.mark.parametrize("vm", [UEFI, CD, replace(BARE, machine="q35", extra_args=("-usb",))])
def test_a_dry_run_shows_it(vm: VM) -> None:
    seen = supposed.without_disks(supposed.blank(WORKER, [vm]), [vm], {})
    (started, *_) = commands(starting.launch(WORKER, vm, seen), "QEMU")
    shown = {"uefi": "node-name=uefi-vars", "cdrom": "node-name=boot-iso"}
    assert shown.get(vm.boot or "", "-machine q35") in started
    assert not vm.extra_args or started.split()[-1] == "-usb"


HEAD = "[vms.v]\nvnc_port = 5901\nram_mb = 1\ncores = 1\nqcow_image = '/v'\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("boot = 'cdrom'\niso = '/a.iso'\nmachine = 'pc-q35-7.2'", ""),
        ("boot = 'cdrom'", ""),
        ("iso = '/a.iso'", "vms.v.iso: '/a.iso': must be left out, as boot is not \"cdrom\""),
        ("boot = 'net'", "vms.v.boot: 'net': must be one of"),
        ("machine = 'microvm'", "vms.v.machine: 'microvm': must be a PC of QEMU"),
        ("machine = 'q35,dumpdtb=/x'", "vms.v.machine: 'q35,dumpdtb=/x': must be a PC"),
    ],
)
def test_a_file_is_read_and_complained_of(text: str, said: str) -> None:
    faults = read_hosts_toml(tomllib.loads(HEAD + text)).faults
    found = [f"{key_path(fault.path)}: {fault.said}" for fault in faults]
    assert len(found) == bool(said)
    assert not said or found[0].startswith(said)


@pytest.mark.parametrize(
    "words",
    [
        ["-device", "virtio-rng-pci"],
        ["-device", "i6300esb,id=dog", "-watchdog-action", "reset"],
        ["--usb", "-device", "usb-tablet"],
        ["-smbios", "type=1,serial=abc"],
        ["-fw_cfg", "name=opt/org.example/a,string=b"],
        ["-global", "virtio-balloon-pci.deflate-on-oom=on"],
        ["-k", "en-us", "-rtc", "base=localtime", "-boot", "menu=on"],
    ],
)
def test_words_that_open_nothing_are_let_through(words: list[str]) -> None:
    assert list(extra.extra_faults(words)) == []
    assert VM.from_dict(replace(VM1, extra_args=tuple(words)).to_dict()).extra_args == tuple(words)


@pytest.mark.parametrize(
    "words",
    [
        ["-drive", "file=/etc/shadow,format=raw"],
        ["-name", "vm2"],
        ["-pidfile", "/run/vmops/vm2/pid"],
        ["-qmp", "unix:/tmp/x"],
        ["-sandbox", "off"],
        ["-runas", "root"],
        ["-netdev", "user,id=x"],
        ["-chardev", "file,id=x,path=/etc/x"],
        ["-kernel", "/boot/vmlinuz"],
        ["-L", "/tmp"],
        ["-readconfig", "/tmp/x"],
        ["-plugin", "/tmp/x.so"],
        ["-daemonize"],
        ["-device", "loader,file=/etc/shadow,addr=0"],
        ["-device", "vfio-pci,host=00:01.0"],
        ["-device", "usb-host,hostbus=1"],
        ["-device", '{"driver": "loader", "file": "/etc/shadow"}'],
        ["-device", "driver=loader,file=/x"],
        ["-device", "VGA,romfile=/etc/shadow"],
        ["-device", "VGA,x=a,,b,romfile=/etc/shadow"],
        ["-global", "VGA.romfile=/etc/shadow"],
        ["-global", "driver=VGA,property=romfile,value=/etc/shadow"],
        ["-smbios", "type=1,file=/etc/shadow"],
        ["-smbios", "file=/etc/shadow"],
        ["-smbios", "type=11,path=/etc/shadow"],
        ["-fw_cfg", "name=opt/a,file=/etc/shadow"],
        ["-k", "../../etc/shadow"],
        ["-boot", "splash=/etc/shadow"],
        ["-boot", "splash=x"],
        ["-icount", "shift=0,rr=record,rrfile=x"],
        ["-device"],
        ["-no-reboot", "virtio-rng-pci"],
        ["--", "-usb"],
        ["-"],
        ["-device", "-usb"],
    ],
    ids=" ".join,
)
def test_words_that_name_something_of_the_worker_are_refused(words: list[str]) -> None:
    (fault,) = extra.extra_faults(words)
    assert fault.path[0] == "extra_args"
    with pytest.raises(InvalidValue, match="extra_args"):
        replace(VM1, extra_args=tuple(words))


@pytest.mark.parametrize("value", [["a\nb"], ["\x00"], [1], ["ü"], ["-usb"] * 65, ["x" * 1001]])
def test_words_that_are_no_words(value: Any) -> None:
    assert extra.words(value) is None
