"""The gentle stop, and what follows where a guest does not hear it."""

from __future__ import annotations

import subprocess
import time

import pytest

from tests.guests import PowerButton
from vmops.core.inventory.model import VM

from .lab_helpers import wait_until
from .monitor_helpers import FIRST, SECOND, gone, listening, tell, wait_gone
from .operator import Operator, small_vm
from .seat import console_log, guest, kill, with_button

DEFAULT_TIMEOUT_S = 30


def assert_nothing_is_left(operator: Operator, vm: VM, worker: str = "worker1") -> None:
    assert gone(operator, vm, worker=worker)
    assert [operator.port(worker, nic.tap) for nic in vm.connected] == [None] * len(vm.connected)
    assert not {nic.tap for nic in vm.connected} & operator.taps(worker)
    assert vm.name not in operator.on(worker, "ls", "/run/vmops").split()


def networked(operator: Operator, name: str = "vm1") -> VM:
    """A guest that hears the button, with an interface."""
    vm = guest(operator, name)
    number = vm.vm_id
    operator.ok("stop", "--force", "--vm", name)
    wired = small_vm(name, number, 101)
    operator.vms = [(wired if one.name == name else one, where) for one, where in operator.vms]
    operator.write()
    operator.ok("launch", "--vm", name)
    wait_until(lambda: "VMOPS-GUEST-UP" in console_log(operator, wired))
    return wired


def begin_to_stop(operator: Operator) -> subprocess.Popen[str]:
    return operator.begin("stop", "--vm", "vm1", "--timeout", "60")


def test_stop_lets_the_guest_power_itself_off(operator: Operator) -> None:
    vm = networked(operator)
    assert operator.port("worker1", "tap_1_eth1") is not None
    with listening(operator, vm) as witness:
        said = operator.ok("stop", "--vm", "vm1", "--format", "json")
        assert witness.shutdown() == {"guest": True, "reason": "guest-shutdown"}
    assert said.json == [
        {
            "vm": "vm1",
            "worker": "worker1",
            "changed": True,
            "how": "guest",
            "asked": 1,
            "error": None,
        }
    ]
    assert_nothing_is_left(operator, vm)


def test_a_guest_that_needs_two_requests_gets_the_second_at_half_time(operator: Operator) -> None:
    vm = with_button(operator, PowerButton.TWICE)
    with listening(operator, vm) as witness:
        said = operator.ok("stop", "--vm", "vm1", "--timeout", "2")
        assert witness.shutdown()["reason"] == "guest-shutdown"
    assert "vm1 on worker1: stopped (by its guest, asked twice)" in said.err
    assert_nothing_is_left(operator, vm)


def test_a_deaf_guest_is_ended_by_a_quit_when_its_time_is_up(operator: Operator) -> None:
    vm = with_button(operator, PowerButton.DEAF)
    with listening(operator, vm) as witness:
        said = operator.ok("stop", "--vm", "vm1", "--timeout", "1")
        assert witness.shutdown() == {"guest": False, "reason": "host-qmp-quit"}
    assert "its guest did not react within 1 s" in said.err
    assert "stopped (quit)" in said.err
    assert_nothing_is_left(operator, vm)


def test_several_are_asked_at_the_same_time_on_all_workers(operator: Operator) -> None:
    """One after the other, those of worker1 alone would take 12 seconds."""
    deaf = [
        (with_button(operator, PowerButton.DEAF, name, worker=worker), worker)
        for name, worker in (("a", "worker1"), ("b", "worker1"), ("c", "worker2"))
    ]
    quick = guest(operator, "d")
    began = time.monotonic()
    said = operator.ok("stop", "--vm", "*", "--timeout", "6", "--format", "json")
    assert time.monotonic() - began < 12
    assert {one["vm"]: one["how"] for one in said.json} == {
        **dict.fromkeys("abc", "quit"),
        "d": "guest",
    }
    for vm, worker in (*deaf, (quick, "worker1")):
        assert_nothing_is_left(operator, vm, worker)


def test_a_paused_guest_goes_on_to_power_off(operator: Operator) -> None:
    vm = guest(operator)
    operator.ok("pause", "--vm", "vm1")
    with listening(operator, vm) as witness:
        said = operator.ok("stop", "--vm", "vm1")
        assert witness.shutdown()["reason"] == "guest-shutdown"
    assert "it was paused, and goes on so that its guest can power off" in said.err


def test_a_frozen_qemu_is_killed_and_not_waited_for(operator: Operator) -> None:
    vm = guest(operator)
    kill(operator, vm, "-STOP")
    began = time.monotonic()
    said = operator.ok("stop", "--vm", "vm1", "--format", "json")
    assert time.monotonic() - began < DEFAULT_TIMEOUT_S / 2
    assert said.json[0]["how"] == "SIGKILL"
    assert "held by a signal (SIGSTOP)" in said.err
    assert_nothing_is_left(operator, vm)


