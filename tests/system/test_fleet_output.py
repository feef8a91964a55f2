"""What `up` tells of each VM, in a pipe, on a terminal and with `--dry`."""

from __future__ import annotations

import pexpect

from .fleet_helpers import WORKERS, change, column
from .operator import FAB, ROOT, Operator


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
