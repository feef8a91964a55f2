"""What networks cost: `fab verify` of many VMs, and a network brought up on its node."""

from __future__ import annotations

import time
from statistics import median

from bench.errors import BenchFailed
from bench.machines import FIRST_VLAN
from bench.machines import fleet as fleet_of
from bench.place import Place
from bench.processes import Call, run
from bench.results import Results
from bench.single import Say
from bench.ways import vmops
from vmops import load
from vmops.core.devices.network.service import services
from vmops.ops.network import serving
from vmops.ops.route import Route
from vmops.remote.counters import counted
from vmops.remote.ssh.connection import close_all

WORKERS, EACH = 4, 10
NETWORK = f"""
[networks.bench]
vlan_id = {FIRST_VLAN}
subnet = "192.168.0.0/24"
dhcp = true
dns = true
internet = true
"""


def networks(place: Place, rounds: int, *, say: Say) -> Results:
    """`fab verify`, by frames alone and with what the network lets its guests do, of 40 VMs that
    are plugged on 4 workers; and the network made and removed over a connection that is open."""
    vms = fleet_of(place.grow(WORKERS), each=EACH, interfaces=1)
    place.prepare(vms)
    text = place.inventory.read_text()
    head, begin, rest = text.replace(f"vlan_id = {FIRST_VLAN}", 'network = "bench"').partition(
        "\n[vms."
    )
    place.inventory.write_text(f"{head}\n{NETWORK}{begin}{rest}")
    say(f"a network of {len(vms)} VMs on {WORKERS} workers")
    made = _made(place, rounds)
    try:
        for words in (("net.up",), ("plug", "--vm", "*")):
            run(vmops.fab(place, *words))
        whole = vmops.fab(place, "verify")
        frames = vmops.fab(place, "verify", "--no-services")
        rows: dict[str, list[float]] = {"verify": [], "frames": []}
        for number in range(rounds):
            say(f"verify; round {number + 1} of {rounds}")
            rows["verify"].append(_seconds(whole))
            rows["frames"].append(_seconds(frames))
        found = {name: round(median(seconds), 4) for name, seconds in rows.items()}
    finally:
        run(vmops.fab(place, "unplug", "--vm", "*"))
        run(vmops.fab(place, "net.down"))
    return {"rows": [{"vms": len(vms), "workers": WORKERS, **found, **made}]}


def _made(place: Place, rounds: int) -> Results:
    """How long a network takes to be made on its node, and in how many exchanges."""
    listed = load(place.inventory)
    wanted = services(listed.networks, listed.vms, listed.workers)
    ((node, mine),) = wanted.items()
    route = Route(listed.worker(node))
    took, exchanges = [], 0
    try:
        for _ in range(rounds):
            _good(serving.remove(route, tuple(mine)))
            before, begun = counted().exchanges, time.monotonic()
            _good(serving.bring(route, mine))
            took.append(time.monotonic() - begun)
            exchanges = counted().exchanges - before
        _good(serving.remove(route, tuple(mine)))
    finally:
        close_all()
    return {"net_up": round(median(took), 4), "net_up_exchanges": exchanges}


def _good(outcomes: list[serving.NetworkOutcome]) -> None:
    for each in outcomes:
        if each.error is not None:
            raise BenchFailed(str(each.error))


def _seconds(call: Call) -> float:
    begun = time.monotonic()
    run(call)
    return time.monotonic() - begun
