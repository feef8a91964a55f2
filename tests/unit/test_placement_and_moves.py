"""Where a VM belongs that is between two workers, or has to leave one that is drained."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vmops.core.devices.storage.moving import How, Mark, mark
from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM
from vmops.core.plan import starting
from vmops.core.plan.elsewhere import Elsewhere
from vmops.core.plan.phase import Plan
from vmops.core.plan.placement.choose import choose
from vmops.core.plan.placement.finding import find
from vmops.core.plan.placement.home import belongs
from vmops.core.tools import ovs
from vmops.errors import LaunchFailed

from .test_placement import A, B, asked, only, wish, world
from .worlds import EMPTY, VM1, WORKER


@pytest.mark.parametrize(
    ("source", "has", "destination", "comes", "home"),
    [
        (None, True, "expected", False, "w1"),
        ("leaving", True, "expected", False, "w1"),
        ("leaving", True, "expected", True, "w1"),
        ("staying", True, "expected", True, "w1"),
        ("leaving", True, None, True, "w2"),
        ("left", False, None, True, "w2"),
        ("left", True, None, True, "w2"),
    ],
)
def test_a_vm_between_two_workers_is_where_it_may_be_started(
    source: How | None, has: bool, destination: How | None, comes: bool, home: str
) -> None:
    """Of a pair of disks one is a copy on its way, or what was left behind."""
    seen = []
    for how, peer, disks in ((source, "w2", has), (destination, "w1", comes)):
        marks = {A.name: mark(how, peer, "t")} if how else {}
        seen.append(world(disks=(A,) if disks else ())._replace(moves=marks))
    assert only(choose(asked(*seen, world()), wish(A))).worker == home
    assert only(find(asked(*seen, world()), (A,))).worker == home


DRAINED = ovs.Drained(("vm1",))


def test_what_is_written_down_of_a_drained_worker_is_read_again() -> None:
    assert ovs.parse_drained('true\n"vm1,vm2"\n') == ovs.Drained(("vm1", "vm2"))
    assert ovs.parse_drained('true\n""\n') == ovs.Drained()
    assert ovs.parse_drained("\nvm1\n") == ovs.Drained(("vm1",), is_open=True)
    assert ovs.parse_drained("\n\n") is None


def test_a_drained_worker_gets_none_until_it_is_open() -> None:
    drained = world()._replace(drained=DRAINED)
    choice = only(choose(asked(drained, world(free_mb=600)), wish(A)))
    assert (choice.worker, choice.judged[0].why) == ("w2", "it is drained")
    opened = world()._replace(drained=DRAINED._replace(is_open=True))
    assert only(choose(asked(opened, world(free_mb=600)), wish(A))).worker == "w1"


def test_a_drained_worker_starts_none_by_up() -> None:
    there = Elsewhere(drained=frozenset({"w1"}))
    plan = starting.launch(WORKER, VM1, EMPTY)
    refused = there.checked(WORKER, VM1, plan)
    assert isinstance(refused, LaunchFailed)
    assert refused.what == "vm1 is not started: w1 is drained"
    assert refused.cure.startswith("fab undrain --worker w1;")
    nothing = Plan(VM1, "nothing")
    assert there.checked(WORKER, VM1, nothing) is nothing


def test_vms_leave_a_worker_wherever_hosts_toml_has_them_and_never_for_it() -> None:
    leaving = wish(A, B)._replace(leaving="w1", pinned={"vm1": "w1"})
    found = choose(asked(world(A, disks=(A, B)), world(free_mb=600), world()), leaving)
    assert [one.worker for one in found] == ["w3", "w3"]
    assert found[0].judged[0].why == "it is the worker that is drained"
    full = choose(asked(world(A, disks=(A, B)), world(free_mb=1)), leaving)
    assert full[0].error is not None, "one that runs needs memory there"
    assert full[1].worker == "w2", "one that does not run needs none"
    drained = world()._replace(drained=DRAINED)
    assert all(one.error for one in choose(asked(world(A, disks=(A, B)), drained), leaving))


def test_a_vm_that_was_moved_away_and_back_can_be_moved_away_again() -> None:
    """As it is after drain and undrain, before the next drain."""
    there = world()._replace(moves={"vm1": Mark("left", "w1", "t")})
    leaving = wish(A)._replace(leaving="w1")
    assert only(choose(asked(world(A, disks=(A,)), there), leaving)).worker == "w2"
    assert only(choose(asked(world(free_mb=1), there), wish(A))).error is not None
    expected = world()._replace(moves={"vm1": Mark("expected", "w3", "t")})
    assert only(choose(asked(world(A, disks=(A,)), expected), leaving)).error is not None


def test_one_that_is_on_its_way_keeps_its_destination() -> None:
    here = world(disks=(A,))._replace(moves={"vm1": Mark("leaving", "w3", "token")})
    leaving = wish(A)._replace(leaving="w1")
    choice = only(choose(asked(here, world(), world(free_mb=1)), leaving))
    assert (choice.worker, choice.reason) == ("w3", "it is on its way there")
    come = world(A)
    choice = only(choose(asked(here, world(), come), leaving))
    assert (choice.worker, choice.error) == ("w3", None), "somebody started it there meanwhile"
    assert only(choose(asked(here, come, world()), leaving)).error is not None


@pytest.mark.parametrize("how", ["expected", "receiving"])
def test_one_whose_move_was_cut_early_goes_where_it_is_awaited(how: How) -> None:
    """Though there is less room, as the QEMU that waits for it has taken some."""
    leaving = wish(A)._replace(leaving="w1")
    awaited = world(free_mb=600)._replace(moves={"vm1": Mark(how, "w1", "token")})
    choice = only(choose(asked(world(A, disks=(A,)), world(), awaited), leaving))
    assert (choice.worker, choice.reason) == ("w3", "it is on its way there")
    other = world(free_mb=600)._replace(moves={"vm1": Mark(how, "w9", "token")})
    assert only(choose(asked(world(A, disks=(A,)), world(), other), leaving)).worker == "w2"


@pytest.mark.parametrize(
    ("vm_", "seen", "has_to_leave"),
    [
        pytest.param(A, world(A), True, id="runs"),
        pytest.param(replace(A, worker="w2"), world(A), True, id="runs-though-pinned-elsewhere"),
        pytest.param(A, world(disks=(A,)), True, id="has-its-disk"),
        pytest.param(replace(A, worker="w2"), world(disks=(A,)), False, id="an-old-disk"),
        pytest.param(replace(A, worker="w1"), world(), False, id="has-nothing-there"),
        pytest.param(
            A,
            world(disks=(A,))._replace(moves={"vm1": Mark("left", "w2")}),
            False,
            id="has-left-already",
        ),
    ],
)
def test_who_has_to_leave(vm_: VM, seen: Observed, has_to_leave: bool) -> None:
    assert belongs(vm_, "w1", seen) is has_to_leave


def test_those_that_leave_are_placed_where_others_have_their_ports() -> None:
    red = [replace(each, vnc_port=5901 + n, worker="w1") for n, each in enumerate((A, B))]
    there = world()._replace(listening=frozenset({5901}))
    leaving = wish(*red)._replace(leaving="w1", pinned=dict.fromkeys(("vm1", "vm2"), "w1"))
    found = choose(asked(world(*red), there), leaving)
    assert [(one.worker, one.error) for one in found] == [("w2", None), ("w2", None)]
    stays = [replace(each, worker=None) for each in red]
    refused, placed = choose(asked(world(*stays), there), leaving._replace(vms=tuple(stays)))
    assert (placed.worker, placed.error) == ("w2", None)
    assert refused.error is not None
    assert "TCP port 5901 is in use" in refused.error.what
