"""The lab's physical switch: a namespace with a plain bridge, which keeps VLAN tags."""

from __future__ import annotations

from vmops.lab.init import host_pid, ip_batch, report_and_reap
from vmops.lab.layout import SWITCH


def main() -> None:
    """Be PID 1 of the switch's namespaces. Workers plug themselves in."""
    pid = host_pid()
    ip_batch(
        [
            f"link add {SWITCH} type bridge mcast_snooping 0",
            f"link set {SWITCH} addrgenmode none",
            f"link set {SWITCH} up",
        ]
    )
    report_and_reap(pid)


if __name__ == "__main__":
    main()
