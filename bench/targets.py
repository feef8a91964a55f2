"""What must be reached, as ratios within one run, and whether it was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.results import Results

ROUND_TRIPS_OF_AN_OPERATION = 4


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target: what is measured, the figure, the most it may be, and what was hoped for."""

    what: str
    figure: float
    limit: float
    unit: str = ""
    aim: bool = False

    @property
    def reached(self) -> bool:
        """Is the figure no more than the limit?"""
        return self.figure <= self.limit

    def __str__(self) -> str:
        word = "reached" if self.reached else "not reached"
        kind = "aim" if self.aim else "limit"
        figure = f"{self.figure:.2f}{self.unit}"
        return f"{word:11}  {figure:>8}  {kind} {self.limit:.2f}{self.unit}  {self.what}"


def verdicts(results: Results) -> list[Verdict]:
    """Every target that these results can tell of."""
    return [
        *_single(results),
        *_fleet(results),
        *_scaling(results),
        *_networks(results),
        *_overlay(results),
        *_disks(results),
        *_transfer(results),
    ]


def _single(results: Results) -> Iterator[Verdict]:
    near = results.get("single", {}).get("0", {})
    far = results.get("single", {}).get("100", {})
    pair = "fab launch + fab stop --force"
    if (of_script := _get(near, "vmops", "of_script")) is not None:
        yield Verdict(f"{pair} / one script over one new ssh, 0 ms", of_script, 1.0)
    if (optimised := _get(near, "optimised", "of_script")) and of_script:
        what = f"{pair} / an optimised script over one new ssh, 0 ms"
        yield Verdict(what, of_script / optimised, 1.0, aim=True)
    if (of_script := _get(far, "vmops", "of_script")) is not None:
        yield Verdict(f"{pair} / one script over one new ssh, 100 ms", of_script, 0.85)
    if (of_there := _get(near, "library", "of_there")) is not None:
        what = "library, connection open / documented calls on the worker, 0 ms"
        yield Verdict(what, of_there, 0.6)
    seconds, there = _get(far, "library", "seconds"), _get(far, "documented-there", "seconds")
    if seconds is not None and there is not None:
        limit = 0.6 * there + 2 * ROUND_TRIPS_OF_AN_OPERATION * 0.1
        what = "library, connection open, 100 ms, against 0.6 of those calls and 8 round trips"
        yield Verdict(what, seconds, limit, " s")


def _fleet(results: Results) -> Iterator[Verdict]:
    fleet = results.get("fleet", {})
    of_there = _get(fleet.get("ways", {}), "vmops", "of_there")
    if of_there is not None and fleet["vms"] == 20:
        what = "fab up + fab down --force / documented calls on the workers"
        yield Verdict(what, of_there, 2.0 / 1.72)
        yield Verdict(what, of_there, 1.0, aim=True)


def _scaling(results: Results) -> Iterator[Verdict]:
    scaling = results.get("scaling", {})
    if "interfaces" in scaling:
        rows = scaling["interfaces"]["rows"]
        growth = scaling["interfaces"]["growth_s"]["launch"] * 1000
        yield Verdict("growth of a launch for each further interface", growth, 15.0, " ms")
        more = max(row["exchanges"] for row in rows) - rows[0]["exchanges"]
        yield Verdict("further exchanges for further interfaces", more, 0.0)
    for row in scaling.get("workers", {}).get("rows", []):
        if row["workers"] == 32:
            limit = 1.5 / 0.25
            yield Verdict("status of 32 workers / one ssh login", row["of_login"], limit)
            with_vms = "the same, with a VM on each"
            yield Verdict(with_vms, row["with_vms_of_login"], limit, aim=True)


def _networks(results: Results) -> Iterator[Verdict]:
    for row in results.get("networks", {}).get("rows", []):
        what = f"fab verify of {row['vms']} VMs on {row['workers']} workers, services included"
        yield Verdict(what, row["verify"], 3.0, " s", aim=True)
        yield Verdict("exchanges of a network's up, a look first", row["net_up_exchanges"], 2.0)


def _overlay(results: Results) -> Iterator[Verdict]:
    for row in results.get("overlay", {}).get("up", []):
        what = f"fab up of {row['vms']} VMs in a network of OVN, more than in a VLAN"
        yield Verdict(what, row["more"], 0.3, " s")
        yield Verdict("the same, where the network is there", row["more_there"], 0.3, " s")
    for row in results.get("overlay", {}).get("plug", []):
        what = f"transactions of the switches for {row['ports']} ports in OVN, more than in a VLAN"
        yield Verdict(what, row["written_ovn"] - row["written_vlan"], 0.0)
        yield Verdict("transactions of OVN's central for them", row["written_central"], 0.0)


def _disks(results: Results) -> Iterator[Verdict]:
    for row in results.get("disks", {}).get("rows", []):
        what = "fab launch with an overlay and a seed, more than without"
        yield Verdict(what, row["more_ms"], 60.0, " ms")


def _transfer(results: Results) -> Iterator[Verdict]:
    images = results.get("transfer", {})
    dense = _get(images.get("dense", {}).get("ways", {}), "vmops", "of_scp")
    sparse = _get(images.get("sparse", {}).get("ways", {}), "vmops", "of_scp")
    if dense is not None:
        yield Verdict("fab image.push of what cannot be packed / scp", dense, 1 / 0.95, aim=True)
    if sparse is not None:
        yield Verdict(
            "fab image.push of an image that is mostly holes / scp", sparse, 1 / 3, aim=True
        )


def _get(entries: Results, way: str, key: str) -> float | None:
    found: float | None = entries.get(way, {}).get(key)
    return found
