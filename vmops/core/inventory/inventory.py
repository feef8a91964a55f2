"""The inventory: settings, workers and VMs, and how a name or a pattern finds them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from operator import itemgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from vmops.core.inventory import normal_form as normal
from vmops.core.inventory.complaints import Fault, InvalidValue, did_you_mean, guess, key_path, show
from vmops.core.inventory.conflicts import conflicts, unknown_images
from vmops.core.inventory.hosts_toml import HostsToml, read_hosts_toml
from vmops.core.inventory.model import VM, Disk, Interface, Nic, Settings, Worker
from vmops.core.inventory.networks.engine import ovn_faults
from vmops.core.inventory.placement.apart import apart, apart_faults
from vmops.core.inventory.rules import OVN
from vmops.core.inventory.tables import Values, assembled
from vmops.errors import InventoryError

if TYPE_CHECKING:
    from vmops.core.inventory.image import Image
    from vmops.core.inventory.networks.model import Network, WayOut

T = TypeVar("T")


class Part(NamedTuple):
    """A worker's part in OVN: it follows the `central`, which may be itself, and has the `device`
    that leads out where it is a gateway. With `vlans` OVN gets into VLANs there; with `tls` it
    follows by TLS."""

    central: Worker
    device: str = ""
    vlans: bool = False
    tls: bool = False


@dataclass(frozen=True, slots=True)
class Inventory:
    """What hosts.toml says, whole and without a conflict. `source` is its name in messages.

    `northbound` names the worker that has OVN's central, None where there is none, `way_out` is how
    its networks get out, and `ovn_tls` whether workers follow it by TLS. `mesh` is "vxlan" where
    tunnels carry VLANs between workers. `origins` has where a value came from that its own table
    does not write: by section, name, key.

    Building one whose VMs or workers share what they may not raises InvalidValue. It can be copied
    and pickled.
    """

    defaults: Settings
    workers: Mapping[str, Worker]
    vms: Mapping[str, VM]
    source: str
    images: Mapping[str, Image] = field(default_factory=dict)
    origins: Mapping[tuple[str, str, str], str] = field(
        default_factory=dict, compare=False, repr=False
    )
    networks: Mapping[str, Network] = field(default_factory=dict)
    northbound: str | None = None
    way_out: WayOut | None = None
    mesh: str | None = None
    ovn_tls: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "workers", MappingProxyType(dict(self.workers)))
        object.__setattr__(self, "vms", MappingProxyType(dict(self.vms)))
        object.__setattr__(self, "images", MappingProxyType(dict(self.images)))
        object.__setattr__(self, "origins", MappingProxyType(dict(self.origins)))
        object.__setattr__(self, "networks", MappingProxyType(dict(self.networks)))
        faults = [
            Fault((table, key), f"must be the name of what it holds, {show(item.name)}")
            for table, items in (
                ("workers", self.workers),
                ("images", self.images),
                ("networks", self.networks),
                ("vms", self.vms),
            )
            for key, item in items.items()
            if key != item.name
        ]
        vms = {name: vm.to_dict() | {"worker": vm.worker} for name, vm in self.vms.items()}
        networks = {name: network.to_dict() for name, network in self.networks.items()}
        ends = {name: _endpoint(worker) for name, worker in self.workers.items()}
        faults += conflicts(ends, vms, networks=networks)
        faults += apart_faults(vms)
        faults += unknown_images(
            {name: {"image": vm.image} for name, vm in self.vms.items()}, self.images
        )
        if self.networks:
            from vmops.core.inventory.networks.faults import contradictions

            faults += contradictions(
                networks,
                {
                    name: {"uplink": worker.uplink, "port": worker.port}
                    for name, worker in self.workers.items()
                },
            )
        faults += ovn_faults(
            networks,
            {
                name: {"tunnel_ip": worker.tunnel_ip, "bridge": worker.bridge}
                for name, worker in self.workers.items()
            },
            {"northbound": self.northbound} | (self.way_out.to_dict() if self.way_out else {}),
            {
                vm.worker: vm.name
                for vm in self.vms.values()
                if vm.worker and any(interface.engine for interface in vm.interfaces)
            },
        )
        if self.mesh is not None:
            from vmops.core.inventory.networks.mesh import mesh_faults

            faults += mesh_faults(*self._plain(vms))
        if faults:
            raise InvalidValue(self.source, faults)

    def _plain(self, vms: dict[str, dict[str, object]]) -> tuple[Mapping[str, Values], ...]:
        workers = {name: {"tunnel_ip": worker.tunnel_ip} for name, worker in self.workers.items()}
        return {name: network.to_dict() for name, network in self.networks.items()}, workers, vms

    def __reduce__(self) -> tuple[object, ...]:
        """A read-only view can be neither pickled nor copied; the dicts behind it can."""
        dicts = (dict(self.workers), dict(self.vms))
        more = dict(self.images), dict(self.origins), dict(self.networks)
        of_ovn = (self.northbound, self.way_out)
        last = (self.mesh, self.ovn_tls)
        return Inventory, (self.defaults, *dicts, self.source, *more, *of_ovn, *last)

    def worker(self, name_or_address: str) -> Worker:
        """The worker of that name or address; an address that is not listed gets the defaults.

        A word without a dot that is close to a worker's name is taken for a slip, not for a host.
        Raises InventoryError.
        """
        wanted = name_or_address
        found = self._in_file(wanted)
        if found is not None:
            return found
        address = normal.address(wanted)
        if address is None:
            raise self._unknown("worker", wanted, self.workers)
        bare = not any(character in address for character in ".:")
        if bare and guess(address, self.workers) is not None:
            raise self._unknown("worker", wanted, self.workers)
        return self.defaults.worker(address, address=address)

    def _in_file(self, name_or_address: str) -> Worker | None:
        """The worker of that name or address that is in the file."""
        if name_or_address in self.workers:
            return self.workers[name_or_address]
        wanted = (normal.address(name_or_address) or "").casefold()
        there = [w for w in self.workers.values() if w.address.casefold() == wanted]
        if len(there) > 1:
            names = ", ".join(worker.name for worker in there)
            raise self._error(
                f"{show(name_or_address)} is the address of several workers: {names}", "name one"
            )
        return there[0] if there else None

    def listed_worker(self, name_or_address: str) -> Worker:
        """The worker of that name or address that is in the file. Raises InventoryError with the
        names that there are."""
        found = self._in_file(name_or_address)
        if found is None:
            raise self._unknown("worker", name_or_address, self.workers)
        return found

    def select_workers(self, pattern: str) -> tuple[Worker, ...]:
        """The workers that names, addresses or globs mean, separated by commas, each once.

        Raises InventoryError for what is none of the file's: only -H takes any host.
        """
        found: dict[str, Worker] = {}
        for part in _parts(pattern, "worker"):
            is_glob = any(character in part for character in "*?[") and ":" not in part
            some = self._select(part, self.workers, "worker") if is_glob else ()
            found |= {one.name: one for one in some or (self.listed_worker(part),)}
        return tuple(found.values())

    def vm(self, name: str) -> VM:
        """The VM of that name. Raises InventoryError with a guess."""
        if name not in self.vms:
            raise self._unknown("VM", name, self.vms)
        return self.vms[name]

    def select(self, pattern: str) -> tuple[VM, ...]:
        """The VMs that a name, a glob, or several of them separated by commas mean, in file order.

        Each part has to match something; else InventoryError.
        """
        return self._select(pattern, self.vms, "VM")

    def select_images(self, pattern: str) -> tuple[Image, ...]:
        """The images that such a pattern means, as `select` finds VMs."""
        return self._select(pattern, self.images, "image")

    def select_networks(self, pattern: str) -> tuple[Network, ...]:
        """The networks that such a pattern means, as `select` finds VMs."""
        return self._select(pattern, self.networks, "network")

    def _select(self, pattern: str, known: Mapping[str, T], what: str) -> tuple[T, ...]:
        chosen: set[str] = set()
        for part in _parts(pattern, what):
            is_glob = any(character in part for character in "*?[")
            if not is_glob and part not in known:
                raise self._unknown(what, part, known)
            matched = [name for name in known if fnmatchcase(name, part)] if is_glob else [part]
            if not matched:
                raise self._error(f"no {what} matches {show(part)}{did_you_mean(part, known)}")
            chosen.update(matched)
        return tuple(item for name, item in known.items() if name in chosen)

    def address_of(self, vm: str, nic: Nic) -> str | None:
        """The address that its network keeps for an interface, None where there is none."""
        network = self.networks.get(nic.interface.network or "")
        members = network.members if network is not None else ()
        mine = (m.address for m in members if (m.vm, m.interface) == (vm, nic.name))
        return next(mine, None) or None

    @property
    def apart(self) -> Mapping[str, frozenset[str]]:
        """For each VM those that may not be on one worker with it, whichever of the two says so."""
        return apart({name: vm.apart for name, vm in self.vms.items()})

    @property
    def mesh_workers(self) -> tuple[str, ...]:
        """The workers that have tunnels to each other; none where there is no mesh."""
        if self.mesh is None:
            return ()
        from vmops.core.inventory.networks.mesh import workers_of_mesh

        vms = {name: vm.to_dict() | {"worker": vm.worker} for name, vm in self.vms.items()}
        return workers_of_mesh(*self._plain(vms))

    @property
    def ovn_workers(self) -> frozenset[str]:
        """The workers that have a part in OVN: its central's, its gateways, and those of VMs in its
        networks."""
        gateways = self.way_out.gateways if self.way_out is not None else ()
        always = {name for name, _ in gateways}
        if self.northbound is not None:
            always.add(self.northbound)
        if not any(network.engine == OVN for network in self.networks.values()):
            return frozenset(always)
        vms = [vm for vm in self.vms.values() if any(nic.port for nic in vm.connected)]
        free = any(vm.worker is None for vm in vms)
        mine = self.workers if free else {vm.worker for vm in vms if vm.worker is not None}
        return frozenset({*mine, *always})

    def part_of(self, worker: Worker) -> Part | None:
        """A worker's part in OVN; None where it has none."""
        if self.northbound is None or worker.name not in self.ovn_workers:
            return None
        device = self.way_out.device_of(worker.name) if self.way_out is not None else ""
        vlans = any(n.engine == OVN and n.vlan_id is not None for n in self.networks.values())
        return Part(self.workers[self.northbound], device, vlans, self.ovn_tls)

    def has_own_worker(self, vm: VM) -> bool:
        """True where the VM's own table says its worker, so that another one can be written there:
        one that is counted up, or has it from a template, shares that line with others."""
        return vm.worker is not None and ("vms", vm.name, "worker") not in self.origins

    def vms_on(self, workers: Iterable[str]) -> dict[str, tuple[VM, ...]]:
        """For each of these workers the VMs that may be there, in file order: those that are pinned
        to it, and those that are pinned nowhere. It looks at each VM once for all of them."""
        pinned: dict[str | None, list[tuple[int, VM]]] = {}
        for entry in enumerate(self.vms.values()):
            pinned.setdefault(entry[1].worker, []).append(entry)
        free = pinned.get(None, [])
        found = {}
        for worker in workers:
            mine = pinned.get(worker, [])
            both = sorted([*mine, *free], key=itemgetter(0)) if free else mine
            found[worker] = tuple(vm for _, vm in both)
        return found

    def worker_of(self, vm: VM, at: str | None = None) -> Worker:
        """The worker for `vm`: `at` (what -H says), else its own, else the only one there is.

        Raises InventoryError when `at` is another one than `vm` is pinned to, and when nothing
        decides.
        """
        own = None if vm.worker is None else self.worker(vm.worker)
        if at is not None:
            asked = self.worker(at)
            if own is not None and asked != own:
                raise self._error(
                    f"VM {vm.name} is pinned to worker {own.name}, not {asked.name}",
                    f"leave -H out, or change worker in {key_path(('vms', vm.name))}",
                )
            return asked
        if own is not None:
            return own
        if len(self.workers) == 1:
            return next(iter(self.workers.values()))
        raise self._error(
            f"nothing says which worker VM {vm.name} is on",
            f'say -H WORKER, or worker = "..." in {key_path(("vms", vm.name))}',
        )

    def _unknown(self, what: str, name: str, known: Mapping[str, object]) -> InventoryError:
        names = ", ".join(list(known)[:12]) + (", ..." if len(known) > 12 else "")
        # Who means a VM knows its name; workers are few, and often known by address.
        cure = f"there are {names}" if what == "worker" and guess(name, known) else ""
        return self._error(f"there is no {what} {show(name)}{did_you_mean(name, known)}", cure)

    def _error(self, what: str, cure: str = "") -> InventoryError:
        return InventoryError(f"{self.source}: {what}", cure=cure)


