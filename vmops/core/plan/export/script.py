"""A VM as one readable shell script that starts and stops it on its worker, without vmops.

QEMU gets the very words that vmops gives it, in the same run directory: as long as vmops is still
there, it knows a VM that the script has started, and the other way round.
"""

from __future__ import annotations

import base64
import shlex
import textwrap
import zlib
from collections.abc import Iterable, Iterator
from itertools import pairwise

from vmops.core.devices import disk, display, machine
from vmops.core.devices.machine import Launch
from vmops.core.devices.seed import drive
from vmops.core.devices.storage import boot, further
from vmops.core.devices.storage.boot import Firmware
from vmops.core.inventory.machine.rules import UEFI
from vmops.core.inventory.model import VM
from vmops.core.names import RunDirectory, qemu_uid
from vmops.core.plan.export.leaving import Exported, Leaving, needs_home, unplugged
from vmops.core.plan.export.words import word
from vmops.core.script.command import Command, OnlyIf
from vmops.core.tools import ip, ovs

_HOME, _ACCEL, _CPU, _CODE, _VARS = "\0home\0", "\0accel\0", "\0cpu\0", "\0code\0", "\0vars\0"
"""What the script finds out where it runs. No word of a VM's holds a NUL."""


def script(leaving: Leaving) -> Exported:
    """The script. It holds what the guest is told at its first boot, secrets among it."""
    vm = leaving.vm
    parts = [
        _head(leaving),
        _settings(leaving),
        *([_AS_USER] if vm.disks or vm.boot == UEFI else []),
        _plug(leaving),
        _unplug(vm),
        _start(leaving),
        _rest(leaving),
    ]
    text = "\n\n".join(parts) + "\n"
    return Exported(text, ".sh", unplugged(vm))


def _head(leaving: Leaving) -> str:
    vm = leaving.vm
    comment = textwrap.wrap(
        f"{vm.name} on {leaving.worker.name}, exported by vmops: starts and stops it without vmops."
        " It needs QEMU, Open vSwitch, iproute2 and perl. The console's log ends at 2 MiB.",
        width=92,
        break_long_words=False,
        break_on_hyphens=False,
    )
    usage = [
        f"  sudo sh {vm.name}.sh start     # the disks are those that vmops has made",
        f"  sudo sh {vm.name}.sh stop [SECONDS]",
        "                                 asks the guest, and ends QEMU so much later (30 s)",
        f"  sudo sh {vm.name}.sh status",
    ]
    if _screen(leaving).has_password:
        usage.append(f"  sudo sh {vm.name}.sh vnc       # where its screen is, and a new password")
    lines = ["#!/bin/sh", *(f"# {line}" for line in (*comment, "", *usage))]
    return "\n".join([*(line.rstrip() for line in lines), "set -eu"])


def _settings(leaving: Leaving) -> str:
    vm = leaving.vm
    taps = [each.tap for each in vm.connected]
    lines = [
        f"name='{vm.name}'",
        f"run={RunDirectory(vm.name).path}",
        *([f"taps={_quoted(' '.join(taps))}"] if taps else []),
        "user=${SUDO_USER:-root}",
        *([f"home={_home_words(leaving)}"] if needs_home(vm, seed=False) else []),
        "# QEMU's own user id, where this machine has so many; else nobody's.",
        f"uid={qemu_uid(vm.vm_id)}",
        f"grep -q ' {2**32 - 1}$' /proc/self/uid_map || uid={machine.NOBODY}",
    ]
    if _screen(leaving).has_password:
        lines.append(f"screen={_quoted(str(_screen(leaving)))}")
    if leaving.worker.accel == "auto":
        cpu = ("", "") if vm.cpu else (" cpu=max", " cpu=host")
        lines += [f"accel=tcg{cpu[0]}", f"[ ! -w /dev/kvm ] || {{ accel=kvm{cpu[1]}; }}"]
    if vm.boot == UEFI:
        lines += [
            "size=_4M",
            "[ -r /usr/share/OVMF/OVMF_CODE$size.fd ] || size=",
            "code=/usr/share/OVMF/OVMF_CODE$size.fd",
            "vars=/usr/share/OVMF/OVMF_VARS$size.fd",
        ]
    return "\n".join(lines)


