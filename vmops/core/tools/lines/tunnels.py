"""VXLAN tunnels of Open vSwitch: the ports of a mesh between workers, built and read.

Each is a protected port: the switch gives nothing out by one that came in by another, so a mesh in
which everybody has a tunnel to everybody has no loop. That is decided by ovs-vswitchd for both
datapaths, the kernel's and its own. A frame's VLAN tag travels inside the tunnel.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from vmops.core.names import IFNAMSIZ_BYTES
from vmops.core.script.command import Command
from vmops.core.script.functions import VSCTL
from vmops.core.tools.ovs import Port, attached

MESH = "vmops-mesh"
"""The key in `external_ids` that marks a tunnel; its value is the worker at the other end."""

KIND = "vxlan"
VNI = 0x766D6F
"""Beside other VXLANs between the same addresses; the number is nobody's in particular."""


class Tunnel(NamedTuple):
    """A tunnel to the worker `peer`, between two addresses, that carries these VLANs alone."""

    peer: str
    local: str
    remote: str
    vlans: tuple[int, ...]

    @property
    def port(self) -> str:
        """Its port's name: devices have 15 bytes, so the peer is hashed."""
        return port_to(self.peer)

    @property
    def options(self) -> dict[str, str]:
        """The column of Interface."""
        return {"local_ip": self.local, "remote_ip": self.remote, "key": str(VNI)}


def port_to(peer: str) -> str:
    """The name of the port that leads to a worker."""
    return f"vmx{hashlib.sha256(peer.encode()).hexdigest()}"[: IFNAMSIZ_BYTES - 2]


def of_mesh(ports: Iterable[Port]) -> list[Port]:
    """Those that are tunnels of ours."""
    found = (port for port in ports if MESH in port.external_ids)
    return sorted(found, key=lambda port: port.name)


def differs(port: Port, wanted: Tunnel, bridge: str) -> list[tuple[str, str, str]]:
    """What of a port is not as the tunnel is wanted: the field, how it is, how it should be."""
    trunk = f"trunk {list(wanted.vlans)}"
    pairs = (
        ("bridge", port.bridge, bridge),
        ("VLANs", attached(port), trunk),
        ("split horizon", _word(port.protected), _word(True)),
        ("way", _way(port.kind, port.options), _way(KIND, wanted.options)),
        ("port", port.error or "plugged", "plugged"),
    )
    return [pair for pair in pairs if pair[1] != pair[2]]


def _word(protected: bool) -> str:
    return "on" if protected else "off"


def _way(kind: str, options: Mapping[str, str]) -> str:
    ends = " to ".join(options.get(key, "any") for key in ("local_ip", "remote_ip"))
    others = {key: value for key, value in options.items() if key not in ("local_ip", "remote_ip")}
    return f"{kind} {ends}{''.join(f' {k}={v}' for k, v in sorted(others.items()))}"


def change(
    bridge: str,
    tunnels: Sequence[Tunnel],
    *,
    first_gone: Iterable[str] = (),
    gone: Iterable[str] = (),
) -> Command:
    """One transaction: these tunnels as they are wanted, and those ports gone.

    What is `first_gone` goes before, and is made anew: on another bridge it could not be changed.
    """
    words: list[str] = [VSCTL]
    for port in (*gone, *first_gone):
        words += ["--", "--if-exists", "del-port", port]
    for one in tunnels:
        trunk = [f"trunks=[{','.join(map(str, one.vlans))}]", "vlan_mode=trunk"]
        words += ["--", "--may-exist", "add-port", bridge, one.port]
        words += ["--", "set", "Port", one.port, "tag=[]", *trunk, "protected=true"]
        words += ["--", "set", "Interface", one.port, f"type={KIND}", _options(one.options)]
        words += [f"external_ids:{MESH}={json.dumps(one.peer)}"]
    return Command(tuple(words), common=1)


def put_back(ports: Iterable[Port], *, made: Iterable[str] = ()) -> Command:
    """One transaction: these ports as they were, and those that were `made` gone."""
    words: list[str] = [VSCTL]
    for name in made:
        words += ["--", "--if-exists", "del-port", name]
    for port in ports:
        tag = "[]" if port.tag is None else str(port.tag)
        mark = json.dumps(port.external_ids.get(MESH, ""))
        words += ["--", "--if-exists", "del-port", port.name]
        words += ["--", "add-port", port.bridge, port.name, f"tag={tag}"]
        words += [f"trunks={json.dumps(port.trunks)}", f"vlan_mode={port.vlan_mode or '[]'}"]
        words += [f"protected={json.dumps(port.protected)}"]
        words += ["--", "set", "Interface", port.name, f"type={port.kind or json.dumps('')}"]
        words += [_options(port.options), f"external_ids:{MESH}={mark}"]
    return Command(tuple(words), common=1)


def read_back(tunnels: Iterable[Tunnel]) -> Command:
    """Fail unless the switch has taken each: an `add-port` that it cannot follow ends with 0."""
    return Command(("holds_tunnels", *(one.port for one in tunnels)), common=1)


def _options(options: Mapping[str, str]) -> str:
    inside = ",".join(f"{key}={json.dumps(value)}" for key, value in sorted(options.items()))
    return f"options={{{inside}}}"