def test_a_monitor_that_does_not_answer_is_said_and_not_waited_for(operator: Operator) -> None:
    vm = guest(operator)
    with listening(operator, vm, FIRST), listening(operator, vm, SECOND) as witness:
        began = time.monotonic()
        said = operator.ok("stop", "--vm", "vm1")
        assert time.monotonic() - began < DEFAULT_TIMEOUT_S / 2
        assert witness.shutdown() == {"guest": False, "reason": "host-signal"}
    assert "the monitor is busy or does not answer" in said.err
    assert "stopped (SIGTERM)" in said.err
    assert_nothing_is_left(operator, vm)


def test_a_person_at_the_first_monitor_keeps_nobody_from_a_gentle_stop(operator: Operator) -> None:
    vm = guest(operator)
    with listening(operator, vm, FIRST):
        said = operator.ok("stop", "--vm", "vm1", "--format", "json")
    assert said.json[0]["how"] == "guest"


def test_a_lost_connection_does_not_kill_a_guest_that_was_asked(operator: Operator) -> None:
    vm = with_button(operator, PowerButton.DEAF)
    stopping = begin_to_stop(operator)
    with listening(operator, vm) as witness:
        assert witness.hear()["event"] == "POWERDOWN"
        operator.lab.fault("worker1", "reset")
        _, said = stopping.communicate(timeout=60)
    operator.lab.heal("worker1")
    assert stopping.returncode in (1, 3)
    assert "error: worker1: " in said
    assert not gone(operator, vm)
    assert operator.ok("status", "--format", "json").json[0]["state"] == "running"


def test_a_connection_that_is_lost_and_back_is_not_taken_for_a_deaf_qemu(
    operator: Operator,
) -> None:
    vm = with_button(operator, PowerButton.DEAF)
    began = time.monotonic()
    stopping = begin_to_stop(operator)
    with listening(operator, vm) as witness:
        assert witness.hear()["event"] == "POWERDOWN"
        operator.lab.fault("worker1", "reset")
        operator.lab.heal("worker1")
        _, said = stopping.communicate(timeout=60)
    assert time.monotonic() - began < DEFAULT_TIMEOUT_S / 2
    assert stopping.returncode == 1
    assert said == (
        "error: worker1: vm1: the connection was lost: Connection reset by peer;"
        " the worker goes on with the stop by itself\n"
        "  fab status --vm vm1\n"
    )
    assert not gone(operator, vm)


def test_force_asks_nobody(operator: Operator) -> None:
    vm = guest(operator)
    with listening(operator, vm) as witness:
        said = operator.ok("stop", "--vm", "vm1", "--force", "--format", "json")
        assert witness.events() == []
    assert (said.json[0]["how"], said.json[0]["asked"]) == ("SIGKILL", 0)
    assert_nothing_is_left(operator, vm)


@pytest.mark.parametrize("task", ["status", "wait --state guest-off", "wait --state stopped"])
def test_ports_of_a_vm_that_powered_itself_off_go_with_the_next_look(
    operator: Operator, task: str
) -> None:
    vm = networked(operator)
    tell(operator, vm, "system_powerdown")
    wait_gone(operator, vm)
    assert operator.port("worker1", "tap_1_eth1") is not None
    assert operator.taps("worker1") == {"tap_1_eth1"}
    name, *options = task.split()
    said = operator.ok(name, "--vm", "vm1", *options)
    assert "vm1 has powered itself off: its ports and TAPs are removed" in said.err
    assert operator.port("worker1", "tap_1_eth1") is None
    assert operator.taps("worker1") == set()
    assert "VMOPS-POWER-BUTTON" in console_log(operator, vm), "its last words are kept"
    assert operator.ok(name, "--vm", "vm1", *options).err.count("removed") == 0
    assert operator.ok("status", "--format", "json").json[0]["state"] == "stopped"
    operator.ok("launch", "--vm", "vm1")
    assert operator.port("worker1", "tap_1_eth1") is not None


def test_what_a_crashed_vm_left_stays_until_it_is_stopped(operator: Operator) -> None:
    vm = networked(operator)
    kill(operator, vm)
    wait_gone(operator, vm)
    assert operator.ok("status", "--format", "json").json[0]["state"] == "crashed"
    assert operator.port("worker1", "tap_1_eth1") is not None
    assert "had crashed" in operator.ok("stop", "--vm", "vm1").err
    assert_nothing_is_left(operator, vm)
