"""Where the time of one `fab` goes, part by part: on the operator's side and on the worker."""

from __future__ import annotations

import json
import re
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

from bench import state
from bench.figures import median
from bench.machines import machine
from bench.place import ROOT, Place
from bench.processes import Call, run
from bench.tables import table
from bench.ways import vmops

INSTRUMENTED = Path(__file__).with_name("instrumented.py")
TASKS = {
    "launch": ("launch", "--vm", "bench"),
    "stop": ("stop", "--force", "--vm", "bench"),
    "status": ("status", "--vm", "bench"),
}
"""What can be looked at, and the words of fab for it."""

TRACE = "/tmp/trace"
"""On the worker."""

Notes = dict[str, float]


def profile(place: Place, task: str, rounds: int, *, say: Callable[[str], None]) -> str:
    """The tables for one of `TASKS`: its parts, its slowest modules, its scripts on the worker."""
    place.grow(1)
    place.prepare((machine("bench"),))
    runs = []
    for number in range(rounds + 1):
        say(f"fab {task}, {number} of {rounds}")
        _before(place, task)
        runs.append(_instrumented(place, TASKS[task]))
    _before(place, task)
    modules = _modules(place, TASKS[task])
    _before(place, task)
    _instrumented(place, TASKS[task], trace=TRACE)
    traces = place.inside("worker1", ("sh", "-c", f"ls {TRACE}.*")).split()
    scripts = [_on_the_worker(place, trace) for trace in traces]
    return "\n\n".join([_parts(task, runs[1:]), modules, *scripts])


def _before(place: Place, task: str) -> None:
    """The state from which the task has something to do."""
    state.clean(place, "worker1")
    if task == "stop":
        run(vmops.fab(place, *TASKS["launch"]))


def _instrumented(place: Place, words: Sequence[str], *, trace: str = "-") -> Notes:
    """One run: seconds by part."""
    notes = place.directory / "notes.json"
    argv = (sys.executable, str(INSTRUMENTED), str(notes), trace, *words)
    begun = time.monotonic()
    run(Call(argv, environment=place.environment(), directory=str(ROOT)))
    ended = time.monotonic()
    record = json.loads(notes.read_text())
    return {
        "start of Python": record["begun"] - begun,
        **record["seconds"],
        "end of Python": ended - record["ended"],
        "all of it": ended - begun,
    }


def _parts(task: str, runs: Sequence[Notes]) -> str:
    names = dict.fromkeys(name for notes in runs for name in notes)
    rows = []
    for name in names:
        times = [notes.get(name, 0.0) * 1000 for notes in runs]
        rows.append([name, f"{median(times):.1f}", f"{min(times):.1f}"])
    headings = (f"fab {task}: part", "median ms", "least ms")
    return table(headings, rows)


def _modules(place: Place, words: Sequence[str]) -> str:
    """The modules of this project that take longest to import, by Python's own account."""
    said = place.directory / "import-times"
    fab = vmops.fab(place, *words)
    shell = f"exec {shlex.join([sys.executable, '-X', 'importtime', *fab.argv])} 2>{said}"
    run(Call(("sh", "-c", shell), environment=fab.environment, directory=fab.directory))
    found = re.findall(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)", said.read_text())
    packages: dict[str, float] = {}
    for microseconds, name in found:
        package = name if name.startswith("vmops.") else name.partition(".")[0]
        packages[package] = packages.get(package, 0.0) + int(microseconds) / 1000
    ours = sum(spent for name, spent in packages.items() if name.startswith("vmops"))
    slowest = sorted(packages.items(), key=lambda item: -item[1])[:25]
    rows = [[name, f"{spent:.1f}"] for name, spent in [("all of vmops", ours), *slowest]]
    return table(("imported", "ms, without what it imports"), rows)


def _on_the_worker(place: Place, trace: str) -> str:
    """The slowest commands of one script, each with what it took until the next one began."""
    lines = place.inside("worker1", ("cat", trace))
    found = re.findall(r"^\++ (\d+\.\d+) (.*)$", lines, re.MULTILINE)
    moments = [(float(at), words) for at, words in found]
    pairs = pairwise(moments)
    spent = [((later - at) * 1000, words) for (at, words), (later, _) in pairs]
    slowest = sorted(spent, reverse=True)[:15]
    rows = [["all of it", f"{sum(taken for taken, _ in spent):.1f}"]]
    rows += [[words[:100], f"{taken:.1f}"] for taken, words in slowest]
    number = trace.rpartition(".")[2]
    return table((f"script {number}, by bash on the worker", "ms"), rows)
