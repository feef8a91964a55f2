"""What a worker needs before it can run VMs, from its facts; each failure has a cure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from posixpath import dirname
from types import MappingProxyType
from typing import NamedTuple

from vmops.core.devices import disk, nic
from vmops.core.devices.disk import NO_BASES, Bases
from vmops.core.devices.network.service import Service
from vmops.core.devices.storage.boot import PACKAGE_CURE
from vmops.core.facts.host import QEMU_VERSION, ROMS, free_disk_mb
from vmops.core.facts.images import OWN_DISKS, store
from vmops.core.facts.network.state import DEVICES, MISSING_TOOLS, TOOLS
from vmops.core.facts.observed import IMAGES, Asked, Observed, for_starting
from vmops.core.facts.question import NO_PERL, PERL_CURE, Answers, Question, Unanswered
from vmops.core.facts.wiring import DRAINED, TRAFFIC_CONTROL, VSWITCHD_VERSION
from vmops.core.images.names import FOLDER
from vmops.core.inventory.complaints import printable, typed
from vmops.core.inventory.machine.rules import UEFI
from vmops.core.inventory.model import VM, Worker
from vmops.core.inventory.networks.impairment import UNIMPAIRED
from vmops.core.plan.checks import TUN_CURE, check_impairing, silence_cure
from vmops.core.plan.moving.marks import store_fault
from vmops.core.plan.network import serving
from vmops.core.tools import image_chain, ip, ovs, qemu
from vmops.errors import WorkFailed

LOW_DISK_MB = 1024

_NONE: Mapping[str, Service] = MappingProxyType({})


class Check(NamedTuple):
    """One thing that was looked at: its name, what was found, and the cure where it is not `ok`."""

    name: str
    ok: bool
    found: str
    cure: str = ""


def questions(
    vms: Sequence[VM],
    bases: Bases = NO_BASES,
    *,
    serves: bool = False,
    shares: str | None = None,
) -> tuple[Asked, ...]:
    """All that `checks` looks at, for a worker that is to run these VMs; whether it `serves`
    networks, and the folder that it `shares`."""
    folders = (free_disk_mb(folder) for folder in _folders(vms))
    tools = (MISSING_TOOLS, DEVICES) if serves else ()
    shared = (store(shares),) if shares is not None else ()
    asked = (QEMU_VERSION, ROMS, VSWITCHD_VERSION, DRAINED, *tools, *folders, *shared)
    starting = for_starting(vms, bases=bases)
    return (*starting, *(() if OWN_DISKS in starting else (OWN_DISKS,)), *asked)


def checks(
    worker: Worker,
    vms: Sequence[VM],
    seen: Observed,
    answers: Answers,
    *,
    serves: Mapping[str, Service] = _NONE,
) -> list[Check]:
    """Every check of the worker, and of what these VMs and the networks that it `serves` need."""
    vms = [vm for vm in vms if not _has_left(vm, seen)]
    memory = f"{seen.host.available_mb} of {seen.host.memory_mb} MiB available"
    return [
        perl(is_there=seen.host.perl),
        _kvm(worker, seen),
        _qemu(seen, answers),
        *_uefi(vms, seen),
        *(_roms(vms, answers) if seen.host.qemu else ()),
        _tun(seen),
        *_switch(worker, seen, answers),
        *_impairing(worker, vms, seen),
        *(_network_tools(answers) if serves else ()),
        *_devices(worker, serves, answers),
        *_drained(worker, seen),
        Check("memory", True, memory),
        *_shared(worker, seen, answers),
        *_own_disks(vms, seen),
        *(_disk(folder, answers) for folder in _folders(vms)),
        *(_image(vm, seen) for vm in vms if seen.host.perl),
        *_vnc(vms, seen),
        *_left(vms, seen),
    ]


def perl(*, is_there: bool) -> Check:
    """Whether VMs can be looked at."""
    return Check("perl", is_there, "installed" if is_there else NO_PERL, PERL_CURE)


def _has_left(vm: VM, seen: Observed) -> bool:
    """True for a VM that was moved away: what it needs is looked at by nobody's start there."""
    mark = seen.moves.get(vm.name)
    return mark is not None and mark.how in ("left", "elsewhere")


