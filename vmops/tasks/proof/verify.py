"""Networks from the command line: verify."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from vmops.errors import WorkFailed
from vmops.tasks.frame import options
from vmops.tasks.frame.context import Context
from vmops.tasks.frame.options import Option
from vmops.tasks.frame.output import finish, give_json, say
from vmops.tasks.frame.selection import groups_of_workers, inventory
from vmops.tasks.frame.task import task
from vmops.tasks.frame.work import show_dry, where_they_are

if TYPE_CHECKING:
    from vmops.core.inventory.networks.model import Network
    from vmops.ops.proof.prove import Proven
    from vmops.ops.route import Group


@task(
    {
        "vm": Option(
            "Only pairs with these VMs: names separated by commas, or a glob.", names="vms"
        ),
        "known": Option(
            "Ports that may be in the VLANs beside those of VMs: names separated by commas, or a"
            " glob such as 'gw-*'."
        ),
        "ping": Option(
            "Also ask the guests of VMs that run for echoes: from their gateways and, with a guest"
            " agent, from each other."
        ),
        "services": Option(
            "Try what each network lets its guests do as well, and who gives leases there (2 s)."
        ),
        "parallel": options.PARALLEL,
        "format": options.FORMAT,
    }
)
def verify(
    c: Context,
    vm: str | None = None,
    known: str | None = None,
    ping: bool = False,
    services: bool = True,
    parallel: int = 0,
    format: str = "text",
) -> Proven | None:
    """
    Prove with real frames that VMs reach whom hosts.toml says, and nobody else.

    A probe is sent at the port of each interface that is plugged, as if its guest had, and looked
    for at every worker; in networks of OVN, at the TAPs of all others. On each network's node it is
    tried what guests may do there: the way out, names, other networks. Guests have no part in it.
    Exit code 1 where anything differs, 3 where a worker cannot be asked. Example: fab verify
    """
    from vmops.ops.fleet import DEFAULT_PARALLEL
    from vmops.ops.proof.prove import prove, show

    groups = groups_of_workers(c, None, early=False, moved=True)
    chosen = {each.name for each in inventory(c).select(vm)} if vm else None
    listed = inventory(c)
    networks = listed.networks.values()
    if show_dry(c, groups, lambda group: show(group, listed, services=services)):
        return None
    groups = where_they_are(c, groups, empty=True)
    allowed = [word.strip() for word in known.split(",")] if known else []
    found = prove(
        groups,
        listed=listed,
        known=allowed,
        services=services,
        ping=ping,
        parallel=parallel or DEFAULT_PARALLEL,
    )
    if chosen is not None:
        found = _only(found, chosen, networks)
    plugged = [end for end in found.proof.ends if chosen is None or end.drawn.vm.name in chosen]
    errors = found.errors
    if format == options.JSON:
        from vmops.tasks.proof.rows import as_list

        give_json(as_list(found))
    elif plugged:
        from vmops.tasks.proof.matrix import give_matrix, give_pings, give_services

        give_matrix(found.proof)
        give_services(found.passages)
        give_pings(found.pings)
    elif found.pings:
        from vmops.tasks.proof.matrix import give_pings

        give_pings(found.pings)
    _say_left_out(groups, found, chosen)
    if ping and not found.pings and not found.silent:
        say("no guest was asked for an echo: none of these VMs runs with an address of a network")
    finish(errors)
    if not plugged and found.pings:
        return found
    if not plugged:
        raise WorkFailed("nothing was proved: none of these VMs is plugged", cure="fab up")
    if found.proof.pairs and format != options.JSON:
        say(_summary(found))
    return found


def _only(found: Proven, chosen: set[str], networks: Iterable[Network]) -> Proven:
    """The pairs of these VMs, what is wrong with them or with what they are to reach, and their
    networks."""
    pairs = [
        p for p in found.proof.pairs if {p.source.drawn.vm.name, p.target.drawn.vm.name} & chosen
    ]
    about = {end.drawn.vm.name for p in pairs if not p.ok for end in (p.source, p.target)} | chosen
    faults = [fault for fault in found.proof.faults if fault.vm in about or not fault.vm]
    mine = {network.name for network in networks if {m.vm for m in network.members} & chosen}
    passages = [passage for passage in found.passages if passage.network in mine]
    proof = found.proof._replace(pairs=pairs, faults=faults)
    pings = [each for each in found.pings if {each.source, each.target} & chosen]
    return found._replace(proof=proof, passages=passages, pings=pings)


def _say_left_out(groups: Sequence[Group], found: Proven, chosen: set[str] | None) -> None:
    """VMs that are not plugged where they may be have no part in it; nor have those of which that
    is not known, as a worker could not be asked."""
    left = left_out(groups, found, chosen)
    if left.absent:
        where = f" on {groups[0].route.worker.name}" if len(groups) == 1 else ""
        say(f"left out, as they are not plugged{where}: {_some(left.absent)}")
    if left.unknown:
        where = ", ".join(left.unasked)
        say(
            f"left out, as {where} could not be asked, and they may be plugged there:"
            f" {_some(left.unknown)}"
        )
    if found.silent:
        names = f"{', '.join(found.silent[:8])}{' and more' if len(found.silent) > 8 else ''}"
        say(f"not asked to ask others, as no guest agent with a ping answers: {names}")
    if found.crowded:
        names = ", ".join(found.crowded)
        say(f"not tried what they let their guests do, as none of their addresses is free: {names}")


class _LeftOut(NamedTuple):
    """VMs that have no part in a proof: `absent` ones are not plugged; `unknown` ones may be, on
    workers that could not be asked."""

    absent: list[str]
    unknown: list[str]
    unasked: list[str]


def left_out(groups: Sequence[Group], found: Proven, chosen: set[str] | None) -> _LeftOut:
    """Those of the VMs that these workers were asked about."""
    there = {end.drawn.vm.name for end in found.proof.ends}
    unasked = {error.worker for error in found.unasked}
    homes: dict[str, set[str]] = {}
    for group in groups:
        for vm in group.vms:
            if vm.connected and vm.name not in there and (chosen is None or vm.name in chosen):
                homes.setdefault(vm.name, set()).add(group.route.worker.name)
    unknown = [name for name, workers in homes.items() if workers & unasked]
    absent = [name for name in homes if name not in unknown]
    return _LeftOut(absent, unknown, sorted(unasked))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"{', '.join(names[:8])}{more}"


def _summary(found: Proven) -> str:
    pairs = found.proof.pairs
    reach = sum(pair.wanted for pair in pairs)
    said = (
        f"{len(pairs)} pairs as hosts.toml has them: {reach} reach each other,"
        f" {len(pairs) - reach} are kept apart"
    )
    tried = [passage for passage in found.passages if passage.found is not None]
    if not tried:
        return said
    open_ways = sum(passage.wanted for passage in tried)
    return (
        f"{said}; of networks {open_ways} services work and {len(tried) - open_ways} ways are shut"
    )
