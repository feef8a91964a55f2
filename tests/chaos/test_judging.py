"""The sweep can fail: what must not be is seen, on a real worker and in what status says."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from tests.system.conftest import free_network, require_a_lab
from vmops.lab import Lab

from . import ground as ground_module
from . import judge as judge_module
from . import things
from .cuts import NETWORK, SIGNALS, Cut, Extent, plan, read_cut
from .ground import Ground
from .judge import Judge, Trial, before_our_code, untruths
from .operations import OPERATIONS, Operation
from .outside import CAME, SEED, WAITS, Look, Nic, Shape, doubled, there_of
from .shell import FOLDER
from .states import State
from .sweep import Journal, grounds, report
from .targets import TARGETS
from .waiting import await_it
from .wanted import is_as_wanted

WEB2 = TARGETS[1]


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    require_a_lab()
    folder = tmp_path_factory.mktemp("chaos")
    lab = Lab(folder / "lab")
    lab.up(2, network=free_network(), owner=os.getpid())
    with grounds(lab, folder) as (made,):
        yield made
    lab.down()


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ground_module, "SETTLE_S", 1.0)


@pytest.mark.parametrize(
    ("disturb", "mend", "seen"),
    [
        ("ip link set tap_901_eth1 alias other", "ip link set tap_901_eth1 alias somebody", "link"),
        ("ip link set tap_900_eth1 down", "ip link set tap_900_eth1 up", "link tap_900_eth1"),
        ("ovs-vsctl set Port gone0 tag=104", "ovs-vsctl set Port gone0 tag=103", "port gone0"),
        ("touch /run/vmops/web10/x", "rm /run/vmops/web10/x", "new: file /run/vmops/web10/x"),
        ("echo x >/home/ubuntu/x", "rm /home/ubuntu/x", "new: file /home/ubuntu/x"),
        (
            "nft add chain inet somebody c",
            "nft delete chain inet somebody c",
            "table inet somebody",
        ),
        ("ip netns add other", "ip netns del other", "new: namespace other"),
        (
            "nsenter --net=/run/netns/somebody nft add chain inet somebody c",
            "nsenter --net=/run/netns/somebody nft delete chain inet somebody c",
            "namespace somebody",
        ),
        (
            "echo 1 >/proc/sys/net/ipv4/conf/trunk/forwarding",
            "echo 0 >/proc/sys/net/ipv4/conf/trunk/forwarding",
            "new: forwarding of trunk",
        ),
        ("setsid sleep 98 >/dev/null 2>&1 &", "pkill -x sleep -n", "new: process"),
    ],
)
def test_a_stranger_that_is_touched_is_seen(
    ground: Ground, disturb: str, mend: str, seen: str
) -> None:
    assert ground.settled()[1] == []
    ground.lab.run(ground.worker, ("sh", "-c", disturb))
    found = ground.settled()[1]
    ground.lab.run(ground.worker, ("sh", "-c", mend))
    assert any(seen in line for line in found)
    assert ground.settled()[1] == []


def test_a_lock_that_stays_is_seen(ground: Ground) -> None:
    hold = "exec 9>>/run/vmops/.lock/web1; flock 9; echo; read word"
    argv = ground.lab.enter(ground.worker, ("sh", "-c", hold))
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert "lock held: /run/vmops/.lock/web1" in ground.settled(sessions=False)[1]
        holder.communicate(b"\n")


def test_a_second_qemu_of_a_vm_is_seen(ground: Ground) -> None:
    ground.prepare(Operation("", (), "running", vms=("web2",)))
    script = "cp /home/ubuntu/vm_images/web2.qcow2 /tmp; qemu-system-x86_64 -m 32 -display none"
    script += " -serial none -drive file=/tmp/web2.qcow2,format=qcow2 -daemonize"
    ground.lab.run(ground.worker, ("sh", "-c", script))
    assert any("two QEMUs of web2" in line for line in ground.settled()[1])
    ground.wipe()
    assert ground.settled()[1] == []


def test_a_tag_that_was_wrong_for_a_moment_is_seen(ground: Ground) -> None:
    ground.prepare(Operation("", (), "plugged", vms=("web2",)))
    for word in ("clear Port tap_2_eth1 tag", "set Port tap_2_eth1 tag=102"):
        ground.lab.run(ground.worker, ("ovs-vsctl", *word.split()))
    wrong: list[str] = []

    def told() -> bool:
        wrong.extend(ground.tags.wrong(TARGETS))
        return bool(wrong)

    await_it(told, "no word of it", seconds=10)
    assert wrong == ["wrong VLAN: tap_2_eth1 had the tag None, asked for [102]"]
    ground.wipe()


WHOLE = Nic("tap_2_eth1", tag=102, has_port=True, has_tap=True, is_up=True)
NOTHING = Nic("tap_2_eth1", tag=None, has_port=False, has_tap=False, is_up=False)


def said(state: str, plugged: bool, *drift: str) -> dict[str, Any]:
    return {
        "vm": "web2",
        "state": state,
        "drift": list(drift),
        "interfaces": [{"tap": "tap_2_eth1", "plugged": plugged}],
    }


@pytest.mark.parametrize(
    ("entry", "qemus", "nic", "untrue"),
    [
        (said("running", True), 1, WHOLE, False),
        (said("stopped", True), 1, WHOLE, True),
        (said("running", True), 0, WHOLE, True),
        (said("running", True), 1, replace(WHOLE, tag=105), True),
        (said("running", True, "eth1: tag"), 1, replace(WHOLE, tag=105), False),
        (said("running", True), 1, replace(WHOLE, tag=None), True),
        (said("running", True), 1, replace(WHOLE, is_up=False), True),
        (said("running", True), 1, NOTHING, True),
        (said("running", False), 1, WHOLE, True),
        (said("stopped", False), 0, NOTHING, False),
        (said("stopped", False), 0, replace(WHOLE, has_port=False), True),
        (said("crashed", True), 0, WHOLE, False),
    ],
)
def test_status_that_does_not_tell_the_truth_is_seen(
    entry: dict[str, Any], qemus: int, nic: Nic, untrue: bool
) -> None:
    assert bool(untruths(entry, Shape(qemus, (nic,), True), WEB2)) == untrue


@pytest.mark.parametrize(
    ("state", "shape", "whole"),
    [
        ("running", Shape(1, (WHOLE,), True), True),
        ("running", Shape(1, (WHOLE,), True, more=("a cable pulled",)), False),
        ("running", Shape(1, (WHOLE,), True, more=("memory",)), False),
        ("unlinked", Shape(1, (WHOLE,), True, more=("a cable pulled",)), True),
        ("impaired", Shape(1, (WHOLE,), True, more=("a slow line",)), True),
        ("running", Shape(1, (WHOLE,), True, more=("a slow line",)), False),
        ("running", Shape(1, (WHOLE,), True, more=(CAME,)), False),
        ("saved", Shape(1, (WHOLE,), True), False),
        ("suspended", Shape(0, (NOTHING,), more=("memory",)), True),
        ("suspended", Shape(0, (NOTHING,)), False),
        ("suspended", Shape(0, (WHOLE,), more=("memory",)), False),
        ("gone", Shape(0, more=("memory",)), False),
        ("gone", Shape(0, more=("mark leaving",)), False),
    ],
)
def test_what_there_is_beside_a_vm_counts(state: State, shape: Shape, whole: bool) -> None:
    assert is_as_wanted(shape, WEB2, state) == whole


def test_a_vm_that_runs_without_the_seed_that_it_was_to_have_is_seen() -> None:
    seeded = replace(WEB2, seeded=True)
    assert not is_as_wanted(Shape(1, (WHOLE,), True), seeded, "running")
    assert is_as_wanted(Shape(1, (WHOLE,), True, more=(SEED,)), seeded, "running")
    assert not is_as_wanted(Shape(0, more=(SEED,)), seeded, "gone")


def test_a_vm_that_was_to_keep_its_memory_and_has_not_is_seen() -> None:
    assert not is_as_wanted(Shape(1, (WHOLE,), True), WEB2, "running", came=True)
    assert is_as_wanted(Shape(1, (WHOLE,), True, more=(CAME,)), WEB2, "running", came=True)


def test_a_suspended_vm_that_status_calls_stopped_is_seen() -> None:
    memory = Shape(0, (NOTHING,), more=("memory",))
    assert untruths(said("stopped", False), memory, WEB2)
    assert not untruths(said("suspended", False), memory, WEB2)
    assert untruths(said("suspended", False), Shape(0, (NOTHING,)), WEB2)


SERVED = ("namespace 1 2", "port tag 110", "pair", "1 dnsmasq", "folder")
HALF = ("namespace 1 2", "folder")


@pytest.mark.parametrize(
    ("state", "drift", "there", "untrue"),
    [
        ("up", [], SERVED, False),
        ("up", [{"field": "dnsmasq"}], SERVED, True),
        ("up", [], HALF, True),
        ("up", [{"field": "network"}], HALF, False),
        ("down", [], (), False),
        ("down", [], HALF, True),
        ("up", [], (), True),
        ("unknown", [], SERVED, True),
    ],
)
def test_net_status_that_does_not_tell_the_truth_is_seen(
    state: str, drift: list[object], there: tuple[str, ...], untrue: bool
) -> None:
    red: dict[str, Any] = {"network": "red", "state": "down", "drift": [], "error": None}
    blue: dict[str, Any] = {"network": "blue", "state": state, "drift": drift, "error": None}
    seen: dict[str, tuple[str, ...]] = {"blue": there, "red": ()}
    assert bool(things.untruths([blue, red], seen, {"blue": SERVED, "red": ()})) == untrue


TUNNEL = ("tunnel to the other",)


@pytest.mark.parametrize(
    ("state", "drift", "there", "untrue"),
    [
        ("up", [], TUNNEL, False),
        ("up", [], (), True),
        ("up", [], ("another tunnel",), True),
        ("up", [{"field": "tunnel"}], ("another tunnel",), False),
        ("up", [{"field": "tunnel"}], TUNNEL, True),
        ("down", [{"field": "tunnel"}], (), False),
        ("down", [{"field": "tunnel"}], TUNNEL, True),
        ("unknown", [], TUNNEL, True),
    ],
)
def test_net_status_that_does_not_tell_the_truth_of_tunnels_is_seen(
    state: str, drift: list[object], there: tuple[str, ...], untrue: bool
) -> None:
    fine: dict[str, Any] = {"network": "(mesh)", "worker": "w1", "state": "up", "drift": []}
    told = fine | {"worker": "w2", "state": state, "drift": drift}
    seen = {"mesh": TUNNEL, "mesh there": there}
    right = {"mesh": TUNNEL, "mesh there": TUNNEL}
    assert bool(things.untruths_of_mesh([fine, told], seen, right, ("w1", "w2"))) == untrue
    assert things.untruths_of_mesh([fine], seen, right, ("w1", "w2"))


@pytest.mark.parametrize(
    "operation",
    [
        Operation("", (), vms=(), file="mesh"),
        Operation("", (), "running", vms=("disk1",), file="shared"),
    ],
)
def test_a_worker_that_was_laid_otherwise_is_as_before_after_that(
    ground: Ground, operation: Operation
) -> None:
    ground.prepare(operation)
    ground.lab.run(ground.peer, ("touch", "/home/ubuntu/vm_images/x"))
    assert any("/vm_images/x" in line for line in ground.settled()[1])
    ground.lab.run(ground.peer, ("rm", "/home/ubuntu/vm_images/x"))
    assert ground.settled()[1] == []
    ground.wipe()
    assert ground.settled()[1] == []


def test_a_vm_that_two_workers_may_start_is_seen(ground: Ground) -> None:
    (disk1,) = (target for target in TARGETS if target.name == "disk1")
    here, there = Shape(0, disk="1"), Shape(0, disk="1", more=("mark expected",))
    seen = replace(ground.look(), shapes={"disk1": here, "disk1 there": there})
    assert ground.may_start(seen, disk1) == ["disk1"]
    seen = replace(seen, shapes={"disk1": here, "disk1 there": replace(there, more=())})
    assert len(ground.may_start(seen, disk1)) == 2


def test_a_guest_that_runs_where_it_is_only_awaited_is_seen(ground: Ground) -> None:
    """One that waits is no second QEMU; whether its guest runs only its monitor tells."""
    ground.prepare(Operation("", (), "running", vms=("web2",)))
    mark = '{"how": "receiving", "peer": "worker2", "token": "1", "ran": true}'
    words = ("sh", "-c", f'printf %s "$1" >{FOLDER}/moving-web2', "sh", mark)
    ground.lab.run(ground.worker, words)
    said = "the guest of web2 runs, and its mark is still there"
    assert said in ground.settled()[1]
    seen = ground.look()
    waits = replace(seen.shapes["web2"], more=(WAITS,))
    elsewhere = {"web2 there": ((7, 7),)}
    shapes = {**seen.shapes, "web2": waits, "web2 there": Shape(1)}
    moving = replace(seen, shapes=shapes, qemus=seen.qemus | elsewhere)
    assert doubled(moving, WEB2) == []
    gone_mark = replace(moving, shapes={**shapes, "web2": replace(waits, more=())})
    assert any("two QEMUs of web2" in line for line in doubled(gone_mark, WEB2))
    second = replace(moving, qemus={**moving.qemus, "web2": ((7, 7), (8, 8))})
    assert any("two QEMUs wait for web2" in line for line in doubled(second, WEB2))
    ground.wipe()


def test_of_two_that_share_a_folder_the_one_that_waits_is_no_second_one(ground: Ground) -> None:
    """By the mark that both see; one whose guest runs is a second one, whatever that says."""
    for state, peer, is_second in (
        ("running", ground.peer, True),
        ("paused", ground.peer, False),
        ("paused", ground.worker, True),
    ):
        ground.prepare(Operation("", (), cast(State, state), vms=("web2",)))
        mark = json.dumps({"how": "at", "peer": peer, "token": "", "ran": False})
        words = ("sh", "-c", f'printf %s "$1" >{FOLDER}/moving-web2', "sh", mark)
        ground.lab.run(ground.worker, words)
        seen = ground.look()
        assert seen.shapes["web2"].qemus == 1
        shapes = {**seen.shapes, "web2 there": Shape(1)}
        other = {"web2 there": ((7, 7),)}
        moving = replace(seen, shapes=shapes, qemus=seen.qemus | other)
        assert bool(doubled(moving, WEB2)) is is_second, (state, peer)
        ground.wipe()


def test_a_vm_that_has_begun_anew_on_its_way_is_seen(ground: Ground) -> None:
    live = next(each for each in OPERATIONS if each.name == "live")
    look = ground.look()

    def there(shape: Shape, *qemus: tuple[int, int]) -> Look:
        here, peer = "disk1", there_of("disk1")
        shapes = {**look.shapes, here: Shape(0), peer: shape}
        return replace(look, shapes=shapes, qemus={**look.qemus, here: (), peer: qemus})

    def blamed(seen: Look) -> list[str]:
        trial = Trial("live", "drop:time:1")
        Judge(ground, live, trial, sessions=True).remembers(there(Shape(0)), seen)
        return trial.violations

    assert blamed(there(Shape(1), (7, 7)))
    assert not blamed(there(Shape(1, more=(CAME,)), (7, 7)))
    assert not blamed(there(Shape(0)))


def test_the_same_seed_gives_the_same_places_and_each_row_all_its_parts() -> None:
    places = plan(points=3, seed=5)
    assert places == plan(points=3, seed=5) != plan(points=3, seed=6)
    row = [p.part for p in places if p.name.startswith("launch:drop:worker:")]
    assert sorted(int((1 - (1 - part) ** 0.5) * 3) for part in row) == [0, 1, 2]
    assert len({place.name for place in places}) == len(places)


def test_parts_add_up_to_the_whole() -> None:
    """Each operation alone, and each kind of cut alone, is cut where the whole sweep cuts it."""
    whole = {place.name for place in plan(points=2, seed=5)}
    apart = [plan(points=2, seed=5, operations=[operation]) for operation in OPERATIONS]
    assert {place.name for places in apart for place in places} == whole
    kinds = [plan(points=2, seed=5, kinds=[kind]) for kind in (*NETWORK, *SIGNALS)]
    assert {place.name for places in kinds for place in places} == whole


def test_a_cut_is_read_as_it_is_written() -> None:
    extent = Extent(operator=1000, worker=2000, time=0.5)
    for place in plan(points=2, seed=1):
        cut = place.cut(extent)
        assert str(read_cut(str(cut))) == str(cut)
    for text in ("rain:time:1", "drop:moon:1", "kill:worker:7"):
        with pytest.raises(ValueError, match="no such cut"):
            read_cut(text)


def test_a_journal_goes_on_after_a_line_that_was_cut_off(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "some" / "sweep.jsonl")
    trial = Trial("launch", str(Cut("drop", "worker", 7)), violations=["lock held: x"])
    journal.add("launch:drop:worker:0.1", trial)
    with journal.path.open("a") as file:
        file.write('{"place": "stop')
    assert journal.read() == {"launch:drop:worker:0.1": trial}
    assert "scripts/chaos --repeat launch@drop:worker:7" in report([trial])


def test_only_an_interrupt_before_our_code_is_forgiven() -> None:
    stock = 'Traceback\n  File "/x/fabric/__init__.py"\nKeyboardInterrupt\n'
    assert before_our_code(stock)
    assert not before_our_code(stock.replace("/x/fabric", "/x/vmops/tasks"))
    assert not before_our_code(stock.replace("KeyboardInterrupt", "KeyError: 1"))


def test_a_known_violation_is_told_and_any_other_beside_it_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known_of_replug = tuple(
        replace(each, known="has lost its network") if each.name == "replug" else each
        for each in OPERATIONS
    )
    monkeypatch.setattr(judge_module, "OPERATIONS", known_of_replug)
    lost = "web1 runs on and has lost its network: tap_1_eth1 (up, no port)"
    known = Trial("replug", "drop:operator:13795", violations=[lost])
    assert (known.unknown, lost in report([known])) == ([], True)
    other = Trial("replug", "drop:operator:13795", violations=[lost, "lock held: x"])
    assert other.unknown == ["lock held: x"]
    assert Trial("launch", "drop:operator:13795", violations=[lost]).unknown == [lost]