def _home_words(leaving: Leaving) -> str:
    if leaving.home:
        return _quoted(leaving.home)
    return '$(getent passwd "$user" | cut -d: -f6)'


def _plug(leaving: Leaving) -> str:
    vm = leaving.vm
    nics = vm.connected
    if not nics:
        return "plug() { :; }"
    taps = [each.tap for each in nics]
    alias = _quoted(ip.alias(vm.name))
    lines: list[str] = []
    for each in nics:
        lines += [
            f'read -r mtu <"/sys/class/net/{ovs.bridge_of(each, leaving.bridge)}/mtu"',
            f'ip tuntap add mode tap name {each.tap} user "$uid"',
            f'ip link set dev {each.tap} alias {alias} mtu "$mtu"',
        ]
    lines += [
        "# The switch alone listens to them: they have no part in this machine's own IP.",
        "for tap in $taps; do",
        "    for setting in ipv6/conf/$tap/disable_ipv6=1 ipv6/conf/$tap/accept_ra=0 \\",
        "        ipv4/conf/$tap/arp_ignore=8 ipv4/conf/$tap/rp_filter=1; do",
        "        file=/proc/sys/net/$setting",
        '        [ ! -e "${file%=*}" ] || echo "${setting#*=}" >"${file%=*}"',
        "    done",
        "done",
        *_ovs(ovs.plug(leaving.bridge, vm, nics)),
    ]
    lines.append("# After the switch has taken them: it sets a device as it found it.")
    lines += [f"ip link set dev {tap} up" for tap in taps]
    lines.append("# add-port of a device that the switch cannot open ends with 0.")
    for each in nics:
        lines.append(
            f'[ "$(ovs-vsctl --timeout=10 get Interface {each.tap} ofport)" -gt 0 ] ||'
            f' {{ echo "the switch could not take port {each.tap}" >&2; exit 1; }}'
        )
    for each in nics:
        if each.port:
            lines.append("# Without a port that is up its guest would lose its first frames.")
            lines.append(
                f"ovs-vsctl --timeout=10 wait-until Interface {each.tap}"
                f" external_ids:{ovs.INSTALLED}=true ||"
                f' {{ echo "OVN has no port {each.port} for this worker" >&2; exit 1; }}'
            )
    return _function("plug", lines)


def _ovs(found: Command) -> Iterator[str]:
    """One transaction, a part of it a line."""
    words = list(found.words()[1:])
    parts: list[list[str]] = []
    for each in words:
        if each == "--":
            parts.append([])
        parts[-1].append(each)
    lines = ["ovs-vsctl --timeout=10", *(f"    {shlex.join(part)}" for part in parts)]
    yield " \\\n".join(lines)


def _unplug(vm: VM) -> str:
    taps = [each.tap for each in vm.connected]
    lines = []
    if taps:
        lines = [
            "for tap in $taps; do",
            '    grep -qs 1 "/sys/class/net/$tap/carrier" || continue',
            '    echo "a process that this script did not start uses $tap" >&2',
            "    exit 1",
            "done",
        ]
    for each in vm.connected:
        lines.append(f"ovs-vsctl --timeout=10 --if-exists del-port {each.tap}")
        lines.append(f"[ ! -e /sys/class/net/{each.tap} ] || ip link del dev {each.tap}")
    lines += ['umount -l "$run/log" 2>/dev/null || :', 'rm -rf --one-file-system "$run"']
    return _function("clean_up", lines)


