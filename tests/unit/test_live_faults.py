"""Disks of a running VM that change while each command in turn fails, in every way."""

from __future__ import annotations

from typing import get_args

import pytest

from vmops.core.inventory.model import Disk
from vmops.ops.vm import lifecycle

from .simulated import Fault, Manner
from .test_planner_machine import DATA, KINDS, LOGS, ROUTE, Planner, on

MOST_COMMANDS = 12
"""More than any of these changes has."""
GUARDS = 5
"""They come first, and fail for a reason only."""


def running(*disks: Disk, stubborn: bool = False) -> Planner:
    planner = Planner()
    planner.other_disks_are_wanted("vm1", list(disks))
    planner.command("launch", ["vm1"], None)
    planner.a_guest_lets_go_of_nothing("vm1", stubborn)
    return planner


def holds(planner: Planner) -> None:
    planner.nothing_that_must_never_happen_has_happened()
    planner.nothing_foreign_is_touched()
    planner.every_qemu_is_known()
    planner.no_qemu_has_lost_a_tap()


@pytest.mark.parametrize("manner", get_args(Manner))
@pytest.mark.parametrize("stubborn", [True, False])
@pytest.mark.parametrize("kind", ["launch", "launch strictly"])
@pytest.mark.parametrize(
    ("had", "wanted"),
    [((), (DATA, LOGS)), ((DATA,), (LOGS,)), ((DATA, LOGS), ())],
)
def test_no_file_goes_under_a_qemu_that_has_it_open(
    manner: Manner, stubborn: bool, kind: str, had: tuple[Disk, ...], wanted: tuple[Disk, ...]
) -> None:
    for at in range(MOST_COMMANDS):
        planner = running(*had, stubborn=stubborn)
        planner.other_disks_are_wanted("vm1", list(wanted))
        planner.command(kind, ["vm1"], Fault(at, manner))
        holds(planner)
        if not planner.worker.fired and at > GUARDS:
            return
    raise AssertionError("it has more commands")


def test_what_another_operator_has_added_meanwhile_is_not_taken_back() -> None:
    planner = running()
    planner.other_disks_are_wanted("vm1", [DATA, LOGS])

    def meanwhile() -> None:
        with on(planner.worker):
            (done,) = lifecycle.launch(ROUTE, planner.vms(["vm1"]))
        assert done.error is None

    with on(planner.worker, meanwhile=meanwhile):
        (came,) = KINDS["launch"](planner.vms(["vm1"]))
    assert came.error is None
    holds(planner)
    planner.is_reached("launch", planner.wanted["vm1"], planner.worker)
