"""`up`, `down` and `plan` over several workers with several VMs each, the dead and the frozen too.

Guests are boot sectors that halt, and power off when they are asked.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pexpect
import pytest

from tests.guests import boot_sector_image, cache_directory
from vmops.lab import Lab
from vmops.lab.daemons import DATABASE

from .conftest import PORT, free_network, require_a_lab
from .lab_helpers import wait_until
from .operator import FAB, ROOT, Operator, small_vm

WORKERS = ("worker1", "worker2", "worker3")


@pytest.fixture(scope="module")
def wide_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab of three workers that the tests of this module share."""
    require_a_lab()
    lab = Lab(tmp_path_factory.mktemp("lab"))
    lab.up(len(WORKERS), network=free_network(), port=PORT, owner=os.getpid())
    yield lab
    lab.down()


@pytest.fixture
def fleet(wide_lab: Lab, tmp_path: Path) -> Iterator[Operator]:
    """An operator with a1 and a2 on worker1, b1 and b2 on worker2, c1 and c2 on worker3."""
    operator = Operator(wide_lab, tmp_path)
    disk = boot_sector_image(cache_directory()).read_bytes()
    for letter, worker in zip("abc", WORKERS, strict=True):
        for number in (1, 2):
            vm_id = 10 * (ord(letter) - ord("a")) + number
            vm = operator.add(
                small_vm(f"{letter}{number}", vm_id, 100 + vm_id), worker, image=False
            )
            put(operator, worker, vm.qcow_image, disk)
    yield operator
    for worker in WORKERS:
        wide_lab.heal(worker)
    operator.clean_up()


def put(operator: Operator, worker: str, path: str, content: bytes) -> None:
    """Make a file of the SSH user's on a worker."""
    to = path.replace("~", "/home/ubuntu", 1)
    operator.lab.run(worker, ["runuser", "-u", "ubuntu", "--", "tee", to], stdin=content)


def running(operator: Operator) -> dict[str, int]:
    """The PID of every QEMU of all workers by its name."""
    return {name: pid for worker in WORKERS for name, pid in operator.qemus(worker).items()}


def change(operator: Operator, name: str, **values: object) -> None:
    """Write another value of a VM into hosts.toml."""
    operator.vms = [
        (replace(vm, **values) if vm.name == name else vm, worker)  # type: ignore[arg-type]
        for vm, worker in operator.vms
    ]
    operator.write()


def column(out: str, number: int) -> list[str]:
    """One column of a plain table, without its heading."""
    return [line.split("  ")[number].strip() for line in squeezed(out)[1:]]


def squeezed(out: str) -> list[str]:
    lines = out.splitlines()
    for width in range(40, 2, -1):
        lines = [line.replace(" " * width, "  ") for line in lines]
    return lines


def test_up_twice_plan_and_down(fleet: Operator) -> None:
    planned = fleet.fab("plan", "--format", "json")
    assert planned.code == 4
    assert [item["action"] for item in planned.json] == ["start"] * 6
    first = fleet.ok("up", "--format", "json").json
    pids = running(fleet)
    assert first == [
        {
            "vm": vm.name,
            "worker": worker,
            "pid": pids[vm.name],
            "changed": True,
            "skipped_interfaces": [],
            "action": "start",
            "error": None,
        }
        for vm, worker in fleet.vms
    ]
    for vm, worker in fleet.vms:
        port = fleet.port(worker, vm.connected[0].tap)
        assert port is not None
        assert port["tag"] == str(vm.interfaces[0].vlan_id)
    assert fleet.ok("plan").code == 0
    second = fleet.ok("up", "--format", "json").json
    assert [(item["pid"], item["changed"], item["action"]) for item in second] == [
        (pids[vm.name], False, "nothing") for vm, _ in fleet.vms
    ]
    assert running(fleet) == pids
    gone = fleet.ok("down", "--format", "json").json
    assert [(item["vm"], item["worker"]) for item in gone] == [(v.name, w) for v, w in fleet.vms]
    assert {(item["changed"], item["how"], item["error"]) for item in gone} == {
        (True, "guest", None)
    }
    for worker in WORKERS:
        assert fleet.qemus(worker) == {}
        assert fleet.taps(worker) == set()
        assert fleet.on(worker, "ls", "/run/vmops") == ""
    assert set(column(fleet.ok("down").out, 2)) == {"was not there"}


