"""What each network lets its guests do: what is to be tried on its node, and what came of it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network
from typing import NamedTuple

from vmops.core.devices.network.firewall import INTERNET
from vmops.core.facts.proof.guests import Found
from vmops.core.inventory.model import Worker
from vmops.core.inventory.networks.model import Member, Network
from vmops.core.names import NetworkNames
from vmops.core.tools.proof.guest import OUTSIDE, Guest, Try
from vmops.errors import WorkFailed

CLOUDS = "169.254.169.254"
"""Where clouds answer their own machines."""

_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_ANY_NAME = "vmops"
_PICKS = 256


class Passage(NamedTuple):
    """One thing that guests of a network may do or not, and whether they can; None where that is
    not known.

    `service` is gateway, dhcp, dns, internet, node (the network node itself), kept (addresses that
    are kept from guests), or reach, which leads `to` another network. `counted` is how far the
    firewall's counter for it has moved, None where it has none.
    """

    network: str
    service: str
    to: str = ""
    wanted: bool = False
    found: bool | None = None
    counted: int | None = None

    @property
    def ok(self) -> bool:
        """True where it is as hosts.toml has it."""
        return self.found == self.wanted


class Trial(NamedTuple):
    """What is tried on one node. `tries` and `passages` belong together one by one: a passage may
    have several."""

    worker: Worker
    networks: Mapping[str, Network]
    guests: tuple[Guest, ...]
    tries: tuple[Try, ...]
    passages: tuple[Passage, ...]
    crowded: tuple[str, ...] = ()


def trials(
    networks: Iterable[Network], asked: Iterable[Worker], all_workers: Iterable[Worker], *, run: int
) -> list[Trial]:
    """For each worker that is asked and is a network node, what is to be tried there.

    A network in which no address is free for a guest that is none is left out: `crowded`.
    """
    listed = list(networks)
    kept = [CLOUDS, *sorted({w.address for w in all_workers if _is_kept(w.address)})]
    found = []
    for worker in asked:
        here = {n.name: n for n in listed if n.served and n.network_node == worker.name}
        guests = {name: _guest(network, worker, run) for name, network in here.items()}
        able = {name: guest for name, guest in guests.items() if guest is not None}
        if here:
            pairs = [
                pair
                for name in able
                for pair in _of_network(here[name], listed, worker, able, kept)
            ]
            crowded = tuple(name for name in here if name not in able)
            tries, passages = zip(*pairs, strict=True) if pairs else ((), ())
            found.append(Trial(worker, here, tuple(able.values()), tries, passages, crowded))
    return found


def _is_kept(address: str) -> bool:
    try:
        return not IPv4Address(address).is_loopback
    except ValueError:
        return False


def _guest(network: Network, worker: Worker, run: int) -> Guest | None:
    address = free_address(network, run)
    if address is None or network.gateway is None:
        return None
    return Guest(network.name, network.gateway, address, worker.uplink or "")


def free_address(network: Network, run: int) -> str | None:
    """An address of the subnet that is nobody's: not the gateway's, no VM's, and none that DHCP
    gives. Another one in each run, as it may be a stranger's after all."""
    subnet = IPv4Network(str(network.subnet))
    first, count = int(subnet[1]), subnet.num_addresses - 2
    low, _, high = (network.range or "").partition("-")
    handed = range(int(IPv4Address(low)), int(IPv4Address(high)) + 1) if low else range(0)
    taken = {int(IPv4Address(a)) for a in (str(network.gateway), *_addresses(network.members))}
    picks = (int.from_bytes(sha256(f"{run}/{n}".encode()).digest()[:8]) for n in range(_PICKS))
    # Few are left in a small subnet: what was not picked by chance is found by counting.
    for number in (*(pick % count for pick in picks), *range(min(count, _PICKS))):
        address = first + number
        if address not in taken and address not in handed:
            return str(IPv4Address(address))
    return None


def _addresses(members: Iterable[Member]) -> Iterator[str]:
    return (member.address for member in members if member.address)


def _of_network(
    network: Network,
    everything: Iterable[Network],
    worker: Worker,
    able: Mapping[str, Guest],
    kept: Collection[str],
) -> Iterator[tuple[Try, Passage]]:
    name = network.name
    yield Try(name, "echo", str(network.gateway), True), Passage(name, "gateway", wanted=True)
    asked = _known_name(network)
    yield Try(name, "name", asked, network.dns), Passage(name, "dns", wanted=network.dns)
    yield Try(name, "node", "-", False), Passage(name, "node")
    if worker.uplink:
        out = Passage(name, "internet", wanted=network.internet)
        yield Try(name, "out", OUTSIDE, network.internet), out
        for address in kept:
            yield Try(name, "out", address, False), Passage(name, "kept")
    for other in everything:
        wanted = other.name in network.reach
        passage = Passage(name, "reach", other.name, wanted)
        if other.name in able and other.name != name:
            yield Try(name, "to", other.name, wanted), passage
        elif other.name != name and other.gateway and worker.uplink and not wanted:
            # On another node: it must not be looked for outside.
            yield Try(name, "out", other.gateway, False), passage


