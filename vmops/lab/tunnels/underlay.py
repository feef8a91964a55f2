"""Where tunnels between the workers of a lab begin: an address in a VLAN of the switch.

With the userspace datapath a tunnel has to leave by a port of Open vSwitch, so it is one.
"""

from __future__ import annotations

from vmops.lab.init import ip_batch
from vmops.lab.layout import tunnel_address
from vmops.lab.tools import call

DEVICE = "underlay"
TAG = 4094


def start(worker: str, *, bridge: str) -> None:
    """Give the worker its address. The switch runs."""
    call(
        *("ovs-vsctl", "add-port", bridge, DEVICE, f"tag={TAG}"),
        *("--", "set", "Interface", DEVICE, "type=internal"),
    )
    ip_batch(
        [
            f"link set {DEVICE} addrgenmode none",
            f"address add {tunnel_address(worker)}/24 dev {DEVICE}",
            f"link set {DEVICE} up",
        ]
    )


def carry_nothing_else(trunk: str) -> None:
    """Have the way to the switch carry no other VLAN."""
    call("ovs-vsctl", "set", "Port", trunk, f"trunks={TAG}", "vlan_mode=trunk")
