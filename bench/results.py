"""What a part of the bench gives, as JSON has it: entries of ways, and what the machine was."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.figures import median, ratio
from bench.turns import Measured

SCRIPT, THERE = "script", "documented-there"
"""The two ways that all others are compared with."""

Results = dict[str, Any]


def of_ways(measured: Sequence[Measured]) -> Results:
    """An entry for each way, in order: medians, ratios to the two references, counts, every run."""
    by_key = {each.way.key: each for each in measured}
    return {key: _entry(each, by_key) for key, each in by_key.items()}


def _entry(each: Measured, by_key: Mapping[str, Measured]) -> Results:
    way, runs = each.way, list(each.runs.values())
    if not runs:
        return {"title": way.title, "missing": way.missing or "was not asked for"}
    return {
        "title": way.title,
        "rounds": len(runs),
        "seconds": round(median(run.seconds for run in runs), 4),
        "least": round(min(run.seconds for run in runs), 4),
        "start": round(median(run.start_s for run in runs), 4),
        "stop": round(median(run.stop_s for run in runs), 4),
        "of_script": _ratio(each, by_key.get(SCRIPT)),
        "of_there": _ratio(each, by_key.get(THERE)),
        "connections": median(run.traffic.connections for run in runs),
        "turns": median(run.traffic.turns for run in runs),
        "kib": round(median(run.traffic.bytes for run in runs) / 1024, 1),
        "exchanges": median(run.exchanges for run in runs),
        "peak_mib": round(each.peak_kib / 1024, 1),
        "runs": [[round(run.start_s, 4), round(run.stop_s, 4)] for run in runs],
    }


def _ratio(mine: Measured, theirs: Measured | None) -> float | None:
    found = ratio(mine.seconds(), theirs.seconds()) if theirs is not None else None
    return None if found is None else round(found, 3)


def circumstances() -> Results:
    """When and where it was measured. `load` is what else the machine did when it began."""
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "kernel": platform.release(),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("vmops", "fabric", "paramiko")},
            "openssh": _first_line("ssh", "-V"),
            "openvswitch": _first_line("ovs-vsctl", "--version"),
            "qemu": _first_line("qemu-system-x86_64", "--version"),
        },
    }


def _first_line(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).partition("\n")[0]


def save(results: Results, path: Path) -> None:
    """Write them down for later, and for the picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")


def load(path: Path) -> Results:
    """What `save` wrote."""
    found: Results = json.loads(path.read_text())
    return found
