"""docs/python.md: each of its examples is run as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import vmops
from tests.guests import boot_sector_image, cache_directory
from vmops.lab import Lab

from .conftest import free_network
from .fleet_helpers import put
from .operator import FAB, ROOT, Operator, small_vm

PAGE = (ROOT / "docs" / "python.md").read_text()
EXAMPLES = dict(re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE, re.DOTALL))


@pytest.fixture
def home(operator: Operator) -> Operator:
    """An operator with vm1 on worker1 and vm2 on worker2, whose hosts.toml is where they stand."""
    disk = boot_sector_image(cache_directory()).read_bytes()
    for number in (1, 2):
        vm = operator.add(
            small_vm(f"vm{number}", number, 100 + number), f"worker{number}", image=False
        )
        put(operator, f"worker{number}", vm.qcow_image, disk)
    return operator


def run(operator: Operator, *words: str) -> str:
    """What a command prints in the operator's folder; it must succeed."""
    done = subprocess.run(
        words,
        cwd=operator.folder,
        env=operator.environment() | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done
    return done.stdout


def example(operator: Operator, name: str) -> str:
    path = operator.folder / name
    path.write_text(EXAMPLES[name])
    return run(operator, sys.executable, name)


def pids(operator: Operator) -> dict[str, int]:
    return operator.qemus("worker1") | operator.qemus("worker2")


def test_every_block_of_the_page_is_an_example() -> None:
    assert PAGE.count("```python") == len(EXAMPLES) == 8


def test_the_first_example_and_its_errors(home: Operator) -> None:
    said = example(home, "first.py")
    assert said.splitlines() == [
        f"{vm} on worker{vm[-1]} runs, PID {pid}" for vm, pid in sorted(pids(home).items())
    ]
    assert example(home, "errors.py") == ""
    home.ok("down")
    for worker in ("worker1", "worker2"):
        home.on(worker, "rm", f"/home/ubuntu/vm_images/vm{worker[-1]}.qcow2")
    assert "[('vm1', " in example(home, "errors.py")


def test_one_failure_is_raised_as_it_is(home: Operator) -> None:
    home.on("worker2", "rm", "/home/ubuntu/vm_images/vm2.qcow2")
    assert example(home, "errors.py").startswith("vm2 did not start")
    assert set(pids(home)) == {"vm1"}


def test_commands(home: Operator) -> None:
    kernel, rest = example(home, "commands.py").splitlines()[:2]
    assert kernel in Path("/proc/version").read_text()
    assert rest == r"b'so far\n' worker1: exit code 3"


def test_threads_and_an_event_loop(home: Operator) -> None:
    assert len(example(home, "threads.py").splitlines()) == 2
    said = example(home, "event_loop.py").strip()
    assert said == f"{[pid for _, pid in sorted(pids(home).items())]} [None, None]"


def test_the_fabfile(home: Operator) -> None:
    (home.folder / "fabfile.py").write_text(EXAMPLES["fabfile.py"])
    assert re.search(r"\n2 VMs, .*:\d\d", run(home, FAB, "morning"))
    assert "vm.launch" in run(home, FAB, "--list")


def test_the_fixture(home: Operator) -> None:
    text = EXAMPLES["test_mine.py"]
    assert '"127.0.77"' in text
    mine = home.folder / "test_mine.py"
    mine.write_text(text.replace("127.0.77", free_network()))
    alone = ("-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", str(home.folder))
    assert "1 passed" in run(home, sys.executable, "-m", "pytest", *alone, str(mine))


def test_the_documented_classes(home: Operator) -> None:
    (home.folder / "seen.py").write_text(
        EXAMPLES["documented.py"] + "print(ok, name, pid, password)\n"
    )
    ok, name, pid, password = run(home, sys.executable, "seen.py").split()
    assert (ok, name) == ("True", "worker1")
    assert int(pid) > 1
    assert len(password) == 8
    assert not pids(home)


def test_what_a_fleet_does_is_what_the_tasks_do(home: Operator, lab: Lab) -> None:
    """The whole life of VMs, one of them pinned nowhere, in this process."""
    text = home.hosts_toml.read_text().replace('[vms."vm2"]\nworker = "worker2"', '[vms."vm2"]')
    fleet = vmops.Fleet(vmops.load(_written(home, text)))
    with pytest.raises(vmops.InventoryError, match="nothing says which worker"):
        fleet.up()
    ok = vmops.raise_for_errors
    assert [(c.vm, c.action) for c in fleet.plan("vm1")] == [("vm1", "start")]
    assert [p.changed for p in ok(fleet.plug("vm1"))] == [True]
    (vm1,) = ok(fleet.boot("vm1", strict=True))
    (vm2,) = ok(fleet.launch("vm2", at="worker2"))
    assert {"vm1": vm1.pid, "vm2": vm2.pid} == pids(home)
    assert [(v.vm, v.worker, v.state) for v in ok(fleet.status())] == [
        ("vm1", "worker1", "running"),
        ("vm2", "worker2", "running"),
    ]
    assert [o.action for o in ok(fleet.pause("vm1"))] == ["pause"]
    assert [v.state for v in fleet.status("vm1")] == ["paused"]
    assert [o.action for o in ok(fleet.resume("vm1"))] == ["resume"]
    assert [o.action for o in ok(fleet.reset("vm1"))] == ["reset"]
    assert ok(fleet.wait("vm1", "running", timeout_s=20))
    (shot,) = ok(fleet.screenshot("vm1"))
    assert shot.picture is not None
    assert shot.picture.png.startswith(b"\x89PNG")
    assert [p.chords for p in ok(fleet.type("vm1", "ab"))] == [2]
    assert [p.chords for p in ok(fleet.sendkey("vm1", "ctrl-alt-f2"))] == [1]
    with pytest.raises(vmops.InventoryError):
        fleet.sendkey("vm1", "no-such-key")
    assert [o.action for o in ok(fleet.restart("vm1", force=True))] == ["restart"]
    (refused,) = fleet.unplug("vm1")
    assert isinstance(refused.error, vmops.WorkFailed)
    assert [o.how for o in ok(fleet.stop("vm2", at="worker2", force=True))] == ["SIGKILL"]
    assert [(o.vm, o.worker) for o in ok(fleet.down())] == [("vm1", "worker1"), ("vm2", "worker1")]
    assert not pids(home)
    lines = [told.entry for told in ok(fleet.history("vm1", worker="worker1", lines=1))]
    assert [entry.vm for entry in lines if entry] == ["vm1"]
    left = [p.leftover for p in ok(fleet.prune(remove=True))]
    assert {leftover.kind for leftover in left if leftover} <= {"lock"}
    assert ok(fleet.prune()) == []
    script = home.folder / "args.sh"
    script.write_text('printf "%s|" "$@"')
    assert ok(fleet.script("worker1", script, ["a b", "c"])).stdout == b"a b|c|"


def test_a_dead_worker_hides_nothing_of_the_others(home: Operator, lab: Lab) -> None:
    fleet = vmops.Fleet(vmops.load(home.hosts_toml))
    lab.fault("worker2", "drop")
    try:
        one, two = fleet.status()
        assert (one.state, two.state) == ("stopped", "unknown")
        assert isinstance(two.error, vmops.WorkerUnreachable | vmops.ConnectionLost)
        with pytest.raises(type(two.error)):
            vmops.raise_for_errors([one, two])
        assert [o.error is None for o in fleet.up()] == [True, False]
        assert [h.error is None for h in fleet.doctor()] == [True, False]
    finally:
        lab.heal("worker2")


def _written(operator: Operator, text: str) -> Path:
    path = operator.folder / "free.toml"
    path.write_text(text)
    return path