def _parts(pattern: str, what: str) -> list[str]:
    """The names and globs in it. Raises InventoryError where a comma has none beside it."""
    parts = [word.strip() for word in pattern.split(",")]
    if len(parts) > 1 and not all(parts):
        raise InventoryError(
            f"{show(pattern)}: no {what} is named beside a comma",
            cure="leave that comma out; a glob means all that match it, '*' all",
        )
    return parts


def _endpoint(worker: Worker) -> dict[str, object]:
    return {"address": worker.address, "port": worker.port, "gateway": worker.gateway}


def parse(text: str, *, source: str, folder: str = "") -> Inventory:
    """The inventory that `text` writes in TOML. `source` is the file's name in messages.

    Relative paths of files here are taken from `folder`; without one they stay as they are.

    Raises InventoryError with a complaint for every fault: file, key path, value, rule.
    """
    hosts = read_hosts_toml(_tree(text, source), folder=folder)
    if hosts.faults:
        raise InvalidValue(source, hosts.faults)
    workers = {name: Worker(name, **values) for name, values in hosts.workers.items()}
    images = {name: _image(name, values) for name, values in hosts.images.items()}
    vms = {name: _vm(name, values) for name, values in hosts.vms.items()}
    return assembled(
        Inventory,
        {
            "defaults": Settings(**hosts.defaults),
            "workers": MappingProxyType(workers),
            "vms": MappingProxyType(vms),
            "source": source,
            "images": MappingProxyType(images),
            "origins": MappingProxyType(hosts.origins),
            "networks": MappingProxyType({name: _network(name, hosts) for name in hosts.networks}),
            "northbound": hosts.ovn.get("northbound"),
            "way_out": _way_out(hosts.ovn) if hosts.ovn else None,
            "mesh": hosts.mesh,
            "ovn_tls": hosts.ovn.get("tls", False),
        },
    )


def _tree(text: str, source: str) -> dict[str, object]:
    """The text as TOML. tomllib also raises plain ValueError, for an int of over 4300 digits."""
    import tomllib

    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InventoryError(f"{source}: this is not TOML: {why}") from error


def _image(name: str, values: Values) -> Image:
    from vmops.core.inventory.image import Image

    return Image(name, **values)


def _way_out(values: Values) -> WayOut | None:
    from vmops.core.inventory.networks.model import WayOut

    return WayOut.of(values)


def _network(name: str, hosts: HostsToml) -> Network:
    from vmops.core.inventory.networks.model import Forward, Network

    values = hosts.networks[name]
    forward = tuple(Forward.of(item) for item in values.get("forward", ()))
    members = tuple(hosts.members[name])
    return assembled(Network, values | {"name": name, "forward": forward, "members": members})


def _vm(name: str, values: Values) -> VM:
    interfaces = tuple(assembled(Interface, interface) for interface in values["interfaces"])
    disks = tuple(assembled(Disk, disk) for disk in values.get("disks", ()))
    return assembled(VM, values | {"name": name, "interfaces": interfaces, "disks": disks})
