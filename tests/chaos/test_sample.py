"""A part of the sweep that differs from run to run: the seed is printed, and can be given."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.system.conftest import free_network, require_a_lab
from vmops.lab import Lab

from .cuts import plan
from .ground import HANG_S, SETTLE_S, listen_to_interrupts
from .sweep import Sweep, grounds, report
from .trial import Trial

SAMPLE_S = float(os.environ.get("VMOPS_CHAOS_SECONDS", "90"))
SEED = int(os.environ.get("VMOPS_CHAOS_SEED", random.randrange(10**6)))


@pytest.mark.timeout(SAMPLE_S + 4 * (HANG_S + SETTLE_S))
def test_a_sample_of_all_cuts(tmp_path: Path) -> None:
    require_a_lab()
    listen_to_interrupts()
    trials: list[Trial] = []
    print(f"VMOPS_CHAOS_SEED={SEED}")  # noqa: T201
    lab = Lab(tmp_path / "lab")
    lab.up(2, network=free_network(), owner=os.getpid())
    try:
        with grounds(lab, tmp_path) as lanes:
            sweep = Sweep(lanes, lambda _place, trial: trials.append(trial))
            sweep.run(plan(points=6, seed=SEED), seconds=SAMPLE_S)
    finally:
        lab.down()
    print(report(trials))  # noqa: T201
    assert trials
    assert not [trial.repeat for trial in trials if trial.violations]
