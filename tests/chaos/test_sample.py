"""A part of the sweep, and a little soak, that differ from run to run, but in CI: the seed is
printed."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.system.conftest import free_network, require_a_lab
from tests.system.ovn_site import require_a_lab_with_ovn
from vmops.lab import Lab

from .cuts import plan
from .ground import HANG_S, SETTLE_S, Ground
from .judge import Trial
from .operations import FOLLOWING, OPERATIONS, OVERLAY
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
IN_VLANS = [one for one in OPERATIONS if not one.overlaid and one.file != "agents"]
"""Without the guest with an agent, which is a Linux: its boot would be half of the sample."""
IN_OVN = [operation for operation in OPERATIONS if operation.overlaid]
QUICK = [operation for operation in IN_OVN if operation.name == "ovn-launch"]
OVN_S = float(os.environ.get("VMOPS_CHAOS_OVN_SECONDS", "1"))
"""What has begun is ended: one cut, on one worker; longer, all operations on both."""
ENCAP = ("external_ids", "ovn-encap-ip")
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
    sweep.run(plan(points=6, seed=SEED, operations=IN_VLANS), seconds=SAMPLE_S)
    print(report(trials))  # noqa: T201
    assert trials
    assert not [trial.repeat for trial in trials if trial.unknown], f"seed {SEED}"


@pytest.mark.timeout(LONGEST_S)
def test_a_cut_with_networks_of_ovn(lanes: list[Ground]) -> None:
    """Apart from the sample, as OVN has to be started for each."""
    require_a_lab_with_ovn()
    trials: list[Trial] = []
    quick = OVN_S <= 1
    sweep = Sweep(lanes[:1] if quick else lanes, lambda _place, trial: trials.append(trial))
    operations, kinds = (QUICK, ("drop",)) if quick else (IN_OVN, ())
    sweep.run(plan(points=6, seed=SEED, operations=operations, kinds=kinds), seconds=OVN_S)
    print(report(trials))  # noqa: T201
    assert trials
    assert not [trial.repeat for trial in trials if trial.unknown], f"seed {SEED}"


def test_what_somebody_has_changed_in_ovn_is_seen(lanes: list[Ground]) -> None:
    require_a_lab_with_ovn()
    ground = lanes[0]
    (up,) = (operation for operation in IN_OVN if operation.name == "ovn-up")
    plugged = replace(up, start="plugged", had="served")
    before = ground.prepare(plugged)
    ground.lab.run(ground.worker, ("ovn-nbctl", "lsp-set-enabled", "over1:eth1", "disabled"))
    ground.lab.run(ground.worker, ("ovs-vsctl", "remove", "Open_vSwitch", ".", *ENCAP))
    words = ("external_ids:iface-id=over1:eth2", "--", "add-br", "other")
    ground.lab.run(ground.worker, ("ovs-vsctl", "set", "Interface", "tap_9_eth1", *words))
    seen = ground.look()
    ground.lab.run(ground.worker, ("ovs-vsctl", "del-br", "other"))
    assert any("new: bridge other" in line for line in ground.touched(seen))
    changed = {name for name, found in seen.things.items() if found != before.things[name]}
    assert changed == {"over", "following"}
    assert [nic.seat for nic in before.shapes["over1"].nics] == ["over1:eth1 on br-ovn"]
    assert [nic.seat for nic in seen.shapes["over1"].nics] == ["over1:eth2 on br-ovn"]
    ground.wipe()
    left, unrest = ground.settled()
    assert unrest == []
    assert not any(left.things[name] for name in (*OVERLAY, *FOLLOWING))


@pytest.mark.timeout(LONGEST_S)
def test_a_round_of_several_operators_at_once(lanes: list[Ground]) -> None:
    done = run_round(lanes[0], SEED)
    print(soak_report([done]))  # noqa: T201
    assert done.commands
    assert done.violations == [], f"seed {SEED}"
