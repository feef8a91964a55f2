"""PID 1 of a worker: makes its network, its own writable places and its daemons.

Started by the supervisor as `python -m vmops.lab.worker DIRECTORY NAME SWITCH_PID`, in fresh
network, mount, PID, UTS and IPC namespaces. Programs are the machine's own, read-only. All that
they write is in memory, and gone with the worker.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
import time
from pathlib import Path

from vmops.errors import WorkFailed
from vmops.lab import kernel
from vmops.lab.daemons import DAEMONS, DATABASE, OVS_LOG, OVS_RUN
from vmops.lab.init import host_pid, ip_batch, report_and_reap
from vmops.lab.layout import (
    INTERNET,
    OUTSIDE_HOST,
    PROVIDER,
    SWITCH,
    UPLINK,
    Layout,
    outside_address,
)
from vmops.lab.tools import call, make_key
from vmops.lab.tunnels import ovn, underlay

USER = "ubuntu"
BRIDGE = "br-int"
TRUNK = "trunk"
START_LIMIT_S = 30.0


def add_user(passwd: str, name: str) -> tuple[str, int]:
    """The text of /etc/passwd with that user, one of the same name replaced, and the user's id."""
    others = [line for line in passwd.splitlines() if not line.startswith(f"{name}:")]
    taken = {line.split(":")[2] for line in others if line.count(":") == 6}
    uid = next(number for number in range(1000, 60000) if str(number) not in taken)
    others.append(f"{name}:x:{uid}:{uid}:{name}:/home/{name}:/bin/bash")
    return "\n".join(others) + "\n", uid


def main() -> None:
    """Build the worker, report its PID, and stay as its PID 1."""
    directory, name, switch_pid = sys.argv[1:]
    layout = Layout.load(Path(directory))
    if layout is None:
        sys.exit(f"there is no lab in {directory}")
    pid = host_pid()
    os.umask(0o022)
    socket.sethostname(name)
    join_switch(name, f"/proc/{switch_pid}/ns/net")
    if layout.ovn:
        join_internet(name, f"/proc/{switch_pid}/ns/net")
    make_key(layout.host_key(name))
    host_key = layout.host_key(name).read_bytes()
    public_key = layout.private_key.with_suffix(".pub").read_text()
    database = layout.database.read_bytes()

    mount_everything(layout.logs / name)
    write_etc(name, host_key, layout.sshd_options)
    make_home(public_key)
    for place in ("/run/lock", "/run/sshd", OVS_RUN):
        Path(place).mkdir()
    check_sshd()
    call(*DAEMONS["sshd"].argv)
    start_switch(database)
    if layout.has_underlay:
        underlay.start(name, bridge=BRIDGE)
    if layout.mesh:
        underlay.carry_nothing_else(TRUNK)
    if layout.ovn:
        ovn.start(name)
    wait_for_file(Path(DAEMONS["sshd"].pidfile))
    report_and_reap(pid)


def join_switch(name: str, switch: str) -> None:
    """Make the trunk, a veth from here to the switch's namespace, there under our name; and beside
    it the way to the lab's internet."""
    outside = f"{name}-out"
    for left in (name, outside):
        with contextlib.suppress(WorkFailed):  # that of an earlier start may be there for a moment
            ip_batch([f"link del {left}"], namespace=switch)
    ip_batch(
        [
            "link set lo up",
            f"link add {TRUNK} type veth peer name {name} netns {switch}",
            f"link set {TRUNK} addrgenmode none",
            f"link set {TRUNK} up",
            f"link add {UPLINK} type veth peer name {outside} netns {switch}",
            f"link set {UPLINK} addrgenmode none",
            f"address add {outside_address(name)}/24 dev {UPLINK}",
            f"link set {UPLINK} up",
            f"route add default via {OUTSIDE_HOST}",
        ]
    )
    ip_batch(
        [
            f"link set {name} addrgenmode none",
            f"link set {name} master {SWITCH}",
            f"link set {name} up",
            f"link set {outside} addrgenmode none",
            f"link set {outside} master {INTERNET}",
            f"link set {outside} up",
        ],
        namespace=switch,
    )


def join_internet(name: str, switch: str) -> None:
    """A second device on the lab's internet, without an address: a gateway of OVN takes it."""
    outside = f"{name}-ovn"
    with contextlib.suppress(WorkFailed):
        ip_batch([f"link del {outside}"], namespace=switch)
    ip_batch(
        [
            f"link add {PROVIDER} type veth peer name {outside}",
            f"link set {PROVIDER} addrgenmode none",
            f"link set {PROVIDER} up",
        ]
    )
    kernel.compute_checksums(outside)
    ip_batch([f"link set {outside} netns {switch}"])
    ip_batch(
        [
            f"link set {outside} addrgenmode none",
            f"link set {outside} master {INTERNET}",
            f"link set {outside} up",
        ],
        namespace=switch,
    )


