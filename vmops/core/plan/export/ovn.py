"""A VM's networks in OVN as one shell script of ovn-nbctl's own words, without vmops.

Its rows carry the marks that vmops gives them: as long as vmops is still there, it takes them for
those that it has made. A worker is known by its end of the tunnels; what OVN calls it, the script
asks OVN.
"""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator, Sequence

from vmops.core.devices.network import logical
from vmops.core.devices.network.logical import THE_ROUTER, Logical
from vmops.core.devices.network.outside import shared_rows
from vmops.core.plan.export.leaving import Exported, Leaving
from vmops.core.plan.export.words import word
from vmops.core.tools import ovn
from vmops.core.tools.ovn import Changes, Found, Row


def networks(leaving: Leaving) -> Exported:
    """The script, to be run where OVN's central is: it makes the networks that are not there, with
    the ports of all their VMs."""
    carried = leaving.carried
    chassis = {end: f"\0{name}\0" for end, name in _names(_ends(carried)).items()}
    parts = [_head(leaving), _TOOLS, "\n".join(_settings(carried))]
    ways = [one.outside for one in carried if one.outside is not None]
    there: tuple[Found, ...] = ()
    if any(one.is_routed for one in carried):
        rows = (*logical.router(), *(shared_rows(ways[0], chassis) if ways else ()))
        parts.append(_made("the router", ovn.ROUTERS, ovn.ROUTER, _call(rows, ())))
        there = (Found(THE_ROUTER, ovn.ROUTERS, ovn.ROUTER, {}),)
    for one in carried:
        call = _call(logical.rows(one, chassis), there)
        parts.append(_made(f"network {one.name}", ovn.SWITCHES, f"{ovn.ROUTER}-{one.name}", call))
    parts.append("# What ovn-northd has to make of it.\novn-nbctl --timeout=10 --wait=sb sync")
    return Exported("\n\n".join(parts) + "\n", ".ovn.sh", _notes(leaving))


def _head(leaving: Leaving) -> str:
    names = ", ".join(one.name for one in leaving.carried)
    comment = textwrap.wrap(
        f"Networks of {leaving.vm.name} as OVN has them: {names}. Exported by vmops, whose marks"
        " they carry (vmops-net). Run where OVN's central is, by root; what is there already is"
        " left as it is. A VM's port is bound where an interface of br-ovn has its name as"
        " external_ids:iface-id.",
        width=98,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(["#!/bin/sh", *(f"# {line}" for line in comment), "set -eu"])


_TOOLS = """# chassis END: what OVN calls the worker whose tunnels end there.
chassis() {
    found=$(ovn-sbctl --timeout=10 --bare --columns=chassis_name find Encap "ip=\\"$1\\"")
    [ -n "$found" ] || { echo "no worker follows this OVN by $1" >&2; exit 1; }
    echo "$found"
}

# is_there TABLE NAME
is_there() {
    found=$(ovn-nbctl --timeout=10 --bare --columns=name find "$1" "name=$2") || exit 1
    [ -n "$found" ] && echo "$2 is there already"
}"""


def _ends(carried: Sequence[Logical]) -> tuple[str, ...]:
    seats = (seat.tunnel_ip for one in carried for seat in one.seats)
    ways = (way for one in carried if (way := one.outside) is not None)
    gateways = (gateway.tunnel_ip for way in ways for gateway in way.gateways)
    return tuple(dict.fromkeys(end for end in (*seats, *gateways) if end is not None))


def _names(ends: Sequence[str]) -> dict[str, str]:
    return {end: f"chassis_{number}" for number, end in enumerate(ends, start=1)}


def _settings(carried: Sequence[Logical]) -> Iterator[str]:
    for end, name in _names(_ends(carried)).items():
        yield f"{name}=$(chassis {shlex.quote(end)})"


def _call(rows: Sequence[Row], there: Sequence[Found]) -> list[str]:
    """One transaction, a row a line."""
    call = ovn.transaction(Changes(made=rows), {found.key: found for found in there}, {})
    program, limit, *words = call.words()
    parts: list[list[str]] = []
    for each in words:
        if each == "--":
            parts.append([])
        # In the quotes of ovn-nbctl a NUL is written so.
        parts[-1].append(word(each.replace("\\u0000", "\0")))
    lines = [f"{program} {limit}", *(f"    {' '.join(part)}" for part in parts)]
    return [f"{line} \\" for line in lines[:-1]] + lines[-1:]


def _made(what: str, table: str, name: str, call: Sequence[str]) -> str:
    head = f"# {what[0].upper()}{what[1:]}."
    body = (f"    {line}" for line in call)
    return "\n".join([head, f"if ! is_there {table} {shlex.quote(name)}; then", *body, "fi"])


def _notes(leaving: Leaving) -> tuple[str, ...]:
    names = [nic.name for nic in leaving.vm.connected if not nic.port]
    if not names:
        return ()
    return (f"{leaving.vm.name}: {', '.join(names)} is in no network of OVN: left out",)
