"""Networks from the command line: verify."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from vmops.errors import WorkFailed
from vmops.tasks.frame import options
from vmops.tasks.frame.context import Context
from vmops.tasks.frame.options import Option
from vmops.tasks.frame.output import finish, give_json, say
from vmops.tasks.frame.selection import groups_of_workers, inventory
from vmops.tasks.frame.task import task
from vmops.tasks.frame.work import show_dry, text_of

if TYPE_CHECKING:
    from vmops.core.inventory.networks.model import Network
    from vmops.core.plan.proof.judge import Pair
    from vmops.core.plan.proof.services import Passage
    from vmops.errors import VmopsError
    from vmops.ops.proof.prove import Proven


@task(
    {
        "vm": Option("Only pairs with these VMs: names separated by commas, or a glob."),
        "known": Option(
            "Ports that may be in the VLANs beside those of VMs: names separated by commas, or a"
            " glob such as 'gw-*'."
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
    services: bool = True,
    parallel: int = 0,
    format: str = "text",
) -> Proven | None:
    """
    Prove with real frames that VMs reach whom hosts.toml says, and nobody else.

    A probe is sent at the port of each interface that is plugged, as if its guest had, and looked
    for at every worker. On each network's node it is tried what guests may do there: the way out,
    names, other networks. Guests have no part in it. Exit code 1 where anything differs, 3 where a
    worker cannot be asked. Example: fab verify
    """
    from vmops.ops.fleet import DEFAULT_PARALLEL
    from vmops.ops.proof.prove import prove, show

    groups = groups_of_workers(c, None, early=False)
    chosen = {each.name for each in inventory(c).select(vm)} if vm else None
    listed = inventory(c)
    networks = listed.networks.values()
    if show_dry(c, groups, lambda group: show(group, networks)):
        return None
    allowed = [word.strip() for word in known.split(",")] if known else []
    found = prove(
        groups,
        listed=listed,
        known=allowed,
        services=services,
        parallel=parallel or DEFAULT_PARALLEL,
    )
    if chosen is not None:
        found = _only(found, chosen, networks)
    errors = found.errors
    if format == options.JSON:
        give_json(_as_list(found))
    elif found.proof.ends:
        from vmops.tasks.proof.matrix import give_matrix, give_services

        give_matrix(found.proof)
        give_services(found.passages)
    _say_left_out(c, found, chosen)
    finish(errors)
    if not found.proof.ends:
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
    return found._replace(proof=proof, passages=passages)


def _say_left_out(c: Context, found: Proven, chosen: set[str] | None) -> None:
    """VMs that are not plugged anywhere have no part in it."""
    there = {end.drawn.vm.name for end in found.proof.ends}
    absent = [
        name
        for name, each in inventory(c).vms.items()
        if name not in there and each.connected and (chosen is None or name in chosen)
    ]
    if absent:
        more = f" and {len(absent) - 8} more" if len(absent) > 8 else ""
        say(f"left out, as they are not plugged: {', '.join(absent[:8])}{more}")
    if found.crowded:
        names = ", ".join(found.crowded)
        say(f"not tried what they let their guests do, as none of their addresses is free: {names}")


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


def _as_list(found: Proven) -> list[dict[str, Any]]:
    """An object for each pair and each service; and one for each fault, in words."""
    return [
        *(_pair_as_dict(pair) for pair in found.proof.pairs),
        *(_passage_as_dict(passage) for passage in found.passages),
        *(_fault_as_dict(error) for error in found.errors),
    ]


def _pair_as_dict(pair: Pair) -> dict[str, Any]:
    words = {True: "reach", False: "apart", None: "unknown"}
    return {
        "kind": "pair",
        "from": pair.source.name,
        "to": pair.target.name,
        "from_worker": pair.source.worker,
        "to_worker": pair.target.worker,
        "from_vlans": list(pair.source.vlans),
        "to_vlans": list(pair.target.vlans),
        "wanted": words[pair.wanted],
        "found": words[pair.found],
        "ok": pair.ok,
        "error": None,
    }


def _passage_as_dict(passage: Passage) -> dict[str, Any]:
    words = {True: "open", False: "shut", None: "unknown"}
    return {
        "kind": "service",
        "network": passage.network,
        "service": passage.service,
        "to": passage.to or None,
        "wanted": words[passage.wanted],
        "found": words[passage.found],
        "counted": passage.counted,
        "ok": passage.ok,
        "error": None,
    }


def _fault_as_dict(error: VmopsError) -> dict[str, Any]:
    return {
        "kind": "fault",
        "worker": error.worker or None,
        "vm": error.vm or None,
        "interface": error.interface or None,
        "ok": False,
        "error": text_of([error]),
    }
