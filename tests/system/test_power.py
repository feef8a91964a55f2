"""Restart, reset, pause, resume, wait: on guests that do, and do not, as asked."""

from __future__ import annotations

import subprocess
import time

import pytest

from tests.guests import PowerButton

from .lab_helpers import wait_until
from .monitor_helpers import FIRST, gone, listening, tell, wait_gone
from .operator import Operator, small_vm
from .seat import console_log, guest, kill, pid_of, with_button


def monitor_word(operator: Operator) -> str:
    return str(operator.ok("status", "--vm", "vm1", "--format", "json").json[0]["monitor"])


def test_pause_and_resume_and_both_twice(operator: Operator) -> None:
    guest(operator)
    assert "vm1 on worker1: paused" in operator.ok("pause", "--vm", "vm1").err
    assert monitor_word(operator) == "paused"
    assert "was already paused" in operator.ok("pause", "--vm", "vm1").err
    said = operator.ok("resume", "--vm", "vm1", "--format", "json")
    assert said.json == [{"vm": "vm1", "worker": "worker1", "changed": True, "error": None}]
    assert monitor_word(operator) == "running"
    assert "was already running" in operator.ok("resume", "--vm", "vm1").err


def test_a_guest_is_resumed_that_waits_for_its_memory_to_be_sent(operator: Operator) -> None:
    """As where whoever saved it, or moved it, has gone for good."""
    vm = guest(operator)
    path = "/run/vmops/vm1/stuck.sock"
    words = ["socat", "-u", f"UNIX-LISTEN:{path},mode=777", "OPEN:/dev/null"]
    with subprocess.Popen(operator.lab.enter("worker1", words)) as taker:
        try:
            wait_until(lambda: path in operator.on("worker1", "sh", "-c", f"ls {path} || :"))
            with listening(operator, vm) as monitor:
                wanted = [{"capability": "pause-before-switchover", "state": True}]
                monitor.tell("migrate-set-capabilities", capabilities=wanted)
                monitor.tell("migrate", uri=f"unix:{path}")
                while "event" not in (said := monitor.hear()) or said["event"] != "STOP":
                    assert "error" not in said
            assert monitor_word(operator) == "finish-migrate"
            said_then = operator.ok("resume", "--vm", "vm1", "--format", "json")
            assert said_then.json[0]["changed"] is True
            assert "that is cancelled" in said_then.err
            assert monitor_word(operator) == "running"
            assert "was already running" in operator.ok("resume", "--vm", "vm1").err
        finally:
            taker.kill()
    operator.on("worker1", "rm", "-f", path)


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
    both = [operator.begin("restart", "--vm", "vm1") for _ in range(2)]
    said = [one.communicate(timeout=60) for one in both]
    assert [one.returncode for one in both] == [0, 0], said
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
    waiting = operator.begin("wait", "--vm", "vm1", "--state", "guest-off", "--timeout", "60")
    tell(operator, vm, "system_powerdown")
    _, said = waiting.communicate(timeout=60)
    assert waiting.returncode == 0
    assert "vm1 on worker1: guest-off" in said


FROZEN = (
    "vm1 is not {} after 1 s: its QEMU is held by a signal (SIGSTOP)\n"
    "  let it continue, there: sudo kill -CONT "
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
    assert "its QEMU is held by a signal (SIGSTOP)\n  let it continue" in said.err


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
        assert "# wait up to 5 s for SHUTDOWN\n# vm1: exit\n" in said.out
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
