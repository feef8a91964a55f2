"""Who rules a VM's user id (a guest that broke out of its QEMU) directs no signal of root's.

Everything is done as that user on a real worker: to the pidfile, the record, the sockets, and with
processes of any command line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from vmops import load
from vmops.core.facts import supposed
from vmops.core.facts.observed import for_starting
from vmops.core.names import qemu_uid
from vmops.core.plan import starting
from vmops.core.script.command import Block, Step, StepResult
from vmops.core.tools import process
from vmops.core.tools.process import Process
from vmops.ops.act import observe, perform
from vmops.ops.route import Route

from .lab_helpers import wait_until
from .operator import Operator, small_vm

UID = qemu_uid(1)
FORGED = "-name vm1 -pidfile /run/vmops/vm1/pid -name vm2 -pidfile /run/vmops/vm2/pid"


@pytest.fixture
def two(operator: Operator) -> Operator:
    """vm1, whose user is ruled by somebody, and vm2."""
    for number in (1, 2):
        operator.add(small_vm(f"vm{number}", number, 100 + number))
    operator.ok("up")
    return operator


def as_vm1(operator: Operator, script: str, *, check: bool = True) -> str:
    words = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "sh", "-c", script]
    return operator.lab.run("worker1", words, check=check).stdout.decode()


def background(words: str) -> str:
    """A shell's words that start a process with such a command line and print its PID."""
    return f"sh -c 'exec 0<&- 1>&- 2>&-; sleep 300; :' x {words} >/dev/null 2>&1 & echo $!"


@pytest.fixture
def bystander(two: Operator) -> Iterator[int]:
    """A process of root's whose command line has all that a QEMU's has."""
    pid = int(two.on("worker1", "sh", "-c", background(FORGED)))
    yield pid
    two.on("worker1", "sh", "-c", f"kill -9 {pid}; true")


def is_there(operator: Operator, pid: int) -> bool:
    words = ["sh", "-c", f"grep -q '^State:.[^Z]' /proc/{pid}/status"]
    return operator.lab.run("worker1", words, check=False).returncode == 0


FORGERIES: dict[str, Callable[[int], str]] = {
    "a number": lambda pid: f"echo {pid} >pid",
    "written over": lambda pid: f"cat /dev/null >pid; echo {pid} >pid",
    "a link": lambda pid: f"echo {pid} >mine; ln -s mine pid",
    "a link to a record": lambda _: "ln -s ../vm2/process pid",
    "a fifo": lambda _: "mkfifo pid",
    "a directory": lambda _: "mkdir pid",
    "nothing": lambda _: "true",
    "holes": lambda pid: f"echo {pid} >pid; truncate -s 20G pid",
    "a record of its own": lambda pid: f"rm -f process; echo {pid} 1 0 adopted >process; mv pid p",
}


@pytest.mark.parametrize("form", FORGERIES)
def test_no_pidfile_leads_to_another_process(two: Operator, bystander: int, form: str) -> None:
    pids = two.qemus("worker1")
    for pid in (bystander, pids["vm2"]):
        as_vm1(two, f"cd /run/vmops/vm1; rm -rf pid; {FORGERIES[form](pid)}", check=False)
        assert two.ok("pid", "--vm", "vm1").out == f"{pids['vm1']}\n"
    two.ok("stop", "--vm", "vm1", "--force")
    assert not is_there(two, pids["vm1"])
    assert is_there(two, bystander)
    assert two.qemus("worker1") == {"vm2": pids["vm2"]}


def old_style(operator: Operator) -> None:
    """The run directory as it was before there were records: QEMU's own."""
    script = f"cd /run/vmops/vm1; rm process; chown {UID}:{UID} . pid; chmod 711 ."
    operator.on("worker1", "sh", "-c", script)


def test_a_vm_of_an_older_version_is_known_by_its_user(two: Operator, bystander: int) -> None:
    pids = two.qemus("worker1")
    old_style(two)
    assert two.ok("pid", "--vm", "vm1").out == f"{pids['vm1']}\n"
    for forged in ("x", f"{bystander} 1 0 adopted"):
        as_vm1(two, f"cd /run/vmops/vm1; rm -f pid; echo {forged} >process; echo {bystander} >pid")
        assert two.fab("pid", "--vm", "vm1").code == 1
        two.fab("stop", "--vm", "vm1", "--force")
        assert is_there(two, bystander)
        two.on("worker1", "sh", "-c", "mkdir -p /run/vmops/vm1")
        old_again = f"cd /run/vmops/vm1; true >process; chown {UID}:{UID} . process"
        two.on("worker1", "sh", "-c", old_again)


