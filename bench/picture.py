"""Draws a run's results as an SVG. Run in .venv-bench: `python -m bench.picture JSON SVG`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl  # type: ignore[import-not-found, unused-ignore]
from matplotlib.figure import Figure  # type: ignore[import-not-found, unused-ignore]

OURS, OTHERS, THERE = "#1a7f5a", "#9aa5b1", "#d9b45b"
"""vmops, the other ways from the operator's machine, and the ways without a network."""

LEGEND = "green: vmops · grey: other ways over SSH · yellow: on the worker itself, no network"

STYLE = {
    "font.size": 9,
    "svg.hashsalt": "vmops",
    "svg.fonttype": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
}

Entries = Mapping[str, Mapping[str, Any]]


def draw(results: Mapping[str, Any], path: Path) -> None:
    """One VM near and far, the fleet, and what more interfaces and more workers cost."""
    mpl.rcParams.update(STYLE)
    figure = Figure(figsize=(11, 7.6), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(1.25, 1))
    delays = results.get("single", {})
    if delays:
        upper.suptitle("One VM, 4 interfaces on 4 VLANs: launch plus stop, seconds", fontsize=10.5)
        axes = upper.subplots(1, len(delays), sharey=True, squeeze=False)[0]
        for axis, (delay, entries) in zip(axes, delays.items(), strict=True):
            _bars(axis, f"round trip {delay} ms", entries)
    left, middle, right = lower.subplots(1, 3, width_ratios=(1.5, 1, 1))
    lower.supxlabel(LEGEND, fontsize=8.5)
    fleet = results.get("fleet", {"ways": {}, "vms": 0, "workers": 0})
    title = f"{fleet['vms']} VMs on {fleet['workers']} workers: up plus down, seconds"
    _bars(left, title, fleet["ways"])
    scaling = results.get("scaling", {})
    _interfaces(middle, scaling.get("interfaces", {"rows": []})["rows"])
    _workers(right, scaling.get("workers", {"rows": []})["rows"])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def _bars(axis: Any, title: str, entries: Entries) -> None:
    """A bar for each way that was measured, the first at the top, with its seconds behind it."""
    shown = {key: entry for key, entry in entries.items() if "seconds" in entry}
    names = [entry["title"] for entry in shown.values()]
    seconds = [entry["seconds"] for entry in shown.values()]
    bars = axis.barh(names, seconds, color=[_colour(key) for key in shown], height=0.72)
    axis.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    if not axis.yaxis_inverted():
        axis.invert_yaxis()
    axis.margins(x=0.15)
    axis.tick_params(left=False, bottom=False, labelbottom=False)
    axis.spines[["bottom", "left"]].set_visible(False)
    axis.set_title(title)


def _colour(key: str) -> str:
    if key in ("vmops", "library"):
        return OURS
    return THERE if key.endswith("-there") else OTHERS


def _interfaces(axis: Any, rows: Sequence[Mapping[str, float]]) -> None:
    counts = [row["interfaces"] for row in rows]
    for key, label, colour in (
        ("launch", "vmops, connection open", OURS),
        ("script_there", "optimised script there", THERE),
    ):
        axis.plot(counts, [row[key] * 1000 for row in rows], "o-", color=colour, label=label, ms=4)
    _finish(axis, "Launch, ms, by interfaces")


def _workers(axis: Any, rows: Sequence[Mapping[str, float]]) -> None:
    counts = [row["workers"] for row in rows]
    for key, label, style in (("with_vms", "a VM on each", "o-"), ("idle", "idle workers", "o:")):
        axis.plot(counts, [row[key] for row in rows], style, color=OURS, label=label, ms=4)
    _finish(axis, "Status, s, by workers")


def _finish(axis: Any, title: str) -> None:
    axis.set_ylim(bottom=0)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_title(title)
    axis.grid(axis="y", alpha=0.3)
    axis.legend(frameon=False, fontsize=8, loc="lower right")


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
