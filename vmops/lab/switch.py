"""The lab's physical switch: a namespace with a plain bridge, which keeps VLAN tags.

Beside it is another bridge, the lab's internet: this namespace is its only host, at 203.0.113.254.
Nothing leads from there to anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from vmops.lab.init import host_pid, ip_batch, report_and_reap
from vmops.lab.layout import INTERNET, OUTSIDE_HOST, SWITCH


def main() -> None:
    """Be PID 1 of the switch's namespaces. Workers plug themselves in."""
    pid = host_pid()
    ip_batch(
        [
            f"link add {SWITCH} type bridge mcast_snooping 0",
            f"link set {SWITCH} addrgenmode none",
            f"link set {SWITCH} up",
            "link set lo up",
            f"link add {INTERNET} type bridge mcast_snooping 0",
            f"link set {INTERNET} addrgenmode none",
            f"address add {OUTSIDE_HOST}/24 dev {INTERNET}",
            f"link set {INTERNET} up",
        ]
    )
    report_and_reap(pid)


def without_vlans(worker: str, vlans: Iterable[int]) -> str:
    """For `nft -f -` in the switch: its port to this worker carries every VLAN but these.

    The bridge itself filters VLANs only where the kernel was built so.
    """
    table = f"table bridge port_{worker}"
    rules = [
        f"{way} {worker} vlan id {vlan} drop" for vlan in vlans for way in ("iifname", "oifname")
    ]
    chain = "\n".join(["type filter hook forward priority 0", *rules])
    made = f"{table} {{\nchain vlans {{\n{chain}\n}}\n}}\n" if rules else ""
    return f"{table} {{}}\ndelete {table}\n{made}"


def vlans_left_out(ruleset: str) -> dict[str, list[int]]:
    """By worker, from what `nft list ruleset` says of these tables."""
    found: dict[str, list[int]] = {}
    for port, vlan in re.findall(r'iifname "([^"]+)" vlan id (\d+) drop', ruleset):
        found.setdefault(port, []).append(int(vlan))
    return found


if __name__ == "__main__":
    main()
