"""OVN's northbound database: rows of ours, their reading, and one transaction that changes them.

A row of ours carries the network that it is for (`vmops-net`) and which part of it it is
(`vmops-part`) in its `external_ids`. Names are not unique there, so nothing is found by its name,
and what carries no mark of ours is never touched.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from vmops.core.script.command import Command, command
from vmops.core.script.functions import SWITCH_LIMIT_S

NET, PART, VM = "vmops-net", "vmops-part", "vmops-vm"
ROUTER = "vmops"
"""The router that all networks which reach others share; its own rows are of no network: `NET` is
`EVERYBODY` there, which no network can be called."""

EVERYBODY = "*"

CHASSIS = "requested-chassis"
ACTIVATION = "activation-strategy"
MOVED = "vmops-moved"
"""On the port of a VM that has moved, or does: the chassis that hosts.toml has it at, and the one
or two that it is for instead, with blanks between."""

ANYWHERE = "*"
"""In `MOVED`, of a VM that hosts.toml pins to no worker."""


class Requested(NamedTuple):
    """For which chassis the ports of a VM are to be, and their `MOVED`, empty for none. Without a
    chassis they are for any; with two, at the second nothing passes before its guest says by a RARP
    that it is there: QEMU sends one for each card when its memory has come."""

    chassis: tuple[str, ...]
    moved: str = ""

    @property
    def options(self) -> Mapping[str, str | None]:
        """What the options of such a port have of it."""
        waits = "rarp" if len(self.chassis) > 1 else None
        return {CHASSIS: ",".join(self.chassis) or None, ACTIVATION: waits}


SWITCHES, PORTS, LEASES = "Logical_Switch", "Logical_Switch_Port", "DHCP_Options"
ROUTERS, ROUTER_PORTS, POLICIES = "Logical_Router", "Logical_Router_Port", "Logical_Router_Policy"
BALANCERS, NAMES = "Load_Balancer", "DNS"
NATS, ROUTES, GATEWAYS, ACLS = "NAT", "Logical_Router_Static_Route", "Gateway_Chassis", "ACL"
TABLES = (
    *(SWITCHES, PORTS, LEASES, ROUTERS, ROUTER_PORTS, POLICIES),
    *(NATS, ROUTES, GATEWAYS, ACLS, BALANCERS, NAMES),
)
_INSIDE: Mapping[str, str] = {
    **dict.fromkeys((PORTS, ACLS), SWITCHES),
    **dict.fromkeys((ROUTER_PORTS, POLICIES, NATS, ROUTES, BALANCERS), ROUTERS),
    GATEWAYS: ROUTER_PORTS,
}
"""The table of the rows that have those of another, in a column that is one of these."""

_HOLDING = (
    *("ports", "acls", "policies", "nat", "static_routes", "gateway_chassis", "load_balancer"),
)
_ROOTS = (BALANCERS, NAMES)
"""Tables of rows that stay when nobody has them any more, and go from whoever has them."""

_WHOLE = ("vips", "records")
"""Columns with maps that are all ours: a key that is not wanted is wrong."""

Value = str | tuple[str, ...] | Mapping[str, str | None]
"""A scalar, a set in order, or keys of a map: None is one that must not be there."""


_GATEWAY = "gateway"


def own_port(network: str, part: str = _GATEWAY) -> str:
    """The name of a port that a network's switch has beside those of guests. Ports of switches and
    of routers share their names, and no network, VM or interface has a colon in its own."""
    return f"{ROUTER}:{network}:{part}"


def is_gateway(port: str) -> bool:
    """True for the port of a network's switch that leads to the router."""
    return port.startswith(f"{ROUTER}:") and port.endswith(f":{_GATEWAY}")


class Key(NamedTuple):
    """Which row: the network that it is for, and the part."""

    network: str
    part: str


class Row(NamedTuple):
    """A row as it is wanted. `inside` is the row that has it, and the column there; `refers` are
    columns that name another row of ours."""

    key: Key
    table: str
    columns: Mapping[str, Value]
    inside: tuple[Key, str] | None = None
    refers: Mapping[str, Key] = MappingProxyType({})
    vm: str = ""


class Found(NamedTuple):
    """A row of ours as it is there: its columns as `Value`s, references as UUIDs."""

    key: Key
    table: str
    uuid: str
    columns: Mapping[str, Value]