def test_a_vm_whose_start_was_cut_short_before_its_record_can_be_stopped(two: Operator) -> None:
    pids = two.qemus("worker1")
    two.on("worker1", "sh", "-c", "cd /run/vmops/vm1; true >process; chown 0 pid; chmod 711 .")
    assert two.ok("pid", "--vm", "vm1").out == f"{pids['vm1']}\n"
    two.ok("stop", "--vm", "vm1", "--force")
    assert two.qemus("worker1") == {"vm2": pids["vm2"]}


def test_a_process_of_its_own_is_the_most_that_it_can_get_killed(
    two: Operator, bystander: int
) -> None:
    old_style(two)
    own = int(as_vm1(two, background(FORGED.partition(" -name vm2")[0])))
    as_vm1(two, f"cd /run/vmops/vm1; rm pid; echo {own} >pid")
    before = two.qemus("worker1")
    two.fab("stop", "--vm", "vm1", "--force")
    assert is_there(two, bystander)
    assert two.qemus("worker1") == before
    two.on("worker1", "sh", "-c", f"kill -9 {own}; true")


REWRITE = """
import sys
pid, text = sys.argv[1], sys.argv[2].encode().decode("unicode_escape").encode()
begin, end = map(int, open(f"/proc/{pid}/stat").read().rpartition(") ")[2].split()[45:47])
with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
    memory.seek(begin)
    memory.write(text[: end - begin].ljust(end - begin, b"\\0"))
"""
"""Writes over the command line of a process, as that process can; root does it for it here."""


@pytest.mark.parametrize(
    "text", ["", "[kworker/0:1]", r"qemu-system-x86_64\0-name\0vm2\0-pidfile\0/run/vmops/vm2/pid"]
)
def test_a_command_line_that_is_written_over_hides_no_vm(two: Operator, text: str) -> None:
    """Nor does it keep the VM from being stopped as if its TAP were a stranger's."""
    pids = two.qemus("worker1")
    two.on("worker1", "python3", "-c", REWRITE, str(pids["vm1"]), text)
    line = two.on("worker1", "cat", f"/proc/{pids['vm1']}/cmdline")
    assert "-pidfile\0/run/vmops/vm1" not in line
    assert two.ok("pid", "--vm", "vm1").out == f"{pids['vm1']}\n"
    shown = two.ok("status", "--format", "json").json
    assert [(vm["state"], vm["pid"], vm["drift"]) for vm in shown] == [
        ("running", pids["vm1"], []),
        ("running", pids["vm2"], []),
    ]
    assert two.fab("launch", "--vm", "vm1").code == 0
    two.ok("stop", "--vm", "vm1", "--force")
    assert not is_there(two, pids["vm1"])
    assert is_there(two, pids["vm2"])
    assert two.taps("worker1") == {"tap_2_eth1"}


HEADER = """
cd /home/ubuntu/vm_images
qemu-img create -q -u -f qcow2 -F raw -b /etc/shadow /tmp/forged.qcow2 1M
dd if=/tmp/forged.qcow2 of=vm1.qcow2 conv=notrunc status=none
rm /tmp/forged.qcow2
"""


def test_a_header_that_is_written_over_as_its_qemu_ends_is_not_opened(two: Operator) -> None:
    """It was looked at before; the QEMU, which has it open, hears that it is to end."""
    restart = two.begin("restart", "--vm", "vm1", "--timeout", "4")
    asked = ["grep", "-qx", "ended", "/run/vmops/vm1/process"]
    wait_until(lambda: two.lab.run("worker1", asked, check=False).returncode == 0)
    two.on("worker1", "sh", "-c", HEADER)
    _, err = restart.communicate(timeout=60)
    assert restart.returncode == 1
    assert "/etc/shadow cannot be opened or read (open) by now" in err
    assert set(two.qemus("worker1")) == {"vm2"}
    assert "ubuntu cannot open /etc/shadow" in two.fab("launch", "--vm", "vm1").err