def _drained(worker: Worker, seen: Observed) -> list[Check]:
    """That it is drained, which is no fault; nothing where it is not."""
    if seen.drained is None:
        return []
    gets = "it gets VMs again" if seen.drained.is_open else "it gets no VM"
    taken = ", ".join(seen.drained.away) or "none"
    end = f"fab undrain --worker {worker.name}"
    return [Check("drained", True, f"yes, {gets}; taken away from it: {taken}; {end}")]


def _folders(vms: Sequence[VM]) -> list[str]:
    return sorted({dirname(vm.qcow_image) for vm in vms})


def _answer(answers: Answers, question: Question[str]) -> tuple[str, bool]:
    """What was answered and True, or why nothing was and False."""
    try:
        return answers[question], True
    except Unanswered as reason:
        return str(reason), False


def _kvm(worker: Worker, seen: Observed) -> Check:
    found = {"usable": "usable", "absent": "no /dev/kvm", "denied": "cannot be opened"}
    needed = worker.accel == "kvm"
    words = found.get(seen.host.kvm, seen.host.kvm)
    if seen.host.kvm != "usable" and not needed:
        words += f', not needed: accel = "{worker.accel}"'
    return Check(
        "/dev/kvm",
        seen.host.kvm == "usable" or not needed,
        words,
        'enable virtualisation there, or set accel = "auto" or "tcg"',
    )


def _qemu(seen: Observed, answers: Answers) -> Check:
    cure = "there: sudo apt install qemu-system-x86"
    if not seen.host.qemu:
        return Check("QEMU", False, f"no {qemu.BINARY}", cure)
    version, ok = _answer(answers, QEMU_VERSION)
    return Check("QEMU", ok, version, "" if ok else cure)


def _roms(vms: Sequence[VM], answers: Answers) -> list[Check]:
    """Whether QEMU finds what it loads into each interface, without which it does not start."""
    needed = {nic.rom_of(each) for vm in vms for each in vm.connected}
    if not needed:
        return []
    try:
        there = answers[ROMS]
    except Unanswered as reason:
        return [Check("option ROMs", False, str(reason), "try again")]
    missing = sorted(needed - there)
    found = f"QEMU does not find {', '.join(missing)}" if missing else "found"
    return [Check("option ROMs", not missing, found, "there: sudo apt install ipxe-qemu")]


def _impairing(worker: Worker, vms: Sequence[VM], seen: Observed) -> list[Check]:
    """Whether what the inventory wants to be impaired can be; nothing where that is nothing."""
    wanted = [(vm, each) for vm in vms for each in vm.connected if each.impaired != UNIMPAIRED]
    if not wanted:
        return []
    name = "traffic control"
    if fault := seen.faults.get(TRAFFIC_CONTROL.name):
        return [Check(name, False, f"could not be tried: {fault}", "there: unshare --net tc qdisc")]
    for vm, each in wanted:
        try:
            check_impairing(worker, vm, seen, each, each.impaired)
        except WorkFailed as why:
            return [Check(name, False, f"{vm.name}: {why.what}", why.cure)]
    return [Check(name, True, "what is to be impaired can be")]


def _network_tools(answers: Answers) -> list[Check]:
    """What a network node needs beside Open vSwitch."""
    packages = {"dnsmasq": "dnsmasq-base", "nft": "nftables", "nsenter": "util-linux"}
    try:
        missing = answers[MISSING_TOOLS]
    except Unanswered as reason:
        return [Check("network node", False, str(reason), "try again")]
    found = f"no {', no '.join(missing)}" if missing else f"{', '.join(TOOLS)} are there"
    cure = " ".join(packages.get(tool, "iproute2") for tool in missing)
    return [Check("network node", not missing, found, f"there: sudo apt install {cure}")]


def _devices(worker: Worker, serves: Mapping[str, Service], answers: Answers) -> list[Check]:
    """Whether the node's devices are fit for each network that needs something of them."""
    found = []
    for name, wanted in serves.items():
        if not wanted.uplink and wanted.mtu is None:
            continue
        try:
            why = serving.unfit(worker, wanted, answers[DEVICES])
        except Unanswered as reason:
            return [Check("network devices", False, str(reason), "try again")]
        ways = [f"out by {wanted.uplink}"] if wanted.uplink else []
        ways += [f"MTU {wanted.mtu}"] if wanted.mtu is not None else []
        said = why.what.removeprefix(f"network {name}: ") if why else ", ".join(ways)
        found.append(Check(f"network {name}", why is None, said, why.cure if why else ""))
    return found


