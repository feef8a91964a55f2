"""Twenty VMs on four workers: all up, and all down, in the ways that know several workers."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from bench.machines import fleet as fleet_of
from bench.place import Place
from bench.results import Results, of_ways
from bench.single import Build, Say, built, prepared
from bench.turns import Measured, measure
from bench.ways import peers, shell, vmops

WAYS: Mapping[str, Build] = {
    "documented": shell.documented,
    "ansible": peers.ansible,
    "fabric": peers.fabric,
    "script": shell.script,
    "optimised": shell.optimised,
    "vmops": vmops.whole_inventory,
    "documented-there": shell.documented_there,
    "optimised-there": shell.optimised_there,
}
"""Every way by its key, in the order of the table."""

WORKERS = 4


def fleet(place: Place, rounds: int, *, each: int, only: Collection[str], say: Say) -> Results:
    """The entries of all ways, without delay: `each` VMs on every worker, one interface each."""
    vms = fleet_of(place.grow(WORKERS), each=each, interfaces=1)
    place.prepare(vms)
    say(f"{len(vms)} VMs on {WORKERS} workers")
    ways = built(WAYS, place, vms, only)
    peaks = prepared(place, vms, ways, say=say)
    measured = [Measured(way, peaks.get(way.key, 0)) for way in ways]
    measure(place, measured, rounds, say=say)
    return {"vms": len(vms), "workers": WORKERS, "ways": of_ways(measured)}
