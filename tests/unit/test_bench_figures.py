"""The bench's arithmetic, its verdicts and its tables, on figures that were made up."""

from __future__ import annotations

from typing import Any

import pytest

from bench.figures import ratio, slope
from bench.place import Traffic
from bench.report import text
from bench.results import of_ways
from bench.tables import table
from bench.targets import verdicts
from bench.turns import Measured, Run
from bench.ways.way import unavailable


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"),
    [
        pytest.param(
            {0: 1.0, 1: 2.0, 2: 9.0}, {0: 2.0, 1: 4.0, 2: 3.0}, 0.5, id="median-of-rounds"
        ),
        pytest.param({0: 3.0, 1: 30.0}, {0: 1.0, 1: 10.0}, 3.0, id="a-slow-round-slows-both"),
        pytest.param({0: 1.0, 5: 7.0}, {0: 2.0}, 0.5, id="only-common-rounds"),
        pytest.param({0: 1.0}, {1: 1.0}, None, id="no-common-round"),
    ],
)
def test_a_ratio_is_taken_round_by_round(
    mine: dict[int, float], theirs: dict[int, float], expected: float | None
) -> None:
    assert ratio(mine, theirs) == expected


def test_the_slope_of_a_line_is_found_through_noise_that_cancels_out() -> None:
    assert slope([(1, 10.0), (2, 13.0), (3, 14.0), (4, 17.0)]) == pytest.approx(2.2)


def test_no_line_goes_through_one_place() -> None:
    with pytest.raises(ValueError, match="no line"):
        slope([(1, 2.0), (1, 3.0)])


def test_columns_are_as_wide_as_their_widest_cell_and_numbers_stand_right() -> None:
    drawn = table(("way", "s"), [["a long name", "1.00"], ["b", "12.00"]])
    assert drawn.splitlines() == [
        "way              s",
        "-----------  -----",
        "a long name   1.00",
        "b            12.00",
    ]


def measured(key: str, *pairs: tuple[float, float]) -> Measured:
    """A way that took these seconds for start and stop, round after round."""
    runs = {n: Run(start, stop, Traffic(2, 18, 2048), 4) for n, (start, stop) in enumerate(pairs)}
    return Measured(unavailable(key, f"the way {key}", ""), 1024, runs)


def test_an_entry_compares_a_way_with_both_references() -> None:
    entries = of_ways(
        [
            measured("script", (1.0, 1.0), (3.0, 3.0), (1.0, 1.0)),
            measured("documented-there", (0.5, 0.5), (1.5, 1.5), (0.5, 0.5)),
            measured("vmops", (0.8, 0.8), (2.4, 2.4), (0.9, 0.9)),
        ]
    )
    vmops = entries["vmops"]
    assert (vmops["seconds"], vmops["of_script"], vmops["of_there"]) == (1.8, 0.8, 1.6)
    assert (vmops["connections"], vmops["turns"], vmops["kib"], vmops["peak_mib"]) == (2, 18, 2, 1)


def test_a_way_without_runs_says_why() -> None:
    entries = of_ways([Measured(unavailable("ansible", "Ansible", "not installed"))])
    assert entries == {"ansible": {"title": "Ansible", "missing": "not installed"}}


def results(**changes: float) -> dict[str, Any]:
    """A run in which every target is reached by just a little, unless changed."""
    figure = {
        "near": 1.0,
        "far": 0.85,
        "library": 0.6,
        "library_far": 1.1,
        "fleet": 1.16,
        "growth_s": 0.015,
        "exchanges": 2,
        "of_login": 6.0,
        "with_vms": 6.0,
        "net_up_exchanges": 2,
        "more_ms": 60.0,
        "more": 0.3,
        "more_there": 0.3,
        "written_ovn": 4,
        "written_central": 0,
        **changes,
    }
    row = {
        "workers": 32,
        "of_login": figure["of_login"],
        "with_vms_of_login": figure["with_vms"],
    }
    network = {
        "vms": 40,
        "workers": 4,
        "verify": 3.0,
        "net_up_exchanges": figure["net_up_exchanges"],
    }
    interfaces = [
        {"interfaces": 1, "exchanges": 2},
        {"interfaces": 8, "exchanges": figure["exchanges"]},
    ]
    return {
        "single": {
            "0": {
                "vmops": {"of_script": figure["near"]},
                "library": {"of_there": figure["library"]},
            },
            "100": {
                "vmops": {"of_script": figure["far"]},
                "library": {"seconds": figure["library_far"]},
                "documented-there": {"seconds": 0.5},
            },
        },
        "networks": {"rows": [network]},
        "overlay": {
            "up": [{"vms": 4, "more": figure["more"], "more_there": figure["more_there"]}],
            "plug": [
                {
                    "ports": 20,
                    "written_vlan": 4,
                    "written_ovn": figure["written_ovn"],
                    "written_central": figure["written_central"],
                }
            ],
        },
        "disks": {"rows": [{"more_ms": figure["more_ms"]}]},
        "fleet": {"vms": 20, "ways": {"vmops": {"of_there": figure["fleet"]}}},
        "scaling": {
            "interfaces": {"rows": interfaces, "growth_s": {"launch": figure["growth_s"]}},
            "workers": {"rows": [row]},
        },
    }