def test_nor_is_one_that_its_dead_qemu_has_left_to_others(two: Operator) -> None:
    """A process of that user has the image open, and writes between the look and its end."""
    vm = small_vm("vm1", 1, 101)
    pid = two.qemus("worker1")["vm1"]
    as_vm1(two, f"kill -9 {pid}")
    wait_until(lambda: not is_there(two, pid))
    route = Route(load(two.hosts_toml).worker("worker1"))
    seen = observe(route, for_starting([vm]), vms=[vm], suppose=supposed.blank)
    made = starting.launch(route.worker, vm, seen)
    two.on("worker1", "sh", "-c", HEADER)
    assert made.block is not None
    (result,) = perform(route, [made.block], time_limit_s=60)
    assert result.outcome == "failed"
    said = " ".join(step.stderr.decode() for step in result.steps)
    assert "/etc/shadow cannot be opened or read (open) by now" in said
    assert set(two.qemus("worker1")) == {"vm2"}


def test_what_a_ruled_qemu_has_started_ends_with_it(two: Operator) -> None:
    pids = two.qemus("worker1")
    left = int(as_vm1(two, "setsid sleep 300 </dev/null >/dev/null 2>&1 & echo $!"))
    two.ok("stop", "--vm", "vm1", "--force")
    assert not is_there(two, left)
    assert two.qemus("worker1") == {"vm2": pids["vm2"]}


HOLD = (
    'open my $t, "+<", "/dev/net/tun" or die; my $r = pack "a16 s x22", shift, 0x1002;'
    " ioctl $t, 0x400454ca, $r or die; exec @ARGV"
)
"""Opens a TAP as root, as a QEMU does, and leaves it to a program."""


@pytest.mark.parametrize("whose", ["its own", "a stranger's"])
def test_a_stop_ends_what_a_dead_qemu_has_left_on_its_tap_and_nothing_else(
    two: Operator, whose: str
) -> None:
    pids = two.qemus("worker1")
    two.on("worker1", "sh", "-c", f"kill -9 {pids['vm1']}; sleep 0.3")
    be = f"setpriv --reuid={UID} --regid={UID} --clear-groups" if whose == "its own" else ""
    hold = f"perl -e '$^F = 9; {HOLD}' tap_1_eth1 {be} sleep 300 </dev/null >/dev/null 2>&1 &"
    left = int(two.on("worker1", "sh", "-c", f"{hold} echo $!; sleep 0.5"))
    assert is_there(two, left)
    refused = two.fab("launch", "--vm", "vm1")
    assert (refused.code, "uses its TAP tap_1_eth1" in refused.err) == (1, True)
    said = two.fab("stop", "--vm", "vm1", "--force")
    assert said.code == (0 if whose == "its own" else 1)
    assert is_there(two, left) == (whose != "its own")
    assert ("uses its TAP tap_1_eth1" in said.err) == (whose != "its own")
    assert two.taps("worker1") == {"tap_2_eth1"} | ({"tap_1_eth1"} if said.code else set())
    two.on("worker1", "sh", "-c", f"kill -9 {left}; true")


def test_a_vm_of_another_inventory_with_the_same_number_is_left_alone(operator: Operator) -> None:
    """It has the same user id, and another name."""
    operator.add(small_vm("vm1", 1))
    operator.ok("launch", "--vm", "vm1")
    operator.vms[0] = (replace(small_vm("web", 1), vnc_port=5999), "worker1")
    operator.lab.make_image("worker1", "~/vm_images/web.qcow2", size_mb=1)
    operator.write()
    operator.ok("launch", "--vm", "web")
    pid = operator.qemus("worker1")["vm1"]
    operator.ok("stop", "--vm", "web", "--force")
    assert operator.qemus("worker1") == {"vm1": pid}
    operator.ok("-H", "worker1", "stop", "--vm", "vm1", "--force")


@pytest.mark.parametrize(
    "what", ["process", "command", "qmp.sock", "qmp-human.sock", "console.sock", "log"]
)
def test_what_is_not_its_own_keeps_its_place(two: Operator, what: str) -> None:
    before = two.on("worker1", "stat", "-c", "%i %u %F", f"/run/vmops/vm1/{what}")
    for script in (
        f"rm -rf {what}",
        f"mv {what} x",
        f"mkdir x; mv -T x {what}; rmdir x",
        f"echo >{what}",
    ):
        as_vm1(two, f"cd /run/vmops/vm1; {script}", check=False)
    assert two.on("worker1", "stat", "-c", "%i %u %F", f"/run/vmops/vm1/{what}") == before
    for path in ("/run/vmops/vm2/x", "/run/vmops/x", "/run/vmops/.lock/vm2"):
        as_vm1(two, f"echo >{path} || mkdir {path}", check=False)
    assert two.on("worker1", "ls", "/run/vmops/vm2") == two.on("worker1", "ls", "/run/vmops/vm1")


