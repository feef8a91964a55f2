"""Refusals with their cure: what would fail, and what belongs to somebody else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from vmops.core.facts.observed import Observed
from vmops.core.facts.vms import RunningVM
from vmops.core.inventory.model import Worker
from vmops.core.plan import restarting, starting, status, stopping
from vmops.core.tools import ip, ovs
from vmops.errors import PortConflict, WorkFailed

from .worlds import (
    EMPTY,
    HOST,
    TAP1,
    TAP2,
    VM1,
    WORKER,
    commands,
    dead,
    labels,
    plugged,
    port,
    running,
    with_port,
)


def with_image(**told: Any) -> Observed:
    """VM1's image as something that QEMU must not be given, or cannot have."""
    (image,) = EMPTY.images["~/vm1.qcow2"]
    return EMPTY._replace(images={"~/vm1.qcow2": (image._replace(**told),)})


@pytest.mark.parametrize(
    ("seen", "worker", "reason", "cure"),
    [
        pytest.param(
            with_image(fault="stat", why="No such file or directory"),
            WORKER,
            "no image /home/ubuntu/vm1.qcow2",
            "qcow_image",
            id="no-image",
        ),
        pytest.param(
            with_image(fault="odd"),
            WORKER,
            "neither a file nor a block device",
            "name another",
            id="image-is-a-folder",
        ),
        pytest.param(
            with_image(fault="open", why="Permission denied"),
            WORKER,
            "ubuntu cannot write to /home/ubuntu/vm1.qcow2: Permission denied",
            "sudo chown ubuntu /home/ubuntu/vm1.qcow2",
            id="image-of-root",
        ),
        pytest.param(
            with_image(data_file="/etc/shadow"),
            WORKER,
            "keeps its data in another file, /etc/shadow",
            "qemu-img convert",
            id="image-with-a-data-file",
        ),
        pytest.param(
            with_image(held=201, holders=(77, 78)),
            WORKER,
            "in use, perhaps as a backing file, by PID 77, 78",
            "ps -fp 77,78",
            id="image-in-use",
        ),
        pytest.param(
            with_image(held=101),
            WORKER,
            "written to by somebody whom this worker does not see",
            "other machines",
            id="image-in-use-elsewhere",
        ),
        pytest.param(
            EMPTY._replace(host=HOST._replace(qemu="")),
            WORKER,
            "not installed",
            "apt",
            id="no-qemu",
        ),
        pytest.param(
            EMPTY._replace(host=HOST._replace(kvm="absent")),
            WORKER,
            "no /dev/kvm",
            'accel = "auto"',
            id="no-kvm",
        ),
        pytest.param(
            EMPTY._replace(host=HOST._replace(kvm="denied")),
            WORKER,
            "cannot be opened",
            'accel = "auto"',
            id="kvm-denied",
        ),
        pytest.param(
            EMPTY._replace(listening=frozenset({5901})),
            WORKER,
            "port 5901 is in use",
            "ss -ltnp",
            id="vnc-port-in-use",
        ),
        pytest.param(
            EMPTY._replace(host=HOST._replace(available_mb=511)),
            WORKER,
            "512 MiB",
            "lower ram_mb",
            id="memory",
        ),
        pytest.param(
            EMPTY._replace(switch=ovs.Switch(fault="database connection failed")),
            WORKER,
            "Open vSwitch does not answer: database connection failed",
            "systemctl",
            id="no-ovs",
        ),
        pytest.param(
            EMPTY._replace(switch=ovs.Switch({"br0": ""})),
            WORKER,
            "no bridge br-int; Open vSwitch has: br0",
            "add-br br-int",
            id="no-bridge",
        ),
    ],
)
def test_what_would_fail_is_refused_before_anything_is_done(
    seen: Observed, worker: Worker, reason: str, cure: str
) -> None:
    with pytest.raises(WorkFailed) as refused:
        starting.launch(worker, VM1, seen)
    assert reason in str(refused.value)
    assert cure in refused.value.cure
    assert refused.value.worker == "w1"


FOREIGN = [
    pytest.param(
        with_port(EMPTY, port(VM1, TAP1, 7, external_ids={"iface-id": "lsp1"})),
        f"port {TAP1} belongs to lsp1",
        id="port",
    ),
    pytest.param(
        EMPTY._replace(taps={TAP1: ip.Tap("vmops:vm9")}),
        f"TAP {TAP1} belongs to vm9",
        id="tap",
    ),
]


@pytest.mark.parametrize(("seen", "reason"), FOREIGN)
def test_what_belongs_to_somebody_else_is_skipped_and_never_touched(
    seen: Observed, reason: str
) -> None:
    made = starting.launch(WORKER, VM1, seen)
    assert [(skip.interface, skip.reason) for skip in made.skips] == [("eth1", reason)]
    assert made.block is not None
    touched = [command for label in labels(made)[:-3] for command in commands(made, label)]
    assert not any(TAP1 in command for command in touched)
    with pytest.raises(PortConflict, match=reason):
        starting.launch(WORKER, VM1, seen, strict=True)
    assert stopping.stop(WORKER, VM1, seen).block is None, "nothing of the VM's own is there"


