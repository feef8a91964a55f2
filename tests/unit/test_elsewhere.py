"""A VM that hosts.toml has moved while it runs: what other workers show, or could not be asked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vmops.core.devices.storage.moving import How, mark
from vmops.core.facts.vms import RunningVM
from vmops.core.facts.wiring import DRAINED
from vmops.core.inventory.model import VM, Settings
from vmops.core.plan import starting
from vmops.core.plan.elsewhere import NOWHERE, Elsewhere, as_it_is_there
from vmops.core.plan.phase import Plan
from vmops.core.tools.ovs import Drained
from vmops.errors import (
    ConnectionLost,
    FleetFailed,
    LaunchFailed,
    LoginRefused,
    NotAsked,
    UnexpectedOutput,
    VmopsError,
    WorkerUnreachable,
    WorkFailed,
)

from .worlds import EMPTY, VM1, WORKER, running

OTHER = Settings().worker("w2", address="192.0.2.2")
START = starting.launch(WORKER, VM1, EMPTY)
NOTHING = Plan(VM1, "nothing")
FAULT = LaunchFailed("no image", worker="w1", vm="vm1")
DOWN = Elsewhere(unasked={"w2": WorkerUnreachable("no answer", worker="w2")})


def on(worker: str, vms: dict[str, RunningVM]) -> Elsewhere:
    return Elsewhere({worker: vms})


@pytest.mark.parametrize("found", [START, NOTHING, FAULT])
def test_a_vm_that_was_seen_on_another_worker_is_refused(found: Plan | WorkFailed) -> None:
    refused = on("w2", dict(running(VM1, OTHER).vms)).checked(WORKER, VM1, found)
    assert isinstance(refused, LaunchFailed)
    assert str(refused) == (
        "w1: vm1 runs on w2, and hosts.toml has it on w1\n"
        '  if it is to stay there: set worker = "w2" in hosts.toml;'
        " to end it there: fab -H w2 stop --vm vm1 --elsewhere"
    )


@pytest.mark.parametrize(
    ("how", "drained", "cure"),
    [
        ("left", Drained(("vm1",)), "back: fab undrain --worker w1"),
        ("left", Drained(("vm2",)), "back: fab migrate --vm vm1 --to w1"),
        (
            "left",
            None,
            "--vm vm1 --to w1; where w1 is drained: fab undrain --worker w1",
        ),
        ("leaving", None, "back: fab migrate --vm vm1 --to w1"),
    ],
)
def test_one_that_a_move_has_taken_away_is_not_to_be_ended(
    how: How, drained: Drained | None, cure: str
) -> None:
    left = EMPTY._replace(moves={"vm1": mark(how, "w2", "t")}, drained=drained)
    with pytest.raises(LaunchFailed) as found:
        starting.launch(WORKER, VM1, left)
    refused = on("w2", dict(running(VM1, OTHER).vms)).checked(WORKER, VM1, found.value)
    assert refused is found.value
    assert found.value.cure.endswith(cure)


@pytest.mark.parametrize(
    ("where", "vms"),
    [
        pytest.param("w1", running(VM1, WORKER).vms, id="its-own-worker"),
        pytest.param("w2", {}, id="does-not-run"),
        pytest.param("w2", {"vm1": RunningVM("vm1", directory=True)}, id="has-ended"),
        pytest.param(
            "w2", running(replace(VM1, vm_id=7), OTHER).vms, id="somebody-elses-of-that-name"
        ),
        pytest.param("w2", running(replace(VM1, name="vm3"), OTHER).vms, id="another"),
    ],
)
def test_what_is_in_its_place_or_is_not_it(where: str, vms: dict[str, RunningVM]) -> None:
    assert on(where, vms).checked(WORKER, VM1, START) is START


def test_a_vm_is_not_started_where_it_may_run_on_a_worker_that_could_not_be_asked() -> None:
    refused = DOWN.checked(WORKER, VM1, START)
    assert isinstance(refused, NotAsked)
    assert "it may run on w2, which could not be asked" in str(refused)
    assert refused.what.endswith(": no answer")
    assert refused.cure.endswith("fab launch --vm vm1 --here")


@pytest.mark.parametrize(
    ("reasons", "exit_code"),
    [
        ([WorkerUnreachable("no answer", worker="w2")], 3),
        ([LoginRefused("no", worker="w2"), WorkerUnreachable("no answer", worker="w3")], 3),
        ([WorkerUnreachable("no answer", worker="w2"), UnexpectedOutput("?", worker="w3")], 1),
        ([ConnectionLost("it hung up", worker="w2")], 1),
    ],
)
def test_what_was_not_done_for_want_of_a_worker_ends_as_that_worker_does(
    reasons: list[VmopsError], exit_code: int
) -> None:
    error = NotAsked("vm1 may run there", reasons=reasons, vm="vm1")
    assert error.exit_code == exit_code
    assert FleetFailed([error]).exit_code == exit_code
    assert FleetFailed([error, *reasons]).exit_code == exit_code
    assert FleetFailed([error, FAULT]).exit_code == 1


@pytest.mark.parametrize("found", [NOTHING, FAULT])
def test_what_is_not_to_be_started_needs_nobody_elses_word(found: Plan | WorkFailed) -> None:
    assert DOWN.checked(WORKER, VM1, found) is found


@pytest.mark.parametrize("mark", [None, Drained((), is_open=True), Drained(("vm3",))])
def test_a_drained_worker_starts_none_where_the_place_was_not_named(mark: Drained | None) -> None:
    seen = EMPTY._replace(drained=mark)
    asked = Elsewhere()
    assert DRAINED in asked.questions
    found = asked.and_of(WORKER, seen).checked(WORKER, VM1, START)
    if mark is None or mark.is_open:
        assert found is START
    else:
        assert "vm1 is not started: w1 is drained" in str(found)
    assert asked.and_of(WORKER, seen).checked(WORKER, VM1, NOTHING) is NOTHING
    assert NOWHERE.questions == ()


AWAY = replace(VM1, worker="w2")
"""hosts.toml has it on another worker than the one that is asked about."""


@pytest.mark.parametrize(
    ("vm", "ports", "runs_as", "port"),
    [
        pytest.param(AWAY, {5901}, None, None, id="taken"),
        pytest.param(AWAY, {5902}, None, 5901, id="free"),
        pytest.param(AWAY, set(), replace(AWAY, vnc_port=None), None, id="runs-without"),
        pytest.param(AWAY, {5901}, AWAY, 5901, id="has-it-itself"),
        pytest.param(replace(VM1, worker="w1"), {5901}, None, 5901, id="at-home"),
        pytest.param(replace(VM1, worker=None), {5901}, None, 5901, id="pinned-nowhere"),
        pytest.param(replace(AWAY, vnc_port=None), {5901}, None, None, id="never-had-one"),
    ],
)
def test_away_from_home_a_vm_goes_without_a_port_that_another_has(
    vm: VM, ports: set[int], runs_as: VM | None, port: int | None
) -> None:
    seen = EMPTY if runs_as is None else running(runs_as, WORKER)
    seen = seen._replace(listening=frozenset(ports))
    assert as_it_is_there(WORKER, vm, seen) == replace(vm, vnc_port=port)


def test_a_worker_that_is_its_own_home_is_no_other() -> None:
    down = Elsewhere(unasked={"w1": WorkerUnreachable("no answer", worker="w1")})
    assert down.checked(WORKER, VM1, START) is START
    assert NOWHERE.checked(WORKER, VM1, START) is START
