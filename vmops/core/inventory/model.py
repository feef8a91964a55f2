"""Worker, VM and Interface: frozen values that cannot be built wrong.

Building one with a bad value raises InvalidValue, an InventoryError that names every bad field, its
value and its rule. Values are kept in one normal form (normal.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from typing import Any, ClassVar

from vmops.core.images.names import own_disk
from vmops.core.inventory import rules, tables
from vmops.core.inventory.attachment import Attachment, attachment, attachment_faults
from vmops.core.inventory.complaints import Fault, InvalidValue, show
from vmops.core.inventory.conflicts import shared_by_vms
from vmops.core.inventory.guest.addresses import KEYS as GUEST_KEYS
from vmops.core.inventory.guest.addresses import address_faults, is_configured
from vmops.core.inventory.guest.cloud_init import CloudInit, read_cloud_init
from vmops.core.inventory.guest.told import Seed, Written
from vmops.core.inventory.machine.rules import KEYS, machine_faults
from vmops.core.inventory.networks.engine import tunnel_ip
from vmops.core.inventory.networks.impairment import BOTH, Impaired, impaired, impairment_faults
from vmops.core.inventory.networks.impairment import KEYS as IMPAIRING
from vmops.core.inventory.rules import Rule
from vmops.core.names import derived_mac, derived_vm_id, logical_port, tap_name, vm_uuid


@dataclass(frozen=True, slots=True)
class Interface:
    """A VM's network card as the inventory writes it.

    `vlan_id` None means: not connected. `mac` is lower case with colons, or empty: derived from
    the VM (`VM.nics` has the effective one). `model` is a word of `rules.MODELS`. The rest is for
    the guest alone: `address` with its prefix, or `dhcp`, and with one of them `dns`, with an
    address a `gateway`. `network` names the network that has said them, and the `vlan_id`, or with
    `engine` "ovn" that OVN carries it. With `trunks` the guest has those VLANs with their tags, and
    that of `vlan_id` without. `delay_ms` and what follows impairs the frames that go the ways that
    `impaired` names.
    """

    RULES: ClassVar[Mapping[str, Rule]] = rules.INTERFACE

    name: str
    _: KW_ONLY
    vlan_id: int | None = None
    mac: str = ""
    model: str = "e1000"
    address: str | None = None
    gateway: str | None = None
    dns: tuple[str, ...] = ()
    dhcp: bool = False
    mtu: int | None = None
    network: str | None = None
    trunks: tuple[int, ...] = ()
    engine: str | None = None
    delay_ms: float | None = None
    jitter_ms: float | None = None
    loss_pct: float | None = None
    rate_mbit: float | None = None
    impaired: str = BOTH

    def __post_init__(self) -> None:
        tables.conform(self, self.RULES)
        values = {key: getattr(self, key) for key in self.RULES}
        faults = [*address_faults(values), *attachment_faults(values), *impairment_faults(values)]
        if faults:
            raise InvalidValue(tables.subject_of(self), faults)


@dataclass(frozen=True, slots=True)
class Nic:
    """An interface with everything its VM adds: the TAP, the effective MAC, the place from 1.

    `interface` is as it was written. `port` is its name in OVN, and empty where OVN has no part in
    it.
    """

    name: str
    tap: str
    mac: str
    vlan_id: int | None
    model: str
    position: int
    interface: Interface
    port: str = ""

    @property
    def attachment(self) -> Attachment | None:
        """Where its frames go; None for an interface that is not connected."""
        return attachment(self.vlan_id, self.interface.trunks, self.port)

    @property
    def impaired(self) -> Impaired:
        """What is wrong with its line on purpose."""
        return impaired(impairing(self.interface))


@dataclass(frozen=True, slots=True)
class Disk:
    """A further disk of a VM, beside its first: a file of its own, `size_gb` GiB large.

    `name` is what the guest finds it by: /dev/disk/by-id/virtio-NAME. `format` is "qcow2" or "raw".
    """

    RULES: ClassVar[Mapping[str, Rule]] = rules.DISK

    name: str
    _: KW_ONLY
    size_gb: int
    format: str = "qcow2"

    def __post_init__(self) -> None:
        tables.conform(self, self.RULES)


@dataclass(frozen=True, slots=True)
class VM:
    """A virtual machine as it is wanted.

    `qcow_image` is a path on the worker: absolute, or with a leading `~/` for the SSH user's home
    (not root's, although QEMU is started by sudo). A relative path is taken from that home and
    kept as `~/...`; `~name/` is refused. `worker` pins the VM, None leaves it free.
    A VM has a `qcow_image`, or an `image` of the inventory: then it gets a disk of its own that
    stands on that (or with `disk` "clone" is a copy of it), of `disk_gb` GiB or as large as the
    image, and `qcow_image` is where that disk lies. `disks` are further ones, which are made for it
    empty. `cpu` is QEMU's word for a model, None the best that the accelerator has; `disk_model`
    None is the documented "ide", with an image virtio. Without a `vnc_port` the screen is a UNIX
    socket that only `vnc` leads to. `boot` is "disk", "uefi" or "cdrom", a drive with the `iso`;
    `machine` is QEMU's word for a kind of PC, and `extra_args` are more words for it.
    With a `balloon` the guest can be asked for a part of its memory.
    After the day that `expires` names `up` stops the VM. `apart` are VMs, by name or glob, that may
    not be on one worker with it; without `autostart` an `up` of all leaves it stopped.
    `cloud_init` names what the guest is told at its first boot, and `seed` is that with the files
    read that it names; None where nobody has read them (`ops.vm.seeds.told`).
    """

    RULES: ClassVar[Mapping[str, Rule]] = rules.VM

    name: str
    _: KW_ONLY
    vm_id: int
    ram_mb: int
    cores: int
    vnc_port: int | None = None
    qcow_image: str = ""
    image: str | None = None
    disk: str | None = None
    disk_gb: int | None = None
    disks: tuple[Disk, ...] = ()
    cpu: str | None = None
    disk_model: str | None = None
    boot: str | None = None
    iso: str | None = None
    machine: str | None = None
    extra_args: tuple[str, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    worker: str | None = None
    balloon: bool = False
    apart: tuple[str, ...] = ()
    autostart: bool = True
    expires: str | None = None
    cloud_init: CloudInit | None = None
    seed: Seed | Written | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        told: CloudInit | None = None
        untold: list[Fault] = []
        if self.cloud_init is not None:
            told, untold = read_cloud_init(self.cloud_init)
        given = {key: getattr(self, key) for key in tables.OF_IMAGES}
        own = own_disk(str(self.name)) if self.image is not None else self.qcow_image
        if self.image is not None and self.qcow_image in ("", own):
            object.__setattr__(self, "qcow_image", own)
        tables.conform(self, {key: rule for key, rule in self.RULES.items() if key != "cloud_init"})
        object.__setattr__(self, "cloud_init", told)
        faults = [
            *(fault.below("cloud_init") for fault in untold),
            *tables.disk_faults({"qcow_image": self.qcow_image, **given}, own=own),
            *machine_faults({key: getattr(self, key) for key in KEYS}),
            *tables.card_faults({"interfaces": self.interfaces, "disks": self.disks}),
            *_strange("interfaces", self.interfaces, Interface),
            *_strange("disks", self.disks, Disk),
        ]
        faults = faults or shared_by_vms({(): self.to_dict()})
        if faults:
            raise InvalidValue(tables.subject_of(self), faults)

    @classmethod
    def lost(cls, name: str, *, own_disk: bool = False) -> VM:
        """A VM of which only the name is known: for a look at it and its end, not for a start.

        With `own_disk` it is taken for one that vmops has made a disk for: what removes that has to
        know who has it open.
        """
        return cls(
            name,
            vm_id=derived_vm_id(name),
            ram_mb=1,
            cores=1,
            vnc_port=5900,
            qcow_image="" if own_disk else "/dev/null",
            image=name if own_disk else None,
        )

    @property
    def uuid(self) -> str:
        """The UUID that QEMU is started with, the same on every laptop."""
        return vm_uuid(self.name, self.vm_id)

    @property
    def drive_model(self) -> str:
        """How its disk is attached."""
        return self.disk_model or ("ide" if self.image is None else "virtio")

    @property
    def is_told(self) -> bool:
        """True where the guest is told something at its first boot, and so has a seed."""
        return self.cloud_init is not None or any(
            is_configured(told_to_the_guest(nic.interface)) for nic in self.connected
        )

    def with_seed(self, seed: Seed | Written | None) -> VM:
        """The same VM with what its guest is told, read or as it ran."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return tables.assembled(VM, values | {"seed": seed})

    @property
    def nics(self) -> tuple[Nic, ...]:
        """All interfaces in their order, the ones that are not connected too."""
        return tuple(
            Nic(
                name=interface.name,
                tap=tap_name(self.vm_id, interface.name),
                mac=interface.mac or derived_mac(self.vm_id, position),
                vlan_id=interface.vlan_id,
                model=interface.model,
                position=position,
                interface=interface,
                port=logical_port(self.name, interface.name) if interface.engine else "",
            )
            for position, interface in enumerate(self.interfaces, start=1)
        )

    @property
    def connected(self) -> tuple[Nic, ...]:
        """The interfaces that are plugged: those with an attachment."""
        return tuple(nic for nic in self.nics if nic.attachment is not None)

    def to_dict(self) -> dict[str, Any]:
        """The documented dict, without the worker; `from_dict` makes an equal VM of it.

        A MAC that is derived is written as "". An interface has a "model" only where it is not
        e1000, and what is for the guest only where set; so has the VM an "image" and what is with
        it, a "cpu", a "disk_model" and "cloud_init".
        """
        more = {key: getattr(self, key) for key in (*tables.OF_IMAGES, "cpu", "disk_model")}
        more["cloud_init"] = None if self.cloud_init is None else self.cloud_init.to_dict()
        return {
            "vm_id": self.vm_id,
            "name": self.name,
            "ram_mb": self.ram_mb,
            "cores": self.cores,
            **({} if self.vnc_port is None else {"vnc_port": self.vnc_port}),
            "qcow_image": self.qcow_image,
            **{key: value for key, value in more.items() if value is not None},
            **{key: getattr(self, key) for key in KEYS[:3] if getattr(self, key) is not None},
            **({"balloon": True} if self.balloon else {}),
            **({"expires": self.expires} if self.expires else {}),
            **({"apart": list(self.apart)} if self.apart else {}),
            **({} if self.autostart else {"autostart": False}),
            **({"extra_args": list(self.extra_args)} if self.extra_args else {}),
            **({"disks": [_disk_to_dict(disk) for disk in self.disks]} if self.disks else {}),
            "interfaces": [_interface_to_dict(interface) for interface in self.interfaces],
        }

    @classmethod
    def from_dict(cls, vm_dict: Mapping[str, object]) -> VM:
        """A VM from the documented dict, or from the older slice manager's.

        The older one has `flavor: {"cores": 1, "ram_gb": 0.5}` in place of `ram_mb` and `cores`.
        Further keys are ignored; None means the same as no key. Raises InvalidValue with all
        faults.
        """
        values, faults = tables.read_vm_dict(vm_dict)
        if faults:
            raise InvalidValue(f"VM {show(values.get('name'))}", faults)
        interfaces = tuple(Interface(**interface) for interface in values.pop("interfaces", ()))
        disks = tuple(Disk(**disk) for disk in values.pop("disks", ()))
        return cls(**values, interfaces=interfaces, disks=disks)


def _strange(key: str, items: Sequence[object], model: type) -> list[Fault]:
    return [
        Fault(
            (key, index),
            f"{show(item)}: must be {'an' if key == 'interfaces' else 'a'} {model.__name__}",
        )
        for index, item in enumerate(items)
        if not isinstance(item, model)
    ]


def _disk_to_dict(disk: Disk) -> dict[str, Any]:
    return {"name": disk.name, "size_gb": disk.size_gb, "format": disk.format}


def _interface_to_dict(interface: Interface) -> dict[str, Any]:
    documented = {"name": interface.name, "vlan_id": interface.vlan_id, "mac": interface.mac}
    model = {} if interface.model == "e1000" else {"model": interface.model}
    network = {} if interface.network is None else {"network": interface.network}
    trunks = {"trunks": list(interface.trunks)} if interface.trunks else {}
    engine = {"engine": interface.engine} if interface.engine else {}
    more = {**trunks, **impairing(interface), **told_to_the_guest(interface)}
    return {**documented, **model, **network, **engine, **more}


def impairing(interface: Interface) -> dict[str, Any]:
    """What is set of an interface that impairs it."""
    values = {key: getattr(interface, key) for key in IMPAIRING if getattr(interface, key)}
    way = {} if interface.impaired == BOTH else {"impaired": interface.impaired}
    return {**values, **way}


def told_to_the_guest(interface: Interface) -> dict[str, Any]:
    """What is set of an interface that is for the guest alone."""
    values = {key: getattr(interface, key) for key in GUEST_KEYS}
    values["dns"] = list(interface.dns)
    return {key: value for key, value in values.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How workers are reached and used. None means that nothing here decides.

    Then ssh_config, fab's own options or the library's default do; for `user` that is ssh_config's
    User, else "ubuntu", and for `vnc_listen` the worker's loopback.
    """

    RULES: ClassVar[Mapping[str, Rule]] = rules.SETTINGS

    port: int | None = None
    user: str | None = None
    identity_file: str | None = None
    gateway: str | None = None
    bridge: str = "br-int"
    accel: str = "kvm"
    vnc_listen: str | None = None
    host_keys: str = "accept-new"
    known_hosts: str | None = None
    uplink: str | None = None
    shared_images: str | None = None

    def __post_init__(self) -> None:
        tables.conform(self, self.RULES)

    def worker(self, name: str, *, address: str) -> Worker:
        """A worker with these settings."""
        return Worker(name, address=address, **{key: getattr(self, key) for key in rules.SETTINGS})


@dataclass(frozen=True, slots=True)
class Worker(Settings):
    """A remote Linux host: its name in messages, its address for SSH, and its settings."""

    RULES: ClassVar[Mapping[str, Rule]] = rules.WORKER

    name: str
    _: KW_ONLY
    address: str
    encap_ip: str | None = None

    @property
    def tunnel_ip(self) -> str | None:
        """Its end of OVN's tunnels; None where nothing says it."""
        return tunnel_ip({"encap_ip": self.encap_ip, "address": self.address})
