"""The texts that a lab writes for its users: hosts.toml and known_hosts."""

from __future__ import annotations

import re
from collections.abc import Mapping

from vmops.lab.layout import OUTSIDE_HOST, OVN_OUTSIDE, PROVIDER, UPLINK, Layout, tunnel_address

_YOURS = re.compile(
    r"^\[\[?(?:vms|vm_defaults|templates|networks|images)[].].*", re.MULTILINE | re.DOTALL
)

HEADER = """\
# The lab's inventory. What stands before the first network, image or VM is written anew when the
# lab gets workers; what follows is yours, until `fab lab.down` removes it.
"""

SAMPLES = """\
[vms.vm1]
vm_id = 1001
worker = "{first}"
ram_mb = 512
cores = 1
vnc_port = 5901
qcow_image = "~/vm_images/vm1_img.qcow2"

[[vms.vm1.interfaces]]
name = "eth1"
vlan_id = 101
mac = "52:54:00:03:e9:01"

[vms.vm2]
vm_id = 1002
worker = "{second}"
ram_mb = 512
cores = 1
vnc_port = 5902
qcow_image = "~/vm_images/vm2_img.qcow2"

[[vms.vm2.interfaces]]
name = "eth1"
vlan_id = 101

[[vms.vm2.interfaces]]
name = "eth2"
vlan_id = 102
"""


def hosts_toml(layout: Layout, addresses: Mapping[str, str], *, before: str = "") -> str:
    """The inventory of a lab with these workers, each with its address.

    `before` is what the file holds now: its VMs, from the first line on that begins a table of
    them, of their defaults, of a template, a network or an image, are kept as they are. Without
    them there are two samples.
    """
    lines = [
        HEADER,
        "[defaults]",
        'user = "ubuntu"',
        'bridge = "br-int"',
        'accel = "tcg"',
        'host_keys = "strict"',
        f'known_hosts = "{layout.known_hosts}"',
        f'uplink = "{UPLINK}"',
        f'network_node = "{next(iter(addresses))}"',
        *(('mesh = "vxlan"',) if layout.mesh else ()),
        "",
    ]
    if layout.ovn:
        gateways = ", ".join(f'"{name}:{PROVIDER}"' for name in [*addresses][:2])
        lines += [
            "[ovn]",
            f'northbound = "{next(iter(addresses))}"',
            f"gateways = [{gateways}]",
            f'outside = "{OVN_OUTSIDE}/24"',
            f'next_hop = "{OUTSIDE_HOST}"',
            "",
        ]
    for name, address in addresses.items():
        lines += [
            f"[workers.{name}]",
            f'address = "{address}"',
            f"port = {layout.port}",
            f'identity_file = "{layout.private_key}"',
            *((f'encap_ip = "{tunnel_address(name)}"',) if layout.has_underlay else ()),
            "",
        ]
    kept = _YOURS.search(before)
    names = list(addresses)
    samples = SAMPLES.format(first=names[0], second=names[:2][-1])
    return "\n".join(lines) + "\n" + (kept.group() if kept else samples)


def known_hosts(layout: Layout, addresses: Mapping[str, str]) -> str:
    """A line for each worker. Its host key must have been made."""
    lines = []
    for name, address in addresses.items():
        key = layout.host_key(name).with_suffix(".pub").read_text()
        host = address if layout.port == 22 else f"[{address}]:{layout.port}"
        lines.append(f"{host} {' '.join(key.split()[:2])}\n")
    return "".join(lines)
