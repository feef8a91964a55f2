"""Root ports: what a q35 can be given while it runs, where it goes, and what comes out again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from vmops.core.devices import machine
from vmops.core.devices.live import ports
from vmops.core.devices.live.memory import Memory
from vmops.core.devices.storage.moving import mark
from vmops.core.facts.monitors import statuses_of
from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM, Interface
from vmops.core.plan import starting
from vmops.core.plan.drift import launch_values
from vmops.core.plan.group import unwanted_restart
from vmops.core.plan.life import QEMU
from vmops.core.plan.moving import live
from vmops.core.tools.monitor import Heard
from vmops.ops.vm.changes import Change
from vmops.tasks.vm.fleet import _row_of_plan

from .test_live_drives import CARDS, DATA, LOGS, attached, said, world
from .worlds import EMPTY, VM1, WORKER, commands, labels, running

Q35 = replace(VM1, machine="q35")
OLD_VALUES = launch_values(WORKER, Q35, EMPTY)._replace(ports=0)
ETH3 = Interface("eth3", vlan_id=103, model="virtio")
TAP3 = "tap_1001_eth3"
CARD3 = (
    f"{TAP3}: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:00:03:e9:03\r\n"
    f" \\ {TAP3}: index=0,type=tap,fd=24\r\n"
)
NAMES = tuple(f"spare{number}" for number in range(ports.SPARE))


def buses(*occupied: str) -> list[dict[str, Any]]:
    """How QEMU tells which of its root ports have a card."""
    devices: list[dict[str, Any]] = [{"slot": 0, "qdev_id": ""}]
    for name in NAMES:
        card = [{"slot": 0, "qdev_id": "x"}] if name in occupied else []
        behind = {"bus": {"number": 1}, **({"devices": card} if card or name != NAMES[-1] else {})}
        devices.append({"slot": 28, "qdev_id": name, "pci_bridge": behind})
    return [{"bus": 0, "devices": devices}]


def tells(
    *has: tuple[str, dict[str, Any]], occupied: tuple[str, ...] = (), cards: str = CARDS
) -> tuple[Any, ...]:
    status, _, *rest = said(*has)
    return (status, cards, buses(*occupied), *rest)


@pytest.mark.parametrize("kind", [None, "pc", "pc-i440fx-7.2", "q35", "pc-q35-7.2"])
def test_only_a_machine_that_needs_them_has_them(kind: str | None) -> None:
    vm = replace(VM1, machine=kind)
    words = machine.build(vm, launch_values(WORKER, vm, EMPTY)).words()
    assert ports.of(words) == (ports.SPARE if "q35" in (kind or "") else 0)
    places = [word.partition("addr=")[2] for word in words if word.startswith("pcie-root-port")]
    assert len({*places}) == len(places)
    asked = statuses_of([vm]).commands[0].stdin or b""
    assert (b"query-pci" in asked) == ("q35" in (kind or ""))


def test_free_is_what_the_monitor_has_told() -> None:
    argv = machine.build(Q35, launch_values(WORKER, Q35, EMPTY)).words()
    heard = Heard("vm1", answers=tells(occupied=("spare1",)))
    assert ports.free(argv, heard) == ("spare0", "spare2", "spare3")
    assert ports.free(argv, Heard("vm1", answers=said())) == ()
    assert ports.free(argv, None) == ()
    none = machine.build(VM1, launch_values(WORKER, VM1, EMPTY)).words()
    assert ports.free(none, heard) == (), "not ours, whatever it is called"


def device_add(commands_of: list[str]) -> str:
    (line,) = (
        line
        for talk in commands_of
        for line in talk.split("\n")
        if line.startswith("say") and "device_add" in line
    )
    return line


def test_each_card_gets_a_port_of_its_own() -> None:
    wanted = replace(Q35, interfaces=(*Q35.interfaces, ETH3), disks=(DATA, LOGS))
    seen = world(Q35, tells(occupied=("spare0",)), wanted)
    made = starting.launch(WORKER, wanted, seen)
    assert made.action == "change"
    added = ("add eth3", "add disk data", "add disk logs")
    places = [device_add(commands(made, label)).partition('"bus": ')[2] for label in added]
    assert [place.partition(",")[0] for place in places] == ['"spare1"', '"spare3"', '"spare2"']
    assert all('"addr": "0"' in place for place in places)


def test_on_a_machine_with_a_bus_no_port_is_named() -> None:
    wanted = replace(VM1, disks=(DATA,))
    made = starting.launch(WORKER, wanted, world(VM1, said(), wanted))
    assert "bus" not in device_add(commands(made, "add disk data"))


@pytest.mark.parametrize(
    ("ran", "answers", "disks"),
    [
        (Q35, tells(occupied=NAMES), (DATA,)),
        (Q35, tells(occupied=NAMES[1:]), (DATA, LOGS)),
        (Q35, said(), (DATA,)),
        (replace(Q35, disks=(DATA,)), tells(attached("data", "/x")), ()),
    ],
)
def test_without_a_free_port_or_with_a_card_of_its_start_only_a_restart_helps(
    ran: VM, answers: tuple[Any, ...], disks: tuple[Any, ...]
) -> None:
    wanted = replace(ran, disks=disks)
    assert starting.launch(WORKER, wanted, world(ran, answers, wanted)).action == "restart"


@pytest.mark.parametrize("new", range(4))
def test_of_more_cards_than_ports_those_that_are_too_many_say_why(new: int) -> None:
    nics = tuple(Interface(f"eth{n}", vlan_id=103, model="virtio") for n in range(3, 3 + new))
    disks = tuple(replace(DATA, name=f"d{n}") for n in range(5 - new))
    wanted = replace(Q35, interfaces=(*Q35.interfaces, *nics), disks=disks)
    made = starting.launch(WORKER, wanted, world(Q35, tells(), wanted))
    assert made.action == "restart"
    (*fit, last) = sorted(made.drift, key=lambda one: not one.live)
    assert [one.how for one in (*fit, last)] == ["live"] * 4 + ["restart"]
    assert last.field == f"disks.{disks[-1].name}"
    assert str(last).endswith(
        " GiB, and no root port is free: a restart gives it a place, and 4 to spare"
    )
    assert not any("port" in str(one) for one in fit)
    needs, also = unwanted_restart(WORKER, made).what.split("; with a restart, and not before it, ")
    assert needs == f"vm1 runs, but not as the inventory says: {last}"
    assert all(str(one) in also for one in fit)
    row = _row_of_plan(Change("vm1", "w", made.action, made.drift))
    assert row[3].count("(with it)") == 4
    assert row[3].count("(restart)") == 1


def test_what_was_added_comes_out_again_and_what_it_was_started_with_does_not() -> None:
    answers = tells(attached("old", "/old"), occupied=("spare0",), cards=CARDS + CARD3)
    made = starting.launch(WORKER, Q35, world(Q35, answers))
    assert made.action == "change"
    assert {"remove disk old", "remove eth3"} < {*labels(made)}
    fewer = replace(Q35, interfaces=Q35.interfaces[:1])
    assert starting.launch(WORKER, fewer, world(Q35, tells())).action == "restart"


def old() -> Observed:
    """It runs as a vmops started it that knew of no ports."""
    seen = running(Q35)
    was = seen.vm("vm1")
    assert was.process is not None
    _, _, _, *argv = machine.build(Q35, OLD_VALUES).words()
    process = was.process._replace(argv=tuple(argv))
    return seen._replace(vms={"vm1": was._replace(process=process)})


def test_one_that_was_started_without_ports_is_no_other_machine() -> None:
    heard = Heard("vm1", answers=said())
    seen = old()._replace(monitors={"vm1": heard})
    assert starting.launch(WORKER, Q35, seen).action == "nothing"


@pytest.mark.parametrize("number", [0, ports.SPARE])
def test_memory_comes_to_a_machine_with_as_many_ports(number: int) -> None:
    source = running(Q35) if number else old()
    process = source.vm("vm1").process
    assert process is not None
    comes = EMPTY._replace(moves={"vm1": mark("expected", "worker1", "t", ran=True)})
    waits = live.receive(WORKER, Q35, comes, source, token="u")
    suspended = EMPTY._replace(suspended={"vm1": Memory(process.argv)})
    resumes = starting.launch(WORKER, Q35, suspended)
    for made in (waits, resumes):
        start = next(each for each in commands(made, QEMU) if each.startswith("start_qemu"))
        assert start.count("pcie-root-port") == number
