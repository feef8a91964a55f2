"""What VMs printed, read after the fact and as it comes; and how much of it a worker keeps."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.guests import cache_directory, talker_image
from tests.guests.talker import DONE, LAST_LINE
from vmops.core.devices.machine import LOG_KIB
from vmops.lab import Lab

from .lab_helpers import wait_until
from .operator import FAB, ROOT, Operator, small_vm
from .seat import guest, kill, piped, seated

EVIL = b"\x1b]0;EVIL\x07\x1b[2J\x9b6n\xc2\x9b"
TALK_S = 60


@contextmanager
def following(operator: Operator, *options: str) -> Iterator[subprocess.Popen[str]]:
    """`fab logs -f` in a pipe; killed at the end of the block if it has not ended."""
    process = subprocess.Popen(
        [FAB, "logs", "-f", *options],
        cwd=ROOT,
        env=operator.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=10)


def read_to(process: subprocess.Popen[str], word: str) -> str:
    """What comes on standard output up to the line with that word."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if word in line:
            return "".join(lines)
    raise AssertionError(f"it ended before {word!r}: {lines}")


def processes(operator: Operator) -> set[str]:
    """The command lines on the worker."""
    return set(operator.on("worker1", "ps", "-e", "-o", "args=").splitlines())


def test_both_logs_are_shown_apart(operator: Operator) -> None:
    vm = guest(operator)
    operator.on("worker1", "sh", "-c", f"echo from QEMU >>/run/vmops/{vm.name}/log/qemu")
    said = operator.ok("logs", "--vm", "vm1")
    assert said.out == "\nVMOPS-GUEST-UP\n> "
    assert said.err == "QEMU of vm1: from QEMU\n"
    own = operator.ok("logs", "--vm", "vm1", "--qemu")
    assert (own.out, own.err) == ("from QEMU\n", "")
    assert operator.ok("logs", "--vm", "vm1", "--lines", "1").out == "> "


def test_following_until_the_vm_ends(operator: Operator) -> None:
    """What the guest prints comes, a reset interrupts nothing, and the end is told."""
    guest(operator)
    with following(operator, "--vm", "vm1") as process:
        read_to(process, "VMOPS-GUEST-UP")
        assert piped(operator, b"one\rtwo\r", "--until", "TWO").code == 0
        assert read_to(process, "TWO") == "> ONE\n> TWO\n"
        operator.ok("reset", "--vm", "vm1")
        read_to(process, "VMOPS-GUEST-UP")
        assert piped(operator, b"bye\r\x04", "--timeout", "1").code == 0
        read_to(process, "VMOPS-POWER-OFF")
        assert process.wait(timeout=10) == 0
        assert process.stderr is not None
        assert "vm1 has stopped" in process.stderr.read()


@pytest.mark.parametrize(
    ("how", "word"), [("kill", "vm1 has crashed"), ("stop", "vm1 has stopped")]
)
def test_following_to_a_bad_end(operator: Operator, how: str, word: str) -> None:
    vm = guest(operator)
    with following(operator, "--vm", "vm1") as process:
        read_to(process, "VMOPS-GUEST-UP")
        if how == "kill":
            kill(operator, vm)
        else:
            operator.ok("stop", "--force", "--vm", "vm1")
        assert process.wait(timeout=10) == 0
        assert process.stderr is not None
        assert word in process.stderr.read()


def test_following_ends_at_ctrl_c(operator: Operator) -> None:
    guest(operator)
    with seated(operator) as seat:
        seat.begin("fab logs -f --vm vm1")
        seat.wait_for("VMOPS-GUEST-UP\r\n> ")
        assert piped(operator, b"seen", "--until", "SEEN").code == 0
        seat.wait_for("SEEN")
        seat.type("\x03")
        assert seat.end() == 0
        assert "Traceback" not in seat.said
        assert seat.modes() == seat.modes_at_first


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_of_a_follower_stays_on_the_worker(
    operator: Operator, number: signal.Signals
) -> None:
    guest(operator)
    before = processes(operator)
    with following(operator, "--vm", "vm1") as process:
        read_to(process, "VMOPS-GUEST-UP")
        assert processes(operator) != before, "the follower's sshd and root shell are seen"
        process.send_signal(number)
        process.wait(timeout=10)
        wait_until(lambda: processes(operator) <= before)


def test_a_follower_that_vanishes_without_a_word_leaves_no_reader(
    operator: Operator, lab: Lab
) -> None:
    """Its packets are dropped, so sshd waits; but nothing reads the log any more."""
    guest(operator)
    with following(operator, "--vm", "vm1") as process:
        read_to(process, "VMOPS-GUEST-UP")
        lab.fault("worker1", "freeze")
        try:
            process.wait(timeout=30)
            assert process.returncode == 1
            readers = "ls -l /proc/[0-9]*/fd 2>/dev/null | grep -c /log/console"
            assert operator.on("worker1", "sh", "-c", readers).strip() == "1", "QEMU alone"
        finally:
            lab.heal("worker1")