@pytest.mark.parametrize("seen", [entry.values[0] for entry in FOREIGN], ids=["port", "tap"])
def test_a_vm_without_an_interface_that_it_cannot_have_is_not_restarted_for_it(
    seen: Observed,
) -> None:
    eth1, eth2 = VM1.interfaces
    only_eth2 = replace(VM1, interfaces=(replace(eth1, vlan_id=None), eth2))
    found = running(only_eth2, before=seen)
    lone = starting.launch(WORKER, VM1, found)
    assert (lone.action, [skip.interface for skip in lone.skips]) == ("nothing", ["eth1"])
    other = starting.launch(WORKER, replace(VM1, cores=2), found)
    assert [item.field for item in other.drift] == ["cores"]
    with pytest.raises(PortConflict):
        starting.launch(WORKER, VM1, found, strict=True)


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("alias", ["", "vmops:vm1"])
def test_a_tap_that_an_unknown_process_uses_stops_everything(alias: str, up: bool) -> None:
    """Most likely it is the VM, started by another system: not to be run twice, nor cut off."""
    seen = plugged()._replace(taps={TAP2: ip.Tap(alias, in_use=True, up=up)})
    for act in (starting.launch, starting.plug, starting.boot):
        with pytest.raises(WorkFailed, match=f"did not start uses its TAP {TAP2}"):
            act(WORKER, VM1, seen)
    for end in (stopping.stop, stopping.unplug):
        with pytest.raises(WorkFailed, match="did not start"):
            end(WORKER, VM1, seen)
    left = dead(pidfile=False)
    assert stopping.tidy(WORKER, VM1, left).action == "tidy"
    assert stopping.tidy(WORKER, VM1, left._replace(taps=seen.taps)).action == "nothing"
    mine = running()._replace(taps={tap: ip.Tap("vmops:vm1", in_use=True) for tap in (TAP1, TAP2)})
    assert starting.launch(WORKER, VM1, mine).action == "nothing"


def test_a_vm_of_which_nothing_is_known_is_left_alone() -> None:
    """Its pidfile is none that QEMU wrote: it may run."""
    seen = dead(pidfile=False)
    seen = seen._replace(vms={"vm1": RunningVM("vm1", directory=True, odd=True)})
    for act in (starting.launch, starting.plug, starting.boot):
        with pytest.raises(WorkFailed, match="it is not known whether it runs"):
            act(WORKER, VM1, seen)
    for end in (stopping.stop, stopping.unplug):
        with pytest.raises(WorkFailed, match="it is not known whether it runs"):
            end(WORKER, VM1, seen)
    assert stopping.tidy(WORKER, VM1, seen).action == "nothing"
    found = status.of(WORKER, VM1, seen)
    assert (found.state, found.pid) == ("unknown", None)
    assert "sudo ls -l /run/vmops/vm1/pid" in str(found.error)


def refused_stop(seen: Observed) -> None:
    stopping.stop(WORKER, VM1, seen)


def refused_restart(seen: Observed) -> None:
    restarting.restart(WORKER, VM1, seen, manner=stopping.KILLED)


def test_a_stop_ends_what_a_dead_qemu_has_left_if_its_taps_have_its_mark() -> None:
    alone = running()
    dead = RunningVM("vm1", directory=True, pid=4821)
    marked = {TAP1: ip.Tap("vmops:vm1", in_use=True), TAP2: ip.Tap("vmops:vm1")}
    seen = alone._replace(taps=marked, vms={"vm1": dead})
    block = stopping.stop(WORKER, VM1, seen).block
    assert block is not None
    assert block.numbered()[0].commands[0].argv == ("end_left", "vm1", TAP1)
    for taps, vm in (
        ({**marked, TAP2: ip.Tap("", in_use=True)}, dead),
        (marked, RunningVM("vm1")),
    ):
        with pytest.raises(PortConflict, match="did not start"):
            stopping.stop(WORKER, VM1, seen._replace(taps=taps, vms={"vm1": vm}))


@pytest.mark.parametrize(
    "decide",
    [lambda seen: stopping.stop(WORKER, VM1, seen), refused_restart],
    ids=["stop", "restart"],
)
def test_a_tap_that_a_stranger_uses_is_left_alone_beside_a_vm_that_runs_without_it(
    decide: Callable[[Observed], object],
) -> None:
    """It was booted before the interface was plugged: its QEMU has another TAP."""
    first, second = VM1.interfaces
    alone = running(replace(VM1, interfaces=(first, replace(second, vlan_id=None))))
    seen = alone._replace(taps={**alone.taps, TAP2: ip.Tap(in_use=True)})
    with pytest.raises(PortConflict, match=TAP2):
        decide(seen)
    own = alone._replace(taps={TAP1: ip.Tap("vmops:vm1", in_use=True)})
    stopping.stop(WORKER, VM1, own)
