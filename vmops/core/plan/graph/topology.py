"""What a picture of an inventory shows: workers, VMs with their interfaces, and networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from vmops.core.inventory.inventory import Inventory
from vmops.core.inventory.model import VM
from vmops.core.inventory.networks.model import Network
from vmops.core.inventory.rules import OVN, VLAN
from vmops.core.plan.proof.ends import vlans_of

ANYWHERE = "on any worker"
"""Where a VM is drawn that is pinned to none, and runs on none."""

PALETTE = (
    *("#3b6fd6", "#e07b2a", "#2c9c69", "#c4447a", "#7a57c8", "#1596a8"),
    *("#b58a16", "#cf4a3c", "#5d7a96", "#8d5f46"),
)
BY_NAME: Mapping[str, str] = {
    "blue": "#3b6fd6",
    "green": "#2c9c69",
    "red": "#cf4a3c",
    "orange": "#e07b2a",
    "yellow": "#c9a012",
    "purple": "#7a57c8",
    "violet": "#7a57c8",
    "pink": "#c4447a",
    "cyan": "#1596a8",
    "teal": "#1596a8",
    "brown": "#8d5f46",
    "grey": "#6b7785",
    "gray": "#6b7785",
    "black": "#2b323a",
}
"""A network that is called by a colour has it."""


FIRST_OF_OVN = 4096
"""A network that OVN carries has no VLAN: it is drawn by a number that no VLAN has."""


class Net(NamedTuple):
    """A VLAN, or a network of OVN: its name, what is said of it besides, and its colour."""

    vlan_id: int
    name: str
    notes: tuple[str, ...]
    colour: str

    @property
    def is_of_ovn(self) -> bool:
        """True where OVN carries it."""
        return self.vlan_id >= FIRST_OF_OVN

    @property
    def label(self) -> str:
        """Its name and VLAN."""
        if self.is_of_ovn:
            return f"{self.name} · OVN"
        return f"{self.name} · VLAN {self.vlan_id}" if self.name else f"VLAN {self.vlan_id}"


class Port(NamedTuple):
    """An interface: its VLANs, and its address or empty."""

    name: str
    vlans: tuple[int, ...]
    address: str = ""


class Card(NamedTuple):
    """A VM; its state is empty where nobody was asked."""

    name: str
    note: str
    ports: tuple[Port, ...]
    state: str = ""


class Place(NamedTuple):
    """A worker and the VMs there. Its `note` is its address; `lost` that it could not be asked, and
    `asked` False that it was not to be."""

    name: str
    note: str
    cards: tuple[Card, ...]
    lost: bool = False
    asked: bool = True


TUNNELS = "VXLAN tunnels (wanted)"
"""What joins the workers of a mesh: each is to have one to each other. Which are there is for
`net.status` to say."""


class Topology(NamedTuple):
    """All of it, in the order of hosts.toml; networks by VLAN. `mesh` are the workers that tunnels
    are to join, by name."""

    places: tuple[Place, ...]
    nets: tuple[Net, ...]
    mesh: tuple[str, ...] = ()


class Seen(NamedTuple):
    """What was found on workers: each VM's state and worker, and workers that could not be asked.

    `offline` is that nobody was to be asked; there is no state then.
    """

    states: Mapping[str, tuple[str, str]] = {}
    lost: frozenset[str] = frozenset()
    offline: bool = False


def topology(listed: Inventory, seen: Seen) -> Topology:
    """The inventory as it is to be drawn."""
    cards = {vm.name: _card(listed, vm, seen) for vm in listed.vms.values()}
    at = {name: _place_of(vm, seen) for name, vm in listed.vms.items()}
    places = [
        Place(
            worker.name,
            worker.address,
            tuple(card for name, card in cards.items() if at[name] == worker.name),
            worker.name in seen.lost,
            not seen.offline,
        )
        for worker in listed.workers.values()
    ]
    free = tuple(card for name, card in cards.items() if at[name] not in listed.workers)
    if free:
        places.append(Place(ANYWHERE, "", free, asked=not seen.offline))
    # A tunnel has two ends.
    mesh = listed.mesh_workers if len(listed.mesh_workers) > 1 else ()
    return Topology(tuple(places), _nets(listed), mesh)


def _place_of(vm: VM, seen: Seen) -> str:
    state, worker = seen.states.get(vm.name, ("", ""))
    return worker if state in ("running", "paused", "crashed") else vm.worker or ""


def _card(listed: Inventory, vm: VM, seen: Seen) -> Card:
    ports = []
    for nic in vm.nics:
        address = listed.address_of(vm.name, nic) or nic.interface.address or ""
        lanes = vlans_of([nic])
        network = listed.networks.get(nic.interface.network or "")
        if nic.port and network is not None:
            lanes = (_number(listed, network),)
        ports.append(Port(nic.name, lanes, address.partition("/")[0]))
    cpus = "1 CPU" if vm.cores == 1 else f"{vm.cores} CPUs"
    state, _ = seen.states.get(vm.name, ("", ""))
    return Card(vm.name, f"{_memory(vm.ram_mb)} · {cpus}", tuple(ports), state)


def _memory(ram_mb: int) -> str:
    return f"{ram_mb // 1024} GiB" if ram_mb >= 1024 and ram_mb % 1024 == 0 else f"{ram_mb} MiB"


def _number(listed: Inventory, network: Network) -> int:
    if network.vlan_id is not None:
        return network.vlan_id
    return FIRST_OF_OVN + [*listed.networks].index(network.name)


def _nets(listed: Inventory) -> tuple[Net, ...]:
    names = {_number(listed, network): network for network in listed.networks.values()}
    vlans = {*vlans_of(nic for vm in listed.vms.values() for nic in vm.nics), *names}
    taken: set[str] = set()
    colours: dict[int, str] = {}
    for vlan, network in sorted(names.items()):
        if network.name.lower() in BY_NAME:
            colours[vlan] = BY_NAME[network.name.lower()]
            taken.add(colours[vlan])
    free = [colour for colour in PALETTE if colour not in taken] or list(PALETTE)
    for number, vlan in enumerate(sorted(vlans - colours.keys())):
        colours[vlan] = free[number % len(free)]
    return tuple(
        Net(vlan, names[vlan].name if vlan in names else "", _notes(names.get(vlan)), colours[vlan])
        for vlan in sorted(vlans)
    )


def _notes(network: Any) -> tuple[str, ...]:
    if network is None:
        return ()
    found = [network.subnet] if network.subnet else []
    found += ["DHCP"] if network.dhcp else []
    found += ["internet"] if network.internet else []
    found += [f"reaches {', '.join(network.reach)}"] if network.reach else []
    return tuple(found)


def as_dict(drawn: Topology) -> dict[str, Any]:
    """As JSON has it."""
    return {
        "workers": [
            {
                "name": None if place.name == ANYWHERE else place.name,
                "address": place.note or None,
                "asked": place.asked and not place.lost,
                "vms": [_card_as_dict(card) for card in place.cards],
            }
            for place in drawn.places
        ],
        "networks": [
            {
                "vlan_id": None if net.is_of_ovn else net.vlan_id,
                "engine": OVN if net.is_of_ovn else VLAN,
                "name": net.name or None,
                "notes": list(net.notes),
                "colour": net.colour,
            }
            for net in drawn.nets
        ],
        "mesh": list(drawn.mesh),
    }


def _card_as_dict(card: Card) -> dict[str, Any]:
    ports = [
        {
            "name": port.name,
            "vlans": [vlan for vlan in port.vlans if vlan < FIRST_OF_OVN],
            "address": port.address or None,
        }
        for port in card.ports
    ]
    return {"name": card.name, "state": card.state or None, "interfaces": ports}


def links(cards: Sequence[Card]) -> list[tuple[Card, Port, int]]:
    """Every interface with each of its VLANs."""
    return [(card, port, vlan) for card in cards for port in card.ports for vlan in port.vlans]
