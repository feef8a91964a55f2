"""Stopping gently, restart, reset, pause, resume, wait: on guests that do, and do not, as asked."""

from __future__ import annotations

import subprocess
import time

import pytest

from tests.guests import PowerButton, boot_sector_image, cache_directory
from vmops.core.model import VM

from .lab_helpers import wait_until
from .monitor_helpers import FIRST, SECOND, gone, listening, tell, wait_gone
from .operator import FAB, ROOT, Operator, small_vm
from .seat import console_log, guest, kill, pid_of

DEFAULT_TIMEOUT_S = 30


def with_button(
    operator: Operator, button: PowerButton, name: str = "vm1", *, worker: str = "worker1"
) -> VM:
    image = boot_sector_image(cache_directory(), button)
    return guest(operator, name, worker=worker, image=image)


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


def test_stop_lets_the_guest_power_itself_off(operator: Operator) -> None:
    vm = networked(operator)
    assert operator.port("worker1", "tap_1_eth1") is not None
    with listening(operator, vm) as witness:
        said = operator.ok("stop", "--vm", "vm1", "--format", "json")
        assert witness.shutdown() == {"guest": True, "reason": "guest-shutdown"}
    assert said.json == [
        {"vm": "vm1", "worker": "worker1", "changed": True, "how": "guest", "asked": 1}
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
    stopping = subprocess.Popen(
        [FAB, "stop", "--vm", "vm1", "--timeout", "60"],
        cwd=ROOT,
        env=operator.environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
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
    stopping = subprocess.Popen(
        [FAB, "stop", "--vm", "vm1", "--timeout", "60"],
        cwd=ROOT,
        env=operator.environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    with listening(operator, vm) as witness:
        assert witness.hear()["event"] == "POWERDOWN"
        operator.lab.fault("worker1", "reset")
        operator.lab.heal("worker1")
        _, said = stopping.communicate(timeout=60)
    assert time.monotonic() - began < DEFAULT_TIMEOUT_S / 2
    assert stopping.returncode == 1
    assert said == (
        "error: worker1: vm1: the connection was lost while its guest was asked to power off:"
        " it may do so or not\n"
        "  fab status --vm vm1, and where it still runs: fab stop --vm vm1\n"
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


def monitor_word(operator: Operator) -> str:
    return str(operator.ok("status", "--vm", "vm1", "--format", "json").json[0]["monitor"])


def test_pause_and_resume_and_both_twice(operator: Operator) -> None:
    guest(operator)
    assert "vm1 on worker1: paused" in operator.ok("pause", "--vm", "vm1").err
    assert monitor_word(operator) == "paused"
    assert "was paused already" in operator.ok("pause", "--vm", "vm1").err
    said = operator.ok("resume", "--vm", "vm1", "--format", "json")
    assert said.json == [{"vm": "vm1", "worker": "worker1", "changed": True, "error": None}]
    assert monitor_word(operator) == "running"
    assert "was running already" in operator.ok("resume", "--vm", "vm1").err


def test_reset_boots_the_guest_anew_in_the_same_qemu(operator: Operator) -> None:
    vm = guest(operator)
    pid = pid_of(operator, vm)
    operator.ok("reset", "--vm", "vm1")
    wait_until(lambda: console_log(operator, vm).count("VMOPS-GUEST-UP") == 2)
    assert pid_of(operator, vm) == pid


def test_restart_powers_off_and_launches_what_the_inventory_says_now(operator: Operator) -> None:
    vm = guest(operator)
    pid = pid_of(operator, vm)
    operator.vms = [(small_vm("vm1", vm.vm_id, ram_mb=40), "worker1")]
    operator.write()
    with listening(operator, vm) as witness:
        said = operator.ok("restart", "--vm", "vm1", "--format", "json")
        assert witness.shutdown()["reason"] == "guest-shutdown"
    assert said.json[0]["how"] == "guest"
    assert said.json[0]["pid"] == pid_of(operator, vm) != pid
    found = operator.ok("status", "--vm", "vm1", "--format", "json").json[0]
    assert (found["state"], found["drift"]) == ("running", [])


def test_two_restarts_at_once_each_tell_their_own_work(operator: Operator) -> None:
    vm = guest(operator)
    both = [
        subprocess.Popen(
            [FAB, "restart", "--vm", "vm1"],
            cwd=ROOT,
            env=operator.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [one.communicate(timeout=60) for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert "not waited for" not in "".join(err for _, err in said)
    lines = [out for out, _ in said]
    own = [line for line in lines if "by somebody else" not in line]
    pids = [line.split("PID ")[1] for line in own]
    assert len(set(pids)) == len(pids) >= 1, lines
    assert str(pid_of(operator, vm)) in "".join(pids)


def test_restart_leaves_a_vm_running_that_would_not_come_up_again(operator: Operator) -> None:
    vm = guest(operator)
    pid = pid_of(operator, vm)
    operator.on("worker1", "rm", "/home/ubuntu/vm_images/vm1.qcow2")
    said = operator.fab("restart", "--vm", "vm1")
    assert said.code == 1
    assert "no image" in said.err
    assert pid_of(operator, vm) == pid


def test_restart_of_a_vm_that_does_not_run_launches_it(operator: Operator) -> None:
    vm = guest(operator)
    operator.ok("stop", "--vm", "vm1")
    assert "was not running: launched" in operator.ok("restart", "--vm", "vm1").out
    assert not gone(operator, vm)


def test_wait_sees_the_guest_power_off(operator: Operator) -> None:
    vm = guest(operator)
    waiting = subprocess.Popen(
        [FAB, "wait", "--vm", "vm1", "--state", "guest-off", "--timeout", "60"],
        cwd=ROOT,
        env=operator.environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    tell(operator, vm, "system_powerdown")
    _, said = waiting.communicate(timeout=60)
    assert waiting.returncode == 0
    assert "vm1 on worker1: guest-off" in said


FROZEN = (
    "vm1 is not {} after 1 s: its QEMU is held by a signal (SIGSTOP)\n"
    "  let it go on, there: sudo kill -CONT "
)


@pytest.mark.parametrize(
    ("prepare", "state", "words"),
    [
        ("pause", "running", "vm1 is not running after 1 s: it is paused"),
        ("", "stopped", "vm1 is not stopped after 1 s: it is running"),
        ("", "guest-off", "vm1 is not guest-off after 1 s: it is running"),
        ("kill", "guest-off", "vm1 has crashed"),
        ("kill", "running", "vm1 is not running after 1 s: it has crashed\n  fab launch --vm vm1"),
        ("-STOP", "running", FROZEN.format("running")),
        ("-STOP", "stopped", FROZEN.format("stopped")),
    ],
)
def test_wait_gives_up_with_words(operator: Operator, prepare: str, state: str, words: str) -> None:
    vm = guest(operator)
    if prepare == "pause":
        operator.ok("pause", "--vm", "vm1")
    if prepare == "kill":
        kill(operator, vm)
        wait_gone(operator, vm)
    if prepare == "-STOP":
        kill(operator, vm, prepare)
    said = operator.fab("wait", "--vm", "vm1", "--state", state, "--timeout", "1")
    assert said.code == 1
    assert words in said.err
    assert said.err.count("vm1: its QEMU") == 0
    if prepare != "kill":
        assert not gone(operator, vm)


@pytest.mark.parametrize(
    ("task", "shape"),
    [
        ("pause", {"changed": False}),
        ("reset", {"changed": False}),
        ("wait --timeout 0", {"state": None}),
        ("sendkey --keys ret", {"chords": 0}),
        ("type --text x", {"chords": 0}),
    ],
)
def test_a_vm_that_failed_is_in_the_json_like_the_others(
    operator: Operator, task: str, shape: dict[str, object]
) -> None:
    guest(operator)
    operator.add(small_vm("vm2", 2), "worker2", image=False)
    name, *options = task.split()
    said = operator.fab(name, "--vm", "*", *options, "--format", "json")
    assert said.code == 1
    good, failed = said.json
    assert (good["vm"], good["error"]) == ("vm1", None)
    assert failed.keys() == good.keys()
    error = failed.pop("error")
    assert failed == {"vm": "vm2", "worker": "worker2", **shape}
    assert error.startswith("worker2: vm2 is ")
    assert f"error: {error}" in said.err


def test_a_vm_that_is_not_restarted_is_in_the_json(operator: Operator) -> None:
    operator.add(small_vm("bare", 77), image=False)
    said = operator.fab("restart", "--vm", "bare", "--format", "json")
    assert said.code == 1
    (failed,) = said.json
    assert "no image" in failed.pop("error")
    assert failed == {
        "vm": "bare",
        "worker": "worker1",
        "pid": None,
        "changed": False,
        "skipped_interfaces": [],
        "how": None,
        "asked": 0,
    }


TURNS = ["pause", "resume", "reset"]


@pytest.mark.parametrize("task", TURNS)
@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("stopped", "vm1 is stopped\n  fab launch --vm vm1 starts it"),
        ("crashed", "vm1 has crashed\n  fab launch --vm vm1 clears away what it left"),
        ("frozen", "its QEMU is held by a signal (SIGSTOP)"),
    ],
)
def test_a_vm_that_cannot_be_told_is_an_error_in_words(
    operator: Operator, task: str, how: str, words: str
) -> None:
    vm = guest(operator)
    if how == "stopped":
        operator.ok("stop", "--vm", "vm1")
    else:
        kill(operator, vm, "-KILL" if how == "crashed" else "-STOP")
    said = operator.fab(task, "--vm", "vm1")
    assert said.code == 1
    assert f"error: worker1: {words}" in said.err.replace("vm1: its", "its")
    assert "Traceback" not in said.err


def test_a_frozen_qemu_is_found_out_soon_and_holds_up_no_other(operator: Operator) -> None:
    vm = guest(operator)
    guest(operator, "vm2")
    kill(operator, vm, "-STOP")
    began = time.monotonic()
    said = operator.fab("pause", "--vm", "*", "--format", "json")
    assert time.monotonic() - began < 3
    assert said.code == 1
    assert [one["changed"] for one in said.json] == [False, True]
    assert "its QEMU is held by a signal (SIGSTOP)\n  let it go on" in said.err


@pytest.mark.parametrize("task", [*TURNS, "restart", "stop", "wait"])
def test_unknown_vms_and_workers_that_are_down(operator: Operator, task: str) -> None:
    operator.add(small_vm("vm1", 1), "worker2", image=False)
    said = operator.fab(task, "--vm", "nosuch")
    assert said.code == 2
    assert "nosuch" in said.err
    operator.lab.fault("worker2", "drop")
    try:
        said = operator.fab(task, "--vm", "vm1")
    finally:
        operator.lab.heal("worker2")
    assert said.code == 3
    assert said.err.startswith("error: worker2: ")
    assert len(said.err.splitlines()) <= 3


@pytest.mark.parametrize(
    "words",
    [
        ("stop", "--vm", "vm1", "--timeout", "-1"),
        ("wait", "--vm", "vm1", "--state", "asleep"),
        ("wait", "--vm", "vm1", "--timeout", "-2"),
    ],
)
def test_bad_options_are_refused_before_anything_is_contacted(
    operator: Operator, words: tuple[str, ...]
) -> None:
    operator.add(small_vm("vm1", 1), image=False)
    before = operator.lab.status().workers[0].connections
    said = operator.fab(*words)
    assert said.code == 2, said
    assert operator.lab.status().workers[0].connections == before


def test_sockets_of_another_users_vm_are_taken_over(operator: Operator) -> None:
    guest(operator)
    operator.on("worker1", "sh", "-c", "chown root /run/vmops/vm1/*.sock")
    assert "paused" in operator.ok("pause", "--vm", "vm1").err
    assert monitor_word(operator) == "paused"


@pytest.mark.parametrize("task", ["stop", "restart", "pause", "resume", "reset", "wait"])
def test_dry_contacts_nobody(operator: Operator, task: str) -> None:
    operator.add(small_vm("vm1", 1, 101), image=False)
    before = operator.lab.status().workers[0].connections
    said = operator.ok("--dry", task, "--vm", "vm1")
    assert said.out.startswith("# on worker1")
    if task in ("stop", "restart"):
        assert '{"execute": "system_powerdown"}' in said.out
        assert "has not said within 5 s that it ends gets SIGTERM at once" in said.out
    if task == "wait":
        assert '{"execute": "query-status"}' in said.out
        assert "ovs-vsctl" not in said.out
        only = operator.ok("--dry", "wait", "--vm", "vm1", "--state", "stopped").out
        assert "query-status" not in only
    assert operator.lab.status().workers[0].connections == before


def test_a_worker_far_away_is_asked_like_any_other(operator: Operator) -> None:
    """All takes 1.2 s to get there and back, more than a greeting may; the first socket is busy."""
    vm = with_button(operator, PowerButton.ONCE)
    try:
        with listening(operator, vm, FIRST):
            operator.lab.delay("worker1", 1200)
            (seen,) = operator.ok("status", "--vm", "vm1", "--format", "json").json
            assert seen["state"] == "running"
            operator.ok("pause", "--vm", "vm1")
    finally:
        operator.lab.delay("worker1", 0)
    (seen,) = operator.ok("status", "--vm", "vm1", "--format", "json").json
    assert seen["state"] == "paused"
