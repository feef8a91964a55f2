"""Open vSwitch: one transaction for a change of ports, one query for what is there.

Ports are marked with the conventional `external_ids` of an Interface (`iface-id`, `attached-mac`,
`iface-status`, `vm-uuid`) and with `vmops-vm`, their owner.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from vmops.core.inventory.attachment import Attachment, LogicalPort, Trunk
from vmops.core.inventory.model import VM, Nic
from vmops.core.names import OVN_BRIDGE
from vmops.core.script.command import FACT_BYTES, Command, command
from vmops.core.script.functions import SWITCH_LIMIT_S, VSCTL
from vmops.core.tools.ovsdb import members, optional, rows

OWNER = "vmops-vm"
LINK = "vmops-link"
NETWORK = "vmops-net"
SILENT = "silent "
DRAINED = "vmops-drained"
AWAY = "vmops-away"
OVN_SAYS = "ovn "
INSTALLED = "ovn-installed"
_VSCTL = ("ovs-vsctl", f"--timeout={SWITCH_LIMIT_S}")


class Port(NamedTuple):
    """One row of Port, with its bridge and its Interface's owner and state.

    `tag` is None for a trunk. `ofport` is None until the switch has taken the port, -1 when it
    could not; `error` then says why. What is `protected` gets nothing from others that are. `kind`
    and `options` are its Interface's `type` and `options`.
    """

    name: str
    bridge: str
    tag: int | None
    trunks: tuple[int, ...] = ()
    vlan_mode: str = ""
    external_ids: Mapping[str, str] = MappingProxyType({})
    ofport: int | None = None
    error: str = ""
    protected: bool = False
    kind: str = ""
    options: Mapping[str, str] = MappingProxyType({})

    @property
    def owner(self) -> str:
        """The VM that vmops made the port for, or another system's `iface-id`, or empty."""
        return self.external_ids.get(OWNER) or self.external_ids.get("iface-id", "")

    @property
    def is_open(self) -> bool:
        """True where it belongs to no VLAN, and so lets all of them in."""
        return self.tag is None and not self.trunks

    @property
    def is_installed(self) -> bool:
        """True where OVN has made the flows of the port; that stays so when its controller goes."""
        return self.external_ids.get(INSTALLED) == "true"

    @property
    def is_pulled(self) -> bool:
        """True where `nic.down` has pulled the cable that its guest sees."""
        return LINK in self.external_ids


class Switch(NamedTuple):
    """What the worker's Open vSwitch holds: bridge name to datapath type, and every port by name.

    `fault` says why it could not be read, in its own words; then the rest is unknown, not absent.
    `dead` says why nobody follows what is written there, else it is empty. A fake bridge is one
    VLAN of a bridge: `parents` has that one by its name. The bridges that are `silent` have
    fail_mode secure, no flow that forwards, and no controller that would make one. `ovn` says what
    is wrong with OVN's controller, where there is a bridge for it.
    """

    bridges: Mapping[str, str] = MappingProxyType({})
    ports: Mapping[str, Port] = MappingProxyType({})
    fault: str = ""
    dead: str = ""
    parents: Mapping[str, str] = MappingProxyType({})
    silent: frozenset[str] = frozenset()
    ovn: str = ""

    def real(self, bridge: str) -> str:
        """The bridge that has the ports of this one: another one, where it is a fake bridge."""
        return self.parents.get(bridge, bridge)

    def lifeless(self, bridge: str) -> str:
        """Why nothing passes this bridge, or that OVN's does not follow its central; or empty."""
        if bridge == OVN_BRIDGE and self.ovn:
            return self.dead or self.ovn
        if self.real(bridge) in self.silent:
            return f"{self.real(bridge)} forwards nothing: fail_mode is secure, and it has no flows"
        return self.dead


def bridge_of(nic: Nic, bridge: str) -> str:
    """The bridge that an interface's port is on, where `bridge` is the one that carries VLANs."""
    return OVN_BRIDGE if isinstance(nic.attachment, LogicalPort) else bridge


