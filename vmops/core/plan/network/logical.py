"""From the networks that OVN is to have, and has, to one transaction. Pure decisions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from ipaddress import IPv4Network
from typing import NamedTuple

from vmops.core.devices.drift import Drift
from vmops.core.devices.network import logical
from vmops.core.devices.network.logical import ROUTER_PORT, SWITCH, Logical
from vmops.core.devices.network.outside import WAY_BACK, Outside, is_shared_part, shared_rows
from vmops.core.facts.network.central import Central
from vmops.core.inventory.model import Worker
from vmops.core.names import NET_LOCK
from vmops.core.plan.network.serving import Change, Plan
from vmops.core.script.command import Block, Step, command
from vmops.core.tools import ovn
from vmops.core.tools.ovn import EVERYBODY, Changes, Found, Key, Row
from vmops.errors import WorkFailed

WRITE, FOLLOW = "write", "follow"


class _Work(NamedTuple):
    """The rows of one network: what there is to do about them, and where they differ."""

    changes: Changes
    drift: tuple[Drift, ...]


def bring(
    worker: Worker,
    wanted: Mapping[str, Logical],
    central: Central,
    *,
    gone: Collection[str] = (),
) -> tuple[Plan, Mapping[str, WorkFailed]]:
    """Make or change these networks, and remove those that are `gone`: all in one transaction, as a
    port may move from one to the other. One that cannot be has its reason in the mapping."""
    reasons = {name: refusal(worker, one, wanted, central) for name, one in wanted.items()}
    refused = {name: why for name, why in reasons.items() if why is not None}
    left = [name for name in gone if central.of(name)]
    changes = [Change(name, "remove") for name in left]
    done: list[Changes] = [_removal(central, left)]
    for name, one in wanted.items():
        if name in refused:
            continue
        found = _work(one, central)
        is_new = Key(name, SWITCH) not in central.rows
        differs = found.drift if is_new else (*found.drift, *_of_shared(one, central))
        changes.append(
            Change(name, "start" if is_new else "change", differs)
            if is_new or differs
            else Change(name, "nothing")
        )
        done.append(found.changes)
    ways = [one.outside for name, one in wanted.items() if one.outside and name not in refused]
    done.append(_shared(central, done, ways[0] if ways else None))
    return Plan(tuple(changes), _block(done, central, changes, "net.up")), refused


def remove(names: Sequence[str], central: Central) -> Plan:
    """Remove these networks; one that is not there is left out."""
    there = [name for name in names if central.of(name)]
    changes = [Change(name, "remove" if name in there else "nothing") for name in names]
    done = [_removal(central, there)]
    done.append(_shared(central, done))
    return Plan(tuple(changes), _block(done, central, changes, "net.down"))


def drift(wanted: Logical, central: Central) -> tuple[Drift, ...]:
    """Where what OVN has of a network differs from what is wanted."""
    return (*_work(wanted, central).drift, *_of_shared(wanted, central))


def refusal(
    worker: Worker, wanted: Logical, others: Collection[str], central: Central
) -> WorkFailed | None:
    """Why OVN cannot have the network, or None: networks of another file share its router, and a
    gateway that OVN does not know would be no way out."""
    if not wanted.is_routed:
        return None
    for gateway in wanted.outside.gateways if wanted.outside else ():
        if gateway.tunnel_ip not in central.chassis:
            return WorkFailed(
                f"network {wanted.name}: OVN does not know {gateway.worker}, a gateway",
                worker=worker.name,
                cure=f"fab -H {gateway.worker} ovn.setup",
            )
    mine = IPv4Network(wanted.subnet)
    for key, found in central.rows.items():
        if key.part != ROUTER_PORT or key.network in {wanted.name, *others}:
            continue
        networks = found.columns.get("networks", ())
        for text in networks if isinstance(networks, tuple) else (str(networks),):
            if mine.overlaps(IPv4Network(text, strict=False)):
                return WorkFailed(
                    f"network {wanted.name}: OVN routes {wanted.subnet} to network {key.network}",
                    worker=worker.name,
                    cure=f"if nobody needs that: fab -H {worker.name} net.down"
                    f" --network {key.network}",
                )
    return None


def _work(wanted: Logical, central: Central) -> _Work:
    there = central.of(wanted.name)
    rows = (
        logical.where_moved(row, there.get(row.key), central.chassis)
        for row in logical.rows(wanted, central.chassis)
    )
    return _compared(rows, there, central)


def _compared(rows: Iterable[Row], there: Mapping[Key, Found], central: Central) -> _Work:
    uuids = {key: found.uuid for key, found in central.rows.items()}
    made, changed, found_drift = [], [], []
    wanted = {row.key: row for row in rows}
    for key, row in wanted.items():
        if key not in there:
            made.append(row)
            found_drift.append(Drift(key.part, "missing", "there", live=True))
            continue
        differs = tuple(ovn.differs(row, there[key], uuids))
        if differs:
            changed.append((row, there[key]))
        found_drift += [Drift(f"{key.part}.{name}", a, b, live=True) for name, a, b in differs]
    gone = [found for key, found in there.items() if key not in wanted]
    found_drift += [Drift(found.key.part, "there", "none", live=True) for found in gone]
    return _Work(Changes(made, changed, gone), tuple(found_drift))


def _removal(central: Central, names: Collection[str]) -> Changes:
    return Changes(gone=[found for name in names for found in central.of(name).values()])


def _shared(central: Central, done: Sequence[Changes], outside: Outside | None = None) -> Changes:
    """The router that networks share, and its way out: made with the first that needs them, gone
    with the last. Without an `outside` that other networks still use, it stays as it is."""
    leaving = {found.key for each in done for found in each.gone}
    coming = {row.key for each in done for row in each.made}
    parts = {key.part for key in (*coming, *(central.rows.keys() - leaving))}
    rows = logical.router() if ROUTER_PORT in parts else ()
    there = central.of(EVERYBODY)
    if WAY_BACK in parts:
        if outside is not None:
            rows += shared_rows(outside, central.chassis)
        else:
            there = {key: found for key, found in there.items() if not is_shared_part(key)}
    return _compared(rows, there, central).changes


def _of_shared(wanted: Logical, central: Central) -> tuple[Drift, ...]:
    """Where that differs, as far as a network uses it: it is down with it."""
    if not wanted.is_routed:
        return ()
    there = central.of(EVERYBODY)
    rows = logical.router()
    if wanted.outside is not None:
        rows += shared_rows(wanted.outside, central.chassis)
    else:
        there = {key: found for key, found in there.items() if not is_shared_part(key)}
    return _compared(rows, there, central).drift


def _block(
    done: Sequence[Changes], central: Central, changes: Sequence[Change], word: str
) -> Block | None:
    whole = Changes(
        [row for each in done for row in each.made],
        [pair for each in done for pair in each.changed],
        [found for each in done for found in each.gone],
    )
    if not whole:
        return None
    busy = tuple(change.network for change in changes if change.action != "nothing")
    write = ovn.transaction(whole, central.rows, ovn.keepers(central.rows.values()))
    steps = (
        Step(WRITE, (write,), about=busy),
        Step(FOLLOW, (ovn.sync(),), may_fail=True, about=busy),
    )
    guard = command("same_rows", central.sum)
    return Block(",".join(busy), steps, lock=NET_LOCK, guards=(guard,), change=word)
