"""Which worker a VM is placed on: the choice, its reasons, and what never happens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.core.devices.disk import NOTHING_THERE, unobjectionable
from vmops.core.devices.live.memory import Memory
from vmops.core.devices.storage.folder import DiskFolder, disk_file
from vmops.core.facts.observed import Observed
from vmops.core.images.names import Base
from vmops.core.inventory.model import VM, Disk, Interface, Settings
from vmops.core.inventory.placement.apart import apart
from vmops.core.plan import group
from vmops.core.plan.group import Terms
from vmops.core.plan.phase import Plan
from vmops.core.plan.placement.choice import Asked, Choice, Wish
from vmops.core.plan.placement.choose import choose
from vmops.core.tools import ovs
from vmops.errors import LaunchFailed, NotAsked, VmopsError, WorkerUnreachable

from .worlds import EMPTY, HOST, WORKER, running

NAMES = ("w1", "w2", "w3", "w4")
WORKERS = {
    name: Settings(accel="tcg").worker(name, address=f"192.0.2.{n}")
    for n, name in enumerate(NAMES, start=1)
}
BASES = {"debian": Base("0" * 64, "qcow2")}
TERMS = Terms(bases=BASES)


def vm(number: int, *, ram_mb: int = 512, cores: int = 1, others: tuple[str, ...] = ()) -> VM:
    nic = Interface("eth1", vlan_id=101)
    return VM(
        f"vm{number}",
        vm_id=number,
        ram_mb=ram_mb,
        cores=cores,
        image="debian",
        interfaces=(nic,),
        apart=others,
    )


A, B, C = vm(1), vm(2), vm(3)
ALL = (A, B, C)


def world(*vms: VM, free_mb: int = 4000, disks: tuple[VM, ...] = ()) -> Observed:
    """A worker on which these VMs run, and those disks lie."""
    host = HOST._replace(available_mb=free_mb)
    seen = EMPTY._replace(host=host, images={each.qcow_image: NOTHING_THERE for each in ALL})
    seen = with_disks(seen, disks)
    for each in vms:
        seen = running(each, before=seen)
    return seen


def with_disks(seen: Observed, vms: tuple[VM, ...]) -> Observed:
    files = [disk_file(each.qcow_image.rpartition("/")[2]) for each in vms]
    images = {each.qcow_image: unobjectionable(each.qcow_image) for each in vms}
    folder = DiskFolder(1 << 40, {file.file: file for file in files if file})
    return seen._replace(folder=folder, images={**seen.images, **images})


def asked(*seen: Observed | None) -> Asked:
    """The workers in order; None is one that could not be asked."""
    pairs = list(zip(NAMES, seen, strict=False))
    down: dict[str, VmopsError] = {
        name: WorkerUnreachable("no answer", worker=name) for name, one in pairs if one is None
    }
    workers = {name: WORKERS[name] for name, _ in pairs}
    return Asked(workers, {name: one for name, one in pairs if one is not None}, down)


def wish(*vms: VM, terms: Terms = TERMS) -> Wish:
    said = {each.name: each.apart for each in ALL} | {each.name: each.apart for each in vms}
    return Wish(vms, terms, apart=apart(said))


def only(found: list[Choice]) -> Choice:
    (choice,) = found
    return choice


LESS = "fits, and has less left"


def test_the_worker_with_the_most_memory_gets_it() -> None:
    choice = only(choose(asked(world(free_mb=1000), world(), world(free_mb=900)), wish(A)))
    assert (choice.worker, choice.error) == ("w2", None)
    assert choice.reason == "4000 MiB of memory are free, the most of 3 that fit"
    assert [(one.worker, one.free_mb, one.fits) for one in choice.judged] == [
        ("w1", 1000, True),
        ("w2", 4000, True),
        ("w3", 900, True),
    ]


def _with_cpus(seen: Observed, cpus: int) -> Observed:
    return seen._replace(host=seen.host._replace(cpus=cpus))


@pytest.mark.parametrize(
    ("seen", "worker", "reason", "beside"),
    [
        (
            (world(), world(free_mb=4001), world(free_mb=1000)),
            "w1",
            "about as much as on 1 other; it is the first of them in hosts.toml",
            ["", "fits, has about as much left, and is further down in hosts.toml", LESS],
        ),
        (
            (world(), world(), world()),
            "w1",
            "about as much as on 2 others; it is the first of them in hosts.toml",
            ["", *["fits, has about as much left, and is further down in hosts.toml"] * 2],
        ),
        (
            (world(), _with_cpus(world(), 64), world(free_mb=1000)),
            "w2",
            "about as much as on 1 other; it has the most CPUs for each core",
            ["fits, has about as much left, and fewer CPUs for each core", "", LESS],
        ),
        ((world(), world(free_mb=1000)), "w1", "the most of 2 that fit", ["", LESS]),
        (
            (world(vm(8, ram_mb=HOST.memory_mb - 1000)), world(free_mb=3000)),
            "w2",
            "and the most are left when VMs that run take all of theirs, of 2 that fit",
            [LESS, ""],
        ),
    ],
    ids=["a tie", "all alike", "more CPUs", "the most", "promised"],
)
def test_why_it_is_that_worker_and_not_another(
    seen: tuple[Observed, ...], worker: str, reason: str, beside: list[str]
) -> None:
    choice = only(choose(asked(*seen), wish(A)))
    assert choice.worker == worker
    assert choice.reason.endswith(reason), choice.reason
    why = [one.beside for one in choice.judged if one.worker != worker]
    assert why == [text for text in beside if text]


def test_what_starts_first_is_counted_and_equal_workers_are_filled_in_turn() -> None:
    found = choose(asked(world(), world(), world()), wish(A, B, C))
    assert [one.worker for one in found] == ["w1", "w2", "w3"]


def test_vms_that_hosts_toml_gives_the_worker_are_counted() -> None:
    pinned = replace(vm(9, ram_mb=3600), worker="w1")
    found = choose(asked(world(), world(free_mb=800)), wish(A)._replace(beside={"w1": (pinned,)}))
    assert only(found).worker == "w2"
    assert only(found).judged[0].free_mb == 400
    assert "together they need 4112 MiB of memory" in only(found).judged[0].why


def test_memory_is_not_needed_where_overcommit_is_said() -> None:
    refused = only(choose(asked(world(free_mb=100)), wish(A)))
    assert refused.error is not None
    terms = TERMS._replace(overcommit=True)
    assert only(choose(asked(world(free_mb=100)), wish(A, terms=terms))).worker == "w1"


def _without_bridge(seen: Observed) -> Observed:
    return seen._replace(switch=ovs.Switch({"br-ex": ""}))


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        pytest.param(world(free_mb=511), "needs 512 MiB of memory, 511 MiB", id="memory"),
        pytest.param(
            world()._replace(host=HOST._replace(cpus=1)), "has 2 cores, and 1 CPUs", id="cpus"
        ),
        pytest.param(_without_bridge(world()), "no bridge br-int", id="bridge"),
        pytest.param(
            world()._replace(switch=ovs.Switch(fault="no answer")), "does not answer", id="switch"
        ),
        pytest.param(
            world()._replace(host=HOST._replace(qemu="")), "QEMU is not installed", id="qemu"
        ),
        pytest.param(world()._replace(host=HOST._replace(tun=False)), "/dev/net/tun", id="tun"),
        pytest.param(
            world()._replace(folder=DiskFolder(0)), "0 MiB are free in", id="room-for-its-disk"
        ),
        pytest.param(None, "it could not be asked", id="asked"),
    ],
)
def test_a_worker_on_which_it_could_not_start_is_none(seen: Observed | None, why: str) -> None:
    two = replace(A, cores=2, disks=(Disk("data", size_gb=1),))
    trusting = wish(two)._replace(trusting=True)
    choice = only(choose(asked(seen, world(free_mb=513)), trusting))
    assert choice.worker == "w2"
    assert choice.reason == "no other worker has a place for it"
    assert why in choice.judged[0].why
    refused = only(choose(asked(seen), trusting))
    assert isinstance(refused.error, NotAsked if seen is None else LaunchFailed)
    assert why in refused.error.what
    assert "fab place --vm vm1 --why" in refused.error.cure


def test_it_stays_where_it_runs() -> None:
    full = world(A, free_mb=0)
    assert only(choose(asked(world(), full), wish(A)))[:3] == (A, "w2", "it runs there")


def test_one_that_runs_twice_is_not_touched() -> None:
    error = only(choose(asked(world(A), world(A)), wish(A))).error
    assert error is not None
    assert "runs on w1 and on w2" in error.what
    assert error.cure == "to end one: fab -H w2 stop --vm vm1 --elsewhere"


def test_one_that_may_run_where_nobody_could_ask_is_not_started() -> None:
    error = only(choose(asked(world(), None), wish(A))).error
    assert error is not None
    assert "it may run on w2, which could not be asked" in error.what
    assert error.cure.endswith("fab launch --vm vm1 --here")
    with_disk = only(choose(asked(world(disks=(A,)), None), wish(A)))
    assert with_disk.error is not None
    assert only(choose(asked(world(A), None), wish(A))).worker == "w1"
    assert only(choose(asked(world(), None), wish(A)._replace(trusting=True))).worker == "w1"


@pytest.mark.parametrize(
    ("there", "reason"),
    [
        (world(disks=(A,), free_mb=1), "its disk is there"),
        (
            world(free_mb=1)._replace(suspended={"vm1": Memory()}),
            "its memory, as it is suspended, is there",
        ),
    ],
)
def test_it_goes_back_to_what_it_has_left(there: Observed, reason: str) -> None:
    choice = only(choose(asked(world(), there, world()), wish(A)))
    assert (choice.worker, choice.reason) == ("w2", reason)


def test_an_image_that_lies_on_one_worker_is_where_it_belongs() -> None:
    own = VM("vm1", vm_id=1, ram_mb=512, cores=1, qcow_image="~/a.qcow2")
    has = world()._replace(images={"~/a.qcow2": unobjectionable("~/a.qcow2")})
    assert only(choose(asked(world(), has), wish(own))).worker == "w2"
    twice = only(choose(asked(has, has), wish(own)))
    assert twice.error is not None
    assert "its image is on w1, and its image is on w2" in twice.error.what
    nowhere = only(choose(asked(world(), world()), wish(own)))
    assert nowhere.error is not None
    assert "w1: no image /home/ubuntu/a.qcow2" in nowhere.error.what


def test_a_further_disk_is_one_of_its_own() -> None:
    own = replace(A, disks=(Disk("data", size_gb=1),))
    file = disk_file("disk-vm1-data.qcow2")
    assert file is not None
    has = world()._replace(folder=DiskFolder(1 << 40, {file.file: file}))
    assert only(choose(asked(world(), has), wish(own))).worker == "w2"


def test_vms_that_are_to_be_apart_are_placed_apart_or_not_at_all() -> None:
    vms = tuple(replace(each, apart=("vm*",)) for each in ALL)
    found = choose(asked(world(), world(), world()), wish(*vms))
    assert {one.worker for one in found} == {"w1", "w2", "w3"}
    *two, third = choose(asked(world(), world()), wish(*vms))
    assert {one.worker for one in two} == {"w1", "w2"}
    assert third.error is not None
    assert "w1: vm1 is there, and they are to be apart" in third.error.what


@pytest.mark.parametrize(
    "there",
    [
        pytest.param(world(B), id="runs"),
        pytest.param(world(disks=(B,)), id="has-its-disk-there"),
    ],
)
def test_a_worker_of_one_that_it_is_to_be_apart_from_is_none(there: Observed) -> None:
    alone = replace(A, apart=("vm2",))
    choice = only(choose(asked(there, world(free_mb=600)), wish(alone)))
    assert choice.worker == "w2"
    assert choice.judged[0].why == "vm2 is there, and they are to be apart"


def test_one_that_is_pinned_keeps_its_worker_for_itself_though_it_does_not_run() -> None:
    alone = wish(replace(A, apart=("vm2",)))._replace(pinned={"vm2": "w1"})
    assert only(choose(asked(world(), world(free_mb=600)), alone)).worker == "w2"


def test_it_does_not_go_home_to_one_that_it_is_to_be_apart_from() -> None:
    alone = replace(A, apart=("vm2",))
    error = only(choose(asked(world(B, disks=(A,)), world()), wish(alone))).error
    assert error is not None
    assert "its disk is on w1, and vm2 is there, and they are to be apart" in error.what


def test_only_workers_that_were_named_get_a_new_vm() -> None:
    among = wish(A)._replace(among=("w2",))
    assert only(choose(asked(world(), world(free_mb=600)), among)).worker == "w2"
    assert only(choose(asked(world(disks=(A,)), world()), among)).worker == "w1"


def test_a_pinned_one_is_told_with_what_speaks_against_it() -> None:
    pinned = wish(A)._replace(pinned={"vm1": "w1"})
    choice = only(choose(asked(world(free_mb=1), world()), pinned))
    assert (choice.worker, choice.reason) == ("w1", "hosts.toml has it there")
    assert "needs 512 MiB of memory" in choice.judged[0].why
    error = only(choose(asked(world(), world(A)), pinned)).error
    assert error is not None
    assert error.cure == "to end it there: fab -H w2 stop --vm vm1 --elsewhere"


def test_one_that_is_not_to_be_started_is_not_placed() -> None:
    off = replace(A, autostart=False)
    unnamed = TERMS._replace(unnamed=True)
    choice = only(choose(asked(world(), None), wish(off, terms=unnamed)))
    assert (choice.worker, choice.error) == ("", None)
    assert choice.note.startswith("vm1 is left stopped: autostart is false")
    assert only(choose(asked(world()), wish(off))).worker == "w1"
    over = replace(A, expires="2027-01-31")
    terms = TERMS._replace(today=date(2027, 2, 1), at_end="stop")
    choice = only(choose(asked(world()), wish(over, terms=terms)))
    assert choice.note == "vm1 has expired, its last day was 2027-01-31: it is not started"
    refused = only(choose(asked(world()), wish(over, terms=terms._replace(at_end="refuse"))))
    assert refused.error is not None
    assert only(choose(asked(world(over)), wish(over, terms=terms))).worker == "w1"


WORLDS = st.lists(
    st.none()
    | st.builds(
        lambda free, runs, disks: world(
            *(each for each, is_in in zip(ALL, runs, strict=True) if is_in),
            free_mb=free,
            disks=tuple(each for each, is_in in zip(ALL, disks, strict=True) if is_in),
        ),
        st.sampled_from([0, 511, 512, 1023, 1024, 1536, 4000]),
        st.tuples(*3 * [st.sampled_from([False, False, False, True])]),
        st.tuples(*3 * [st.sampled_from([False, False, True])]),
    ),
    min_size=1,
    max_size=4,
)
SAID = st.fixed_dictionaries(
    {
        each.name: st.lists(st.sampled_from([*(v.name for v in ALL), "vm*"]), max_size=2)
        for each in ALL
    }
)
PINS = st.dictionaries(st.sampled_from([each.name for each in ALL]), st.sampled_from(NAMES))


@given(WORLDS, SAID, PINS, st.booleans())
def test_what_never_happens(
    worlds: list[Observed | None],
    said: Mapping[str, list[str]],
    pins: Mapping[str, str],
    trusting: bool,
) -> None:
    there = asked(*worlds)
    pins = {name: worker for name, worker in pins.items() if worker in there.workers}
    free = tuple(each for each in ALL if each.name not in pins)
    beside = {
        worker: tuple(each for each in ALL if pins.get(each.name) == worker) for worker in NAMES
    }
    wanted = Wish(free, TERMS, beside=beside, pinned=pins, apart=apart(said), trusting=trusting)
    found = choose(there, wanted)
    again = choose(there, wanted)
    assert [one.worker for one in found] == [one.worker for one in again]
    assert [one.vm for one in found] == list(free)
    runs = {
        (each.name, name)
        for (name, seen), each in product(there.seen.items(), ALL)
        if seen.vm(each.name).process is not None
    }
    places = {one.vm.name: one.worker for one in found if one.worker}
    for one in found:
        name = one.vm.name
        assert bool(one.worker) is (one.error is None)
        running_on = {worker for vm_, worker in runs if vm_ == name}
        if running_on:
            assert one.error is not None or {one.worker} == running_on
            continue
        if not one.worker:
            continue
        assert not there.unasked or trusting, "it may run where nobody could ask"
        kept = {n for n, seen in there.seen.items() if seen.folder.of(name)}
        assert not kept or kept == {one.worker}
        for other in apart(said)[name]:
            assert (other, one.worker) not in runs
            assert one.worker not in (places.get(other), pins.get(other))
    for worker, seen in there.seen.items():
        new = [one.vm for one in found if one.worker == worker and one.judged]
        assert not new or sum(each.ram_mb for each in new) <= seen.host.available_mb


def test_what_is_said_of_others_is_held_both_ways_and_never_of_itself() -> None:
    found = apart({"a": ["b"], "b": [], "c": ["?"]})
    assert found == {"a": {"b", "c"}, "b": {"a", "c"}, "c": {"a", "b"}}


def test_on_the_worker_itself_none_starts_beside_one_that_it_is_to_be_apart_from() -> None:
    vms = [replace(each, image=None, qcow_image="~/vm1.qcow2") for each in (A, B)]
    seen = EMPTY._replace(
        images={each.qcow_image: unobjectionable(each.qcow_image) for each in vms}
    )
    terms = Terms(apart=apart({"vm1": ["vm2"], "vm2": []}))
    first, second = group.plans(WORKER, vms, seen, terms=terms)
    assert isinstance(first, Plan)
    assert isinstance(second, LaunchFailed)
    assert second.what == "vm2 is not started beside vm1: they are to be apart"
    assert second.cure.endswith("fab -H w1 launch --vm vm2")
    (beside,) = group.plans(WORKER, vms[1:], running(vms[0], before=seen), terms=terms)
    assert isinstance(beside, LaunchFailed)
    (anyhow,) = group.plans(WORKER, vms[1:], running(vms[0], before=seen), terms=Terms())
    assert isinstance(anyhow, Plan)