def plug(bridge: str, vm: VM, nics: Iterable[Nic], *, kept: Container[str] = ()) -> Command:
    """One transaction: a port for each interface, its VLAN and its owner.

    A port that is `kept` is changed where it is: to replace it would cut a VM off for a moment. Any
    other that has the name goes first: `--may-exist … tag=` would keep its VLAN.
    """
    words: list[str] = [VSCTL]
    for nic in nics:
        if nic.tap in kept:
            own = columns(nic.attachment)
            words += ["--", "set", "Port", nic.tap, *own, *(_NO_TRUNK if len(own) == 1 else ())]
        else:
            words += ["--", "--if-exists", "del-port", nic.tap]
            words += ["--", "add-port", bridge_of(nic, bridge), nic.tap]
            words += columns(nic.attachment)
        words += ["--", "set", "Interface", nic.tap]
        words += [f"external_ids:{key}={_quoted(value)}" for key, value in _marks(vm, nic)]
    return Command(tuple(words), common=1)


_NO_TRUNK = ("trunks=[]", "vlan_mode=[]")


def mark(port: str, vm: str) -> Command:
    """Put the VM's mark on a port that is there, and leave the rest of it alone."""
    return command(VSCTL, "set", "Interface", port, f"external_ids:{OWNER}={_quoted(vm)}")


def mark_link(port: str, *, up: bool) -> Command:
    """Write down whether the cable is in: nobody can ask QEMU for that."""
    if up:
        return command(VSCTL, "--if-exists", "remove", "Interface", port, "external_ids", LINK)
    return command(VSCTL, "set", "Interface", port, f"external_ids:{LINK}=pulled")


def unmark(port: str) -> Command:
    """Take a port's mark away."""
    return command(VSCTL, "--if-exists", "remove", "Interface", port, "external_ids", OWNER)


def drop(ports: Iterable[str]) -> Command:
    """One transaction that removes the ports, which the switch has let go of when it ends.

    To be done before a device of that name is made: the switch opens it as soon as it is there, and
    sets it down again when it closes it.
    """
    words = (word for name in ports for word in ("--", "--if-exists", "del-port", name))
    return Command((VSCTL, *words), common=1)


def put_back(ports: Iterable[Port], *, kept: Container[str] = ()) -> Command:
    """One transaction: these ports as they were, those that were `kept` where they are.

    It does not wait for the switch, which may be what has failed.
    """
    words: list[str] = [*_VSCTL, "--no-wait"]
    for port in ports:
        tag = "[]" if port.tag is None else str(port.tag)
        values = (
            f"tag={tag}",
            f"trunks={json.dumps(port.trunks)}",
            f"vlan_mode={port.vlan_mode or '[]'}",
        )
        if port.name in kept:
            words += ["--", "--if-exists", "set", "Port", port.name, *values]
        else:
            words += ["--", "--if-exists", "del-port", port.name]
            words += ["--", "add-port", port.bridge, port.name, *values]
        # What OVN has written there is about the row that goes.
        kept_ids = {k: v for k, v in port.external_ids.items() if not k.startswith(INSTALLED)}
        marks = (f"{_quoted(key)}={_quoted(value)}" for key, value in kept_ids.items())
        words += ["--", "--if-exists", "set", "Interface", port.name]
        words += [f"external_ids={{{','.join(marks)}}}"]
    return command(*words)


def columns(attachment: Attachment | None) -> tuple[str, ...]:
    """The columns of Port that make an attachment.

    Raises ValueError without one: a port without a VLAN would be a trunk of all of them.
    """
    if attachment is None:
        raise ValueError("an interface that is not connected has no port")
    if isinstance(attachment, LogicalPort):
        return ()
    if isinstance(attachment, Trunk):
        tag = "[]" if attachment.native is None else str(attachment.native)
        vlans = ",".join(map(str, attachment.vlan_ids))
        return (f"tag={tag}", f"trunks=[{vlans}]", f"vlan_mode={attachment.mode}")
    return (f"tag={attachment.vlan_id}",)


