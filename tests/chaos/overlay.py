"""What OVN has of our networks, and that a worker follows its central: seen past vmops."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vmops.core.tools.ovn import EVERYBODY
from vmops.errors import WorkFailed
from vmops.lab.daemons import DAEMONS, OVN_LIB, OVN_RUN, DaemonName
from vmops.lab.tools import require_ovn

from .shell import OVN
from .targets import OVER_NETS

BRIDGE = "br-ovn"
_CENTRAL: tuple[DaemonName, ...] = ("northbound", "southbound")
_REST: tuple[DaemonName, ...] = ("ovn-northd", "ovn-controller")
_MOVING = ("_uuid", "up")
"""Columns that say nothing of what is wanted."""


def started() -> str:
    """The shell that starts a central and a controller which follows nobody. Raises
    RuntimeError where this machine has no OVN."""
    try:
        require_ovn()
    except WorkFailed as error:
        raise RuntimeError(str(error)) from error
    lines = [shlex.join(DAEMONS[name].argv) for name in _CENTRAL]
    lines += ["ovn-nbctl init", "ovn-sbctl init"]
    lines += [shlex.join(DAEMONS[name].argv) for name in _REST]
    return "\n".join([OVN, *lines])


def is_daemon(argv: Sequence[str]) -> bool:
    """A daemon of OVN's."""
    own = {DAEMONS[name].argv[0] for name in _REST}
    return Path(argv[0]).name in own or any(
        word.startswith((f"{OVN_LIB}/", f"--pidfile={OVN_RUN}/")) for word in argv
    )


def read(seen: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Each network's rows, those that they share, and what the worker was told of the central."""
    rows: dict[str, list[str]] = {}
    for table, found in seen["overlay"]["north"].items():
        for row in found:
            marks = dict(row["external_ids"][1])
            if network := marks.get("vmops-net"):
                told = {k: _plain(v) for k, v in row.items() if k not in _MOVING}
                rows.setdefault(network, []).append(f"{table} {json.dumps(told, sort_keys=True)}")
    own = {"over": "over", "side": "side", "router": EVERYBODY}
    found = {name: tuple(sorted(rows.get(key, ()))) for name, key in own.items()}
    settings = seen["settings"].items()
    following = (f"{key} {value}" for key, value in sorted(settings) if _is_of_central(key, value))
    return found | {"following": (*following, *seen["overlay"]["listens"])}


def _is_of_central(key: str, value: str) -> bool:
    """Whoever installs OVN says its bridge first."""
    return key == "system-id" or (key.startswith("ovn-") and (key, value) != ("ovn-bridge", BRIDGE))


def _plain(value: Any) -> Any:
    """A reference is as good as any other: rows are made anew."""
    if isinstance(value, list):
        return "row" if value[:1] == ["uuid"] else [_plain(each) for each in value]
    return value


def not_as_wanted(seen: Mapping[str, tuple[str, ...]], *, served: bool) -> list[str]:
    """A line for each network that is not there, or is and should not be: a change of any is one
    transaction, and what each row says is compared with an undisturbed run."""
    lines = []
    for name in ("router", *(network.name for network in OVER_NETS)):
        if bool(seen[name]) != served:
            lines.append(f"{name} is {'not ' if served else ''}there: {seen[name]}")
    return lines


def not_following(seen: Mapping[str, tuple[str, ...]]) -> list[str]:
    """A line where the worker has not been told all of it."""
    words = " ".join(seen["following"])
    needed = ("ovn-encap-ip", "ovn-encap-type geneve", "ovn-remote tcp:", "ptcp:6642")
    missing = [word for word in needed if word not in words]
    return [f"the worker does not follow the central, it lacks {missing}"] if missing else []


def untruths_of_doctor(text: str, *, follows: bool) -> list[str]:
    """What `doctor` says of a worker's part in OVN that is not so."""
    try:
        checks = {check["name"]: check["ok"] for one in json.loads(text) for check in one["checks"]}
    except (ValueError, KeyError, TypeError):
        return [f"doctor cannot be read: {text}"]
    said = all(checks.get(name) for name in ("OVN's settings", "OVN's central"))
    return [f"doctor says {checks}"] if said != follows else []