def _start(leaving: Leaving) -> str:
    vm = leaving.vm
    lines = [
        'if running; then echo "$name runs, PID $pid"; exit; fi',
        "# What a QEMU that died has left.",
        "clean_up",
        *_disk_lines(leaving),
        "trap clean_up EXIT",
        '[ -d "${run%/*}" ] || mkdir -m 0711 "${run%/*}"',
        'mkdir -m 0711 "$run" "$run/log"',
        'chgrp "$uid" "$run"',
        f'mount -t tmpfs -o size={machine.LOG_KIB}k,mode=0700,nosuid,nodev,noexec vmops "$run/log"',
        *_seed_lines(vm),
        "plug",
        "# Which of the two this QEMU knows: the newer one came with 9.1.",
        "qemu-system-x86_64 -help | grep -q '^-runas' && as=\"-runas $uid:$uid\" ||"
        ' as="-run-with user=$uid:$uid"',
        "# shellcheck disable=SC2086 # two words",
        _qemu(leaving) + ' \\\n    $as || { cat "$run/log/qemu" >&2; exit 1; }',
        'running || { echo "QEMU ended as soon as it had started" >&2; exit 1; }',
        "trap - EXIT",
        "# By these two vmops knows it, as long as it is there.",
        'cat "/proc/$pid/cmdline" >"$run/command"',
        'echo "$pid $(cut -d" " -f22 "/proc/$pid/stat") $uid" >"$run/process"',
        'chown -h "$uid" "$run/pid"',
        'chmod 1771 "$run"',
        f'chown -h "$user" {" ".join(_sockets(leaving))}',
        'echo "$name runs, PID $pid"',
    ]
    return _function("start", lines)


def _disk_lines(leaving: Leaving) -> Iterator[str]:
    vm = leaving.vm
    first = word(disk.absolute(vm.qcow_image, _HOME))
    yield f'[ -e {first} ] || {{ echo "there is no disk" {first} >&2; exit 1; }}'
    for each in vm.disks:
        path = word(disk.absolute(further.path_of(vm, each), _HOME))
        make = f"as_user qemu-img create -q -f {each.format} {path} {each.size_gb}G"
        yield f"[ -e {path} ] || {make}"
    if vm.boot == UEFI:
        path = word(disk.absolute(boot.path_of(vm), _HOME))
        yield f'[ -e {path} ] || as_user qemu-img convert -q -f raw -O qcow2 "$vars" {path}'


def _seed_lines(vm: VM) -> Iterator[str]:
    if vm.seed is None:
        return
    made = drive.written(vm.seed)
    packer = zlib.compressobj(wbits=31)
    text = base64.b64encode(packer.compress(made.cd) + packer.flush()).decode()
    yield "# What its guest is told at its first boot: a CD, for its QEMU alone to read."
    rows = textwrap.wrap(text, 76)
    here = "\n".join(["base64 -d <<'.' | gzip -dc >\"$run/seed.iso\"", *rows, "."])
    yield here
    yield 'chgrp "$uid" "$run/seed.iso"'
    yield 'chmod 0440 "$run/seed.iso"'
    yield f'echo {made.instance} >"$run/seed"'


def _qemu(leaving: Leaving) -> str:
    """QEMU's command line, an option a line."""
    vm, worker = leaving.vm, leaving.worker
    is_open = worker.accel == "auto"
    launch = Launch(
        accel=_ACCEL if is_open else worker.accel,
        cpu=vm.cpu or (_CPU if is_open else machine.cpu_for(vm, accel=worker.accel)),
        image=disk.absolute(vm.qcow_image, _HOME),
        screen=_screen(leaving),
        uid=0,
        home=_HOME,
        firmware=Firmware(_CODE, _VARS),
    )
    built = machine.build(vm, launch)
    # In front of QEMU's own words stand those of the function that vmops starts it by.
    words = list(built.argv[_WORDS_AHEAD:])
    flat = [w for each in words for w in (each.words if isinstance(each, OnlyIf) else (each,))]
    lines: list[str] = [flat[0]]
    for before, each in pairwise(flat):
        if each.startswith("-") or before == flat[0] or not before.startswith("-"):
            lines.append(f"    {word(each)}")
        else:
            lines[-1] += f" {word(each)}"
    return " \\\n".join(lines)


