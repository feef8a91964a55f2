"""The results as text: a table for each part, and the list of what was reached."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bench.results import Results
from bench.tables import table
from bench.targets import verdicts

_RATIOS = ("x script: of all calls as one script over one new ssh; ", "x there: of the documented")
NOTE = f"{_RATIOS[0]}{_RATIOS[1]} calls on the worker itself"


def text(results: Results) -> str:
    """All that was measured. Seconds are medians; a ratio is the median of the rounds' ratios."""
    return "\n\n".join(_parts(results))


def _parts(results: Results) -> Iterator[str]:
    if "single" in results:
        yield f"One VM, 4 interfaces on 4 VLANs, launch plus stop\n{NOTE}"
        yield _single(results["single"])
        yield from _left_out(next(iter(results["single"].values())))
    if "fleet" in results:
        fleet = results["fleet"]
        yield f"{fleet['vms']} VMs on {fleet['workers']} workers, all up and all down"
        present = _present(fleet["ways"])
        yield table(("way", *_MEASURES), [_fleet_row(entry) for entry in present.values()])
        yield from _left_out(fleet["ways"])
    for name, of in results.get("scaling", {}).items():
        yield _SCALING[name]
        yield _rows(of["rows"])
        yield from _remarks(of)
    if "networks" in results:
        yield "A network of VMs that are plugged (cold `fab verify`; library: net up; seconds)"
        yield _rows(results["networks"]["rows"])
    if "overlay" in results:
        yield "VMs in a VLAN and in a network of OVN (cold `fab up`; seconds)"
        yield _rows(results["overlay"]["up"])
        yield "Ports plugged at once in either (cold `fab plug`; seconds, and what tools wrote)"
        yield _rows(results["overlay"]["plug"])
    if "disks" in results:
        yield "A launch without and with an overlay and a seed (cold `fab launch`; seconds)"
        yield _rows(results["disks"]["rows"])
    for name, of in results.get("transfer", {}).items():
        yield f"{name}: an image of {of['mib']} MiB to a worker, of which {of['data_mib']} are data"
        yield table(("way", "s", "x scp", "peak MiB"), list(_transfer_rows(of["ways"])))
        if of["missing"]:
            yield f"not installed here: {', '.join(of['missing'])}"
    found = verdicts(results)
    if found:
        yield "\n".join(["Must be reached:", *map(str, found)])


_MEASURES = ("s", "up", "down", "x script", "x there", "logins", "turns", "KiB", "MiB", "rounds")

_SCALING = {
    "interfaces": "One more interface (library, connection open; seconds)",
    "machines": "One more VM on a worker (library, all in one call; seconds)",
    "workers": "One more worker (a cold `fab status`; seconds)",
}


def _single(delays: Mapping[str, Results]) -> str:
    columns = [column for d in delays for column in (f"{d} ms: s", "x script", "x there")]
    headings = ("way", *columns, "logins", "turns", "KiB", "MiB", "rounds")
    nearest = next(iter(delays.values()))
    rows = []
    for key, entry in _present(nearest).items():
        cells = [_cells(at[key]) for at in delays.values()]
        rows.append([entry["title"], *(cell for three in cells for cell in three), *_counts(entry)])
    return table(headings, rows)


def _present(entries: Results) -> Results:
    return {key: entry for key, entry in entries.items() if "seconds" in entry}


def _left_out(entries: Results) -> Iterator[str]:
    reasons = [(e["title"], e["missing"]) for e in entries.values() if "missing" in e]
    if reasons:
        yield "\n".join(f"left out: {title}: {why}" for title, why in reasons)


def _fleet_row(entry: Results) -> list[str]:
    seconds, of_script, of_there = _cells(entry)
    halves = (_number(entry.get("start"), 2), _number(entry.get("stop"), 2))
    return [entry["title"], seconds, *halves, of_script, of_there, *_counts(entry)]


def _transfer_rows(ways: Results) -> Iterator[list[str]]:
    for way, entry in ways.items():
        seconds, of_scp = _number(entry["seconds"], 2), _number(entry["of_scp"], 2)
        yield [way, seconds, of_scp, _number(entry["peak_mib"], 0)]


def _cells(entry: Results) -> tuple[str, str, str]:
    return (
        _number(entry.get("seconds"), 2),
        _number(entry.get("of_script"), 2),
        _number(entry.get("of_there"), 2),
    )


def _counts(entry: Results) -> list[str]:
    whole = [_number(entry.get(key), 0) for key in ("connections", "turns", "kib")]
    memory = _number(entry.get("peak_mib") or None, 0)
    return [*whole, memory, _number(entry.get("rounds"), 0)]


def _rows(rows: list[dict[str, Any]]) -> str:
    headings = tuple(rows[0])
    cells = [[_figure(row[name]) for name in headings] for row in rows]
    return table([name.replace("_", " ") for name in headings], cells)


def _remarks(of: Results) -> Iterator[str]:
    if "growth_s" in of:
        grown = (f"{key.replace('_', ' ')} {s * 1000:.1f} ms" for key, s in of["growth_s"].items())
        yield f"growth for each interface: {', '.join(grown)}"
    if "login" in of:
        yield f"one ssh login beside it: {of['login']:.3f} s"


def _figure(value: float) -> str:
    return f"{value:.3f}" if isinstance(value, float) and value != int(value) else f"{value:.0f}"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