def missed(found: dict[str, Any]) -> list[str]:
    return [verdict.what for verdict in verdicts(found) if not verdict.reached and not verdict.aim]


def test_every_target_is_judged_and_reached_at_its_limit() -> None:
    assert missed(results()) == []
    assert len([verdict for verdict in verdicts(results()) if not verdict.aim]) == 14


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"near": 1.01}, "one new ssh, 0 ms", id="near"),
        pytest.param({"far": 0.86}, "one new ssh, 100 ms", id="far"),
        pytest.param({"library": 0.61}, "library, connection open / ", id="library"),
        pytest.param({"library_far": 1.11}, "library, connection open, 100 ms", id="library-far"),
        pytest.param({"fleet": 1.17}, "fab up + fab down", id="fleet"),
        pytest.param({"growth_s": 0.0151}, "growth of a launch", id="growth"),
        pytest.param({"exchanges": 3}, "further exchanges", id="exchanges"),
        pytest.param({"of_login": 6.1}, "status of 32 workers", id="status"),
        pytest.param({"net_up_exchanges": 3}, "a network's up", id="networks"),
        pytest.param({"more_ms": 60.1}, "an overlay and a seed", id="disks"),
        pytest.param({"more": 0.31}, "4 VMs in a network of OVN", id="overlay-made"),
        pytest.param({"more_there": 0.31}, "where the network is there", id="overlay"),
        pytest.param({"written_ovn": 5}, "20 ports in OVN", id="overlay-switches"),
        pytest.param({"written_central": 1}, "OVN's central", id="overlay-central"),
    ],
)
def test_a_target_that_is_missed_is_told(change: dict[str, float], words: str) -> None:
    (what,) = missed(results(**change))
    assert words in what


def test_a_small_fleet_is_not_judged_by_the_target_for_twenty() -> None:
    small = results()
    small["fleet"]["vms"] = 8
    assert not [verdict for verdict in verdicts(small) if "fab up + fab down" in verdict.what]


def sent(**of_scp: float | None) -> dict[str, Any]:
    """A transfer of each image, beside scp or without it."""
    return {
        "transfer": {
            name: {
                "mib": 2048,
                "data_mib": 204,
                "ways": {"vmops": {"seconds": 1.25, "of_scp": ratio, "peak_mib": 53.2}},
                "missing": ["rsync -S"],
            }
            for name, ratio in of_scp.items()
        }
    }


@pytest.mark.parametrize(
    ("name", "ratio", "reached"),
    [
        ("dense", 1.05, True),
        ("dense", 1.06, False),
        ("sparse", 0.33, True),
        ("sparse", 0.34, False),
    ],
)
def test_a_transfer_is_judged_beside_scp(name: str, ratio: float, reached: bool) -> None:
    (verdict,) = verdicts(sent(**{name: ratio}))
    assert verdict.reached is reached
    assert str(verdict) in text(sent(**{name: ratio}))


def test_a_transfer_without_scp_is_shown_and_not_judged() -> None:
    shown = text(sent(sparse=None))
    assert verdicts(sent(sparse=None)) == []
    assert "vmops  1.25      -        53" in shown
    assert "not installed here: rsync -S" in shown


def test_the_report_shows_every_way_and_why_one_is_missing() -> None:
    entries = of_ways(
        [
            measured("script", (1.0, 1.0)),
            Measured(unavailable("ansible", "Ansible", "not installed")),
        ]
    )
    shown = text({"single": {"0": entries}})
    assert "the way script" in shown
    assert "left out: Ansible: not installed" in shown