def test_a_guest_cannot_reach_the_operators_terminal(operator: Operator) -> None:
    vm = guest(operator)
    assert piped(operator, EVIL + b"\rafter", "--until", "AFTER").code == 0
    with seated(operator) as seat:
        seat.begin("fab logs --vm vm1")
        assert seat.end() == 0
        assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\udc80-\udcff]", seat.said)
        assert "^[]0;EVIL^G\\x9b6N\\x9b\r\n> AFTER" in seat.said
        seat.begin("fab logs --raw --vm vm1")
        seat.wait_for(b"\x1b]0;EVIL\x07\x1b[2J\x9b6N\xc2\x9b")
        assert seat.end() == 0
    raw = subprocess.run(
        [FAB, "logs", "--vm", "vm1"],
        cwd=ROOT,
        env=operator.environment(),
        capture_output=True,
        check=True,
        timeout=60,
    )
    there = operator.lab.run("worker1", ["cat", f"/run/vmops/{vm.name}/log/console"]).stdout
    assert raw.stdout == there
    assert EVIL.replace(b"6n", b"6N") in there


def test_several_vms_are_told_apart(operator: Operator) -> None:
    vm1 = guest(operator, "vm1")
    vm2 = guest(operator, "vm2", worker="worker2")
    operator.add(small_vm("vm3", 3), image=False)
    said = operator.fab("logs", "--vm", "vm*")
    assert said.code == 1
    assert "vm1: VMOPS-GUEST-UP\nvm1: > \n" in said.out.replace("\r", "")
    assert "vm2: VMOPS-GUEST-UP\nvm2: > \n" in said.out.replace("\r", "")
    assert "error: worker1: vm3 is stopped, or was never launched, and no log" in said.err
    with following(operator, "--vm", "vm1,vm2") as process:
        read_to(process, "VMOPS-GUEST-UP")
        kill(operator, vm1, "-15")
        kill(operator, vm2, "-15", worker="worker2")
        assert process.wait(timeout=10) == 0
        _, err = process.communicate()
        assert "vm1 has stopped" in err
        assert "vm2 has stopped" in err


@pytest.mark.parametrize("how", ["killed", "powered off"])
def test_the_logs_outlive_the_vm(operator: Operator, how: str) -> None:
    vm = guest(operator)
    kill(operator, vm, "-9" if how == "killed" else "-15")
    wait_until(lambda: not operator.qemus("worker1"))
    said = operator.ok("logs", "--vm", "vm1")
    assert "VMOPS-GUEST-UP" in said.out
    assert ("vm1 has crashed" if how == "killed" else "vm1 has stopped") in said.err
    assert ("terminating on signal 15" in said.err) == (how == "powered off")
    operator.ok("stop", "--vm", "vm1")
    gone = operator.fab("logs", "--vm", "vm1")
    assert (gone.code, gone.out) == (1, "")
    assert "no log of it is there" in gone.err


def test_the_log_of_a_frozen_vm_can_be_read(operator: Operator) -> None:
    vm = guest(operator)
    kill(operator, vm, "-STOP")
    assert "VMOPS-GUEST-UP" in operator.ok("logs", "--vm", "vm1").out


def test_one_worker_that_is_down_hides_no_other(operator: Operator, lab: Lab) -> None:
    guest(operator, "vm1")
    guest(operator, "vm2", worker="worker2")
    lab.stop_daemon("worker1", "sshd")
    try:
        both = operator.fab("logs", "--vm", "*")
        only = operator.fab("logs", "--vm", "vm1")
        follower = operator.fab("logs", "-f", "--vm", "vm1")
    finally:
        lab.start_daemon("worker1", "sshd")
    assert "vm2: VMOPS-GUEST-UP" in both.out
    assert (both.code, only.code, follower.code) == (3, 3, 3)
    assert both.err.count("error:") == 1


def test_a_reader_that_leaves_while_the_guest_is_silent_ends_it(operator: Operator) -> None:
    guest(operator)
    with following(operator, "--vm", "vm1") as process:
        read_to(process, "VMOPS-GUEST-UP")
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(5) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
        process.stdout = None


def test_a_reader_that_goes_away_is_no_failure(operator: Operator) -> None:
    guest(operator)
    pipe = f"{FAB} logs -f --vm vm1 | head -n 2"
    with seated(operator) as seat:
        seat.begin(pipe)
        seat.wait_for("VMOPS-GUEST-UP")
        assert piped(operator, b"more\r", "--until", "MORE").code == 0
        assert seat.end() == 0
        assert "Traceback" not in seat.said
        assert "Error" not in seat.said