def _known_name(network: Network) -> str:
    names = (m.vm for m in network.members if m.address and _LABEL.fullmatch(m.vm))
    return next(names, _ANY_NAME) if network.dns else _ANY_NAME


class Outcome(NamedTuple):
    """Each passage once, and what is wrong, each cause once."""

    passages: tuple[Passage, ...] = ()
    faults: tuple[WorkFailed, ...] = ()


def unknown(trial: Trial) -> Outcome:
    """Where the node could not be asked."""
    return Outcome(tuple(dict.fromkeys(trial.passages)))


def judge(trial: Trial, found: Found, *, told: Collection[str] = ()) -> Outcome:
    """Compare what came of it with what hosts.toml wants. `told` are networks of whose gateway it
    was said already what is wrong."""
    tried = found.tried
    mute = tried.silent | tried.gone
    result: dict[tuple[str, str, str], Passage] = {}
    for number, passage in enumerate(trial.passages):
        key = passage[:3]
        known = result.get(key, passage)
        worked: bool | None = number in tried.seen
        if passage.network in mute:
            worked = False if passage.service == "gateway" else None
        elif passage.to in mute or (
            _looks_out(trial, number) and trial.worker.uplink in tried.blind
        ):
            worked = None
        counted = _counted(passage, found)
        result[key] = known._replace(found=known.found or worked, counted=counted)
    passages = tuple(result.values())
    faults = [
        *(
            _fault(
                trial, name, f"its gateway, {trial.networks[name].gateway}, answers nobody there"
            )
            for name in sorted(mute - set(told))
        ),
        *(
            WorkFailed(
                f"its uplink {device} cannot be looked at: is it there?",
                worker=trial.worker.name,
                cure="there: ip -br link; then set uplink in hosts.toml",
            )
            for device in sorted(tried.blind)
        ),
        *_wrong(trial, passages),
        *_wrong_names(trial, found),
    ]
    return Outcome(passages, tuple(faults))


def _looks_out(trial: Trial, number: int) -> bool:
    return trial.tries[number].kind == "out"


def _counted(passage: Passage, found: Found) -> int | None:
    counters = found.moved.get(passage.network, {})
    match passage.service:
        case "internet" if passage.wanted:
            return counters.get(INTERNET)
        case "reach" if passage.wanted:
            return counters.get(NetworkNames(passage.to).link)
    return None


def _fault(trial: Trial, network: str, what: str, cure: str = "fab net.up") -> WorkFailed:
    return WorkFailed(f"network {network}: {what}", worker=trial.worker.name, cure=cure)


def _wrong(trial: Trial, passages: Iterable[Passage]) -> Iterator[WorkFailed]:
    for each in passages:
        if each.found is None or each.service == "gateway":
            continue
        if each.found and each.wanted and each.counted is not None and each.counted <= 0:
            what = f"its guests {_words(each, trial)} past its firewall: that has not counted it"
            yield _fault(trial, each.network, what)
        elif each.found and not each.wanted:
            what = f"its guests {_words(each, trial)}, and hosts.toml does not say so"
            yield _fault(trial, each.network, what)
        elif each.wanted and not each.found:
            yield _cut(trial, each)


def _words(each: Passage, trial: Trial) -> str:
    return {
        "dns": "are answered for names",
        "internet": f"get out by {trial.worker.uplink}",
        "node": f"reach {trial.worker.name} itself",
        "kept": f"reach by {trial.worker.uplink} addresses that are kept from them",
        "reach": f"reach network {each.to}",
    }[each.service]


def _cut(trial: Trial, each: Passage) -> WorkFailed:
    if each.service == "dns":
        return _fault(trial, each.network, "nobody answers its guests for names")
    goal = f"reach network {each.to}" if each.to else f"get out by {trial.worker.uplink}"
    if not each.counted or each.counted < 0:
        return _fault(trial, each.network, f"its guests do not {goal}: its firewall counts nothing")
    if each.to:
        return _fault(trial, each.network, f"its guests do not {goal}: they end in that one")
    what = (
        f"its guests do not {goal}, though its firewall lets them: the node's own does not, or it"
    )
    return _fault(
        trial,
        each.network,
        f"{what} has no route",
        f"on {trial.worker.name}: ip route get {OUTSIDE}; sudo nft list ruleset",
    )


def _wrong_names(trial: Trial, found: Found) -> Iterator[WorkFailed]:
    for number, address in found.tried.named.items():
        if not 0 <= number < len(trial.tries) or not trial.tries[number].wanted:
            continue
        name, network = trial.tries[number].target, trial.tries[number].network
        right = [m.address for m in trial.networks[network].members if m.vm == name]
        if right and address not in right:
            what = f"{name} is told to be {address}, and has {' and '.join(right)}"
            yield _fault(trial, network, what)