def _uefi(vms: Sequence[VM], seen: Observed) -> list[Check]:
    """Whether there is a UEFI firmware, where a VM boots by it."""
    if not any(vm.boot == UEFI for vm in vms):
        return []
    found = seen.firmware.code
    return [Check("UEFI firmware", bool(found), found or "no OVMF", PACKAGE_CURE)]


def _tun(seen: Observed) -> Check:
    return Check("/dev/net/tun", seen.host.tun, "there" if seen.host.tun else "missing", TUN_CURE)


def _switch(worker: Worker, seen: Observed, answers: Answers) -> list[Check]:
    start = "there: sudo systemctl restart openvswitch-switch"
    if seen.switch.fault:
        return [Check("ovsdb-server", False, seen.switch.fault, start)]
    checks = [Check("ovsdb-server", True, f"{len(seen.switch.ports)} ports")]
    version, alive = _answer(answers, VSWITCHD_VERSION)
    checks.append(Check("ovs-vswitchd", alive, version, "" if alive else start))
    there = worker.bridge in seen.switch.bridges
    have = ", ".join(sorted(seen.switch.bridges)) or "none"
    bridge = f"datapath {seen.switch.bridges.get(worker.bridge) or 'system'}"
    if worker.bridge in seen.switch.parents:
        bridge += f", a fake bridge of {seen.switch.real(worker.bridge)}"
    checks.append(
        Check(
            f"bridge {worker.bridge}",
            there,
            bridge if there else f"not there; there are: {have}",
            f"there: sudo ovs-vsctl add-br {worker.bridge}; or set `bridge` in the inventory",
        )
    )
    silence = seen.switch._replace(dead="").lifeless(worker.bridge)
    if silence:
        checks[-1] = Check(checks[-1].name, False, silence, silence_cure(worker, seen))
    checks += _links(seen)
    broken = [port for port in seen.switch.ports.values() if port.error and port.owner]
    checks.extend(
        Check(
            f"port {port.name}",
            False,
            f"{port.error} (owner {port.owner})",
            f"there: {typed('sudo', 'ovs-vsctl', 'del-port', port.name)}",
        )
        for port in broken
        if ovs.OWNER in port.external_ids
    )
    return checks


def _links(seen: Observed) -> list[Check]:
    """TAPs of VMs that run, and are down."""
    found = []
    for name, tap in sorted(seen.taps.items()):
        vm = tap.alias.removeprefix(ip.alias(""))
        if tap.alias.startswith(ip.alias("")) and not tap.up and seen.vm(vm).process:
            found.append(Check(f"TAP {name}", False, f"{vm} runs, and it is down", "fab up"))
    return found


def _disk(folder: str, answers: Answers) -> Check:
    name = f"folder {folder}"
    try:
        free_mb = answers[free_disk_mb(folder)]
    except Unanswered as reason:
        if not str(reason).endswith(": No such file or directory"):
            return Check(name, False, str(reason), f"there: {typed('ls', '-ld', folder)}")
        if folder == FOLDER:
            return Check(name, True, "not there yet; the first image or disk makes it")
        return Check(
            name, False, "there is no such folder", f"there: {typed('mkdir', '-p', folder)}"
        )
    return Check(name, free_mb >= LOW_DISK_MB, f"{free_mb} MiB free", "make room there")


def _shared(worker: Worker, seen: Observed, answers: Answers) -> list[Check]:
    """Whether ~/vm_images is the folder that workers share, and can be used; nothing where neither
    hosts.toml nor the worker knows of one."""
    name = f"shared folder {worker.shared_images}" if worker.shared_images else "shared folder"
    if fault := store_fault(worker, seen):
        return [Check(name, False, *fault)]
    if worker.shared_images is None:
        return []
    try:
        found = answers[store(worker.shared_images)]
    except Unanswered as reason:
        return [Check(name, False, str(reason), f"there: ls -ld {FOLDER}")]
    if found is None:
        return [Check(name, False, "its file system does not answer", f"there: ls -ld {FOLDER}")]
    if not found.user_writes:
        what = f"{found.kind}, where {seen.host.user} may not write"
        return [Check(name, False, what, f"there: ls -ld {FOLDER}; mount | grep vm_images")]
    if not found.root_reads:
        what = f"{found.kind}, where root may not read, as QEMU does when it opens a disk"
        return [Check(name, False, what, "export it with no_root_squash")]
    return [Check(name, True, found.kind)]


