"""A QEMU of somebody else's is taken over where it tells enough, and refused clearly otherwise."""

from __future__ import annotations

import pytest

from vmops.core.facts.observed import Observed
from vmops.core.facts.vms import RunningVM
from vmops.core.inventory.model import VM
from vmops.core.plan.upkeep import adopting
from vmops.core.plan.upkeep.adopting import Meant
from vmops.core.tools import ip, ovs
from vmops.core.tools.process import Process
from vmops.errors import WorkFailed

from .worlds import EMPTY, TAP1, VM1, WORKER, commands, labels, running

BINARY = "/usr/bin/qemu-system-x86_64"
CARD = ("-netdev", f"tap,id=net0,ifname={TAP1}", "-device", "e1000,netdev=net0")
NAME = ("-name", "vm1")
IMAGE = ("-drive", "file=/home/ubuntu/vm1.qcow2,format=qcow2")


def qemu(*words: str, pid: int = 77, uid: int = 0, binary: str = BINARY) -> Process:
    return Process(pid, 5, "S", 0, 0, (binary, *words), uid=uid)


def world(*found: Process, alias: str = "", owner: str = "") -> Observed:
    marks = {ovs.OWNER: owner} if owner else {}
    port = ovs.Port(TAP1, "br-int", 101, external_ids=marks, ofport=1)
    switch = ovs.Switch({"br-int": "system"}, {TAP1: port})
    qemus = {each.pid: each for each in found}
    return EMPTY._replace(taps={TAP1: ip.Tap(alias, True)}, switch=switch, qemus=qemus)


@pytest.mark.parametrize("words", [NAME, CARD, IMAGE, (*NAME, *CARD, *IMAGE)])
@pytest.mark.parametrize("pid", [0, 77])
def test_a_name_a_tap_or_the_image_tells_who_it_is(words: tuple[str, ...], pid: int) -> None:
    made = adopting.adopt(WORKER, VM1, world(qemu(*words)), meant=Meant(pid))
    assert made.action == "adopt"
    assert commands(made, "run directory") == ["adopt_process vm1 77 5 0"]
    assert made.block is not None
    assert [guard.argv for guard in made.block.guards] == [
        ("not_running", "vm1"),
        ("still", "77", "5"),
    ]
    assert "no monitor" in made.notes[0]
    assert "runs as root" in made.notes[1]


def test_its_taps_and_ports_get_the_mark_and_those_that_have_it_are_left_alone() -> None:
    made = adopting.adopt(WORKER, VM1, world(qemu(*NAME, *CARD)))
    assert labels(made) == ["its TAPs", f"mark {TAP1}", "run directory"]
    assert commands(made, f"mark {TAP1}") == [
        f"ip link set dev {TAP1} alias vmops:vm1",
        f'vsctl set Interface {TAP1} external_ids:vmops-vm="vm1"',
    ]
    seen = world(qemu(*NAME, *CARD), alias="vmops:vm1", owner="vm1")
    assert labels(adopting.adopt(WORKER, VM1, seen)) == ["its TAPs", "run directory"]


REFUSED = [
    (world(), 0, "no QEMU there tells that it is this VM"),
    (world(qemu("-name", "vm10", *IMAGE)), 0, "no QEMU there tells"),
    (world(qemu("-name", "vm10", *CARD)), 77, "does not tell that it is vm1: name vm10"),
    (world(qemu("-m", "64")), 77, "name none, TAPs none, image none"),
    (world(qemu(*NAME)), 78, "there is no process 78"),
    (world(qemu(*NAME, binary="/bin/sleep")), 77, "PID 77 is no QEMU"),
    (world(qemu(*NAME), qemu(*CARD, pid=78)), 0, "several QEMUs may be it: PID 77 (name vm1"),
    (world(qemu(*NAME, *CARD), alias="vmops:web"), 0, f"its TAP {TAP1} belongs to web"),
    (world(qemu(*NAME, *CARD), owner="web"), 0, f"its TAP {TAP1} belongs to web"),
    (world(qemu(*NAME, uid=-1)), 0, "several user ids"),
    (running()._replace(qemus={77: qemu(*NAME)}), 77, "it runs already, with PID 4821"),
    (world(qemu(*NAME))._replace(faults={"QEMUs": "cut"}), 0, "QEMUs: cut"),
    (
        world(qemu(*NAME))._replace(vms={"vm1": RunningVM("vm1", directory=True, odd=True)}),
        0,
        "not known",
    ),
]


@pytest.mark.parametrize(("seen", "pid", "why"), REFUSED, ids=[why[:30] for *_, why in REFUSED])
def test_what_is_not_clear_is_refused(seen: Observed, pid: int, why: str) -> None:
    with pytest.raises(WorkFailed) as refused:
        adopting.adopt(WORKER, VM1, seen, meant=Meant(pid))
    assert why in refused.value.what


@pytest.mark.parametrize("pid", [0, 4821])
def test_one_that_is_vmops_own_is_left_alone(pid: int) -> None:
    assert adopting.adopt(WORKER, VM1, running(), meant=Meant(pid)).action == "nothing"


def test_the_qemu_of_another_vm_is_never_taken() -> None:
    found = qemu(*IMAGE)
    other = RunningVM("web", directory=True, pid=77, process=found)
    for pid, why in ((0, "no QEMU there tells"), (77, "is the QEMU of web")):
        with pytest.raises(WorkFailed) as refused:
            adopting.adopt(WORKER, VM1, world(found)._replace(vms={"web": other}), meant=Meant(pid))
        assert why in refused.value.what


LISTED = {"vm1": VM1}
OTHER_CARD = (
    "-netdev",
    "tap,id=net0,ifname=tap9",
    "-device",
    "e1000,netdev=net0,mac=52:54:00:0:0:9",
)


def test_a_vm_that_hosts_toml_lacks_is_told_by_its_name_or_named_by_whoever_says_the_process() -> (
    None
):
    lost = VM.lost("lab7")
    for words, pid in (
        (("-name", "lab7", "-m", "64", *OTHER_CARD), 0),
        (("-m", "64", *OTHER_CARD), 77),
    ):
        made = adopting.adopt(WORKER, lost, world(qemu(*words)), meant=Meant(pid, LISTED))
        assert commands(made, "run directory") == ["adopt_process lab7 77 5 0"]
        assert "hosts.toml does not have it; it runs with ram_mb = 64" in made.notes[-1]
        assert "the TAP tap9 (52:54:00:0:0:9)" in made.notes[-1]


@pytest.mark.parametrize(
    ("words", "pid", "why"),
    [
        (("-m", "64"), 0, "none has its -name"),
        (("-name", "other"), 77, "does not tell that it is lab7: name other"),
        (("-name", "lab7", *CARD), 0, f"its TAP {TAP1} is that of vm1 in hosts.toml"),
        (CARD, 77, f"its TAP {TAP1} is that of vm1 in hosts.toml"),
    ],
)
def test_one_that_hosts_toml_lacks_takes_nothing_of_others(
    words: tuple[str, ...], pid: int, why: str
) -> None:
    with pytest.raises(WorkFailed) as refused:
        adopting.adopt(WORKER, VM.lost("lab7"), world(qemu(*words)), meant=Meant(pid, LISTED))
    assert why in refused.value.what