def parse(text: str) -> tuple[Found, ...]:
    """The rows of ours from what `north_rows` printed: a table of JSON a line, in the order of
    `TABLES`. Raises ValueError for anything else."""
    lines = [line for line in text.split("\n") if line.strip()]
    if len(lines) != len(TABLES):
        raise ValueError(f"ovn-nbctl printed {len(lines)} lines, not {len(TABLES)} tables")
    try:
        return tuple(
            row for table, line in zip(TABLES, lines, strict=True) for row in _rows(table, line)
        )
    except (KeyError, IndexError, TypeError, AttributeError) as odd:
        raise ValueError(f"ovn-nbctl's tables cannot be read: {odd!r}") from odd


def tables(text: str) -> list[list[dict[str, Any]]]:
    """Any tables of JSON, one a line. Raises ValueError."""
    try:
        return [_table(line) for line in text.split("\n") if line.strip()]
    except (KeyError, IndexError, TypeError, AttributeError) as odd:
        raise ValueError(f"OVN's tables cannot be read: {odd!r}") from odd


def _table(line: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(line)
    except RecursionError as deep:
        raise ValueError("nested too deep") from deep
    return [
        {name: plain(value) for name, value in zip(found["headings"], row, strict=True)}
        for row in found["data"]
    ]


def plain(value: Any) -> Value:
    """A value of OVSDB's JSON: numbers and truths as OVSDB prints them, a UUID as itself."""
    if isinstance(value, list):
        kind, inner = value
        if kind == "map":
            return {str(_atom(key)): _atom(item) for key, item in inner}
        if kind == "set":
            return tuple(sorted(_atom(item) for item in inner))
    return _atom(value)


def _atom(value: Any) -> str:
    if isinstance(value, list):
        return str(value[1])
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise TypeError(f"{value!r} is no value of OVSDB")


def _rows(table: str, line: str) -> Iterator[Found]:
    for row in _table(line):
        marks = row["external_ids"]
        if marks.get(PART):
            yield Found(Key(marks[NET], marks[PART]), table, row["_uuid"], row)


def differs(row: Row, found: Found, uuids: Mapping[Key, str]) -> Iterator[tuple[str, str, str]]:
    """The columns in which a row is not as it is wanted: name, what is there, what is wanted."""
    for name, value in row.columns.items():
        there = found.columns.get(name, "")
        if isinstance(value, Mapping):
            has: Mapping[str, Any] = there if isinstance(there, Mapping) else {}
            more = dict.fromkeys(has.keys() - value.keys() if name in _WHOLE else ())
            for key, item in {**value, **more}.items():
                if has.get(key) != item:
                    yield f"{name}.{key}", has.get(key) or "none", item or "none"
        elif _as_set(there) != _as_set(value):
            yield name, _word(there), _word(value)
    for name, whom in row.refers.items():
        there = found.columns.get(name, "")
        if _as_set(there) != (uuids.get(whom, "new"),):
            yield name, "another" if there else "none", whom.part
    # A column that is wanted of others and not of this one refers to nothing.
    for name in _REFERRING.get(row.table, ()):
        if name not in row.refers and found.columns.get(name):
            yield name, "there", "none"


_REFERRING: Mapping[str, tuple[str, ...]] = {
    PORTS: ("dhcpv4_options",),
    SWITCHES: ("dns_records",),
}


def _as_set(value: Value) -> tuple[str, ...]:
    if isinstance(value, Mapping):
        return tuple(f"{k}={v}" for k, v in sorted(value.items()))
    return tuple(sorted(value)) if isinstance(value, tuple) else (value,)


def _word(value: Value) -> str:
    return " ".join(_as_set(value)) or "none"


class Changes(NamedTuple):
    """What one transaction does: rows to be made, to be set, and to be removed."""

    made: Sequence[Row] = ()
    changed: Sequence[tuple[Row, Found]] = ()
    gone: Sequence[Found] = ()

    def __bool__(self) -> bool:
        return bool(self.made or self.changed or self.gone)


def transaction(
    changes: Changes, there: Mapping[Key, Found], keepers: Mapping[str, Key]
) -> Command:
    """One call of ovn-nbctl, which does all of it or nothing.

    `keepers` names for a UUID of a row that goes the row that has it.
    """
    words: list[str] = ["ovn-nbctl", f"--timeout={SWITCH_LIMIT_S}"]
    names = {row.key: f"@r{number}" for number, row in enumerate(changes.made)}
    names |= {key: found.uuid for key, found in there.items() if key not in names}
    leaving = {found.uuid for found in changes.gone}
    for found in changes.gone:
        keeper = keepers.get(found.uuid)
        if keeper is None or found.table in _ROOTS:
            words += ["--", "--if-exists", "destroy", found.table, found.uuid]
        elif keeper in there and there[keeper].uuid not in leaving:
            whole, column = there[keeper], _COLUMN_OF[found.table]
            words += ["--", "--if-exists", "remove", whole.table, whole.uuid, column, found.uuid]
    made = {row.key for row in changes.made}
    for row in changes.made:
        words += ["--", f"--id={names[row.key]}", "create", row.table, *_marks(row)]
        words += [*_columns(row, names), *_inside(row.key, changes.made, names)]
        if row.inside is not None and row.inside[0] not in made:
            # What is made by this very call cannot be added to: it is made with what it has.
            whole_key, column = row.inside
            words += ["--", "add", _INSIDE[row.table], names[whole_key], column, names[row.key]]
    for row, found in changes.changed:
        words += _set(row, found, names)
    return command(*words)


_COLUMN_OF: Mapping[str, str] = {
    **dict.fromkeys((PORTS, ROUTER_PORTS), "ports"),
    POLICIES: "policies",
    NATS: "nat",
    ROUTES: "static_routes",
    GATEWAYS: "gateway_chassis",
    ACLS: "acls",
    BALANCERS: "load_balancer",
}


def _inside(key: Key, made: Sequence[Row], names: Mapping[Key, str]) -> Iterator[str]:
    """The columns of a row that is made for those that are made inside it."""
    columns: dict[str, list[str]] = {}
    for row in made:
        if row.inside is not None and row.inside[0] == key:
            columns.setdefault(row.inside[1], []).append(names[row.key])
    yield from (f"{column}=[{','.join(inner)}]" for column, inner in columns.items())


def _marks(row: Row) -> Iterator[str]:
    yield f"external_ids:{NET}={_quoted(row.key.network)}"
    yield f"external_ids:{PART}={_quoted(row.key.part)}"
    if row.vm:
        yield f"external_ids:{VM}={_quoted(row.vm)}"


def _columns(row: Row, names: Mapping[Key, str]) -> Iterator[str]:
    for name, value in row.columns.items():
        if isinstance(value, Mapping) and name in _WHOLE:
            pairs = (f"{_quoted(k)}={_quoted(v or '')}" for k, v in value.items())
            yield f"{name}={{{','.join(pairs)}}}"
        elif isinstance(value, Mapping):
            yield from (f"{name}:{k}={_quoted(v)}" for k, v in value.items() if v is not None)
        else:
            yield f"{name}={_written(value)}"
    yield from (f"{name}={names[key]}" for name, key in row.refers.items())


def _set(row: Row, found: Found, names: Mapping[Key, str]) -> list[str]:
    words = ["--", "set", row.table, found.uuid, *_columns(row, names), *_removed(row, found)]
    for name in _REFERRING.get(row.table, ()):
        if name not in row.refers:
            words += ["--", "clear", row.table, found.uuid, name]
    return words


def _removed(row: Row, found: Found) -> Iterator[str]:
    """The words that remove keys of maps which are not wanted, and there."""
    for name, value in row.columns.items():
        if isinstance(value, Mapping):
            there = found.columns.get(name, "")
            for key in (key for key, item in value.items() if item is None and key in there):
                yield from ("--", "remove", row.table, found.uuid, name, key)


def _written(value: str | tuple[str, ...]) -> str:
    if isinstance(value, tuple):
        return f"[{','.join(map(_quoted, value))}]"
    return value if value.isdecimal() else _quoted(value)


def _quoted(value: str) -> str:
    return json.dumps(value)


def keepers(rows: Iterable[Found]) -> dict[str, Key]:
    """For the UUID of each row that is inside another, which one that is."""
    return {
        uuid: found.key
        for found in rows
        for column in _HOLDING
        for uuid in _members(found.columns.get(column, ()))
    }


def _members(value: Value) -> tuple[str, ...]:
    return () if isinstance(value, Mapping) else value if isinstance(value, tuple) else (value,)


def rebind(ports: Iterable[Found], wanted: Requested) -> Command:
    """Give ports to other chassis, and write down that they moved."""
    words: list[str] = ["ovn-nbctl", f"--timeout={SWITCH_LIMIT_S}"]
    for port in ports:
        columns: dict[str, Value] = {
            "options": wanted.options,
            "external_ids": {MOVED: wanted.moved or None},
        }
        row = Row(port.key, PORTS, columns)
        if written := tuple(_columns(row, {})):
            words += ["--", "set", PORTS, port.uuid, *written]
        words += _removed(row, port)
    return command(*words)


def sync() -> Command:
    """Wait until ovn-northd has told the southbound database: no controller is waited for, as one
    that is silent would make everybody wait."""
    return command("ovn-nbctl", f"--timeout={SWITCH_LIMIT_S}", "--wait=sb", "sync")
