"""Whose guest is to answer whom: from the gateways, and from guests with an agent."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from vmops.core.inventory.networks.model import Network
from vmops.errors import WorkFailed


class Ping(NamedTuple):
    """An address that is asked from somewhere, whether it is to answer, and whether it does; None
    where that is not known.

    `source` is a VM, or a network's gateway as in `blue:gateway`; `worker` is where that is.
    `target` is the VM that has the address, or the gateway.
    """

    source: str
    worker: str
    target: str
    address: str
    wanted: bool = True
    found: bool | None = None

    @property
    def ok(self) -> bool:
        """True where it is as hosts.toml has it."""
        return self.found == self.wanted

    @property
    def is_from_gateway(self) -> bool:
        """True where no guest has to do anything for it but answer."""
        return self.source.endswith(_GATEWAY)


_GATEWAY = ":gateway"


def from_gateways(
    networks: Iterable[Network], running: Mapping[str, str], workers: Collection[str]
) -> list[Ping]:
    """Each VM that runs is asked by the gateway of each network that it is in, at these workers.

    `running` has the worker of each VM that runs.
    """
    return [
        Ping(f"{network.name}{_GATEWAY}", network.network_node, member.vm, member.address)
        for network in networks
        if network.served and network.network_node is not None and network.network_node in workers
        for member in network.members
        if member.address and member.vm in running
    ]


def from_guests(networks: Iterable[Network], running: Mapping[str, str]) -> list[Ping]:
    """Each VM that runs asks every other one, and the gateways of its networks, which are served.

    It is to be answered in its own networks, and in those that one of them reaches.
    """
    listed = {network.name: network for network in networks if network.subnet}
    homes: dict[str, set[str]] = {}
    for network in listed.values():
        for member in network.members:
            homes.setdefault(member.vm, set()).add(network.name)
    found = []
    for vm, mine in homes.items():
        if vm not in running:
            continue
        near = mine | {name for home in mine for name in listed[home].reach}
        for network in listed.values():
            at = [
                Ping(vm, running[vm], member.vm, member.address, network.name in near)
                for member in network.members
                if member.address and member.vm in running and member.vm != vm
            ]
            if network.served and network.name in mine and network.gateway:
                at.append(Ping(vm, running[vm], f"{network.name}{_GATEWAY}", network.gateway))
            found += at
    return found


def faults(pings: Iterable[Ping]) -> list[WorkFailed]:
    """What is wrong, each cause once: a guest that does not answer its own gateway is not told of
    again by others that ask it."""
    pings = list(pings)
    mute = {(p.target, p.address) for p in pings if p.is_from_gateway and p.found is False}
    return [*_mute(pings), *_between_guests(pings, mute)]


def _mute(pings: Iterable[Ping]) -> Iterator[WorkFailed]:
    for each in pings:
        if each.is_from_gateway and each.found is False:
            yield WorkFailed(
                f"its guest does not answer at {each.address}: {each.source} asks in vain",
                worker=each.worker,
                vm=each.target,
                cure=f"see whether it is up and has that address: fab console --vm {each.target}",
            )


def _between_guests(pings: Iterable[Ping], mute: set[tuple[str, str]]) -> Iterator[WorkFailed]:
    by_source: dict[tuple[str, str, bool], list[str]] = {}
    for each in pings:
        known = each.is_from_gateway or each.found is None or (each.target, each.address) in mute
        if not known and not each.ok:
            key = (each.source, each.worker, each.wanted)
            by_source.setdefault(key, []).append(f"{each.target} ({each.address})")
    for (vm, worker, wanted), names in by_source.items():
        verb = "is not answered by" if wanted else "is answered by"
        rest = "" if wanted else ", which hosts.toml keeps apart"
        many = f" and {len(names) - 4} more" if len(names) > 4 else ""
        yield WorkFailed(
            f"its guest {verb} {', '.join(names[:4])}{many}{rest}",
            worker=worker,
            vm=vm,
            cure="see its routes and firewall, and: fab verify",
        )
