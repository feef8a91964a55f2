"""Room for VMs that start together: memory and VNC ports, told before anything starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from vmops.core.devices.disk import unobjectionable
from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM
from vmops.core.plan import group as together
from vmops.core.plan.capacity import lacking, refusal
from vmops.core.plan.group import Terms
from vmops.core.plan.phase import Plan
from vmops.core.plan.stopping import KILLED, Manner
from vmops.core.script.command import Block, BlockResult
from vmops.errors import LaunchFailed, WorkFailed
from vmops.ops import act
from vmops.ops.route import Route
from vmops.ops.vm import changes, lifecycle

from .worlds import EMPTY, HOST, VM1, WORKER, running, with_port
from .worlds import port as port_of


def vm(name: str, number: int, *, ram_mb: int = 512, vnc_port: int = 0) -> VM:
    return VM(
        name,
        vm_id=number,
        ram_mb=ram_mb,
        cores=1,
        vnc_port=vnc_port or 5900 + number,
        qcow_image=f"~/{name}.qcow2",
    )


A, B, C = vm("a", 1), vm("b", 2), vm("c", 3)


def world(available_mb: int = 4000, *, listening: Sequence[int] = ()) -> Observed:
    images = {each.qcow_image: unobjectionable(each.qcow_image) for each in (A, B, C, VM1)}
    host = HOST._replace(available_mb=available_mb)
    return EMPTY._replace(host=host, listening=frozenset(listening), images=images)


@pytest.mark.parametrize(
    ("vms", "seen", "reason"),
    [
        pytest.param([], world(0), None, id="nothing-starts"),
        pytest.param([A, B, C], world(1536), None, id="just-enough-memory"),
        pytest.param(
            [A, B, C],
            world(1535),
            "none of a, b, c is started: together they need 1536 MiB of memory, "
            "1535 MiB are available",
            id="memory-for-two-of-three",
        ),
        pytest.param(
            [A], world(511), "a: needs 512 MiB of memory, 511 MiB are available", id="one-vm"
        ),
        pytest.param([A, B], world(listening=[5903, 22]), None, id="other-ports-in-use"),
        pytest.param(
            [A, B],
            world(listening=[5902]),
            "none of a, b is started: TCP port 5902 is in use, b's vnc_port needs it",
            id="port-in-use",
        ),
        pytest.param(
            [A],
            world(listening=[5901]),
            "a: TCP port 5901 is in use, vnc_port needs it",
            id="port-in-use-one-vm",
        ),
        pytest.param(
            [A, vm("twin", 9, vnc_port=5901)],
            world(),
            "TCP port 5901 is the vnc_port of a and of twin",
            id="the-same-port-twice",
        ),
        pytest.param(
            [A, B],
            world(1000, listening=[5901]),
            "needs it; together they need 1024 MiB of memory, 1000 MiB are available",
            id="both",
        ),
    ],
)
def test_what_is_lacking_is_told_with_its_numbers(
    vms: list[VM], seen: Observed, reason: str | None
) -> None:
    refused = refusal(WORKER, vms, seen)
    if reason is None:
        assert refused is None
    else:
        assert refused is not None
        assert reason in refused.what
        assert refused.worker == "w1"
        assert refused.cure


def test_overcommit_is_about_memory_only() -> None:
    assert refusal(WORKER, [A], world(1), overcommit=True) is None
    assert refusal(WORKER, [A], world(1, listening=[5901]), overcommit=True) is not None


def test_what_a_vm_to_be_restarted_holds_is_free() -> None:
    """It listens on its port and holds 1 MiB; a port of its own that it moves to is not free."""
    seen = running()._replace(listening=frozenset({5901, 5999}))
    seen = seen._replace(host=HOST._replace(available_mb=511))
    assert refusal(WORKER, [VM1], seen) is None
    assert refusal(WORKER, [replace(VM1, ram_mb=513)], seen) is not None
    assert refusal(WORKER, [replace(VM1, vnc_port=5999)], seen) is not None


def decided(
    vms: list[VM], seen: Observed, *, overcommit: bool = False, restart: Manner | None = None
) -> list[str]:
    """The action of each plan, or the reason why there is none."""
    terms = Terms(overcommit=overcommit, restart=restart)
    found = together.plans(WORKER, vms, seen, terms=terms)
    return [entry.action if isinstance(entry, Plan) else entry.what for entry in found]


def test_where_there_is_no_room_for_all_none_starts_and_the_rest_goes_on() -> None:
    """VM1 runs and is replugged; `a` and `b` would fit one by one."""
    retagged = with_port(running(before=world(1023)), port_of(VM1, "tap_1001_eth1", 999))
    first, second, third = decided([A, VM1, B], retagged)
    assert second == "replug"
    assert first == third
    assert "1024 MiB" in first
    assert decided([A, VM1, B], retagged, overcommit=True) == ["start", "replug", "start"]


def test_a_vm_that_cannot_start_needs_no_room() -> None:
    seen = world(1024)._replace(
        images={vm.qcow_image: unobjectionable(vm.qcow_image) for vm in (A, B)}
    )
    first, second, third = decided([A, B, C], seen)
    assert (first, second) == ("start", "start")
    assert "no image" in third


def test_a_restart_counts_only_where_it_is_wanted() -> None:
    grown = replace(VM1, ram_mb=5000)
    seen = running(before=world(600))
    assert decided([A, grown], seen) == ["start", "restart"]
    first, second = decided([A, grown], seen, restart=KILLED)
    assert first == second
    assert "none of a, vm1 is started" in first


def test_a_vm_that_would_not_come_up_again_is_not_to_be_restarted() -> None:
    moved = replace(VM1, qcow_image="/gone.qcow2")
    seen = running()
    assert decided([moved], seen) == ["restart"]
    (reason,) = decided([moved], seen, restart=KILLED)
    assert "no image /gone.qcow2" in reason


def test_the_refusal_is_one_error_for_all() -> None:
    found = together.plans(WORKER, [A, B], world(1), terms=Terms())
    assert isinstance(found[0], LaunchFailed)
    assert found[0] is found[1]
    assert isinstance(found[0], WorkFailed)


def test_a_port_of_a_vm_that_runs_under_its_old_name_blocks_nobody_else() -> None:
    """hosts.toml has renamed vm1, and another VM has its VNC port: both are told, web2 starts."""
    seen = running()._replace(listening=frozenset({VM1.vnc_port or 0}))
    web1 = replace(VM1, name="web1")
    web2 = VM("web2", vm_id=2, ram_mb=64, cores=1, vnc_port=5999, qcow_image=VM1.qcow_image)
    web3 = replace(web2, name="web3", vm_id=3, vnc_port=VM1.vnc_port)
    seen = seen._replace(images={VM1.qcow_image: unobjectionable(VM1.qcow_image)})
    first, second, third = together.plans(WORKER, [web1, web2, web3], seen, terms=Terms())
    assert isinstance(first, WorkFailed)
    assert "port tap_1001_eth1 belongs to vm1" in first.what
    assert isinstance(second, Plan)
    assert second.action == "start"
    assert isinstance(third, LaunchFailed)
    assert third.what == "TCP port 5901, its vnc_port, is that of vm1, which runs here"
    assert third.cure.startswith("end it: fab -H w1 stop --vm vm1")


HELD = 101
"""An image that is written to."""


def both_run(*, available_mb: int) -> tuple[list[VM], Observed]:
    """Two VMs that run with 512 MiB, of which each has taken 1, and are to have 900."""
    vms, seen = [], world(available_mb)
    for pid, one in enumerate((A, B), start=31):
        seen = running(one, before=seen)
        mine = seen.vm(one.name)
        assert mine.process is not None
        mine = mine._replace(pid=pid, process=mine.process._replace(pid=pid))
        (image,) = seen.images[one.qcow_image]
        held = (image._replace(held=HELD, holders=(pid,)),)
        seen = seen._replace(
            vms={**seen.vms, one.name: mine},
            images={**seen.images, one.qcow_image: held},
            listening=seen.listening | {one.vnc_port or 0},
        )
        vms.append(replace(one, ram_mb=900))
    return vms, seen


@pytest.mark.parametrize(("available_mb", "fits"), [(1798, True), (1797, False), (900, False)])
@pytest.mark.parametrize("task", ["restart", "up --restart", "plan"])
def test_room_is_for_all_that_are_restarted(
    task: str, available_mb: int, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That each has its own disk and VNC port is no reason to look at one by itself again."""
    vms, seen = both_run(available_mb=available_mb)
    begun: list[str] = []

    def perform(_: Route, blocks: Sequence[Block], **__: object) -> list[BlockResult]:
        begun.extend(block.subject for block in blocks)
        return [BlockResult(block.subject, "failed") for block in blocks]

    monkeypatch.setattr(act, "observe", lambda *_, **__: seen)
    monkeypatch.setattr(changes, "observe", lambda *_, **__: seen)
    monkeypatch.setattr(act, "perform", perform)
    route = Route(WORKER)
    if task == "plan":
        found = [one.error for one in changes.changes(route, vms, Terms())]
    elif task == "restart":
        found = [one.error for one in lifecycle.restart(route, vms, manner=KILLED)]
    else:
        terms = Terms(restart=KILLED)
        found = [one.error for one in lifecycle.launch(route, vms, terms=terms)]
    refused = [one for one in found if one is not None and "together they need 1800" in one.what]
    assert len(refused) == (0 if fits else 2)
    assert bool(begun) == (fits and task != "plan")