def mount_everything(logs: Path) -> None:
    """The machine's file system read-only, and our own in place of all that is written to."""
    logs.mkdir(parents=True, exist_ok=True)
    kernel.make_read_only("/")
    kernel.mount(str(logs), "/var/log", flags=kernel.MS_BIND)
    kernel.mount("", "/var/log", flags=kernel.MS_REMOUNT | kernel.MS_BIND)

    safe = kernel.MS_NOSUID | kernel.MS_NODEV
    kernel.mount("proc", "/proc", kind="proc", flags=safe | kernel.MS_NOEXEC)
    kernel.mount("sysfs", "/sys", kind="sysfs", flags=safe | kernel.MS_NOEXEC | kernel.MS_RDONLY)
    kernel.mount("devpts", "/dev/pts", kind="devpts", options="newinstance,ptmxmode=666,mode=620")
    kernel.mount("tmpfs", "/dev/shm", kind="tmpfs", flags=safe, options="mode=1777")
    kernel.mount("tmpfs", "/run", kind="tmpfs", flags=safe, options="mode=755")
    Path("/run/etc").mkdir()
    kernel.mount("tmpfs", "/run/etc", kind="tmpfs", flags=safe, options="mode=755")
    # Not `cp -a`: that of rust-coreutils 0.0.30 makes folders that root alone may look into.
    call("sh", "-c", "tar -C /etc -c . | tar -C /run/etc -xp")
    kernel.mount("/run/etc", "/etc", flags=kernel.MS_MOVE)
    Path("/run/etc").rmdir()
    for place, mode in WRITABLE.items():
        if Path(place).is_dir():
            kernel.mount("tmpfs", place, kind="tmpfs", flags=safe, options=f"mode={mode}")


WRITABLE = {
    "/home": "755",
    "/root": "700",
    "/tmp": "1777",
    "/var/tmp": "1777",
    "/var/lib/openvswitch": "755",
    "/var/lib/ovn": "755",
    "/var/lib/sudo": "700",
}
"""Further places that are the worker's own, in memory, each with its mode."""


def write_etc(name: str, host_key: bytes, sshd_options: tuple[str, ...]) -> None:
    """The worker's name, its user with passwordless sudo, and its sshd, in its own /etc."""
    passwd = Path("/etc/passwd")
    text, uid = add_user(passwd.read_text(), USER)
    passwd.write_text(text)
    for file, line in (("shadow", f"{USER}:*:1::::::"), ("group", f"{USER}:x:{uid}:")):
        path = Path("/etc", file)
        lines = [old for old in path.read_text().splitlines() if not old.startswith(f"{USER}:")]
        path.write_text("\n".join([*lines, line]) + "\n")

    sudoers = Path("/etc/sudoers.d/zz-vmops-lab")  # the last match decides
    sudoers.write_text(f"{USER} ALL=(ALL:ALL) NOPASSWD: ALL\n")
    sudoers.chmod(0o440)
    Path("/etc/hostname").write_text(f"{name}\n")
    Path("/etc/hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {name}\n")
    # This machine's own is not to be reached from here: whoever asked it waited for ten seconds.
    resolv = Path("/etc/resolv.conf")
    resolv.unlink(missing_ok=True)
    resolv.write_text(f"nameserver {OUTSIDE_HOST}\n")

    shutil.rmtree("/etc/ssh", ignore_errors=True)
    ssh = Path("/etc/ssh")
    ssh.mkdir()
    key = ssh / "ssh_host_ed25519_key"
    key.write_bytes(host_key)
    key.chmod(0o600)
    settings = (
        *sshd_options,
        "ListenAddress 127.0.0.1",
        f"HostKey {key}",
        "AcceptEnv LANG LC_*",
        "Subsystem sftp internal-sftp",
    )
    (ssh / "sshd_config").write_text("\n".join(settings) + "\n")


def check_sshd() -> None:
    """Raise WorkFailed for a fault in sshd_config: the daemon keeps complaints to its log.

    All operators of a lab come from one address, where the faults that are made on request look
    like attacks: an sshd that has penalties for these is told to leave them.
    """
    call("/usr/sbin/sshd", "-t")
    lenient = "PerSourcePenalties no"
    with contextlib.suppress(WorkFailed):
        call("/usr/sbin/sshd", "-t", "-o", lenient)
        with Path("/etc/ssh/sshd_config").open("a") as config:
            config.write(f"{lenient}\n")


def make_home(public_key: str) -> None:
    """The user's home, with the lab's key and a folder for images."""
    home = Path("/home", USER)
    shutil.copytree("/etc/skel", home)
    (home / ".ssh").mkdir(mode=0o700)
    (home / ".ssh" / "authorized_keys").write_text(public_key)
    (home / "vm_images").mkdir()
    call("chown", "-R", f"{USER}:{USER}", str(home))


def start_switch(database: bytes) -> None:
    """Open vSwitch with its bridge and the trunk, an untagged port: all VLANs pass."""
    Path(OVS_LOG).mkdir(exist_ok=True)
    Path(DATABASE).write_bytes(database)
    call(*DAEMONS["ovsdb-server"].argv)
    datapath = "system" if Path("/sys/module/openvswitch").is_dir() else "netdev"
    call(
        *("ovs-vsctl", "--no-wait", "init"),
        *("--", "add-br", BRIDGE, "--", "set", "bridge", BRIDGE, f"datapath_type={datapath}"),
        *("--", "add-port", BRIDGE, TRUNK),
    )
    call(*DAEMONS["ovs-vswitchd"].argv)


def wait_for_file(path: Path) -> None:
    """Return when the file is there. Raises TimeoutError."""
    deadline = time.monotonic() + START_LIMIT_S
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{path} did not appear within {START_LIMIT_S:.0f} s")
        time.sleep(0.005)


if __name__ == "__main__":
    try:
        main()
    except (WorkFailed, OSError) as error:
        sys.exit(str(error))
