"""What makes a worker follow OVN's central, and what it lacks for that. Pure decisions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from vmops.core.facts.network.following import TOOLS_OF_CENTRAL, Following
from vmops.core.inventory.model import Worker
from vmops.core.names import NET_LOCK, OVN_BRIDGE
from vmops.core.plan.checks import OVN_CURE
from vmops.core.plan.health import Check
from vmops.core.script.command import Block, Command, Step, command
from vmops.core.script.functions import VSCTL
from vmops.errors import WorkFailed

PORT = 6642
"""Where a southbound database listens by convention."""

OWN_BRIDGE, TUNNELS, REMOTE = "bridge", "tunnels", "central"
LISTEN, CONNECTED = "listen", "connected"

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


def remote(central: Worker) -> str:
    """Where controllers find the southbound database."""
    return f"tcp:{_bracketed(central)}:{PORT}"


def _bracketed(worker: Worker) -> str:
    ip = worker.tunnel_ip or ""
    return f"[{ip}]" if ":" in ip else ip


def wanted(worker: Worker, central: Worker, found: Following) -> dict[str, dict[str, str]]:
    """The settings of a worker, those of each command together. Its name there stays what it is."""
    own = {"ovn-bridge": OVN_BRIDGE}
    if found.datapath == "netdev":
        own["ovn-bridge-datapath-type"] = found.datapath
    if not found.settings.get("system-id"):
        own["system-id"] = worker.name
    return {
        OWN_BRIDGE: own,
        TUNNELS: {"ovn-encap-type": "geneve", "ovn-encap-ip": worker.tunnel_ip or ""},
        REMOTE: {"ovn-remote": remote(central)},
    }


def lacking(worker: Worker, central: Worker, found: Following) -> dict[str, dict[str, str]]:
    """Those of them that are not so."""
    groups = wanted(worker, central, found)
    differs = {
        label: {key: value for key, value in group.items() if found.settings.get(key) != value}
        for label, group in groups.items()
    }
    return {label: group for label, group in differs.items() if group}


def set_up(worker: Worker, central: Worker, found: Following) -> Setup:
    """The commands that a worker lacks. Raises WorkFailed where it has no OVN, and where that
    follows somebody else's central already."""
    if found.missing:
        raise WorkFailed(_not_installed(found), worker=worker.name, cure=_install(found))
    other = found.settings.get("ovn-remote", "")
    if other not in ("", remote(central)):
        raise WorkFailed(
            f"its OVN follows another central, {other}",
            worker=worker.name,
            cure="if that is nobody's any more, there:"
            " sudo ovs-vsctl remove Open_vSwitch . external_ids ovn-remote",
        )
    steps = [
        Step(label, (_setting(group),)) for label, group in lacking(worker, central, found).items()
    ]
    if worker == central and not listens(central, found):
        listen = command("listen_for_workers", f"ptcp:{PORT}:{_bracketed(central)}")
        steps.insert(0, Step(LISTEN, (listen,)))
    if not steps and not found.fault:
        return Setup()
    steps.append(Step(CONNECTED, (command("await_central"),), may_fail=True))
    return Setup(Block("ovn", tuple(steps), lock=NET_LOCK, change="ovn.setup"))


def _setting(values: Mapping[str, str]) -> Command:
    words = (f'external_ids:{key}="{value}"' for key, value in values.items())
    return command(VSCTL, "set", "Open_vSwitch", ".", *words)


def listens(central: Worker, found: Following) -> bool:
    """True where the southbound database can be reached at the central's address."""
    own = _bracketed(central)
    everywhere = (f"ptcp:{PORT}", f"ptcp:{PORT}:0.0.0.0", f"ptcp:{PORT}:[::]")
    return any(each in (*everywhere, f"ptcp:{PORT}:{own}") for each in found.listens)


def checks(worker: Worker, central: Worker, found: Following) -> list[Check]:
    """What `doctor` says of a worker's part in OVN."""
    if found.missing:
        return [Check("OVN", False, _not_installed(found), _install(found))]
    setup = f"fab -H {worker.name} ovn.setup"
    result = [Check("OVN", True, "installed")]
    lacks = {k: v for group in lacking(worker, central, found).values() for k, v in group.items()}
    said = ", ".join(
        f"{key} is {found.settings.get(key) or 'not set'}, not {value}"
        for key, value in lacks.items()
    )
    follows = f"tunnels at {worker.tunnel_ip}, central {remote(central)}"
    result.append(Check("OVN's settings", not lacks, said or follows, setup))
    if worker == central:
        where = f"listens at {' '.join(found.listens)}" if found.listens else "listens nowhere"
        result.append(Check("OVN's central", listens(central, found), where, setup))
    cure = setup if lacks else OVN_CURE
    result.append(Check("ovn-controller", not found.fault, found.fault or "connected", cure))
    return result


def _not_installed(found: Following) -> str:
    return f"OVN is not installed: no {', no '.join(found.missing)}"


def _install(found: Following) -> str:
    only_central = set(found.missing) <= set(TOOLS_OF_CENTRAL)
    if only_central:
        return "there: sudo apt install ovn-central"
    more = " ovn-central" if set(found.missing) & set(TOOLS_OF_CENTRAL) else ""
    return _HOST_CURE + more
