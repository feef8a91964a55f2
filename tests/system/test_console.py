"""Sitting at a serial port: in a real pseudo-terminal, on good days and on bad ones."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest

from tests.guests import PROMPT, cache_directory, linux_image
from vmops.lab import Lab

from .lab_helpers import wait_until
from .operator import Operator, small_vm
from .seat import Seat, at_the_console, console_log, guest, kill, piped, seated

ESCAPE = "\x1d"
LOST_WITHIN_S = 20


def test_typing_and_reading_and_leaving(operator: Operator) -> None:
    vm = guest(operator)
    with seated(operator) as seat:
        seat.sit_down(vm)
        seat.wait_for("VMOPS-GUEST-UP\r\n> ")
        seat.type("hello\r")
        seat.wait_for("HELLO\r\n> ")
        seat.type(ESCAPE)
        seat.wait_for("left the console of vm1 on worker1\r\n")
        assert seat.end() == 0
        assert seat.modes() == seat.modes_at_first
        wait_until(lambda: at_the_console(operator, vm) == 0)


def test_every_other_key_goes_to_the_guest(operator: Operator) -> None:
    """Ctrl-C, Ctrl-Z, Ctrl-\\, Ctrl-S, Ctrl-V, Ctrl-O, a carriage return, and what is not ASCII."""
    vm = guest(operator)
    with seated(operator) as seat:
        seat.sit_down(vm)
        seat.wait_for("> ")
        for keys in (b"\x03", b"\x1a", b"\x1c", b"\x13", b"\x11", b"\x16", b"\x0f", b"\x7f"):
            seat.type(keys)
            seat.wait_for(keys)
        seat.type("über ☃".encode())
        seat.wait_for("üBER ☃".encode())
        seat.type(bytes(range(0x80, 0x100)))
        seat.wait_for(bytes(range(0x80, 0x100)))
        seat.type(ESCAPE)
        assert seat.end() == 0


@pytest.mark.parametrize("fault", ["freeze", "reset", "drop"])
def test_a_lost_connection_is_told_and_leaves_the_terminal_sane(
    operator: Operator, lab: Lab, fault: str
) -> None:
    vm = guest(operator)
    with seated(operator) as seat:
        seat.sit_down(vm)
        seat.wait_for("> ")
        since = time.monotonic()
        lab.fault("worker1", fault)
        try:
            if fault == "freeze":
                seat.type("typed to nobody\r")
            code = seat.end()
        finally:
            lab.heal("worker1")
        assert time.monotonic() - since < LOST_WITHIN_S
        assert code == 1
        assert "error: worker1: the connection was lost and vm1 goes on without you;" in seat.said
        assert "Traceback" not in seat.said
        assert seat.modes() == seat.modes_at_first


def power_off(operator: Operator, seat: Seat) -> None:
    seat.type("\x04")


def crash(operator: Operator, seat: Seat) -> None:
    operator.on("worker1", "kill", "-9", str(operator.qemus("worker1")["vm1"]))


def stop_it(operator: Operator, seat: Seat) -> None:
    operator.ok("stop", "--force", "--vm", "vm1")


@pytest.mark.parametrize(
    ("how", "code", "word"),
    [
        (power_off, 0, "vm1 has stopped"),
        (crash, 1, "vm1 has crashed"),
        (stop_it, 0, "vm1 has stopped"),
    ],
    ids=["powered off", "crashed", "stopped"],
)
def test_the_end_of_the_vm_is_told(
    operator: Operator, how: Callable[[Operator, Seat], None], code: int, word: str
) -> None:
    vm = guest(operator)
    with seated(operator) as seat:
        seat.sit_down(vm)
        seat.wait_for("> ")
        how(operator, seat)
        assert seat.end() == code
        assert word in seat.said
        assert seat.modes() == seat.modes_at_first


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_the_terminal_sane(operator: Operator, number: signal.Signals) -> None:
    vm = guest(operator)
    with seated(operator) as seat:
        seat.sit_down(vm)
        seat.send(number)
        assert seat.end() == 128 + number
        assert "Traceback" not in seat.said
        assert seat.modes() == seat.modes_at_first


def test_stopped_by_the_shell_and_continued(operator: Operator) -> None:
    vm = guest(operator)
    with seated(operator) as seat:
        seat.sit_down(vm)
        seat.wait_for("> ")
        seat.send(signal.SIGSTOP)
        seat.wait_for("at-the-shell$ ")
        seat.type("stty sane\n")
        seat.wait_for("at-the-shell$ ")
        seat.begin("fg")
        wait_until(seat.is_raw)
        seat.type("again")
        seat.wait_for("AGAIN")
        seat.type(ESCAPE)
        assert seat.end() == 0
        assert seat.modes() == seat.modes_at_first


def test_only_one_sits_at_a_console(operator: Operator) -> None:
    vm = guest(operator)
    with seated(operator) as first:
        first.sit_down(vm)
        first.wait_for("> ")
        second = operator.fab("console", "--vm", "vm1")
        assert second.code == 1
        assert "somebody else is at the console of vm1: sshd" in second.err
        assert "--force" in second.err
        first.type("still here")
        first.wait_for("STILL HERE")
        first.type(ESCAPE)
        assert first.end() == 0
        assert piped(operator, b"me", "--until", "ME").code == 0


def test_force_ends_the_other_session(operator: Operator) -> None:
    vm = guest(operator)
    with seated(operator) as first, seated(operator) as second:
        first.sit_down(vm)
        first.wait_for("> ")
        second.sit_down(vm, "--force")
        assert first.end() == 1
        assert "or somebody has taken its console over (--force)" in first.said
        assert first.modes() == first.modes_at_first
        second.type("mine")
        second.wait_for("MINE")
        second.type(ESCAPE)
        assert second.end() == 0


def test_a_shell_in_a_linux_guest(operator: Operator) -> None:
    """Its terminal gets Ctrl-C and UTF-8, its colours come through, and its end ends it all."""
    vm = guest(operator, image=linux_image(cache_directory()), ram_mb=96)
    with seated(operator) as seat:
        seat.sit_down(vm)
        seat.type("\r")
        seat.wait_for(PROMPT)
        seat.type("sleep 1000\r")
        seat.wait_for("sleep 1000\r\n")
        seat.type("\x03")
        seat.wait_for(PROMPT)
        seat.type("printf '\\033[31m%s\\033[0m\\n' $((6*7))é\r")
        seat.wait_for("\x1b[31m42é\x1b[0m\r\n".encode())
        seat.type("poweroff -f\r")
        assert seat.end() == 0
        assert "vm1 has stopped" in seat.said
        assert seat.modes() == seat.modes_at_first


def test_lines_of_the_log_come_first_and_are_harmless(operator: Operator) -> None:
    vm = guest(operator)
    assert piped(operator, b"\x1b]0;EVIL\x07\r1\r2\r3\r", "--until", "3\r\n> ").code == 0
    with seated(operator) as seat:
        seat.sit_down(vm)
        seat.wait_for("^[]0;EVIL^G\r\n> 1\r\n> 2\r\n> 3\r\n> ")
        assert "\x1b" not in seat.said
        seat.type(ESCAPE)
        assert seat.end() == 0
        seat.sit_down(vm, "--lines", "2")
        seat.wait_for("> ")
        assert "VMOPS-GUEST-UP" not in seat.said
        seat.type(ESCAPE)
        assert seat.end() == 0


def test_in_a_pipe_input_goes_there_and_output_comes_back(operator: Operator) -> None:
    guest(operator)
    said = piped(operator, b"hello\r\xff\xfe", "--timeout", "1")
    assert (said.code, said.out) == (0, "HELLO\r\n> \udcff\udcfe")
    assert said.err == ""


def test_in_a_pipe_it_ends_in_time(operator: Operator) -> None:
    guest(operator)
    since = time.monotonic()
    assert piped(operator, b"", "--timeout", "2").code == 0
    assert 2 <= time.monotonic() - since < 10


@pytest.mark.parametrize(
    ("typed", "until", "code"), [(b"abc", "ABC", 0), (b"abc", "abc", 1), (b"x\x04", "never", 1)]
)
def test_until_some_text_comes(operator: Operator, typed: bytes, until: str, code: int) -> None:
    """The last one powers the guest off."""
    guest(operator)
    said = piped(operator, typed, "--until", until, "--timeout", "2")
    assert said.code == code
    assert ("did not print" in said.err) == bool(code)


def test_much_input_arrives_whole(operator: Operator) -> None:
    vm = guest(operator)
    data = b"".join(b"%05d" % number for number in range(300))
    said = piped(operator, data + b"-end", "--until", "-END", "--timeout", "60")
    assert said.code == 0
    assert data.decode() in said.out
    assert data.decode() in console_log(operator, vm)


def stopped(operator: Operator) -> None:
    operator.ok("stop", "--force", "--vm", "vm1")


def crashed(operator: Operator) -> None:
    kill(operator, operator.vms[0][0])
    wait_until(lambda: not operator.qemus("worker1"))


def frozen(operator: Operator) -> None:
    kill(operator, operator.vms[0][0], "-STOP")


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (stopped, "vm1 is stopped"),
        (crashed, "vm1 has crashed"),
        (frozen, "vm1: its QEMU is held by a signal"),
    ],
)
def test_a_vm_that_cannot_answer(
    operator: Operator, made: Callable[[Operator], None], words: str
) -> None:
    guest(operator)
    made(operator)
    said = operator.fab("console", "--vm", "vm1")
    assert (said.code, said.out) == (1, "")
    assert words in said.err


@pytest.mark.parametrize(("asked", "words"), [("vm9", "vm9"), ("vm*", "vm1, vm2")])
def test_a_console_of_nothing_or_of_several_is_bad_input(
    operator: Operator, lab: Lab, asked: str, words: str
) -> None:
    operator.add(small_vm("vm1", 1))
    operator.add(small_vm("vm2", 2), "worker2")
    said = operator.fab("console", "--vm", asked)
    assert said.code == 2
    assert words in said.err


def test_a_worker_that_is_down(operator: Operator, lab: Lab) -> None:
    guest(operator)
    lab.stop_daemon("worker1", "sshd")
    try:
        said = operator.fab("console", "--vm", "vm1")
    finally:
        lab.start_daemon("worker1", "sshd")
    assert said.code == 3
    assert len(said.err.strip().splitlines()) <= 3


def test_dry_run_contacts_nothing(operator: Operator, lab: Lab) -> None:
    operator.add(small_vm("vm1", 1), image=False)
    before = [worker.connections for worker in lab.status().workers]
    said = operator.ok("--dry", "console", "--vm", "vm1", "--lines", "7").out
    assert "sudo tail -n 7 /run/vmops/vm1/log/console" in said
    assert said.endswith("through SSH: the socket /run/vmops/vm1/console.sock\n")
    assert [worker.connections for worker in lab.status().workers] == before


def test_until_at_a_terminal(operator: Operator) -> None:
    vm = guest(operator)
    with seated(operator) as seat:
        seat.sit_down(vm, "--until", "ABC")
        seat.type("abc")
        assert seat.end() == 0
        seat.sit_down(vm, "--until", "ABC")
        seat.type(ESCAPE)
        assert seat.end() == 1
        assert "vm1 did not print 'ABC'" in seat.said


def test_what_would_be_ignored_is_refused_and_nobody_contacted(
    operator: Operator, lab: Lab
) -> None:
    operator.add(small_vm("vm1", 1), image=False)
    before = [worker.connections for worker in lab.status().workers]
    empty = piped(operator, b"", "--until", "")
    assert (empty.code, empty.out) == (2, "")
    assert "--until '': the value is empty" in empty.err
    with seated(operator) as seat:
        seat.begin("fab console --vm vm1 --timeout 60")
        assert seat.end() == 2
        assert "a terminal's input has none: Ctrl-] leaves" in seat.said
    assert [worker.connections for worker in lab.status().workers] == before
