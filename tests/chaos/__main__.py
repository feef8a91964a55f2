"""`scripts/chaos`: the command line of the sweep and the soak."""

from __future__ import annotations

import argparse
import fnmatch
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import take_signals_as_a_terminal_gives_them
from tests.system.conftest import free_network
from vmops.lab import Lab

from .cuts import NETWORK, SIGNALS, plan, read_cut
from .ground import ROOT
from .judge import Trial
from .operations import OPERATIONS, Operation
from .soak import Round, run_round, soak_report
from .sweep import Journal, Sweep, grounds, report, say
from .trial import measure, run_trial

JOURNAL = ROOT / "build" / "chaos" / "sweep.jsonl"


def options(words: Sequence[str]) -> argparse.Namespace:
    """The options that were given."""
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__)
    parser.add_argument("--only", default="*", help="operations: names or globs, with commas")
    parser.add_argument("--cuts", default="*", help="kinds of cut: names or globs, with commas")
    parser.add_argument("--points", type=int, default=6, help="cuts in each row of the plan")
    parser.add_argument(
        "--seed", type=int, default=1, help="where exactly they are, and their order"
    )
    parser.add_argument("--workers", type=int, default=2, help="workers, each a sweep of its own")
    parser.add_argument("--for", dest="seconds", type=seconds_of, help="stop after, like 20m")
    parser.add_argument("--journal", type=Path, default=JOURNAL, help="goes on where this ends")
    parser.add_argument("--fresh", action="store_true", help="forget the journal first")
    parser.add_argument("--report", action="store_true", help="only show the journal's figures")
    parser.add_argument("--list", action="store_true", help="only show operations and kinds of cut")
    parser.add_argument("--repeat", metavar="OPERATION@CUT", help="do this one cut")
    parser.add_argument("--soak", type=seconds_of, help="several operators at random, for so long")
    return parser.parse_args(words)


def seconds_of(text: str) -> float:
    """`90`, `90s`, `20m` or `1h` in seconds."""
    match = re.fullmatch(r"(\d+)([smh]?)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; like 90s, 20m or 1h")
    return int(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def selected(patterns: str, names: Sequence[str]) -> list[str]:
    """The names that one of the patterns means; exits when one means nothing."""
    for pattern in patterns.split(","):
        if not fnmatch.filter(names, pattern):
            sys.exit(f"nothing is called {pattern!r}; there are {', '.join(names)}")
    return [name for name in names if any(fnmatch.fnmatch(name, p) for p in patterns.split(","))]


@contextmanager
def lab_of(workers: int) -> Iterator[tuple[Lab, Path]]:
    """A lab for this process alone, with a second worker beside each, and a folder."""
    with tempfile.TemporaryDirectory(prefix="vmops-chaos-") as name:
        folder = Path(name)
        lab = Lab(folder / "lab")
        lab.up(2 * workers, network=free_network(), owner=os.getpid())
        try:
            yield lab, folder
        finally:
            lab.down()


def sweep(given: argparse.Namespace, operations: Sequence[Operation]) -> int:
    """Run what the journal lacks, then show the figures. Exit code 1 when there is a violation."""
    kinds = selected(given.cuts, [*NETWORK, *SIGNALS])
    places = plan(points=given.points, seed=given.seed, operations=operations, kinds=kinds)
    journal = Journal(given.journal)
    if given.fresh:
        journal.path.unlink(missing_ok=True)
    done = journal.read()
    left = [place for place in places if place.name not in done]
    say(f"{len(places)} cuts, {len(left)} to do; seed {given.seed}, journal {journal.path}")
    began = time.monotonic()
    count = 0

    def tell(place: str, trial: Trial) -> None:
        nonlocal count
        count += 1
        journal.add(place, trial)
        say(
            f"{count}/{len(left)} {trial.operation}@{trial.cut}: {trial.outcome},"
            f" exit {trial.code}, {trial.seconds:.1f} s"
            + "".join(f"\n  VIOLATION {line}" for line in trial.violations)
        )

    try:
        if left and not given.report:
            with lab_of(given.workers) as (lab, folder), grounds(lab, folder) as lanes:
                Sweep(lanes, tell).run(left, seconds=given.seconds)
    except KeyboardInterrupt:
        say("interrupted; the same command goes on")
    done = journal.read()
    trials = [done[place.name] for place in places if place.name in done]
    print(report(trials))  # noqa: T201
    say(f"{count} cuts in {time.monotonic() - began:.0f} s, {len(places) - len(trials)} left")
    return int(any(trial.unknown for trial in trials))


def repeat(text: str) -> int:
    """One cut, by its own name."""
    name, _, cut = text.partition("@")
    operation = next((operation for operation in OPERATIONS if operation.name == name), None)
    if operation is None:
        sys.exit(f"no operation is called {name!r}")
    with lab_of(1) as (lab, folder), grounds(lab, folder) as (ground,):
        whole = measure(ground, operation)
        say(f"undisturbed: {whole.extent}")
        trial = run_trial(ground, operation, read_cut(cut), whole)
    print(report([trial]))  # noqa: T201
    return int(bool(trial.violations))


def soak(seconds: float, seed: int) -> int:
    """Rounds until the time is up. Exit code 1 when there is a violation."""
    rounds: list[Round] = []
    deadline = time.monotonic() + seconds
    with lab_of(1) as (lab, folder), grounds(lab, folder) as (ground,):
        try:
            while time.monotonic() < deadline:
                rounds.append(run_round(ground, seed + len(rounds)))
                done = rounds[-1]
                say(
                    f"seed {done.seed}: {done.commands} commands, {done.cut} ended by a signal,"
                    f" {done.faults} faults, {done.seconds:.0f} s"
                    + "".join(f"\n  VIOLATION {line}" for line in done.violations)
                )
                if done.violations:
                    ground.wipe()
        except KeyboardInterrupt:
            say("interrupted")
    print(soak_report(rounds))  # noqa: T201
    return int(any(done.violations for done in rounds))


def main() -> int:
    """Do what is asked."""
    given = options(sys.argv[1:])
    take_signals_as_a_terminal_gives_them()
    names = selected(given.only, [operation.name for operation in OPERATIONS])
    operations = [operation for operation in OPERATIONS if operation.name in names]
    if given.list:
        print("\n".join(f"{o.name}: fab {' '.join(o.words)}" for o in operations))  # noqa: T201
        print("cuts:", ", ".join([*NETWORK, *SIGNALS]))  # noqa: T201
        return 0
    if given.soak:
        return soak(given.soak, given.seed)
    if given.repeat:
        return repeat(given.repeat)
    return sweep(given, operations)


if __name__ == "__main__":
    sys.exit(main())