def _own_disks(vms: Sequence[VM], seen: Observed) -> list[Check]:
    """The disks that were made for VMs, what they may come to take, and those that no VM of
    hosts.toml has, which are nobody's fault: another hosts.toml may have it."""
    files, free = seen.folder.files.values(), seen.folder.free
    if not files:
        return []
    take = "1 takes" if len(files) == 1 else f"{len(files)} take"
    found = f"{take} {disk.spoken(sum(file.used for file in files))}, and may come to take"
    found += f" {disk.spoken(seen.folder.promised)} more"
    if free is not None and seen.folder.promised > free:
        found += f"; warning: {disk.spoken(free)} is free"
    known = {vm.name for vm in vms}
    others = sorted({file.vm for file in files} - known)
    if others:
        found += f"; of VMs that are not listed here: {', '.join(map(printable, others))}"
    return [Check(f"disks in {FOLDER}", True, found)]


_ELSEWHERE = "it may be on another worker, as it is pinned to none"


def _image(vm: VM, seen: Observed) -> Check:
    name = f"image of {vm.name}"
    path = seen.image_path(vm.qcow_image)
    if fault := seen.faults.get(IMAGES.name):
        return Check(name, False, f"{path} could not be looked at: {fault}", "try again")
    chain = seen.images.get(vm.qcow_image, ())
    if own := seen.vm(vm.name).process:
        chain = image_chain.without_holder(chain, own.pid)
    images = {**seen.images, vm.qcow_image: chain}
    if disk.lacks_image(vm, seen.images):
        return Check(name, True, f"the image {vm.image} is not there yet: up brings it")
    if vm.worker is None and vm.image is None and disk.is_missing(chain):
        return Check(name, True, f"no {path}: {_ELSEWHERE}")
    if found := disk.refusal(vm, images, path=path, user=seen.host.user):
        return Check(name, False, found.what, found.cure)
    if disk.is_missing(chain):
        made = f"{path}, to be made of the image {vm.image}"
        return Check(name, True, made if vm.worker else f"no {path}: {_ELSEWHERE}")
    if public := image_chain.readable_by_all(chain):
        words = "warning: every user of the worker may read it"
        return Check(
            name, True, f"{path}, {words}; keep them out: {typed('chmod', 'o-r', *public)}"
        )
    return Check(name, True, path)


def _vnc(vms: Sequence[VM], seen: Observed) -> list[Check]:
    checks = []
    for vm in vms:
        if vm.vnc_port not in seen.listening:
            continue
        own = seen.vm(vm.name).command_line.screen.port == vm.vnc_port
        checks.append(
            Check(
                f"VNC port of {vm.name}",
                own,
                f"{vm.vnc_port}, {vm.name} itself" if own else f"{vm.vnc_port} is in use",
                f"see who: sudo ss -ltnp 'sport = :{vm.vnc_port}'; or change vnc_port",
            )
        )
    return checks


def _left(vms: Sequence[VM], seen: Observed) -> list[Check]:
    """TAPs and ports with our mark whose VM has no run directory: plugged only, or left behind."""
    owners = {
        name: tap.alias.removeprefix(ip.alias(""))
        for name, tap in seen.taps.items()
        if tap.alias.startswith(ip.alias(""))
    }
    owners |= {
        port.name: port.external_ids[ovs.OWNER]
        for port in seen.switch.ports.values()
        if ovs.OWNER in port.external_ids
    }
    broken = {port.name for port in seen.switch.ports.values() if port.error}
    known = {vm.name for vm in vms}
    checks = []
    for name, owner in sorted(owners.items()):
        if seen.vm(owner).directory or name in broken:
            continue
        port = typed("sudo", "ovs-vsctl", "--if-exists", "del-port", name)
        by_hand = f"there: {port}; {typed('sudo', 'ip', 'link', 'del', name)}"
        cure = f"fab unplug --vm {owner}" if owner in known else by_hand
        found = f"plugged for {owner}, which is not booted"
        whole = name in seen.taps
        if not whole:
            found = f"a port of {owner} without a TAP, as a reboot leaves it"
        checks.append(Check(f"port {name}", whole and owner in known, found, cure))
    return checks
