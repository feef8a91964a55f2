"""What makes a worker follow OVN's central, and what it lacks for that. Pure decisions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from vmops.core.devices.network.logical import VLAN_WIRE
from vmops.core.devices.network.outside import OUTER_WIRE
from vmops.core.facts.network.following import TOOLS_OF_CENTRAL, Following, Outer
from vmops.core.inventory.inventory import Part
from vmops.core.inventory.model import Worker
from vmops.core.names import NET_LOCK, OUTER_BRIDGE, OVN_BRIDGE
from vmops.core.plan.checks import OVN_CURE
from vmops.core.plan.health import Check
from vmops.core.script.command import Block, Command, Step, command
from vmops.core.script.functions import VSCTL
from vmops.errors import WorkFailed

PORT = 6642
"""Where a southbound database listens by convention."""

OWN_BRIDGE, TUNNELS, REMOTE = "bridge", "tunnels", "central"
LISTEN, CONNECTED = "listen", "connected"
UPLINK, OUTSIDE, VLANS = "uplink", "outside", "vlans"
_MAPPINGS = "ovn-bridge-mappings"

_HOST_CURE = (
    "there, so that its controller does not take the bridge of VLANs when it starts:"
    f" sudo ovs-vsctl set Open_vSwitch . external_ids:ovn-bridge={OVN_BRIDGE};"
    " then: sudo apt install ovn-host"
)


class Setup(NamedTuple):
    """The block that sets a worker up, None where nothing is to be done."""

    block: Block | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """What it does, in a word each."""
        return tuple(step.label for step in self.block.numbered()) if self.block else ()


def remote(part: Part) -> str:
    """Where controllers find the southbound database."""
    return f"{'ssl' if part.tls else 'tcp'}:{_bracketed(part.central)}:{PORT}"


def _bracketed(worker: Worker) -> str:
    ip = worker.tunnel_ip or ""
    return f"[{ip}]" if ":" in ip else ip


def wanted(worker: Worker, part: Part, found: Following) -> dict[str, dict[str, str]]:
    """The settings of a worker, those of each command together. Its name there stays what it is."""
    own = {"ovn-bridge": OVN_BRIDGE}
    if found.datapath == "netdev":
        own["ovn-bridge-datapath-type"] = found.datapath
    if not found.settings.get("system-id"):
        own["system-id"] = worker.name
    groups = {
        OWN_BRIDGE: own,
        TUNNELS: {"ovn-encap-type": "geneve", "ovn-encap-ip": worker.tunnel_ip or ""},
        REMOTE: {"ovn-remote": remote(part)},
    }
    wires = {OUTER_WIRE: _outer_bridge(found.outer)} if found.outer is not None else {}
    if part.vlans:
        wires[VLAN_WIRE] = worker.bridge
    if wires:
        groups[OUTSIDE if found.outer is not None else VLANS] = {_MAPPINGS: _mapped(found, wires)}
    return groups


def _outer_bridge(outer: Outer) -> str:
    return outer.name if outer.is_bridge else OUTER_BRIDGE


def _mapped(found: Following, wires: Mapping[str, str]) -> str:
    """What this worker maps, ours among it: others' networks keep their bridges, and so does what
    another hosts.toml has of ours."""
    pairs = [pair for pair in found.settings.get(_MAPPINGS, "").split(",") if pair]
    mine = [f"{wire}:{bridge}" for wire, bridge in wires.items()]
    theirs = [pair for pair in pairs if pair.partition(":")[0] not in wires]
    return ",".join(pairs if set(mine) <= {*pairs} else [*theirs, *mine])


def lacking(worker: Worker, part: Part, found: Following) -> dict[str, dict[str, str]]:
    """Those of them that are not so."""
    groups = wanted(worker, part, found)
    differs = {
        label: {key: value for key, value in group.items() if found.settings.get(key) != value}
        for label, group in groups.items()
    }
    return {label: group for label, group in differs.items() if group}


def set_up(worker: Worker, part: Part, found: Following) -> Setup:
    """The commands that a worker lacks. Raises WorkFailed where it has no OVN, where that follows
    somebody else's central already, or this one by TLS which hosts.toml does not say, where it has
    no keys for TLS, and where a gateway's way out is none."""
    if found.missing:
        raise WorkFailed(_not_installed(found), worker=worker.name, cure=_install(found))
    _check_central(worker, part, found)
    if why := unfit(found.outer):
        cure = "name a device of its own, or a bridge of Open vSwitch, in [ovn] gateways"
        raise WorkFailed(f"OVN's way out: {why}", worker=worker.name, cure=cure)
    steps = [
        Step(label, (_setting(group),)) for label, group in lacking(worker, part, found).items()
    ]
    if worker == part.central and not listens(part, found):
        passive = "pssl" if part.tls else "ptcp"
        # Without TLS there is none here, or it would listen.
        open_ones = [each for each in _here(part.central, found) if each.startswith("ptcp:")]
        where = f"{passive}:{PORT}:{_bracketed(part.central)}"
        listen = command("listen_for_workers", where, *open_ones)
        steps.insert(0, Step(LISTEN, (listen,)))
    if (outer := found.outer) is not None and not _is_plugged(outer):
        steps.append(Step(UPLINK, _plugging(outer, found.datapath)))
    if not steps and not found.fault:
        return Setup()
    steps.append(Step(CONNECTED, (command("await_central"),), may_fail=True))
    return Setup(Block("ovn", tuple(steps), lock=NET_LOCK, change="ovn.setup"))


