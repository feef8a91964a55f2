"""`python -m bench`: the options, and the parts in order. scripts/bench calls it."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench import report, results, scaling
from bench.disks import disks
from bench.errors import BenchFailed
from bench.fleet import fleet
from bench.moving import moving
from bench.networks import networks
from bench.overlay import overlay
from bench.place import ROOT, Place
from bench.profile import TASKS, profile
from bench.single import WAYS, single
from bench.transfer import transfer
from vmops.errors import VmopsError

RESULTS = ROOT / "bench" / "results"
LATEST, PART = RESULTS / "latest.json", RESULTS / "part.json"
"""Of a whole run, whose figures the documentation quotes; of any other."""

ROUNDS, QUICK_ROUNDS = 7, 3


def options() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="The same work in a lab of its own, done by vmops and in the other ways.",
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="fewer rounds and sizes, no slow ways: two minutes")
    add("--rounds", type=int, help=f"how often each way is measured ({ROUNDS})")
    add("--ways", default="", help="only these, by key: vmops,script,documented-there,...")
    add("--delays", default="", help="round trips in ms (0,20,100)")
    add("--single", action="store_true", help="one VM, in every way")
    add("--fleet", action="store_true", help="twenty VMs on four workers")
    add("--scaling", action="store_true", help="by interfaces, VMs and workers")
    add("--networks", action="store_true", help="verify of forty VMs, a network's up, and OVN")
    add("--disks", action="store_true", help="a launch without and with an overlay and a seed")
    add("--transfer", action="store_true", help="an image to a worker, beside scp, instead")
    add("--moving", action="store_true", help="a live move and an interface, beside virsh, instead")
    add("--profile", choices=tuple(TASKS), help="where the time of this task goes, instead")
    add("--output", type=Path, help=f"where the JSON goes ({LATEST.name}, {PART.name} of a part)")
    add("--show", type=Path, help="only print the tables of this JSON")
    found = parser.parse_args()
    found.output = found.output or (PART if len(sys.argv) > 1 else LATEST)
    parts = ("single", "fleet", "scaling", "networks", "disks")
    if not any(getattr(found, part) for part in parts):
        for part in parts:
            setattr(found, part, True)
    found.rounds = found.rounds or (QUICK_ROUNDS if found.quick else ROUNDS)
    delays = found.delays or ("0,100" if found.quick else "0,20,100")
    found.delays = [int(delay) for delay in delays.split(",")]
    found.ways = [key for key in found.ways.split(",") if key]
    if unknown := set(found.ways) - WAYS.keys():
        parser.error(f"no such way: {', '.join(unknown)}; there are {', '.join(WAYS)}")
    if found.quick and not found.ways:
        found.ways = ["fabric", "script", "optimised", "vmops", "library"]
        found.ways += ["documented-there", "optimised-there"]
    return found


def main() -> int:
    """Measure, print, and save what was asked for."""
    asked = options()
    if asked.show:
        print(report.text(results.load(asked.show)))
        return 0
    measured = results.circumstances()
    try:
        with Place() as place:
            if asked.profile:
                print(profile(place, asked.profile, asked.rounds, say=_say()))
                return 0
            if asked.moving:
                print(moving(place, asked.rounds, say=_say()))
                return 0
            _measure(place, asked, into=measured)
    except (BenchFailed, VmopsError) as failure:
        print(f"error: {failure}", file=sys.stderr)
        results.save(measured, PART)
        print(f"what was measured before it is in {PART}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: the lab is removed", file=sys.stderr)
        return 130
    results.save(measured, asked.output)
    print(report.text(measured))
    return 0


def _measure(place: Place, asked: argparse.Namespace, *, into: results.Results) -> None:
    """Each part as it is done: ten minutes of figures are not lost when a later part fails."""
    say = _say()
    if into["load"] > 0.5:
        say(f"this machine is busy (load {into['load']}): take the figures as rough")
    if asked.transfer:
        into["transfer"] = transfer(place, asked.rounds, say=say)
        return
    if asked.single:
        into["single"] = single(place, asked.delays, asked.rounds, only=asked.ways, say=say)
    if asked.fleet:
        rounds = max(2, asked.rounds - 2)
        each = 2 if asked.quick else 5
        into["fleet"] = fleet(place, rounds, each=each, only=asked.ways, say=say)
    if asked.scaling:
        into["scaling"] = {
            "interfaces": scaling.interfaces(
                place, (1, 8) if asked.quick else range(1, 9), asked.rounds, say=say
            ),
            "machines": scaling.machines(
                place, (1, 10) if asked.quick else (1, 5, 10, 20, 50), say=say
            ),
            "workers": scaling.workers(
                place, (1, 8) if asked.quick else (1, 2, 4, 8, 16, 32), asked.rounds, say=say
            ),
        }
    if asked.networks:
        into["networks"] = networks(place, asked.rounds, say=say)
        with Place(ovn=True) as other:
            into["overlay"] = overlay(other, asked.rounds, say=say)
    if asked.disks:
        into["disks"] = disks(place, asked.rounds, say=say)
    say("done")


def _say() -> Callable[[str], None]:
    begun = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - begun:6.1f} s  {text}", file=sys.stderr, flush=True)

    return say


if __name__ == "__main__":
    sys.exit(main())
