"""The calls by Fabric alone: a `run` for each, on all workers at once where there are several."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from fabric import Connection, ThreadingGroup


def main() -> None:
    """Run the step named by the second word for the VMs in the file named by the first."""
    orders = json.loads(Path(sys.argv[1]).read_text())
    step = sys.argv[2]
    addresses = {(vm["address"], vm["port"]) for vm in orders["vms"]}
    group = ThreadingGroup.from_connections(
        connection(orders, address, port) for address, port in sorted(addresses)
    )
    target = group if len(group) > 1 else group[0]
    for number in dict.fromkeys(vm["number"] for vm in orders["vms"]):
        calls = next(vm[step] for vm in orders["vms"] if vm["number"] == number)
        for call in calls:
            target.run(call, hide=True, in_stream=False)


def connection(orders: dict[str, Any], address: str, port: int) -> Any:
    """A plain Connection with the key of the orders."""
    login = {"key_filename": orders["key"], "allow_agent": False, "look_for_keys": False}
    return Connection(address, user="ubuntu", port=port, connect_kwargs=login)


if __name__ == "__main__":
    main()