def _check_central(worker: Worker, part: Part, found: Following) -> None:
    """Raise WorkFailed where the worker follows another one, or this one otherwise, or cannot."""
    followed = found.settings.get("ovn-remote", "")
    openly, by_tls = (remote(part._replace(tls=tls)) for tls in (False, True))
    speaks_tls = worker == part.central and any(
        each.startswith("pssl:") for each in _here(part.central, found)
    )
    if not part.tls and (followed == by_tls or speaks_tls):
        raise WorkFailed(
            "its OVN goes by TLS, and hosts.toml does not say so",
            worker=worker.name,
            cure="write tls = true in [ovn]",
        )
    if lacks := _without_keys(worker, part, found):
        raise WorkFailed(
            f"no keys for TLS in {lacks}", worker=worker.name, cure="docs/networks.md says how"
        )
    if followed not in ("", openly, by_tls):
        raise WorkFailed(
            f"its OVN follows another central, {followed}",
            worker=worker.name,
            cure="if that is nobody's any more, there:"
            " sudo ovs-vsctl remove Open_vSwitch . external_ids ovn-remote",
        )


def _setting(values: Mapping[str, str]) -> Command:
    words = (f'external_ids:{key}="{value}"' for key, value in values.items())
    return command(VSCTL, "set", "Open_vSwitch", ".", *words)


def unfit(outer: Outer | None) -> str:
    """Why this is no way out, or empty: a device loses its addresses as a port of a bridge, and
    with them maybe the way that we came by."""
    if outer is None or outer.is_bridge:
        return ""
    if outer.missing:
        return f"there is no device and no bridge {outer.name}"
    if outer.port_of not in ("", OUTER_BRIDGE):
        return f"{outer.name} is a port of the bridge {outer.port_of}: name that instead"
    if outer.addresses:
        return f"{outer.name} has an address of its own, {outer.addresses[0]}"
    return ""


def _is_plugged(outer: Outer) -> bool:
    return outer.is_bridge or outer.port_of == OUTER_BRIDGE


def _plugging(outer: Outer, datapath: str) -> tuple[Command, ...]:
    kind = ("--", "set", "Bridge", OUTER_BRIDGE, f"datapath_type={datapath}") if datapath else ()
    port = ("--", "--may-exist", "add-port", OUTER_BRIDGE, outer.name)
    return (
        command(VSCTL, "--may-exist", "add-br", OUTER_BRIDGE, *kind, *port),
        command("ip", "link", "set", "dev", outer.name, "up"),
    )


def listens(part: Part, found: Following) -> bool:
    """True where the southbound database can be reached at the central's address; where workers
    are to follow by TLS, by that alone."""
    here = {each.partition(":")[0] for each in _here(part.central, found)}
    return here == {"pssl"} if part.tls else "ptcp" in here


def _here(central: Worker, found: Following) -> list[str]:
    """What stands for the central's address and port, by TLS or not."""
    own = (f"{PORT}:{ip}" for ip in ("0.0.0.0", "[::]", _bracketed(central)))
    places = {str(PORT), *own}
    return [each for each in found.listens if each.partition(":")[2] in places]


def _without_keys(worker: Worker, part: Part, found: Following) -> str:
    """What has no keys for TLS and needs them, in words; empty where nothing is lacking."""
    needed = {"switch": "Open vSwitch"} if part.tls else {}
    if part.tls and worker == part.central:
        needed["central"] = "OVN's southbound database"
    return " and ".join(name for key, name in needed.items() if key not in found.keys)


def checks(worker: Worker, part: Part, found: Following) -> list[Check]:
    """What `doctor` says of a worker's part in OVN."""
    if found.missing:
        return [Check("OVN", False, _not_installed(found), _install(found))]
    setup = f"fab -H {worker.name} ovn.setup"
    result = [Check("OVN", True, "installed")]
    lacks = {k: v for group in lacking(worker, part, found).values() for k, v in group.items()}
    said = ", ".join(
        f"{key} is {found.settings.get(key) or 'not set'}, not {value}"
        for key, value in lacks.items()
    )
    follows = f"tunnels at {worker.tunnel_ip}, central {remote(part)}"
    result.append(Check("OVN's settings", not lacks, said or follows, setup))
    if part.tls:
        keyless = _without_keys(worker, part, found)
        said = f"not in {keyless}" if keyless else "there"
        result.append(Check("OVN's keys", not keyless, said, "docs/networks.md says how"))
    if worker == part.central:
        where = f"listens at {' '.join(found.listens)}" if found.listens else "listens nowhere"
        result.append(Check("OVN's central", listens(part, found), where, setup))
    if found.outer is not None:
        result.append(_of_outer(found.outer, setup))
    cure = setup if lacks else OVN_CURE
    result.append(Check("ovn-controller", not found.fault, found.fault or "connected", cure))
    return result


def _of_outer(outer: Outer, setup: str) -> Check:
    why = unfit(outer)
    ok = not why and _is_plugged(outer)
    said = why or (outer.name if ok else f"{outer.name} is no port of {OUTER_BRIDGE}")
    return Check("OVN's way out", ok, said, "docs/networks.md says how" if why else setup)


def _not_installed(found: Following) -> str:
    return f"OVN is not installed: no {', no '.join(found.missing)}"


def _install(found: Following) -> str:
    only_central = set(found.missing) <= set(TOOLS_OF_CENTRAL)
    if only_central:
        return "there: sudo apt install ovn-central"
    more = " ovn-central" if set(found.missing) & set(TOOLS_OF_CENTRAL) else ""
    return _HOST_CURE + more