@pytest.mark.parametrize(
    ("words", "names"),
    [
        pytest.param((), "a1 a2 b1 b2 c1 c2", id="all"),
        pytest.param(("--vm", "*1"), "a1 b1 c1", id="vm"),
        pytest.param(("--worker", "worker2,worker1"), "b1 b2 a1 a2", id="worker"),
        pytest.param(("--vm", "*1,c2", "--worker", "worker1,worker3"), "a1 c1 c2", id="both"),
        pytest.param(("-H", "worker3"), "c1 c2", id="host"),
        pytest.param(("-H", "worker3", "--vm", "c2"), "c2", id="host-and-vm"),
    ],
)
def test_the_selection(fleet: Operator, words: tuple[str, ...], names: str) -> None:
    host = words[:2] if "-H" in words else ()
    said = fleet.fab(*host, "plan", "--format", "json", *words[len(host) :])
    assert said.code == 4
    assert [item["vm"] for item in said.json] == names.split()
    workers = {worker for vm, worker in fleet.vms if vm.name in names.split()}
    assert {item["worker"] for item in said.json} == workers


FREE = """
[vms.free]
vm_id = 99
ram_mb = 32
cores = 1
vnc_port = 5999
qcow_image = "~/vm_images/free.qcow2"
"""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(("up",), ("on which worker VM free is", "-H WORKER", "pin it"), id="up"),
        pytest.param(("plan",), ("on which worker VM free is", "-H WORKER"), id="plan"),
        pytest.param(("up", "--vm", "a11"), ("a11", 'did you mean "a1"'), id="unknown-vm"),
        pytest.param(("up", "--worker", "worker9"), ("worker9",), id="unknown-worker"),
        pytest.param(("down", "--worker", "worker1", "--vm", "b1"), ("b1", "worker1"), id="none"),
        pytest.param(("-H", "worker1", "up", "--worker", "worker1"), ("-H", "--worker"), id="two"),
        pytest.param(("-H", "worker1", "up", "--vm", "b*"), ("pinned to worker worker2",), id="-H"),
        pytest.param(("up", "--parallel", "-1"), ("--parallel", "1 or more"), id="parallel"),
        pytest.param(("down", "--timeout", "-1"), ("--timeout", "0 seconds"), id="timeout"),
        pytest.param(("plan", "--format", "yaml"), ("yaml", "json"), id="format"),
    ],
)
def test_bad_input_contacts_nothing(
    fleet: Operator, words: tuple[str, ...], said: tuple[str, ...]
) -> None:
    fleet.extra = FREE
    fleet.write()
    before = [worker.connections for worker in fleet.lab.status().workers]
    refused = fleet.fab(*words)
    assert (refused.code, refused.out) == (2, "")
    for word in said:
        assert word in refused.err
    assert [worker.connections for worker in fleet.lab.status().workers] == before


def test_a_vm_that_is_pinned_nowhere_is_placed_by_h_and_stopped_wherever_it_is(
    fleet: Operator,
) -> None:
    fleet.extra = FREE
    fleet.write()
    fleet.lab.make_image("worker2", "~/vm_images/free.qcow2", size_mb=1)
    started = fleet.ok("-H", "worker2", "up", "--format", "json").json
    assert [item["vm"] for item in started] == ["free", "b1", "b2"]
    (gone,) = fleet.ok("down", "--force", "--vm", "free", "--format", "json").json
    assert (gone["vm"], gone["worker"], gone["changed"]) == ("free", "worker2", True)
    assert sorted(running(fleet)) == ["b1", "b2"]


def test_a_vm_that_was_moved_while_it_runs(fleet: Operator) -> None:
    fleet.ok("up", "--vm", "a1,b1")
    a1 = fleet.vms[0][0]
    put(fleet, "worker2", a1.qcow_image, boot_sector_image(cache_directory()).read_bytes())
    fleet.vms[0] = (a1, "worker2")
    fleet.write()
    (planned,) = fleet.fab("plan", "--vm", "a1,a2", "--format", "json").json[-1:]
    assert (planned["vm"], planned["worker"], planned["action"]) == ("a1", "worker2", "refused")
    said = fleet.fab("up", "--vm", "a1,a2")
    assert said.code == 1
    assert "a1 runs on worker1, and hosts.toml has it on worker2" in said.err
    assert "fab -H worker1 stop --vm a1 --elsewhere" in said.err
    refused = fleet.fab("stop", "--vm", "a1", "--elsewhere")
    assert (refused.code, "-H" in refused.err) == (2, True)
    fleet.ok("-H", "worker1", "stop", "--vm", "a1", "--elsewhere")
    assert set(fleet.qemus("worker1")) == {"a2"}
    fleet.ok("up", "--vm", "a1,a2")
    assert "a1" in fleet.qemus("worker2")