def ended(operator: Operator, vm: str, pid: int, started: int) -> StepResult:
    """What comes of killing that process as the QEMU of that VM."""
    found = Process(pid, started, "S", 0, 0, ())
    block = Block(vm, (Step("kill", (process.end(vm, found, "KILL", wait_s=1),), may_fail=True),))
    route = Route(load(operator.hosts_toml).worker("worker1"))
    (result,) = perform(route, [block], time_limit_s=30)
    return result.steps[0]


def started(operator: Operator, pid: int) -> int:
    stat = operator.on("worker1", "cat", f"/proc/{pid}/stat")
    return int(stat.rpartition(") ")[2].split()[19])


def test_a_kill_looks_again(two: Operator, bystander: int) -> None:
    """Whatever the facts said: the root process, another VM's QEMU, one that began at another
    time."""
    pids = two.qemus("worker1")
    for pid in (bystander, pids["vm2"]):
        found = ended(two, "vm1", pid, started(two, pid))
        assert (found.exit_code, found.stdout) == (1, b"")
        assert f"PID {pid} is not the QEMU of vm1" in found.stderr.decode()
    assert ended(two, "vm1", pids["vm1"], started(two, pids["vm1"]) + 1).stdout == b""
    assert two.qemus("worker1") == pids
    assert is_there(two, bystander)
    assert ended(two, "vm1", pids["vm1"], started(two, pids["vm1"])).stdout == b"SIGKILL\n"


def test_a_worker_with_few_user_ids_gives_all_vms_nobodys(operator: Operator) -> None:
    vm = operator.add(small_vm("vm1", 1, 101))
    route = Route(load(operator.hosts_toml).worker("worker1"))
    seen = observe(route, for_starting([vm]), vms=[vm], suppose=supposed.blank)
    few = seen._replace(host=seen.host._replace(whole_uid_range=False))
    made = starting.launch(route.worker, vm, few)
    assert made.block is not None
    (result,) = perform(route, [made.block], time_limit_s=60)
    assert result.outcome == "done"
    pid = operator.qemus("worker1")["vm1"]
    assert operator.on("worker1", "cat", "/run/vmops/vm1/process").split()[::2] == [
        str(pid),
        "65534",
    ]
    assert operator.ok("pid", "--vm", "vm1").out == f"{pid}\n"
    operator.ok("stop", "--vm", "vm1", "--force")
    assert operator.qemus("worker1") == {}


CONNECT = "use IO::Socket::UNIX; IO::Socket::UNIX->new(Peer => shift) or die qq($!\\n); print 1"


@pytest.mark.parametrize("user", ["nobody", str(qemu_uid(2))])
def test_other_users_of_the_worker_reach_no_monitor_console_or_log(
    two: Operator, user: str
) -> None:
    """Nor does the QEMU of another VM. The SSH user reaches the console alone."""

    def tries(who: str, *words: str) -> bool:
        be = ["setpriv", f"--reuid={who}", "--regid=65534", "--clear-groups", "--"]
        return two.lab.run("worker1", [*be, *words], check=False).returncode == 0

    run = "/run/vmops/vm1"
    sockets = [f"{run}/{name}.sock" for name in ("qmp", "qmp-human", "console")]
    for path in sockets:
        assert tries("0", "perl", "-e", CONNECT, path)
        assert not tries(user, "perl", "-e", CONNECT, path)
    assert [tries("ubuntu", "perl", "-e", CONNECT, path) for path in sockets] == [
        False,
        False,
        True,
    ]
    for path in (f"{run}/log/console", f"{run}/log", run, "/run/vmops", "/var/log/vmops"):
        assert tries("0", "ls", path)
        assert not tries(user, "ls", path)
    assert not tries(user, "cat", f"{run}/log/console")
    assert not tries(user, "touch", f"{run}/x")
    assert not tries(user, "flock", "-n", "/run/vmops/.lock/vm1", "true")