def log_kib(operator: Operator, vm: str = "vm1") -> int:
    """What the VM's logs take of the worker's memory."""
    return int(operator.on("worker1", "du", "-sk", f"/run/vmops/{vm}/log").split()[0])


def test_a_guest_that_prints_without_end_fills_no_worker(operator: Operator) -> None:
    """It prints 6 MiB: the first 2 while nobody looks, the rest while somebody follows."""
    guest(operator, image=talker_image(cache_directory()))
    assert piped(operator, b"x", "--timeout", "0").code == 0
    wait_until(lambda: log_kib(operator) >= LOG_KIB, seconds=TALK_S)
    with following(operator, "--vm", "vm1", "--lines", "0") as process:
        seen = read_to(process, DONE)
        assert process.poll() is None
    _, _, since = seen.rpartition("[vmops: the log was full")
    numbers = [int(number, 16) for number in re.findall(r"VMOPS-LINE ([0-9A-F]{8}) ", since)]
    assert len(numbers) > 2**20 / 64
    assert numbers == list(range(numbers[0], LAST_LINE + 1)), "whoever follows misses nothing"
    assert log_kib(operator) <= LOG_KIB
    assert operator.ok("logs", "--vm", "vm1", "--lines", "1").out == f"{DONE}\n"
    kept = operator.ok("logs", "--vm", "vm1", "--lines", str(LAST_LINE)).out
    assert f"VMOPS-LINE {LAST_LINE - 8_000:08X} " in kept
    assert "\0" not in kept


@pytest.mark.parametrize("command", ["status", "pid --vm vm1", "launch --vm vm1", "plug --vm vm1"])
def test_any_command_makes_room_in_a_full_log(operator: Operator, command: str) -> None:
    vm = guest(operator)
    fill = f"yes | tr -d '\\n' >>/run/vmops/{vm.name}/log/console"
    operator.lab.run("worker1", ["sh", "-c", fill], check=False)
    assert log_kib(operator) == LOG_KIB
    operator.ok(*command.split())
    wait_until(lambda: log_kib(operator) < LOG_KIB / 2)
    assert piped(operator, b"kept", "--until", "KEPT").code == 0
    said = operator.ok("logs", "--vm", "vm1", "--lines", "2")
    assert said.out == "[vmops: the log was full, output is missing here]\nKEPT"


def test_qemu_can_say_why_it_ends_when_the_guest_has_filled_the_log(operator: Operator) -> None:
    vm = guest(operator)
    fill = (
        f"cd /run/vmops/{vm.name}/log && cat /dev/zero >>console; df -k --output=avail . | tail -1"
    )
    assert operator.on("worker1", "sh", "-c", fill).strip() == "0"
    kill(operator, vm, "-15")
    wait_until(lambda: not operator.qemus("worker1"))
    assert "terminating on signal 15" in operator.ok("logs", "--vm", "vm1", "--qemu").out


def test_dry_run_shows_the_commands(operator: Operator, lab: Lab) -> None:
    operator.add(small_vm("vm1", 1), image=False)
    before = [worker.connections for worker in lab.status().workers]
    said = operator.ok("--dry", "logs", "--vm", "vm1", "--lines", "7")
    assert "sudo tail -n 7 /run/vmops/vm1/log/console" in said.out
    assert [worker.connections for worker in lab.status().workers] == before


@pytest.mark.parametrize(
    "words",
    [("logs", "--lines", "-1"), ("console", "--lines", "-1"), ("console", "--timeout", "-1")],
)
def test_numbers_that_mean_nothing_contact_nobody(
    operator: Operator, lab: Lab, words: tuple[str, str, str]
) -> None:
    operator.add(small_vm("vm1", 1), image=False)
    before = [worker.connections for worker in lab.status().workers]
    task, option, number = words
    said = operator.fab(task, "--vm", "vm1", f"{option}={number}")
    assert (said.code, said.out) == (2, "")
    assert f"{option} {number}: must be 0" in said.err
    assert [worker.connections for worker in lab.status().workers] == before


def test_a_vm_that_hosts_toml_lost_can_be_read_and_talked_to(operator: Operator) -> None:
    guest(operator)
    (known,) = operator.vms
    operator.vms.clear()
    operator.write()
    try:
        assert "vm1" in operator.ok("-H", "worker1", "ps").out
        assert operator.ok("-H", "worker1", "logs", "--vm", "vm1").out == "\nVMOPS-GUEST-UP\n> "
        talked = operator.ok("-H", "worker1", "console", "--vm", "vm1", "--timeout", "1")
        assert talked.err == ""
        lost = operator.fab("-H", "worker1", "console", "--vm", "vmx")
        assert lost.code == 1
        assert "what is there: fab -H worker1 ps" in lost.err
        assert operator.fab("logs", "--vm", "vm1").code == 2
    finally:
        operator.vms.append(known)
        operator.write()