def test_dead_workers_neither_stop_nor_hide_the_rest(fleet: Operator) -> None:
    fleet.lab.fault("worker1", "drop")
    fleet.lab.fault("worker3", "freeze")
    said = fleet.fab("up", "--format", "json")
    assert said.code == 3
    assert sorted(running(fleet)) == ["b1", "b2"]
    assert [item["vm"] for item in said.json] == ["a1", "a2", "b1", "b2", "c1", "c2"]
    assert [item["changed"] for item in said.json] == [False, False, True, True, False, False]
    for item in said.json:
        reached = item["worker"] == "worker2"
        assert (item["error"] is None) is reached
        assert (item["pid"] is not None) is reached
    lines = said.err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert [line.split(": ")[1] for line in errors] == ["worker1", "worker3"], "each said once"
    told = [line for line in lines if " on worker" in line and not line.startswith("error")]
    assert lines.index(errors[0]) > max(map(lines.index, told)), "failures come at the end"
    fleet.lab.heal("worker3")
    planned = fleet.fab("plan", "--format", "json")
    assert planned.code == 3
    actions = [item["action"] for item in planned.json]
    assert actions == ["unknown", "unknown", "nothing", "nothing", "start", "start"]
    down = fleet.fab("down", "--format", "json")
    assert down.code == 3
    assert running(fleet) == {}


@contextmanager
def held(operator: Operator, worker: str, vm: str) -> Iterator[None]:
    """Somebody else changes the VM, for as long as this lasts."""
    locks = "/run/vmops/.lock"
    script = f"mkdir -p {locks}; exec 9>>{locks}/{vm}; flock 9; echo $$; exec sleep 60"
    holder = subprocess.Popen(
        operator.lab.enter(worker, ["sh", "-c", script]), stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    pid = holder.stdout.readline().strip()
    try:
        yield
    finally:
        operator.on(worker, "kill", pid)
        holder.wait(timeout=10)


def begun(operator: Operator, *words: str, told: int) -> subprocess.Popen[str]:
    """fab in the background, after it has told of so many VMs."""
    fab = subprocess.Popen(
        [FAB, *words],
        cwd=ROOT,
        env=operator.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert fab.stderr is not None
    for _ in range(told):
        assert ": started" in fab.stderr.readline()
    return fab


def test_a_worker_that_is_lost_in_the_middle_is_a_failure_of_the_work(fleet: Operator) -> None:
    with held(fleet, "worker3", "c2"):
        fab = begun(fleet, "up", "--format", "json", told=4)
        fleet.lab.fault("worker3", "reset")
        out, _ = fab.communicate(timeout=10)
    assert fab.returncode == 1
    errors = {item["vm"]: item["error"] for item in json.loads(out)}
    assert [name for name, error in errors.items() if error] == ["c1", "c2"]
    assert "the connection was lost" in errors["c1"]
    fleet.lab.heal("worker3")
    wait_until(lambda: whole_or_nothing(fleet, "c*"), seconds=15)
    assert {"a1", "a2", "b1", "b2"} <= set(running(fleet))


def whole_or_nothing(operator: Operator, pattern: str) -> bool:
    """Each VM runs as asked, or nothing of it is there."""
    found = operator.ok("status", "--vm", pattern, "--format", "json").json
    for item in found:
        taps = {nic["tap"] for nic in item["interfaces"]}
        whole = item["state"] == "running" and not item["drift"]
        nothing = item["state"] == "stopped" and not taps & operator.taps(item["worker"])
        if not (whole or nothing):
            return False
    return True


def test_a_port_that_was_retagged_by_hand_is_replugged(fleet: Operator) -> None:
    fleet.ok("up")
    pids = running(fleet)
    tap = fleet.vms[2][0].connected[0].tap
    fleet.on("worker2", "ovs-vsctl", "set", "Port", tap, "tag=999")
    planned = fleet.fab("plan")
    assert planned.code == 4
    assert "interfaces.eth1.vlan_id: 999 -> 111" in planned.out
    assert column(planned.out, 2) == ["nothing", "nothing", "replug", *["nothing"] * 3]
    (found,) = fleet.fab("plan", "--vm", "b1", "--format", "json").json
    assert found["fields"] == [
        {"field": "interfaces.eth1.vlan_id", "running": "999", "wanted": "111"}
    ]
    assert column(fleet.ok("up").out, 2)[2] == "replugged"
    port = fleet.port("worker2", tap)
    assert port is not None
    assert port["tag"] == "111"
    assert running(fleet) == pids, "nothing was restarted"
    assert fleet.fab("plan").code == 0


def test_a_restart_is_done_only_when_it_is_asked_for(fleet: Operator) -> None:
    fleet.ok("up")
    pids = running(fleet)
    change(fleet, "a1", ram_mb=48)
    planned = fleet.fab("plan", "--vm", "a*")
    assert planned.code == 4
    assert column(planned.out, 2) == ["restart", "nothing"]
    assert "ram_mb: 32 -> 48" in planned.out
    refused = fleet.fab("up")
    assert refused.code == 1
    assert "a1 runs, but not as the inventory says: ram_mb: 32 -> 48" in refused.err
    assert "fab restart --vm a1" in refused.err
    assert running(fleet) == pids
    first, second = fleet.ok("up", "--vm", "a*", "--restart", "--format", "json").json
    assert (first["action"], second["action"]) == ("restart", "nothing")
    assert first["pid"] == running(fleet)["a1"] != pids["a1"]
    assert second["pid"] == pids["a2"]
    assert fleet.fab("plan").code == 0


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        pytest.param({"qcow_image": "~/vm_images/none.qcow2"}, "no image", id="image"),
        pytest.param({"ram_mb": 16_000_000}, "16000000 MiB", id="memory"),
    ],
)
def test_what_could_not_start_again_is_not_restarted(
    fleet: Operator, values: dict[str, object], reason: str
) -> None:
    fleet.ok("up", "--vm", "a*")
    pids = running(fleet)
    change(fleet, "a1", **values)
    said = fleet.fab("up", "--vm", "a*", "--restart")
    assert said.code == 1
    assert reason in said.err
    assert running(fleet) == pids


