"""pyinfra's inventory: every VM is a host of its own, at its worker's address."""

from __future__ import annotations

import json
import os
from pathlib import Path

_ORDERS = json.loads(Path(os.environ["BENCH_ORDERS"]).read_text())

vms = [
    (
        vm["name"],
        {
            "ssh_hostname": vm["address"],
            "ssh_port": vm["port"],
            "ssh_user": "ubuntu",
            "ssh_key": _ORDERS["key"],
            "ssh_known_hosts_file": _ORDERS["known_hosts"],
            "ssh_strict_host_key_checking": "yes",
            "ssh_allow_agent": False,
            "ssh_look_for_keys": False,
            "calls": vm[os.environ["BENCH_STEP"]],
        },
    )
    for vm in _ORDERS["vms"]
]