_WORDS_AHEAD = 4


def _screen(leaving: Leaving) -> display.Screen:
    return display.wanted(leaving.worker.vnc_listen, leaving.vm.vnc_port, vm=leaving.vm.name)


def _sockets(leaving: Leaving) -> Iterator[str]:
    run = RunDirectory(leaving.vm.name)
    yield run.console
    if path := _screen(leaving).path:
        yield path


def _rest(leaving: Leaving) -> str:
    screen = _screen(leaving)
    words = "start | stop | vnc" if screen.has_password else "start | stop"
    parts = [_TOOLS, *([_VNC] if screen.has_password else []), _CASE.replace("WORDS", words)]
    return "\n\n".join(parts)


def _quoted(word: str) -> str:
    return shlex.quote(word)


def _function(name: str, lines: Iterable[str]) -> str:
    """A shell function; what is quoted by a here-document keeps its place."""
    body: list[str] = []
    for line in lines:
        head, *more = line.split("\n")
        body.append(f"    {head}")
        body += more if "<<" in head else [f"    {each}" for each in more]
    return "\n".join([f"{name}() {{", *body, "}"])


_AS_USER = r"""# The disks are the SSH user's, and no other's. sudo may begin with another umask.
as_user() {
    set -- sh -c 'umask 077; exec "$@"' sh "$@"
    if [ "$user" = root ]; then "$@"; else sudo -u "$user" "$@"; fi
}"""

_TOOLS = r"""# The PID is a QEMU's only while that holds its pidfile's name on its command line.
running() {
    [ -s "$run/pid" ] && read -r pid <"$run/pid" &&
        grep -qszxF "$run/pid" "/proc/$pid/cmdline"
}

# qmp REQUEST: one request to the monitor, and its answer.
qmp() {
    perl -MIO::Socket::UNIX -e '
        $SIG{ALRM} = sub { die "the monitor is silent\n" };
        alarm 10;
        my $monitor = IO::Socket::UNIX->new($ARGV[0]) or die "$ARGV[0]: $!\n";
        my $answer = <$monitor>;
        for my $request (q({"execute": "qmp_capabilities"}), $ARGV[1]) {
            print $monitor "$request\n";
            do { $answer = <$monitor> // die "the monitor hung up\n" }
                until $answer =~ /^\{"(return|error)"/;
        }
        die $answer if $answer =~ /^\{"error"/;
    ' "$run/qmp-human.sock" "$1"
}

# wait_for_end SECONDS
wait_for_end() {
    left=$(($1 * 10))
    while [ -e "/proc/$pid" ]; do
        [ "$left" -gt 0 ] || return 1
        left=$((left - 1))
        sleep 0.1
    done
}

stop() {
    if running; then
        qmp '{"execute": "system_powerdown"}' || :
        wait_for_end "${1:-30}" || { kill "$pid" && wait_for_end 5; } ||
            { kill -9 "$pid" && wait_for_end 10; }
    fi
    clean_up
    echo "$name is stopped"
}"""

_VNC = r"""vnc() {
    running || { echo "$name does not run" >&2; exit 1; }
    password=$(tr -dc 'a-km-zA-HJ-NP-Z2-9' </dev/urandom | head -c 8)
    qmp '{"execute": "set_password", "arguments": {"protocol": "vnc", "password": "'"$password"'"}}'
    qmp '{"execute": "expire_password", "arguments": {"protocol": "vnc", "time": "+60"}}'
    echo "within 60 s, with the password $password: $screen"
}"""

_CASE = r"""case ${1-} in
    WORDS) "$@" ;;
    status)
        running || { echo "$name does not run"; exit 3; }
        echo "$name runs, PID $pid"
        ;;
    *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac"""
