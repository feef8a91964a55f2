"""How a drain and an undrain that fail in part are told: one cure for all, and what is so now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from vmops.core.devices.storage.moving import How, mark
from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM, Worker
from vmops.core.plan.moving.live import Stopped
from vmops.errors import VmopsError, WorkFailed
from vmops.ops.route import Group, Route
from vmops.ops.vm.moving import migrate
from vmops.ops.vm.moving.acts import Move
from vmops.ops.vm.outcome import Outcome
from vmops.ops.worker import draining
from vmops.tasks.frame import output
from vmops.tasks.placement import drain

from .worlds import EMPTY, VM1

ROUTES = {name: Route(Worker(name, address=name)) for name in ("w1", "w2")}
ALL = "fab drain --cold --worker w1"


def test_what_one_vm_cannot_is_done_for_all_by_one_command(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Move] = []

    def note(move: Move, vms: object) -> list[Outcome]:
        asked.append(move)
        return []

    monkeypatch.setattr(draining, "migrate", note)
    work: Any = draining.Draining(Move(ROUTES["w1"], {}), ROUTES, wish=None)  # type: ignore[arg-type]
    draining._move(work, VM1, "w2", ALL)
    (move,) = asked
    assert move.stopped(VM1) == Stopped(ALL, for_all=True)
    alone = Move(ROUTES["w2"], {}).stopped(VM1)
    assert alone == Stopped("fab migrate --cold --vm vm1 --to w2")
    assert [each.or_else("that") for each in (alone, move.stopped(VM1))] == [
        f"{alone.command}; or that",
        ALL,
    ]


@pytest.mark.parametrize(
    ("worker", "settled", "told"),
    [
        ("w2", "", "vm1: left where it is, hosts.toml gives it w2"),
        (None, "left where it is, as it was moved since", "vm1: left where it is, as it was"),
        ("w1", "", ""),
        (None, "", ""),
    ],
)
def test_what_is_at_home_elsewhere_does_not_come_back(
    monkeypatch: pytest.MonkeyPatch, worker: str | None, settled: str, told: str
) -> None:
    came = Outcome("vm1", "w1", "move")
    monkeypatch.setattr(draining, "migrate", lambda move, vms: [came])
    said: list[str] = []
    how = Move(ROUTES["w1"], {}, tell=said.append)
    work: Any = draining.Draining(how, ROUTES, wish=None)  # type: ignore[arg-type]
    moved = draining._come_back(work, replace(VM1, worker=worker), "w1", settled)
    assert (moved == []) is bool(told)
    assert "".join(said).startswith(told)


@pytest.mark.parametrize("how", ["expected", "receiving"])
def test_what_is_on_its_way_there_is_told(monkeypatch: pytest.MonkeyPatch, how: How) -> None:
    seen = EMPTY._replace(moves={"vm1": mark(how, "w2", "t")})
    monkeypatch.setattr(draining, "_seen", lambda here, vms: seen)
    monkeypatch.setattr(draining, "_write", lambda here, commands: None)

    class Wish:
        vms = (VM1,)

    work: Any = draining.Draining(Move(ROUTES["w1"], {}), ROUTES, wish=Wish)  # type: ignore[arg-type]
    (came,) = draining.drain(work, ROUTES["w1"])
    assert came.error is not None
    assert "it is on its way from w2 to w1" in str(came.error)
    assert came.error.cure.endswith("fab migrate --vm vm1 --to w2")


@pytest.mark.parametrize(
    ("state", "end"),
    [
        (drain._is_drained, "gets no VM; to let it have VMs again: fab undrain --worker w1\n"),
        (
            drain._is_open,
            "to go on with those that have yet to come back: fab undrain --worker w1\n",
        ),
    ],
)
def test_the_state_is_told_last_and_the_errors_once(
    capsys: pytest.CaptureFixture[str], state: Callable[[str], str], end: str
) -> None:
    output.tell_anew()
    group = Group(ROUTES["w1"])

    def failed(vm: str) -> Outcome:
        return Outcome(vm, "w2", "nothing", error=WorkFailed("it is paused", vm=vm, cure=ALL))

    tell: Callable[[list[Outcome]], None] = drain._told(group, "moved", state)
    tell([failed("vm1"), Outcome("vm2", "w2", "move"), failed("vm3")])
    said = capsys.readouterr().err
    assert said.endswith(end)
    assert said.count(ALL) == 1
    errors: list[VmopsError] = [WorkFailed("it is paused", vm="vm1", cure=ALL)]
    assert output.untold(errors) == []
    tell([Outcome("vm2", "w2", "move")])
    assert "undrain" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "destination", "begun"),
    [
        ((), (), False),
        ((), ("left", "w1"), False),
        ((), ("left", "w3"), False),
        ((), ("expected", "w1"), True),
        (("leaving", "w2"), (), True),
    ],
)
def test_on_its_way_is_what_has_begun(
    monkeypatch: pytest.MonkeyPatch,
    source: tuple[How, str] | tuple[()],
    destination: tuple[How, str] | tuple[()],
    begun: bool,
) -> None:
    """What a VM has left once says nothing of the move that is refused now."""
    marks = {"w1": source, "w2": destination}
    image = EMPTY.images[VM1.qcow_image]
    none = EMPTY._replace(images={})

    def look_at(vm: VM, route: Route) -> Observed:
        name = route.worker.name
        seen = EMPTY._replace(images={VM1.qcow_image: image}) if name == "w1" else none
        return seen._replace(moves={"vm1": mark(*found, "t")} if (found := marks[name]) else {})

    def refuse(*_: object) -> bool:
        raise WorkFailed("TCP port 5901 is in use", worker="w2", vm="vm1")

    monkeypatch.setattr(migrate, "look_at", look_at)
    monkeypatch.setattr(migrate, "_act", refuse)
    move = Move(ROUTES["w2"], {"w1": ROUTES["w1"]}, cold=True)
    came = migrate._moved(move, VM1, ROUTES["w1"])
    assert came.error is not None
    assert bool(came.notes) is begun


@pytest.mark.parametrize("is_refused", [True, False])
def test_that_vnc_has_no_port_there_is_told_when_it_has_come(
    monkeypatch: pytest.MonkeyPatch, is_refused: bool
) -> None:
    pinned = replace(VM1, worker="w1")
    world = {"w1": EMPTY, "w2": EMPTY._replace(images={}, listening=frozenset([5901]))}
    told: list[str] = []

    def act(move: Move, vm: VM, *_: object) -> bool:
        assert vm.vnc_port is None
        if is_refused:
            raise WorkFailed("no room", worker="w2", vm="vm1")
        world["w1"] = EMPTY._replace(moves={"vm1": mark("left", "w2", "t")})
        return True

    monkeypatch.setattr(migrate, "look_at", lambda vm, route: world[route.worker.name])
    monkeypatch.setattr(migrate, "_act", act)
    move = Move(ROUTES["w2"], {"w1": ROUTES["w1"]}, cold=True, tell=told.append)
    move = move._replace(own_line=lambda vm: False)
    came = migrate._moved(move, pinned, ROUTES["w1"])
    assert (came.error is not None) is is_refused
    assert any("VNC has no TCP port there" in words for words in told) is not is_refused
    if not is_refused:
        (note,) = came.notes
        assert 'if it is to stay: take worker = "w1" out of hosts.toml where it' in note