def attached(port: Port) -> str:
    """What a port is attached to, in the words of an attachment.

    A port with trunks or a mode of its own is no plain access port.
    """
    if port.bridge == OVN_BRIDGE:
        return f"OVN port {port.external_ids.get('iface-id') or '(none)'}"
    if port.tag is None:
        mode = "" if port.vlan_mode in ("", "trunk") else f" with {port.vlan_mode}"
        return f"trunk {list(port.trunks) or 'of all VLANs'}{mode}"
    if port.trunks or port.vlan_mode not in ("", "access"):
        return f"{port.tag} with {port.vlan_mode or 'trunks'} {list(port.trunks)}"
    return str(port.tag)


def read_back(nics: Sequence[Nic]) -> tuple[Command, ...]:
    """Fail unless each port holds its VLAN or VLANs and the switch has taken it: `add-port` of a
    device that cannot be opened ends with 0."""
    plain = [nic for nic in nics if not isinstance(nic.attachment, Trunk | LogicalPort)]
    logical = [word for nic in nics if nic.port for word in (nic.tap, nic.port)]
    ports = [word for nic in plain for word in (nic.tap, str(nic.attachment))]
    trunks = [
        word
        for nic in nics
        if isinstance(found := nic.attachment, Trunk)
        for word in (
            nic.tap,
            "[]" if found.native is None else str(found.native),
            str(list(found.vlan_ids)),
            found.mode,
        )
    ]
    return (
        *((Command(("holds_ports", *ports), common=1),) if ports else ()),
        *((Command(("holds_trunks", *trunks), common=1),) if trunks else ()),
        *((Command(("holds_logical_ports", *logical), common=1),) if logical else ()),
    )


def _marks(vm: VM, nic: Nic) -> tuple[tuple[str, str], ...]:
    return (
        ("iface-id", nic.port or f"{vm.name}-{nic.name}"),
        ("attached-mac", nic.mac),
        ("iface-status", "active"),
        ("vm-uuid", vm.uuid),
        (OWNER, vm.name),
    )


def _quoted(value: str) -> str:
    """A string of OVSDB: in double quotes a value may hold any character, as in JSON."""
    return json.dumps(value)


def unplug(taps: Iterable[str]) -> Command:
    """One transaction that removes the ports, absent ones too.

    No bridge is named: a port of another bridge would make the removal fail. It does not wait for
    the switch, whose device `ip link del` takes away next.
    """
    words: list[str] = [*_VSCTL, "--no-wait"]
    for tap in taps:
        words += ["--", "--if-exists", "del-port", tap]
    return command(*words)


def unplug_own(vm: VM, taps: Iterable[str]) -> Command:
    """Remove those of the ports that carry the VM's mark; absent is fine."""
    return command("remove_own_ports", vm.name, *taps)


class Drained(NamedTuple):
    """What is written down of a worker whose VMs were taken away, and which these are. One that
    `is_open` again gets VMs, and has yet to get these back."""

    away: tuple[str, ...] = ()
    is_open: bool = False


def mark_drained(away: Iterable[str], *, is_open: bool = False) -> tuple[Command, ...]:
    """Write it down beside the switch's own settings: they are there after a reboot too, which is
    what a worker is most often drained for."""
    names = ",".join(away)
    table = ("Open_vSwitch", ".")
    value = f'external_ids:{AWAY}="{names}"'
    drop = (command(VSCTL, "remove", *table, "external_ids", DRAINED),) if is_open else ()
    mark = () if is_open else (f"external_ids:{DRAINED}=true",)
    return (*drop, command(VSCTL, "set", *table, value, *mark))


def unmark_drained() -> Command:
    """Take it away; absent is fine."""
    words = ("remove", "Open_vSwitch", ".", "external_ids")
    return command(VSCTL, *words, DRAINED, "--", *words, AWAY)


def read_drained() -> Command:
    """What `parse_drained` reads."""
    return command("drained_facts", DRAINED, AWAY)


