"""Work on VMs that were moved is done where they are: once, and on no worker that they left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.core.devices.storage import shared
from vmops.core.devices.storage.moving import How, Mark, mark
from vmops.core.facts.images import MOVES
from vmops.core.facts.question import Answers, Question
from vmops.core.facts.wiring import DRAINED
from vmops.core.inventory.inventory import Inventory
from vmops.core.inventory.model import VM, Settings, Worker
from vmops.core.script.command import BlockResult, Step, StepResult
from vmops.core.tools.ovs import Drained
from vmops.errors import VmopsError, WorkerUnreachable
from vmops.ops import act, following
from vmops.ops.following import Moved, located, on_each_where_they_are
from vmops.ops.route import Group, Route, Ways
from vmops.tasks.frame import work as frame

NAMES = ("w1", "w2", "w3")
WORKERS = {name: Worker(name, address=f"127.0.0.{n}") for n, name in enumerate(NAMES, 1)}
World = dict[str, dict[str, Mark]]
"""The marks of VMs by worker."""


class Did(NamedTuple):
    """That a VM was worked on, and where."""

    vm: str
    worker: str
    error: VmopsError | None = None


Work = Callable[[Group], Sequence[Did]]


def vm(name: str, worker: str | None = "w1") -> VM:
    return VM(
        name,
        vm_id=int(name.removeprefix("vm")),
        ram_mb=1,
        cores=1,
        qcow_image=f"/{name}",
        worker=worker,
    )


def answers(world: World, worker: str) -> Answers:
    lines = "".join(f"{name} {one.text}\n" for name, one in world.get(worker, {}).items())
    step = Step(MOVES.name, MOVES.commands)
    return Answers(BlockResult("", "done", (StepResult(step, 0, lines.encode()),)))


def carefully(world: World) -> Work:
    """Work whose first exchange changes nothing."""

    def work(group: Group) -> list[Did]:
        if group.route.watch is not None:
            group.route.watch.check(answers(world, group.route.worker.name))
        return [Did(one.name, group.route.worker.name) for one in group.vms]

    return work


def at_once(world: World) -> Work:
    """Work that is done by its first exchange, where a VM is."""

    def work(group: Group) -> list[Did]:
        here = group.route.worker.name
        watch = group.route.watch
        gone = {} if watch is None else watch.errors(answers(world, here))
        return [Did(one.name, here, gone.get(one.name)) for one in group.vms]

    return work


KINDS: dict[str, Callable[[World], Work]] = {"carefully": carefully, "at once": at_once}


def groups(vms: Sequence[VM], known: Sequence[str] = NAMES) -> list[Group]:
    workers = {name: WORKERS[name] for name in known}
    ways = Ways(Inventory(Settings(), workers, {one.name: one for one in vms}, "hosts.toml"))
    homes = dict.fromkeys(one.worker for one in vms if one.worker is not None)
    return [
        Group(Route(WORKERS[home]), tuple(one for one in vms if one.worker == home), ways)
        for home in homes
    ]


def followed(
    world: World, vms: Sequence[VM], kind: str = "carefully", known: Sequence[str] = NAMES
) -> tuple[dict[str, str], list[Moved]]:
    """Where each VM was worked on, and what was told of it."""
    told: list[Moved] = []
    work = KINDS[kind](world)
    found = on_each_where_they_are(groups(vms, known), work, tell=told.append)
    did = [one for _, results in found for one in results]
    assert len(did) == len({one.vm for one in did}), "nothing is done twice"
    assert all(one.error is None for one in did)
    return {one.vm: one.worker for one in did}, told


@pytest.fixture(autouse=True)
def _nobody_is_drained(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(route: Route, *questions: Question[object]) -> Answers:
        return Answers(BlockResult("", "done"))

    monkeypatch.setattr(following, "ask", asked)


def left(peer: str) -> Mark:
    return mark("left", peer, "t")


CASES: dict[str, tuple[World, str]] = {
    "never moved": ({}, "w1"),
    "moved": ({"w1": {"vm1": left("w2")}}, "w2"),
    "moved twice": ({"w1": {"vm1": left("w2")}, "w2": {"vm1": left("w3")}}, "w3"),
    "moved, and back": ({"w2": {"vm1": left("w1")}}, "w1"),
    "leaving": (
        {"w1": {"vm1": mark("leaving", "w2", "t")}, "w2": {"vm1": mark("expected", "w1", "t")}},
        "w1",
    ),
    "leaving, with its memory there": (
        {"w1": {"vm1": mark("leaving", "w2", "t")}, "w2": {"vm1": mark("receiving", "w1", "t")}},
        "w1",
    ),
    "handed over, and not cleared": ({"w1": {"vm1": mark("leaving", "w2", "t")}}, "w2"),
    "on its way back": ({"w1": {"vm1": mark("expected", "w2", "t")}}, "w2"),
    "leaving for home": (
        {"w1": {"vm1": mark("expected", "w2", "t")}, "w2": {"vm1": mark("leaving", "w1", "t")}},
        "w1",
    ),
    "moved, and leaving for a third": (
        {
            "w1": {"vm1": left("w2")},
            "w2": {"vm1": mark("leaving", "w3", "t")},
            "w3": {"vm1": mark("expected", "w2", "t")},
        },
        "w2",
    ),
    "staying after all": ({"w1": {"vm1": mark("staying", "w2", "t")}}, "w1"),
    "two that name each other": ({"w1": {"vm1": left("w2")}, "w2": {"vm1": left("w1")}}, "w1"),
    "in a shared folder": ({name: {"vm1": shared.at("w3")} for name in NAMES}, "w3"),
    "in a shared folder, at home": ({name: {"vm1": shared.at("w1")} for name in NAMES}, "w1"),
    "a mark that cannot be read": ({"w1": {"vm1": Mark("unreadable", text="?")}}, "w1"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("world", "where"), CASES.values(), ids=CASES)
def test_a_vm_is_followed_to_where_it_is(world: World, where: str, kind: str) -> None:
    others = [vm("vm2"), vm("vm3", "w3")]
    found, told = followed(world, [vm("vm1"), *others], kind)
    assert found == {"vm1": where, "vm2": "w1", "vm3": "w3"}
    assert all(one.vm.name == "vm1" and one.there == where for one in told)
    assert bool(told) >= (where != "w1"), "who is told of elsewhere knows of it"


def test_it_is_told_of_the_last_move_and_not_of_the_first() -> None:
    world, _ = CASES["moved twice"]
    _, (told,) = followed(world, [vm("vm1")])
    assert (told.home, told.there) == ("w1", "w3")
    assert "from w1 to w3" in told.what
    assert 'set worker = "w3" in vms.vm1 of hosts.toml' in told.cure


def test_one_in_between_is_told_with_the_way_on() -> None:
    world, _ = CASES["leaving"]
    _, (told,) = followed(world, [vm("vm1")])
    assert "on its way from w1 to w2" in told.what
    assert "fab migrate --vm vm1 --to w2" in told.cure


def test_a_worker_that_hosts_toml_does_not_have_is_said() -> None:
    world = {"w1": {"vm1": left("w2")}}
    found, (told,) = followed(world, [vm("vm1")], known=("w1",))
    assert found == {"vm1": "w2"}
    assert "w2, which hosts.toml does not have" in told.what


@pytest.mark.parametrize("world", [{"w1": {"vm1": left("w9")}}, {"w1": {"vm1": shared.at("w9")}}])
def test_work_at_a_worker_that_hosts_toml_does_not_have_cannot_be_done(world: World) -> None:
    def work(group: Group) -> list[Did]:
        if group.route.worker.name == "w1":
            return list(carefully(world)(group))
        try:
            act.ask(group.route, MOVES)
        except VmopsError as error:
            return [Did(one.name, error.worker, error) for one in group.vms]
        return []

    found = on_each_where_they_are(groups([vm("vm1"), vm("vm2")]), work)
    done = {one.vm: one for _, results in found for one in results}
    assert done["vm2"] == Did("vm2", "w1")
    assert isinstance(done["vm1"].error, WorkerUnreachable)
    assert str(done["vm1"].error) == (
        "w9: it cannot be asked, as hosts.toml does not have it\n  add workers.w9 to hosts.toml"
    )


def test_nobody_dials_a_worker_that_hosts_toml_does_not_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (group,) = groups([vm("vm1")])
    assert group.ways is not None
    route = group.ways.to_missing("w9")._replace(config=object())
    monkeypatch.setattr("vmops.remote.ssh.endpoint.begin_endpoint", None)
    monkeypatch.setattr("vmops.remote.ssh.connection.connect_early", None)
    route.ask_early()
    route.connect_early()


def test_a_group_without_ways_is_followed_nowhere() -> None:
    world = {"w1": {"vm1": left("w2")}}
    (group,) = groups([vm("vm1")])
    work = carefully(world)
    ((_, (did,)),) = on_each_where_they_are([group._replace(ways=None)], work)
    assert did.worker == "w1"


def test_where_they_are_is_asked_alone_too(monkeypatch: pytest.MonkeyPatch) -> None:
    world = {"w1": {"vm1": left("w3")}}

    def asked(route: Route, *questions: Question[object]) -> Answers:
        assert route.watch is not None
        said = answers(world, route.worker.name)
        route.watch.check(said)
        return said

    monkeypatch.setattr(following, "ask", asked)
    found = located(groups([vm("vm1"), vm("vm2", "w2")]))
    names = {one.route.worker.name: [each.name for each in one.vms] for one in found}
    assert names == {"w1": [], "w2": ["vm2"], "w3": ["vm1"]}


def test_the_first_answer_alone_brings_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def perform(route: Route, blocks: Sequence[object], *, time_limit_s: float) -> object:
        (block,) = blocks
        asked.append([step.label for step in block.steps])  # type: ignore[attr-defined]
        return [BlockResult("", "done")]

    monkeypatch.setattr(act, "perform", perform)
    other = Question("other", (), lambda said: None)

    def work(group: Group) -> list[Did]:
        act.ask(group.route, other)
        act.ask(group.route, other)
        return []

    (group,) = groups([vm("vm1")])
    list(on_each_where_they_are([group], work))
    assert asked == [["other", MOVES.name], ["other"]]


HOWS: tuple[How, ...] = ("leaving", "staying", "left", "expected", "receiving", "at")
MARKS = st.builds(mark, st.sampled_from(HOWS), st.sampled_from((*NAMES, "w9")), st.just("t"))
WORLDS = st.dictionaries(
    st.sampled_from(NAMES), st.dictionaries(st.sampled_from(("vm1", "vm2")), MARKS)
)


@given(WORLDS, st.sampled_from(sorted(KINDS)))
def test_whatever_marks_say_it_ends_and_each_is_worked_on_once(world: World, kind: str) -> None:
    found, _ = followed(world, [vm("vm1"), vm("vm2"), vm("vm3", "w2")], kind)
    assert set(found) == {"vm1", "vm2", "vm3"}
    for name in ("vm1", "vm2"):
        here = shared.as_seen(found[name], world.get(found[name], {})).get(name)
        # Where a worker says that it has gone, the next one does not say that it has come.
        if here is not None and here.how == "left" and here.peer in NAMES:
            assert world.get(here.peer, {}).get(name) is not None


@pytest.mark.parametrize(
    ("drained", "said"),
    [
        (Drained(("vm1", "vm2")), "are on other workers, as w1 is drained; back: fab undrain"),
        (
            Drained(("vm1", "vm2"), is_open=True),
            "are on other workers, and have yet to come back to w1",
        ),
        (Drained(("vm1",)), "vm1: it is on w2, as w1 is drained; back: fab undrain --worker w1\n"),
        (Drained(("vm1",), is_open=True), "vm1: it is on w2, and has yet to come back to w1"),
        (Drained(("vm1",), is_open=True), "fab undrain --cold --worker w1"),
        (None, "vm1: it was moved from w1 to w2"),
    ],
)
def test_what_a_drain_took_is_told_until_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    drained: Drained | None,
    said: str,
) -> None:
    monkeypatch.setattr(following, "ask", lambda route, *questions: {DRAINED: drained})
    frame._SAID.clear()
    world = {"w1": {"vm1": left("w2"), "vm2": left("w2")}}
    _, told = followed(world, [vm("vm1"), vm("vm2")])
    frame._say_moved(told)
    assert said in capsys.readouterr().err