@pytest.mark.parametrize("frees", [True, False])
def test_who_is_looked_at_again_is_so_with_those_refused_with_it(
    frees: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their VNC ports were held by others for a moment: there is no more memory for that."""
    before = world(600, listening=[5901, 5902])
    after = world(600 if not frees else 1024)
    looks = [before]
    monkeypatch.setattr(act, "observe", lambda *_, **__: looks.pop() if looks else after)
    begun: list[str] = []

    def perform(_: Route, blocks: Sequence[Block], **__: object) -> list[BlockResult]:
        begun.extend(block.subject for block in blocks)
        return [BlockResult(block.subject, "done") for block in blocks]

    monkeypatch.setattr(act, "perform", perform)
    lifecycle.launch(Route(WORKER), [A, B], terms=Terms(bare=True))
    assert begun == (["a", "b"] if frees else [])


def test_who_has_the_port_is_named() -> None:
    mine = running(replace(VM1, vnc_port=5901))._replace(listening=frozenset([5901]))
    (fault,) = lacking([replace(VM1, name="a", vm_id=9, vnc_port=5901)], mine, overcommit=True)
    assert fault[0] == "TCP port 5901 is in use by vm1, which runs there, vnc_port needs it"
    assert fault[1].endswith("fab stop --vm vm1")
    assert list(lacking([replace(VM1, vnc_port=5901)], mine, overcommit=True)) == []