def parse_drained(answer: str) -> Drained | None:
    """What is written down of a worker; None where nothing is."""
    drained, away = (line.strip().strip('"') for line in [*answer.split("\n"), ""][:2])
    names = tuple(name for name in away.split(",") if name)
    return Drained(names, is_open=not drained) if drained or names else None


def query() -> Command:
    """The bridges, ports and interfaces, as three lines of JSON; then the silent bridges."""
    return command(
        "switch_tables",
        _VSCTL[1],
        "--format=json",
        *("--", "--columns=name,datapath_type,fail_mode,ports", "list", "Bridge"),
        *("--", f"--columns={_PORT}", "list", "Port"),
        *("--", f"--columns={_INTERFACE}", "list", "Interface"),
        most_bytes=FACT_BYTES,
    )


_PORT = "_uuid,name,tag,trunks,vlan_mode,fake_bridge,protected,interfaces"
_INTERFACE = "_uuid,name,external_ids,ofport,error,type,options"


def parse(answer: str) -> Switch:
    """The `Switch` from what `query` printed.

    Raises ValueError when that is not the three tables which were asked for.
    """
    lines = [line for line in answer.split("\n") if line.strip()]
    silent = [line.removeprefix(SILENT) for line in lines if line.startswith(SILENT)]
    ovn = [line.removeprefix(OVN_SAYS) for line in lines if line.startswith(OVN_SAYS)]
    count = len(lines) - len(silent) - len(ovn)
    if count != 3:
        raise ValueError(f"ovs-vsctl printed {count} lines, not 3 tables")
    try:
        found = _switch(lines[:3])._replace(silent=frozenset(silent))
        return found._replace(ovn=ovn_fault(ovn[0] if ovn else ""))
    except (KeyError, IndexError, TypeError) as odd:
        raise ValueError(f"ovs-vsctl's tables cannot be read: {odd!r}") from odd


UNTOLD = "untold"
"""The word of a worker for a controller that nothing was set for yet."""

_OVN_WORDS: Mapping[str, str] = {
    "gone": "ovn-controller does not run",
    "deaf": "ovn-controller does not answer",
    "not connected": "ovn-controller has no connection to OVN's central",
    UNTOLD: "ovn-controller was not told where OVN's central is",
}


def ovn_fault(word: str) -> str:
    """What is wrong with OVN's controller, by the word that a worker has for it; empty for none."""
    return _OVN_WORDS.get(word, f"ovn-controller says {word!r}") if word else ""


def _switch(tables: Sequence[str]) -> Switch:
    bridges, ports, interfaces = (rows(table) for table in tables)
    bridge_of = {port: row["name"] for row in bridges for port in members(row["ports"])}
    interface_of = {row["_uuid"][1]: row for row in interfaces}
    found = {}
    for row in ports:
        backing = [interface_of[i] for i in members(row["interfaces"]) if i in interface_of]
        found[row["name"]] = _port(row, backing, bridge_of.get(row["_uuid"][1], ""))
    kinds = {row["name"]: row["datapath_type"] for row in bridges}
    parents = {row["name"]: found[row["name"]].bridge for row in ports if row["fake_bridge"]}
    kinds |= {fake: kinds.get(parent, "") for fake, parent in parents.items()}
    return Switch(kinds, found, parents=parents)


def _port(row: Mapping[str, Any], backing: Sequence[Mapping[str, Any]], bridge: str) -> Port:
    first = backing[0] if backing else _NO_INTERFACE
    marks: Any = first["external_ids"]
    options: Any = first["options"]
    return Port(
        name=row["name"],
        bridge=bridge,
        tag=optional(row["tag"]),
        trunks=tuple(members(row["trunks"])),
        vlan_mode=optional(row["vlan_mode"]) or "",
        external_ids=dict(marks[1]),
        ofport=optional(first["ofport"]),
        error=optional(first["error"]) or "",
        protected=bool(row["protected"]),
        kind=first["type"],
        options=dict(options[1]),
    )


_NO_INTERFACE: Mapping[str, Any] = {
    **{key: ["map", []] for key in ("external_ids", "options")},
    "ofport": [],
    "error": [],
    "type": "",
}
