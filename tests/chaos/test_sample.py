"""A part of the sweep, and a little soak, that differ from run to run, but in CI: the seed is
printed."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from tests.system.conftest import free_network, require_a_lab
from vmops.lab import Lab

from .cuts import plan
from .ground import HANG_S, SETTLE_S, Ground
from .judge import Trial
from .soak import run_round, soak_report
from .sweep import Sweep, grounds, report

SAMPLE_S = float(os.environ.get("VMOPS_CHAOS_SECONDS", "75"))


def seed() -> int:
    """What is asked for; in CI always the same, so that it judges a change and not a draw."""
    if given := os.environ.get("VMOPS_CHAOS_SEED"):
        return int(given)
    if not os.environ.get("CI"):
        return random.randrange(10**6)
    return 635_253


SEED = seed()
LONGEST_S = 4 * (HANG_S + SETTLE_S)


@pytest.fixture(scope="module")
def lanes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Ground]]:
    require_a_lab()
    print(f"VMOPS_CHAOS_SEED={SEED}")  # noqa: T201
    folder = tmp_path_factory.mktemp("chaos")
    lab = Lab(folder / "lab")
    lab.up(4, network=free_network(), owner=os.getpid())
    try:
        with grounds(lab, folder) as made:
            yield made
    finally:
        lab.down()


@pytest.mark.timeout(SAMPLE_S + LONGEST_S)
def test_a_sample_of_all_cuts(lanes: list[Ground]) -> None:
    trials: list[Trial] = []
    sweep = Sweep(lanes, lambda _place, trial: trials.append(trial))
    sweep.run(plan(points=6, seed=SEED), seconds=SAMPLE_S)
    print(report(trials))  # noqa: T201
    assert trials
    assert not [trial.repeat for trial in trials if trial.unknown], f"seed {SEED}"


@pytest.mark.timeout(LONGEST_S)
def test_a_round_of_several_operators_at_once(lanes: list[Ground]) -> None:
    done = run_round(lanes[0], SEED)
    print(soak_report([done]))  # noqa: T201
    assert done.commands
    assert done.violations == [], f"seed {SEED}"
