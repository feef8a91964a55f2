"""Many cuts, on several workers at once, written down as they come: a sweep can go on later."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from vmops.lab import Lab

from .cuts import Place
from .ground import ROOT, Ground
from .judge import Trial, Undisturbed
from .operations import Operation
from .trial import measure, run_trial
from .waiting import Hung


@dataclass
class Journal:
    """One line of JSON for each trial, by its place's name."""

    path: Path

    def read(self) -> dict[str, Trial]:
        """All trials that were written. A line that was cut off counts as none."""
        found: dict[str, Trial] = {}
        if self.path.exists():
            for line in self.path.read_text().splitlines():
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                place = entry.pop("place")
                found[place] = Trial(**entry)
        return found

    def add(self, place: str, trial: Trial) -> None:
        """Append a trial."""
        trial.commit = trial.commit or checked_out()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps({"place": place, **asdict(trial)}) + "\n")


@cache
def checked_out() -> str:
    """The commit of this folder, with a star where something differs from it."""
    argv = ("git", "describe", "--always", "--dirty=*")
    return subprocess.run(
        argv, cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()


@contextmanager
def grounds(lab: Lab, folder: Path) -> Iterator[list[Ground]]:
    """A ground on every second worker of a lab that is up, with the one behind it beside."""
    with ExitStack() as stack:
        made = []
        names = [worker.name for worker in lab.status().workers]
        for worker, peer in zip(names[::2], names[1::2], strict=True):
            place = folder / worker
            place.mkdir()
            made.append(Ground(lab, worker, place, peer=peer))
            stack.callback(made[-1].end)
        yield made


class Sweep:
    """Runs places until all are done, or the time is up."""

    def __init__(self, lanes: Sequence[Ground], tell: Callable[[str, Trial], None]) -> None:
        self._lanes = lanes
        self._tell = tell
        self._lock = threading.Lock()
        self._failures: list[BaseException] = []

    def run(self, places: Sequence[Place], *, seconds: float | None = None) -> None:
        """Tell of each trial as it ends. Raises what went wrong with the sweep itself."""
        left: queue.SimpleQueue[Place] = queue.SimpleQueue()
        for place in places:
            left.put(place)
        deadline = None if seconds is None else time.monotonic() + seconds
        threads = [
            threading.Thread(target=self._work, args=(lane, left, deadline)) for lane in self._lanes
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._failures:
            raise self._failures[0]

    def _work(self, lane: Ground, left: queue.SimpleQueue[Place], deadline: float | None) -> None:
        measured: dict[Operation, Undisturbed] = {}
        try:
            while not self._failures and (deadline is None or time.monotonic() < deadline):
                place = left.get_nowait()
                trial = self._trial(lane, place, measured)
                with self._lock:
                    self._tell(place.name, trial)
        except queue.Empty:
            return
        except BaseException as error:
            self._failures.append(error)

    @staticmethod
    def _trial(lane: Ground, place: Place, measured: dict[Operation, Undisturbed]) -> Trial:
        """The trial of a place. An operation that fails undisturbed is a violation, too."""
        operation = place.operation
        try:
            if operation not in measured:
                measured[operation] = measure(lane, operation)
        except (Hung, RuntimeError) as error:
            return Trial(operation.name, "undisturbed", reached=False, violations=[str(error)])
        whole = measured[operation]
        return run_trial(lane, operation, place.cut(whole.extent), whole)


def report(trials: Sequence[Trial]) -> str:
    """The figures: by operation, by kind of cut, and every violation with its repetition."""
    by_operation, by_kind = defaultdict(list), defaultdict(list)
    for trial in trials:
        by_operation[trial.operation].append(trial)
        by_kind[":".join(trial.cut.split(":")[:2])].append(trial)
    lines = [_table("operation", by_operation), "", _table("cut", by_kind)]
    bad = [trial for trial in trials if trial.violations]
    known = sum(not trial.unknown for trial in bad)
    longest = max((trial.command_s for trial in trials), default=0.0)
    lines += [
        "",
        f"{len(trials)} cuts, {len(bad)} with a violation, {known} of them known;"
        f" the longest command took {longest:.0f} s",
    ]
    commits = Counter(trial.commit for trial in trials if trial.commit)
    if commits:
        lines.append("at " + ", ".join(f"{name}: {number}" for name, number in commits.items()))
    for trial in bad:
        lines += ["", trial.repeat, *(f"  {line}" for line in trial.violations)]
        lines += [f"    {line}" for text in trial.said for line in text.splitlines()]
    return "\n".join(lines)


def _table(heading: str, groups: dict[str, list[Trial]]) -> str:
    rows: list[tuple[str, ...]] = [
        (heading, "cuts", "reached", "before", "after", "between", "bad", "median s", "max s")
    ]
    for name, trials in sorted(groups.items()):
        outcomes = Counter(trial.outcome for trial in trials if trial.reached)
        seconds = sorted(trial.seconds for trial in trials)
        rows.append(
            (
                name,
                str(len(trials)),
                str(sum(trial.reached for trial in trials)),
                *(str(outcomes[word]) for word in ("before", "after", "between")),
                str(sum(bool(trial.violations) for trial in trials)),
                f"{seconds[len(seconds) // 2]:.1f}",
                f"{seconds[-1]:.1f}",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            word.ljust(width) if column == 0 else word.rjust(width)
            for column, (word, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def say(line: str) -> None:
    """Progress, beside the figures."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201
