"""What more of something costs: interfaces of a VM, VMs on a worker, workers in the inventory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from bench.figures import median, slope
from bench.machines import fleet as fleet_of
from bench.machines import machine
from bench.place import Place, Traffic
from bench.processes import Call, Processes, Work
from bench.results import Results
from bench.single import Say
from bench.turns import Measured, measure
from bench.ways import shell, vmops
from vmops.core.inventory.model import VM
from vmops.ops.vm.lifecycle import launch
from vmops.ops.vm.status import status
from vmops.remote.counters import counted
from vmops.remote.ssh.connection import close_all


def interfaces(place: Place, counts: Sequence[int], rounds: int, *, say: Say) -> Results:
    """Launch and stop of a VM by its number of interfaces, as a library and by the best script."""
    place.grow(1)
    vms = [machine(f"nics-{n}", number=20 + n, interfaces=n) for n in counts]
    place.prepare(vms)
    library = [Measured(vmops.warm(place, [vm])) for vm in vms]
    script = [Measured(shell.optimised_there(place, [vm])) for vm in vms]
    say(f"interfaces: {', '.join(map(str, counts))}")
    measure(place, [*library, *script], rounds, say=lambda text: None)
    rows = [
        {
            "interfaces": count,
            "launch": median(run.start_s for run in mine.runs.values()),
            "stop": median(run.stop_s for run in mine.runs.values()),
            "script_there": median(run.start_s for run in other.runs.values()),
            "exchanges": median(run.exchanges for run in mine.runs.values()),
            "turns": median(run.traffic.turns for run in mine.runs.values()),
        }
        for count, mine, other in zip(counts, library, script, strict=True)
    ]
    growth = {key: slope([(row["interfaces"], row[key]) for row in rows]) for key in _GROWING}
    return {"rows": rows, "growth_s": growth}


_GROWING = ("launch", "stop", "script_there")


def machines(place: Place, counts: Sequence[int], *, say: Say) -> Results:
    """All VMs of one worker launched, looked at and stopped at once, by how many they are."""
    place.grow(1)
    most = [machine(f"many-{n}", number=100 + n, interfaces=1) for n in range(max(counts))]
    place.prepare(most)
    rows = []
    for count in counts:
        say(f"VMs on one worker: {count}")
        rows.append(_machines(place, most[:count]))
    return {"rows": rows}


def _machines(place: Place, vms: Sequence[VM]) -> Results:
    kill = vmops.Operation(place, vmops.kill, vms)
    vmops.Operation(place, vmops.kill, vms[:1])()
    try:
        before = counted()
        launched_s = _seconds(vmops.Operation(place, launch, vms))
        exchanges = (counted() - before).exchanges
        status_s = median([_seconds(vmops.Operation(place, status, vms)) for _ in range(3)])
        return {
            "vms": len(vms),
            "launch": launched_s,
            "status": status_s,
            "stop": _seconds(kill),
            "exchanges": exchanges,
        }
    finally:
        close_all()


def workers(place: Place, counts: Sequence[int], rounds: int, *, say: Say) -> Results:
    """A cold `fab status` of so many workers, first idle and then with a VM each, and one ssh login
    measured beside it."""
    names = place.grow(max(counts))
    vms = fleet_of(names, each=1, interfaces=1)
    place.prepare(vms)
    idle = _looks(place, names, counts, rounds, say=lambda text: say(f"{text}, idle"))
    vmops.Operation(place, launch, vms)()
    close_all()
    try:
        busy = _looks(place, names, counts, rounds, say=lambda text: say(f"{text}, a VM on each"))
    finally:
        vmops.Operation(place, vmops.kill, vms)()
        close_all()
    return {
        "login": median(look.login_s for looks in (idle, busy) for look in looks),
        "rows": [
            {
                "workers": count,
                "idle": without.status_s,
                "of_login": without.of_login,
                "with_vms": with_vms.status_s,
                "with_vms_of_login": with_vms.of_login,
                "connections": with_vms.traffic.connections,
                "turns": with_vms.traffic.turns,
                "peak_mib": with_vms.peak_mib,
            }
            for count, without, with_vms in zip(counts, idle, busy, strict=True)
        ],
    }


class _Look(NamedTuple):
    """`fab status` of some workers: medians, in seconds; the ratio is the median of the rounds'."""

    status_s: float
    login_s: float
    of_login: float
    traffic: Traffic
    peak_mib: float


def _looks(
    place: Place, names: Sequence[str], counts: Sequence[int], rounds: int, *, say: Say
) -> list[_Look]:
    """One for each count; in a round each count takes its turn, a login before it."""
    login = Processes([[Call((*place.ssh(names[0]), "true"))]])
    asked = [
        Processes([[vmops.fab(place, "status", "--worker", ",".join(names[:count]))]])
        for count in counts
    ]
    peaks = [work.weigh() for work in asked]
    runs: list[list[tuple[float, float, Traffic]]] = [[] for _ in counts]
    for number in range(rounds):
        say(f"workers: {', '.join(map(str, counts))}; round {number + 1} of {rounds}")
        for work, mine in zip(asked, runs, strict=True):
            login_s = _seconds(login)
            before = place.traffic()
            mine.append((_seconds(work), login_s, place.traffic() - before))
    return [
        _Look(
            status_s=median(status_s for status_s, _, _ in mine),
            login_s=median(login_s for _, login_s, _ in mine),
            of_login=median(status_s / login_s for status_s, login_s, _ in mine),
            traffic=mine[-1][2],
            peak_mib=round(peak / 1024, 1),
        )
        for mine, peak in zip(runs, peaks, strict=True)
    ]


def _seconds(work: Work) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun
