"""Networks from the command line: verify."""

from __future__ import annotations

from collections.abc import Sequence
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
    from vmops.core.plan.proof.judge import Pair
    from vmops.errors import VmopsError
    from vmops.ops.proof.prove import Proven


@task(
    {
        "vm": Option("Only pairs with these VMs: names separated by commas, or a glob."),
        "known": Option(
            "Ports that may be in the VLANs beside those of VMs: names separated by commas, or a"
            " glob such as 'gw-*'."
        ),
        "services": Option("Ask each network of hosts.toml for a DHCP offer as well (2 s)."),
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
    for at every worker. Guests have no part in it. Exit code 1 where anything differs, 3 where a
    worker cannot be asked. Example: fab verify
    """
    from vmops.ops.fleet import DEFAULT_PARALLEL
    from vmops.ops.proof.prove import prove, show

    groups = groups_of_workers(c, None, early=False)
    chosen = {each.name for each in inventory(c).select(vm)} if vm else None
    networks = inventory(c).networks.values()
    if show_dry(c, groups, lambda group: show(group, networks)):
        return None
    allowed = [word.strip() for word in known.split(",")] if known else []
    found = prove(
        groups,
        known=allowed,
        networks=networks,
        services=services,
        parallel=parallel or DEFAULT_PARALLEL,
    )
    if chosen is not None:
        found = _only(found, chosen)
    errors = found.errors
    if format == options.JSON:
        give_json(_as_list(found))
    elif found.proof.ends:
        from vmops.tasks.proof.matrix import give_matrix

        give_matrix(found.proof)
    _say_left_out(c, found, chosen)
    finish(errors)
    if not found.proof.ends:
        raise WorkFailed("nothing was proved: none of these VMs is plugged", cure="fab up")
    if found.proof.pairs and format != options.JSON:
        say(_summary(found.proof.pairs))
    return found


def _only(found: Proven, chosen: set[str]) -> Proven:
    """The pairs of these VMs, and what is wrong with them or with what they are to reach."""
    pairs = [
        p for p in found.proof.pairs if {p.source.drawn.vm.name, p.target.drawn.vm.name} & chosen
    ]
    about = {end.drawn.vm.name for p in pairs if not p.ok for end in (p.source, p.target)} | chosen
    faults = [fault for fault in found.proof.faults if fault.vm in about or not fault.vm]
    return found._replace(proof=found.proof._replace(pairs=pairs, faults=faults))


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


def _summary(pairs: Sequence[Pair]) -> str:
    reach = sum(pair.wanted for pair in pairs)
    return (
        f"{len(pairs)} pairs as hosts.toml has them: {reach} reach each other,"
        f" {len(pairs) - reach} are kept apart"
    )


def _as_list(found: Proven) -> list[dict[str, Any]]:
    """An object for each pair; and one for each fault, which has what is wrong in words."""
    return [
        *(_pair_as_dict(pair) for pair in found.proof.pairs),
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


def _fault_as_dict(error: VmopsError) -> dict[str, Any]:
    return {
        "kind": "fault",
        "worker": error.worker or None,
        "vm": error.vm or None,
        "interface": error.interface or None,
        "ok": False,
        "error": text_of([error]),
    }