def test_memory_for_some_is_memory_for_none(fleet: Operator) -> None:
    """Each of the two fits alone. The other workers are not concerned."""
    facts = fleet.on("worker1", "cat", "/proc/meminfo").split()
    available = int(facts[facts.index("MemAvailable:") + 1]) // 1024
    for name in ("a1", "a2"):
        change(fleet, name, ram_mb=available * 6 // 10)
    for words in (("plan",), ("up",)):
        said = fleet.fab(*words)
        assert said.code == 1
        assert "none of a1, a2 is started: together they need" in said.err
        assert f"{2 * (available * 6 // 10)} MiB of memory" in said.err
        assert said.err.count("MiB are available") == 1, "said once"
    assert sorted(running(fleet)) == ["b1", "b2", "c1", "c2"]
    fleet.ok("up", "--overcommit")
    assert len(running(fleet)) == 6


def test_launch_knows_the_same_rule(fleet: Operator) -> None:
    change(fleet, "a1", ram_mb=16_000_000)
    said = fleet.fab("launch", "--vm", "a*")
    assert said.code == 1
    assert "none of a1, a2 is started" in said.err
    assert running(fleet) == {}
    assert "--overcommit" in fleet.ok("--help", "launch").out


def test_a_vnc_port_in_use_is_seen_before_anything_starts(fleet: Operator) -> None:
    port = fleet.vms[1][0].vnc_port
    listen = f"socat -u TCP-LISTEN:{port},fork STDOUT >/dev/null 2>&1 & echo $!"
    listener = fleet.on("worker1", "sh", "-c", listen).strip()
    try:
        wait_until(lambda: f":{port} " in fleet.on("worker1", "ss", "-ltnH"))
        said = fleet.fab("up")
    finally:
        fleet.on("worker1", "kill", listener)
    assert said.code == 1
    assert f"none of a1, a2 is started: TCP port {port} is in use, a2's vnc_port" in said.err
    assert sorted(running(fleet)) == ["b1", "b2", "c1", "c2"]
    assert fleet.taps("worker1") == set()


def test_in_a_pipe_each_vm_is_told_by_a_line(fleet: Operator) -> None:
    change(fleet, "b1", qcow_image="~/vm_images/none.qcow2")
    said = fleet.fab("up", "--parallel", "1")
    assert said.code == 1
    lines = said.err.splitlines()
    names = [line.split()[0] for line in lines[:6]]
    assert names == ["a1", "a2", "b1", "b2", "c1", "c2"], "one worker after the other"
    assert lines[2] == "b1 on worker2: failed"
    assert lines[0] == "a1 on worker1: started"
    assert lines[6].startswith("error: worker2: b1: no image")
    assert column(said.out, 2) == ["started", "started", "failed", *["started"] * 3]
    assert "\x1b" not in said.err + said.out


def test_on_a_terminal_there_is_a_bar_that_leaves_no_trace(fleet: Operator) -> None:
    change(fleet, "b1", qcow_image="~/vm_images/none.qcow2")
    env = {**fleet.environment(), "TERM": "xterm", "COLUMNS": "120"}
    screen = pexpect.spawn(
        FAB, ["up"], cwd=str(ROOT), env=env, encoding="utf-8", dimensions=(40, 120), timeout=60
    )
    screen.expect("6/6")
    assert screen.before is not None
    bar = screen.before
    assert "━" in bar
    assert "up" in bar
    screen.expect("VM.*WORKER.*RESULT.*PID")
    cleared = screen.before
    assert "\x1b[2K" in cleared, "the bar's line is erased before the result"
    screen.expect("no image")
    screen.expect(pexpect.EOF)
    screen.close()
    assert screen.exitstatus == 1
    assert "Traceback" not in bar


def test_dry_shows_the_scripts_of_all_workers_and_contacts_none(fleet: Operator) -> None:
    before = [worker.connections for worker in fleet.lab.status().workers]
    said = fleet.ok("--dry", "up")
    for worker in WORKERS:
        assert f"# on {worker} (" in said.out
    for vm, _ in fleet.vms:
        assert f"-name {vm.name} " in said.out
        assert f"tag={vm.interfaces[0].vlan_id}" in said.out
    assert fleet.ok("--dry", "down").out.count("remove TAPs") == 6
    assert "# on worker2" in fleet.ok("--dry", "plan").out
    assert [worker.connections for worker in fleet.lab.status().workers] == before


def transactions(operator: Operator, worker: str, word: str) -> list[str]:
    """The ovs-vsctl calls that changed the worker's switch and hold the word, from its log."""
    log = operator.on(worker, "ovsdb-tool", "show-log", DATABASE)
    return [line for line in log.splitlines() if "ovs-vsctl" in line and word in line]


def test_the_ports_of_a_worker_are_one_transaction(fleet: Operator) -> None:
    before = transactions(fleet, "worker1", "add-port")
    fleet.ok("up")
    (made,) = transactions(fleet, "worker1", "add-port")[len(before) :]
    for tap in ("tap_1_eth1", "tap_2_eth1"):
        assert f"add-port br-int {tap}" in made


def test_a_bad_interface_stops_no_other_vm_that_starts_with_it(fleet: Operator) -> None:
    """A device that is no TAP has its name, which is seen only when it is to be made."""
    fleet.on("worker1", "ip", "link", "add", "tap_2_eth1", "type", "veth", "peer", "name", "other")
    try:
        said = fleet.fab("up")
        assert set(running(fleet)) == {"a1", "a2", "b1", "b2", "c1", "c2"}
        assert "a2: interface eth1 is left out" in said.err
        port = fleet.port("worker1", "tap_1_eth1")
        assert port is not None
        assert port["tag"] == "101"
        assert fleet.port("worker1", "tap_2_eth1") is None
    finally:
        fleet.on("worker1", "ip", "link", "del", "tap_2_eth1")


def test_a_vm_that_somebody_holds_keeps_none_of_its_worker_waiting(fleet: Operator) -> None:
    with held(fleet, "worker1", "a1"):
        fab = begun(fleet, "up", told=4)
        wait_until(lambda: "a2" in fleet.qemus("worker1"))
        assert "a1" not in fleet.qemus("worker1")
    out, _ = fab.communicate(timeout=20)
    assert fab.returncode == 0
    assert column(out, 2) == ["started"] * 6
    assert len(running(fleet)) == 6


def test_ctrl_c_leaves_each_vm_whole_or_not_there(fleet: Operator) -> None:
    with held(fleet, "worker1", "a2"):
        fab = begun(fleet, "up", told=4)
        fab.send_signal(signal.SIGINT)
        out, err = fab.communicate(timeout=5)
    assert (fab.returncode, out) == (1, "")
    assert "interrupted" in err
    assert "Traceback" not in err
    wait_until(lambda: whole_or_nothing(fleet, "*"), seconds=15)
    assert {"b1", "b2", "c1", "c2"} <= set(running(fleet))
    fleet.ok("up")
    assert len(running(fleet)) == 6


def test_status_of_many_workers(fleet: Operator) -> None:
    fleet.ok("up")
    found = fleet.ok("status", "--parallel", "2", "--format", "json").json
    assert [(item["vm"], item["state"]) for item in found] == [
        (vm.name, "running") for vm, _ in fleet.vms
    ]
