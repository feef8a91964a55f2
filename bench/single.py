"""One VM with four interfaces on four VLANs: launch plus stop, in every way, near and far."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from bench import state
from bench.errors import BenchFailed
from bench.machines import machine
from bench.place import Place
from bench.results import Results, of_ways
from bench.turns import Checks, Measured, measure, warm_up
from bench.ways import peers, shell, virsh, vmops
from bench.ways.way import Way, unavailable
from vmops.core.inventory.model import VM

Say = Callable[[str], None]
Build = Callable[[Place, Sequence[VM]], Way]

WAYS: Mapping[str, Build] = {
    "documented": shell.documented,
    "ansible": peers.ansible,
    "pyinfra": peers.pyinfra,
    "fabric": peers.fabric,
    "virsh": virsh.virsh,
    "script": shell.script,
    "optimised": shell.optimised,
    "vmops": vmops.cold,
    "documented-there": shell.documented_there,
    "library": vmops.warm,
    "optimised-there": shell.optimised_there,
}
"""Every way by its key, in the order of the table."""


def single(
    place: Place, delays: Sequence[int], rounds: int, *, only: Collection[str], say: Say
) -> Results:
    """The entries of all ways for each round trip in ms. `only` names ways; empty means all."""
    place.grow(1)
    vms = (machine("bench"),)
    place.prepare(vms)
    ways = built(WAYS, place, vms, only)
    peaks = prepared(place, vms, ways, say=say)
    results: Results = {}
    for delay in delays:
        place.delay(delay)
        say(f"one VM, round trip {delay} ms")
        measured = [Measured(way, peaks.get(way.key, 0)) for way in ways]
        measure(place, measured, rounds, say=say)
        results[str(delay)] = of_ways(measured)
    place.delay(0)
    return results


def built(
    builders: Mapping[str, Build], place: Place, vms: Sequence[VM], only: Collection[str]
) -> list[Way]:
    """The ways for these VMs; all of them unless `only` names some."""
    return [build(place, vms) for key, build in builders.items() if not only or key in only]


def prepared(place: Place, vms: Sequence[VM], ways: list[Way], *, say: Say) -> dict[str, int]:
    """Warm every way up and see that it does the work; gives the peak memory in KiB by way.

    A way that fails takes no further part: it becomes a missing one in `ways`, with the reason.
    """
    checks = Checks(lambda: state.check_up(place, vms), lambda: state.check_down(place, vms))
    peaks = {}
    for number, way in enumerate(ways):
        if way.missing:
            say(f"left out: {way.title}: {way.missing}")
            continue
        say(f"warm-up: {way.title}")
        try:
            peaks[way.key] = warm_up(way, checks)
        except BenchFailed as failure:
            say(f"left out: {way.title}: {failure}")
            ways[number] = unavailable(way.key, way.title, f"failed: {failure}"[:200])
            for worker in dict.fromkeys(str(vm.worker) for vm in vms):
                state.clean(place, worker)
    return peaks
