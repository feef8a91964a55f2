"""A one-time password for as long as it is needed: what is set, what is void, and what is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from vmops.core.devices.display import Screen
from vmops.core.facts.observed import Observed
from vmops.core.facts.vms import RunningVM
from vmops.core.tools.qmp import Request
from vmops.errors import (
    ConnectionLost,
    MonitorError,
    NotRunning,
    VmopsError,
    WorkerUnreachable,
    WorkFailed,
)
from vmops.ops.guest import vnc
from vmops.ops.route import Route
from vmops.ops.vm import endings
from vmops.tasks.guest.vnc import _stay

from .worlds import VM1, WORKER, dead, running

PROCESS = running().vm("vm1").process

LOCKED = Screen("127.0.0.1", 5901, has_password=True)
OPEN = Screen("0.0.0.0", 5901)


class Qemu:
    """In place of a monitor: the VNC password and when it expires, as QEMU keeps them."""

    def __init__(self) -> None:
        self.password = ""
        self.expires = ""
        self.asked = 0
        self.error: VmopsError | None = None
        self.seen = running()
        self.unseen: list[VmopsError] = []

    def look(self, route: Route, vm: str) -> RunningVM:
        if self.unseen:
            raise self.unseen.pop(0)
        return self.seen.vm(vm)

    def running(self, route: Route, vms: Sequence[str]) -> dict[str, RunningVM]:
        return {vm: self.look(route, vm) for vm in vms}

    def ask(
        self, route: Route, vms: Sequence[str], *requests: Request
    ) -> dict[str, list[Any] | VmopsError]:
        self.asked += 1
        if self.error is not None:
            return {"vm1": self.error}
        for request in requests:
            arguments = request.arguments or {}
            self.password = arguments.get("password", self.password)
            self.expires = arguments.get("time", self.expires)
        return {"vm1": [{} for _ in requests]}


@pytest.fixture
def qemu(monkeypatch: pytest.MonkeyPatch) -> Qemu:
    qemu = Qemu()
    monkeypatch.setattr(vnc, "ask", qemu.ask)
    monkeypatch.setattr(vnc, "running", qemu.running)
    monkeypatch.setattr(endings, "settled", qemu.look)
    monkeypatch.setattr(vnc, "LOOK_EVERY_S", 0.01)
    return qemu


def access(screen: Screen = LOCKED) -> vnc.Access:
    assert PROCESS is not None
    return vnc.Access(Route(WORKER), VM1, screen, PROCESS)


def test_the_password_is_void_afterwards(qemu: Qemu) -> None:
    with access() as given:
        assert qemu.password == given.password
        assert qemu.expires == "+120"
    assert qemu.password not in ("", given.password)
    assert qemu.expires == "now"


def test_it_is_void_when_something_else_fails(qemu: Qemu) -> None:
    with pytest.raises(RuntimeError), access() as given:
        raise RuntimeError
    assert qemu.password != given.password
    assert qemu.expires == "now"


def test_it_lasts_longer_than_it_takes_to_extend_it() -> None:
    assert vnc.LOOK_EVERY_S * vnc.LOOKS_PER_EXTENSION < vnc.LEASE_S / 2


def test_a_server_without_a_password_gets_none(qemu: Qemu) -> None:
    with access(OPEN) as given:
        given.extend()
        assert given.password == ""
        assert qemu.asked == 2, "but the VM is seen to be there"
    assert (qemu.password, qemu.expires) == ("", "")


def test_a_vm_that_cannot_be_told_gives_no_access(qemu: Qemu) -> None:
    qemu.error = MonitorError("vm1: no answer", worker="w1")
    with pytest.raises(MonitorError), access():
        pytest.fail("entered")


def test_a_vm_that_is_gone_has_no_password_to_make_void(qemu: Qemu) -> None:
    with access():
        qemu.error = NotRunning("vm1 is stopped", worker="w1")


def test_a_password_that_stays_is_told(qemu: Qemu) -> None:
    with pytest.raises(WorkFailed) as told, access():
        qemu.error = MonitorError("vm1: no answer", worker="w1")
    assert "could not be revoked" in str(told.value)
    assert "after 120 s" in str(told.value)


def test_what_failed_first_is_told_first(qemu: Qemu) -> None:
    def fail() -> None:
        qemu.error = MonitorError("vm1: no answer", worker="w1")
        raise ConnectionLost("gone", worker="w1")

    with pytest.raises(ConnectionLost), access():
        fail()


ANOTHER = running()._replace(
    vms={"vm1": running().vm("vm1")._replace(process=PROCESS and PROCESS._replace(started=9000))}
)


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (dead(pidfile=False), "vm1 has stopped"),
        (dead(pidfile=True), "vm1 has crashed"),
        (ANOTHER, "vm1 was stopped, and launched anew"),
    ],
)
def test_the_command_ends_when_the_vm_does(qemu: Qemu, seen: Observed, words: str) -> None:
    looks = iter([False, False, False])

    def over() -> bool:
        if next(looks, None) is None:
            qemu.seen = seen
        return False

    with pytest.raises(NotRunning, match=words), access() as given:
        _stay(given, over, None)


def test_a_connection_that_is_lost_is_made_anew(qemu: Qemu) -> None:
    looks = iter([False] * 3)
    qemu.unseen = [ConnectionLost("gone", worker="w1")]
    with access() as given:
        _stay(given, lambda: next(looks, None) is None, None)
    assert qemu.unseen == []


def test_a_worker_that_cannot_be_reached_any_more_ends_it(qemu: Qemu) -> None:
    qemu.unseen = [ConnectionLost("gone", worker="w1"), WorkerUnreachable("down", worker="w1")]
    with pytest.raises(WorkerUnreachable), access() as given:
        _stay(given, lambda: False, None)


def test_a_monitor_that_is_silent_for_a_while_ends_nothing(
    qemu: Qemu, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(vnc, "LOOKS_PER_EXTENSION", 1)
    silent = MonitorError("vm1: the monitor is busy", worker="w1")

    def over() -> bool:
        qemu.error = silent if qemu.asked < 4 else None
        return qemu.asked > 5

    with access() as given:
        _stay(given, over, None)
    assert capsys.readouterr().err.count("the monitor is busy") == 1, "said once, not each time"
    assert qemu.expires == "now"


def test_ctrl_c_ends_it_without_a_failure(qemu: Qemu) -> None:
    with access() as given:
        _stay(given, lambda: True, None)
    assert qemu.expires == "now"
