"""Names that are computed, bounded and stable: TAPs, MACs, UUIDs, paths in the run directory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

IFNAMSIZ_BYTES = 15
"""What the kernel leaves of IFNAMSIZ (16) for the name of a network interface."""

MAX_VM_ID = 65535
MAX_NETWORK = 63
"""All that fits the two bytes of a derived MAC."""

RUN_ROOT = "/run/vmops"
LOCK_ROOT = "/run/vmops/.lock"
"""VM names never start with a dot, so no VM's run directory can be this one."""

NET_ROOT = "/run/vmops-net"
NET_LOCK = f"{NET_ROOT}/.lock/node"
"""What a network node keeps of each network that it serves; the lock is held for all of them."""

HISTORY = "/var/log/vmops"
"""The folder of a worker's history. What is in /run is lost at a reboot, which may be what one asks
about."""

_NAMESPACE = "5c3a0f0e-8f0b-5d0e-9a53-6f6b1f1c7a10"
_FIRST_UID = 1_900_000_000


def tap_name(vm_id: int, interface: str) -> str:
    """`tap_{vm_id}_{interface}`, or `tap` and 12 hex digits of its hash where that is too long.

    Truncation would make two interfaces share a TAP; a hash keeps them apart and is the same
    on every laptop.
    """
    plain = f"tap_{vm_id}_{interface}"
    if len(plain.encode()) <= IFNAMSIZ_BYTES:
        return plain
    return "tap" + hashlib.sha256(plain.encode()).hexdigest()[: IFNAMSIZ_BYTES - 3]


def tap_is_hashed(vm_id: int, interface: str) -> bool:
    """True when `tap_name` could not keep the documented form."""
    return tap_name(vm_id, interface) != f"tap_{vm_id}_{interface}"


def derived_vm_id(name: str) -> int:
    """A number from 1 to 65535 for a VM that is given none: the same on every laptop."""
    return (
        1
        + int.from_bytes(hashlib.sha256(name.encode(errors="surrogatepass")).digest()[:8])
        % MAX_VM_ID
    )


def derived_mac(vm_id: int, position: int) -> str:
    """`52:54:00`, the two bytes of `vm_id`, the position of the interface counted from 1."""
    return f"52:54:00:{vm_id >> 8:02x}:{vm_id & 0xFF:02x}:{position:02x}"


OVN_BRIDGE = "br-ovn"
"""The integration bridge of OVN on every worker. Never the one that carries VLANs: a controller of
OVN takes the flows of its bridge, and ports with a tag are dead there."""


OUTER_BRIDGE = "br-vmops"
"""A bridge for the device of a gateway of OVN, where hosts.toml names a device and no bridge."""


def link_network(ends: Sequence[str]) -> str:
    """The name of a link's network in OVN: `link-r1.eth2-r2.eth2`, whichever end is written first;
    a hash of that where it would be too long for a network."""
    name = "-".join(["link", *(end.replace(":", ".") for end in sorted(ends))])
    if len(name) <= MAX_NETWORK:
        return name
    return f"link-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def network_mac(network: str) -> str:
    """The MAC of a network's gateway in OVN: of local administration, as only its guests see it."""
    digits = hashlib.sha256(network.encode()).hexdigest()
    return ":".join(["0a", *(digits[at : at + 2] for at in range(0, 10, 2))])


def logical_port(vm: str, interface: str) -> str:
    """The name of an interface's port in OVN, where names are for everybody: `web1:eth0`."""
    return f"{vm}:{interface}"


def vm_uuid(name: str, vm_id: int) -> str:
    """The UUID that QEMU is started with: the same for the same VM wherever it is computed."""
    # Not before a connection has begun: it brings `platform` along, 2 ms.
    import uuid

    return str(uuid.uuid5(uuid.UUID(_NAMESPACE), f"{vm_id}/{name}"))


def qemu_uid(vm_id: int) -> int:
    """The user and group id that a VM's QEMU drops to: one for each VM, in a range nobody uses.

    systemd's table of UID ranges leaves 1879048192 to 2147483647 unassigned.
    """
    return _FIRST_UID + vm_id


class NetworkNames(NamedTuple):
    """What belongs to one network on its node. Device names hold 15 bytes, so they are hashed."""

    network: str

    @property
    def short(self) -> str:
        """Ten hex digits of its own, for names that may not be long."""
        return hashlib.sha256(self.network.encode()).hexdigest()[:10]

    @property
    def namespace(self) -> str:
        """The network namespace that its services live in, as `ip netns` calls it."""
        return f"vmops-{self.network}"

    @property
    def port(self) -> str:
        """The port of the bridge that leads into the namespace."""
        return f"vml{self.short}"

    @property
    def uplink(self) -> str:
        """The node's own end of the way out."""
        return f"vmu{self.short}"

    @property
    def table(self) -> str:
        """The node's own nftables table for it."""
        return f"vmops_{self.short}"

    @property
    def link(self) -> str:
        """In another network's namespace: the device that leads to this one."""
        return f"to{self.short}"


class RunDirectory(NamedTuple):
    """The paths of one VM under /run/vmops on its worker. Socket paths stay under 108 bytes."""

    vm: str

    @property
    def path(self) -> str:
        """The directory itself."""
        return f"{RUN_ROOT}/{self.vm}"

    @property
    def pidfile(self) -> str:
        """QEMU writes and locks it, removes it on a clean exit and leaves it when killed."""
        return f"{self.path}/pid"

    @property
    def monitor(self) -> str:
        """The QMP socket that vmops uses."""
        return f"{self.path}/qmp.sock"

    @property
    def monitor_for_humans(self) -> str:
        """A second QMP socket, so that a person at it never blocks vmops."""
        return f"{self.path}/qmp-human.sock"

    @property
    def console(self) -> str:
        """The socket of the serial port."""
        return f"{self.path}/console.sock"

    @property
    def vnc(self) -> str:
        """The socket of the screen, where that has no TCP port."""
        return f"{self.path}/vnc.sock"

    @property
    def agent(self) -> str:
        """The socket of the guest agent's port."""
        return f"{self.path}/agent.sock"

    def way(self, stream: str = "") -> str:
        """A socket of a live migration: what QEMU says to it goes to the other worker. Without a
        stream it is the one that whoever carries that comes to."""
        return f"{self.path}/way{'-' if stream else ''}{stream}.sock"

    @property
    def sockets(self) -> tuple[str, ...]:
        """Every socket that QEMU may make there."""
        return (self.monitor, self.monitor_for_humans, self.console, self.vnc, self.agent)

    @property
    def seed(self) -> str:
        """The CD with what the guest is told at its first boot."""
        return f"{self.path}/seed.iso"

    @property
    def logs(self) -> str:
        """A small tmpfs: whatever the guest or QEMU print, the worker's memory stays bounded."""
        return f"{self.path}/log"

    @property
    def console_log(self) -> str:
        """What the serial port printed."""
        return f"{self.logs}/console"

    @property
    def qemu_log(self) -> str:
        """What QEMU itself printed."""
        return f"{self.logs}/qemu"

    @property
    def lock(self) -> str:
        """Held by whatever changes the VM; it outlives the run directory."""
        return f"{LOCK_ROOT}/{self.vm}"
