"""Lines that are made worse on purpose: keys, words for tc, their reading, plans and refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.core.devices.live.nics import ADD
from vmops.core.devices.storage.moving import mark
from vmops.core.facts.observed import Observed, for_moving, for_starting
from vmops.core.facts.wiring import IMPAIRED, TRAFFIC_CONTROL
from vmops.core.inventory.complaints import InvalidValue
from vmops.core.inventory.model import VM, Interface
from vmops.core.inventory.networks.impairment import (
    UNIMPAIRED,
    Impaired,
    Impairment,
    impaired,
    keys_of,
)
from vmops.core.plan import health, restarting, starting
from vmops.core.plan.live import interfaces
from vmops.core.plan.moving import cold, live
from vmops.core.plan.status import of
from vmops.core.tools import ovs
from vmops.core.tools.lines import tc
from vmops.errors import WorkFailed

from .test_live_interfaces import SAID, says
from .test_networks import read
from .worlds import EMPTY, TAP1, TAP2, VM1, WORKER, commands, labels, plugged, running

SLOW = Impairment(delay_ms=20)
BOTH = Impaired(SLOW, SLOW)
NONE = Impairment()


def slow(**keys: Any) -> VM:
    """VM1, the first interface impaired."""
    first = replace(VM1.interfaces[0], **({"delay_ms": 20} | keys))
    return replace(VM1, interfaces=(first, *VM1.interfaces[1:]))


# Keys


@pytest.mark.parametrize(
    ("keys", "means"),
    [
        ({}, UNIMPAIRED),
        ({"delay_ms": 20}, BOTH),
        ({"delay_ms": 20.0, "impaired": "in"}, Impaired(SLOW, NONE)),
        ({"delay_ms": 20, "impaired": "out"}, Impaired(NONE, SLOW)),
        ({"loss_pct": 0.5, "rate_mbit": 10}, Impaired(*(Impairment(0, 0, 0.5, 10),) * 2)),
    ],
)
def test_what_the_keys_mean(keys: dict[str, Any], means: Impaired) -> None:
    vm = VM.from_dict(replace(VM1, interfaces=(Interface("eth1", vlan_id=1, **keys),)).to_dict())
    (nic,) = vm.nics
    assert nic.impaired == means
    assert impaired(keys_of(means)) == means


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"delay_ms": 0}, "0.1 to 10000"),
        ({"delay_ms": "20"}, "must be a number, not text"),
        ({"delay_ms": True}, "must be a number, not true or false"),
        ({"delay_ms": float("nan")}, "0.1 to 10000"),
        ({"loss_pct": 101}, "0.001 to 100"),
        ({"rate_mbit": 1e9}, "0.01 to 100000"),
        ({"jitter_ms": 5}, "must be at most delay_ms, 0"),
        ({"delay_ms": 20, "jitter_ms": 21}, "must be at most delay_ms, 20"),
        ({"impaired": "in"}, "must be left out, as nothing is impaired"),
        ({"delay_ms": 20, "impaired": "up"}, 'one of "both", "in", "out"'),
    ],
)
@pytest.mark.parametrize("where", [{"vlan_id": 1}, {"network": "blue"}])
def test_a_bad_key_is_refused_with_its_rule(
    keys: dict[str, Any], said: str, where: dict[str, Any]
) -> None:
    with pytest.raises(InvalidValue, match=said):
        Interface("eth1", **where, **keys)
    words = {True: "true", "20": '"20"', "in": '"in"', "up": '"up"'}
    listed = {"name": '"eth1"'} | {key: words.get(value, value) for key, value in keys.items()}
    listed |= {key: '"blue"' if value == "blue" else value for key, value in where.items()}
    interface = ", ".join(f"{key} = {value}" for key, value in listed.items())
    with pytest.raises(InvalidValue, match=said):
        read(f"[networks.blue]\nvlan_id = 100\n[vms.a]\ninterfaces = [{{ {interface} }}]\n")


# tc


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (SLOW, "netem limit 10000 delay 20ms"),
        (Impairment(20, 5, 1, 10), "netem limit 104 delay 20ms 5ms loss 1% rate 10000kbit"),
        (Impairment(loss_pct=100), "netem limit 8333 loss 100%"),
        (Impairment(rate_mbit=0.064), "tbf rate 64kbit burst 16384 latency 100ms"),
        (Impairment(rate_mbit=1000), "tbf rate 1000000kbit burst 1250000 latency 100ms"),
    ],
)
def test_the_queue_in_the_words_of_tc(wanted: Impairment, words: str) -> None:
    assert " ".join(tc.words(wanted)) == words


@given(st.floats(0.1, 10_000), st.floats(0, 10_000), st.floats(0, 100), st.floats(0.01, 100_000))
def test_a_queue_never_takes_all_memory(
    delay: float, jitter: float, loss: float, rate: float
) -> None:
    words = tc.words(Impairment(delay, jitter, loss, rate))
    assert 50 <= int(words[words.index("limit") + 1]) <= 20_000


def row(dev: str, kind: str, **options: Any) -> dict[str, Any]:
    return {"kind": kind, "handle": "766d:", "dev": dev, "root": True, "options": options}


# As iproute2 5.15 and 6.1 print them; a newer one adds keys, and leaves out what is not set.
NETEM = row(
    TAP1,
    "netem",
    limit=104,
    delay={"delay": 0.02, "jitter": 0.005, "correlation": 0},
    **{"loss-random": {"loss": 0.01, "correlation": 0}},
    rate={"rate": 1250000, "packetoverhead": 0, "cellsize": 0, "celloverhead": 0},
    ecn=False,
    gap=0,
)
NEWER = row(TAP1, "netem", limit=10, delay={"delay": 0.02}, seed=1, slot={"max-packets": 3})
CLSACT = {"kind": "clsact", "handle": "ffff:", "dev": TAP1, "parent": "ffff:fff1", "options": {}}
OTHERS = [
    {"kind": "noqueue", "handle": "0:", "dev": "lo", "root": True, "refcnt": 2, "options": {}},
    {"kind": "fq_codel", "handle": "0:", "dev": "eth0", "parent": ":1", "options": {"limit": 9}},
]
TBF = row(tc.mirror(TAP1), "tbf", rate=1250000, burst=16384, lat=100000)


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([], {}),
        (OTHERS, {}),
        ([*OTHERS, NETEM], {TAP1: Impaired(Impairment(20, 5, 1, 10), NONE)}),
        ([NEWER, CLSACT], {TAP1: Impaired(SLOW, NONE)}),
        ([CLSACT, TBF], {TAP1: Impaired(NONE, Impairment(rate_mbit=10))}),
        ([NEWER, CLSACT, TBF], {TAP1: Impaired(SLOW, Impairment(rate_mbit=10))}),
        # What leads nobody's frames impairs nothing.
        ([TBF], {}),
    ],
)
def test_what_tc_says_is_read(rows: list[Any], found: dict[str, Impaired]) -> None:
    assert dict(tc.parse(json.dumps(rows))) == found


# Plans


def impaired_as(seen: Observed, *found: Impaired) -> Observed:
    return seen._replace(impaired=dict(zip((TAP1, TAP2), found, strict=False)))


def test_a_launch_impairs_what_it_has_plugged_before_the_guest_starts() -> None:
    made = starting.launch(WORKER, slow(), EMPTY)
    steps = labels(made)
    assert steps.index("impair eth1") < steps.index("run directory")
    assert "impair eth2" not in steps
    into, out = commands(made, "impair eth1")
    assert into == f"impair_in {TAP1} netem limit 10000 delay 20ms"
    assert out == f"impair_out {TAP1} ifb_1001_eth1 netem limit 10000 delay 20ms"
    assert made.block is not None
    step = next(each for each in made.block.numbered() if each.label == "impair eth1")
    # Only where it was plugged: an interface that was left out has no TAP.
    assert all(word.flag == "nic1" for entry in step.commands for word in entry.argv)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("has", "vm", "does"),
    [
        (BOTH, slow(), None),
        (UNIMPAIRED, slow(), "impair_in"),
        (Impaired(Impairment(delay_ms=50), SLOW), slow(), "impair_in"),
        (BOTH, VM1, "free_in"),
    ],
)
def test_a_running_vm_is_impaired_as_wanted_without_a_restart(
    has: Impaired, vm: VM, does: str | None
) -> None:
    seen = impaired_as(running(vm), has)
    made = starting.launch(WORKER, vm, seen)
    assert (made.action == "nothing") == (does is None)
    drift = [(item.field, item.live) for item in made.drift]
    assert drift == ([("interfaces.eth1.impaired", True)] if does else [])
    if does:
        assert labels(made) == ["plugged", "impair eth1"]
        assert commands(made, "impair eth1")[0].startswith(f"{does} {TAP1}")
    assert of(WORKER, vm, seen).interfaces[0].impaired == has


def test_what_is_impaired_and_could_not_be_read_is_not_taken_for_absent() -> None:
    seen = running(slow())._replace(faults={IMPAIRED.name: "what tc said cannot be read"})
    (drift,) = starting.launch(WORKER, slow(), seen).drift
    assert str(drift) == "interfaces.eth1.impaired: unknown -> 20 ms both ways"
    assert of(WORKER, slow(), seen).interfaces[0].impaired is None
    assert starting.launch(WORKER, VM1, seen).action == "nothing"


def test_an_interface_whose_port_is_replaced_is_impaired_again() -> None:
    """The switch removes the queue of a device that it opens for the first time."""
    seen = impaired_as(running(slow()), BOTH)
    lost = seen._replace(switch=ovs.Switch(seen.switch.bridges))
    assert "impair eth1" in labels(starting.launch(WORKER, slow(), lost))


def test_one_that_is_added_to_a_running_vm_is_impaired_when_it_is_there() -> None:
    more = Interface("eth3", vlan_id=103, model="virtio", rate_mbit=1, impaired="in")
    vm = replace(VM1, interfaces=(*VM1.interfaces, more))
    made = starting.launch(WORKER, vm, says(SAID))
    assert labels(made) == ["plugged", f"{ADD} eth3", "impair eth3"]


def test_a_vm_that_is_started_again_as_it_ran_is_impaired_as_it_was() -> None:
    other = Impairment(delay_ms=50)
    seen = impaired_as(running(slow()), Impaired(other, other))
    ran = restarting.as_it_runs(WORKER, slow(), seen)
    assert ran is not None
    assert ran.nics[0].impaired == Impaired(other, other)


def test_one_that_moves_while_it_runs_is_impaired_there_before_its_qemu_waits() -> None:
    """As hosts.toml has it; what was impaired by hand where it ran stays behind."""
    seen = EMPTY._replace(moves={"vm1": mark("expected", "worker1", "t", ran=True)})
    by_hand = impaired_as(running(slow()), Impaired(Impairment(delay_ms=50), NONE))
    made = live.receive(WORKER, slow(), seen, by_hand, token="u")
    assert labels(made).index("impair eth1") < labels(made).index("run directory")
    assert commands(made, "impair eth1") == [
        f"impair_in {TAP1} netem limit 10000 delay 20ms",
        f"impair_out {TAP1} ifb_1001_eth1 netem limit 10000 delay 20ms",
    ]
    assert "impair eth1" not in labels(live.receive(WORKER, VM1, seen, running(), token="u"))


@pytest.mark.parametrize("starts", [True, False])
def test_one_does_not_move_to_where_its_line_cannot_be_impaired(starts: bool) -> None:
    assert TRAFFIC_CONTROL in for_moving([slow()])
    cold.check_comes(WORKER, slow(), EMPTY, running(slow()), starts=starts)
    lacks = EMPTY._replace(lacks=("netem",))
    with pytest.raises(WorkFailed, match=r"no netem \(sch_netem\)"):
        cold.check_comes(WORKER, slow(), lacks, running(slow()), starts=starts)


def test_undone_it_is_as_it_was() -> None:
    seen = impaired_as(running(VM1), Impaired(SLOW, NONE))
    made = interfaces.impair(WORKER, VM1, seen, name="eth1", wanted=BOTH)
    assert made.block is not None
    (step,) = made.block.numbered()
    assert [entry.words()[:2] for entry in step.undo] == [("impair_in", TAP1), ("free_out", TAP1)]
    again = interfaces.impair(WORKER, VM1, seen, name="eth1", wanted=Impaired(SLOW, NONE))
    assert again.action == "nothing"


def test_what_is_not_plugged_or_somebody_elses_is_refused() -> None:
    seen = running(VM1)
    for taps in ({}, {TAP1: seen.taps[TAP1]._replace(alias="vmops:other")}):
        with pytest.raises(WorkFailed, match="eth1 is not plugged"):
            interfaces.impair(WORKER, VM1, seen._replace(taps=taps), name="eth1", wanted=BOTH)


# What a worker cannot do

USERSPACE = EMPTY._replace(switch=ovs.Switch({"br-int": "netdev"}))
REFUSALS = [
    ("tc", slow(), "there is no tc"),
    ("netem", slow(), "no netem (sch_netem)"),
    ("tbf", slow(delay_ms=None, rate_mbit=1), "no tbf (sch_tbf)"),
    ("ifb", slow(), "(ifb, cls_u32, act_mirred)"),
    ("", slow(), "br-int is of the userspace datapath"),
]


@pytest.mark.parametrize(("lacks", "vm", "why"), REFUSALS)
def test_what_cannot_be_is_refused_before_anything_is_done(lacks: str, vm: VM, why: str) -> None:
    seen = EMPTY._replace(lacks=(lacks,)) if lacks else USERSPACE
    for there in (seen, running(vm, before=seen)):
        with pytest.raises(WorkFailed) as refused:
            starting.launch(WORKER, vm, there)
        assert why in str(refused.value)
        assert str(refused.value).count("eth1: ") == 1
        assert refused.value.cure
    (check,) = health._impairing(WORKER, [vm], seen)
    assert not check.ok
    assert why in check.found


@pytest.mark.parametrize(
    ("lacks", "vm"),
    [
        ("netem", slow(delay_ms=None, rate_mbit=1)),
        ("tbf", slow(rate_mbit=1)),
        ("ifb", slow(impaired="in")),
        ("tc", VM1),
    ],
)
def test_what_is_not_needed_may_be_lacking(lacks: str, vm: VM) -> None:
    assert starting.launch(WORKER, vm, EMPTY._replace(lacks=(lacks,))).action == "start"
    userspace = USERSPACE._replace(lacks=(lacks,))
    if vm.nics[0].impaired.out == NONE:
        assert starting.launch(WORKER, vm, userspace).action == "start"


def test_a_worker_is_asked_what_it_can_only_where_something_is_wanted() -> None:
    assert TRAFFIC_CONTROL in for_starting([VM1, slow()])
    assert TRAFFIC_CONTROL not in for_starting([VM1])
    assert health._impairing(WORKER, [VM1], EMPTY) == []


def test_status_has_what_is_there() -> None:
    seen = impaired_as(plugged(VM1), UNIMPAIRED, Impaired(SLOW, NONE))
    assert [each.impaired for each in of(WORKER, VM1, seen).interfaces] == [
        UNIMPAIRED,
        Impaired(SLOW, NONE),
    ]
