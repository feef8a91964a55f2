"""A one-time password for as long as it is needed: what is set, what is void, and what is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from vmops.core.qmp import Request
from vmops.core.vnc import Display
from vmops.errors import ConnectionLost, MonitorError, NotRunning, VmopsError, WorkFailed
from vmops.ops import vnc
from vmops.ops.route import Route
from vmops.tasks.vnc import _stay

from .worlds import VM1, WORKER

LOCKED = Display("127.0.0.1", 5901, "127.0.0.1", has_password=True)
OPEN = Display("127.0.0.1", 5901, "0.0.0.0", has_password=False)


class Qemu:
    """In place of a monitor: the VNC password and when it expires, as QEMU keeps them."""

    def __init__(self) -> None:
        self.password = ""
        self.expires = ""
        self.asked = 0
        self.error: VmopsError | None = None

    def ask(
        self, route: Route, vms: Sequence[str], requests: Sequence[Request]
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
    return qemu


def access(display: Display = LOCKED) -> vnc.Access:
    return vnc.Access(Route(WORKER), VM1, display)


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
    assert vnc.EXTEND_EVERY_S < vnc.LEASE_S / 2


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
    assert "could not be made void" in str(told.value)
    assert "after 120 s" in str(told.value)


def test_what_failed_first_is_told_first(qemu: Qemu) -> None:
    def fail() -> None:
        qemu.error = MonitorError("vm1: no answer", worker="w1")
        raise ConnectionLost("gone", worker="w1")

    with pytest.raises(ConnectionLost), access():
        fail()


def test_the_command_ends_when_the_vm_does(qemu: Qemu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vnc, "EXTEND_EVERY_S", 0.01)
    looks = iter([False, False, False])

    def over() -> bool:
        if next(looks, None) is None:
            qemu.error = NotRunning("vm1 is stopped", worker="w1")
        return False

    with pytest.raises(NotRunning), access() as given:
        _stay(given, over, None)
    assert qemu.asked > 2


def test_a_monitor_that_is_silent_for_a_while_ends_nothing(
    qemu: Qemu, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(vnc, "EXTEND_EVERY_S", 0.01)
    silent = MonitorError("vm1: the monitor is busy", worker="w1")

    def over() -> bool:
        qemu.error = silent if qemu.asked < 3 else None
        return qemu.asked > 4

    with access() as given:
        _stay(given, over, None)
    assert "the monitor is busy" in capsys.readouterr().err
    assert qemu.expires == "now"


def test_ctrl_c_ends_it_without_a_failure(qemu: Qemu) -> None:
    with access() as given:
        _stay(given, lambda: True, None)
    assert qemu.expires == "now"
