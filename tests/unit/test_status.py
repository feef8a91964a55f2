"""A VM's status from facts, and how it looks."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from vmops.core.devices.storage.moving import mark
from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM
from vmops.core.plan import status
from vmops.core.plan.drift import drift
from vmops.core.plan.status import VMStatus
from vmops.core.tools import ip, ovs, qmp
from vmops.core.tools.ip import Tap, Traffic
from vmops.core.tools.qmp import Drive, Look
from vmops.errors import MonitorError, VmopsError, WorkerUnreachable
from vmops.ops.vm.status import Survey, merged
from vmops.ops.watch import Gone
from vmops.tasks.vm.status_table import drawn, duration, plain, size

from .worlds import EMPTY, VM1, WORKER, dead, plugged, port, running, with_port, without_port

NET_DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0
tap_1001_eth1: 2000   20    0    0    0     0          0         0     3000      30    0    0    0
tap_1001_eth2:0 0 0 0 0 0 0 0 7 0 0 0 0 0 0 0
broken: x y
"""
TRAFFIC = ip.parse_traffic(NET_DEV)
DISK = Drive(
    "ide0-hd0", ("/images/vm1.qcow2", "/images/base.qcow2"), 1 << 30, 1 << 20, 2048, 1500000
)


def of(seen: Observed) -> VMStatus:
    return status.of(WORKER, VM1, seen._replace(traffic=TRAFFIC))


def test_what_a_tap_sends_its_guest_receives() -> None:
    assert TRAFFIC["tap_1001_eth1"] == Traffic(received_bytes=3000, sent_bytes=2000)
    assert TRAFFIC["tap_1001_eth2"] == Traffic(received_bytes=7, sent_bytes=0)
    assert set(TRAFFIC) == {"lo", "tap_1001_eth1", "tap_1001_eth2"}


@pytest.mark.parametrize(
    ("seen", "state", "pid", "plugged"),
    [
        pytest.param(EMPTY, "stopped", None, False, id="never there"),
        pytest.param(dead(pidfile=False), "stopped", None, True, id="powered off"),
        pytest.param(dead(pidfile=True), "crashed", None, True, id="killed"),
        pytest.param(running(), "running", 4821, True, id="running"),
    ],
)
def test_the_state_without_the_monitor(
    seen: Observed, state: str, pid: int | None, plugged: bool
) -> None:
    found = of(seen)
    assert (found.state, found.pid) == (state, pid)
    assert [nic.plugged for nic in found.interfaces] == [plugged] * 2


def test_a_running_vm_in_numbers() -> None:
    seen = running()
    mine = seen.vm("vm1")
    assert mine.process is not None
    busy = mine._replace(process=mine.process._replace(cpu_ticks=9500, rss_kib=40960))
    found = of(seen._replace(vms={"vm1": busy}))
    assert (found.uptime_s, found.cpu_s, found.cpu_percent) == (950.0, 95.0, 10.0)
    assert (found.memory_mb, found.vnc) == (40, "127.0.0.1:5901")
    assert found.image == "/home/ubuntu/vm1.qcow2"
    assert [nic.traffic for nic in found.interfaces] == [Traffic(3000, 2000), Traffic(7, 0)]


def test_an_age_that_cannot_be_told_is_none() -> None:
    """In a container /proc/uptime may count from its start, and processes from the kernel's."""
    seen = running()
    found = of(seen._replace(host=seen.host._replace(uptime_s=3.0)))
    assert (found.state, found.uptime_s, found.cpu_percent) == ("running", None, None)


def test_an_interface_is_as_open_vswitch_has_it() -> None:
    seen = with_port(running(), port(VM1, "tap_1001_eth1", 7))
    seen = without_port(seen, "tap_1001_eth2")
    first, second = of(seen).interfaces
    assert (first.vlan_id, first.plugged) == (101, False)
    assert first.port is not None
    assert first.port.tag == 7
    assert (second.port, second.plugged) == (None, False)
    assert {d.field: (d.running, d.wanted) for d in of(seen).drift} == {
        "interfaces.eth1.vlan_id": ("7", "101"),
        "interfaces.eth2.port": ("missing", "tap_1001_eth2"),
    }


def test_what_open_vswitch_does_not_say_is_unknown() -> None:
    seen = running()._replace(switch=ovs.Switch(fault="down"))
    for found in (of(seen), status.of_unmanaged(WORKER, "vm1", seen)):
        assert [nic.plugged for nic in found.interfaces] == [None, None]


def test_a_vm_whose_tap_some_other_process_uses_is_not_called_stopped() -> None:
    used = plugged()._replace(taps={"tap_1001_eth1": Tap(in_use=True)})
    found = of(used)
    assert found.state == "unknown"
    assert "did not start uses its TAP tap_1001_eth1" in str(found.error)
    assert of(plugged()).state == "stopped"


@pytest.mark.parametrize(
    ("word", "state"), [("running", "running"), ("paused", "paused"), ("io-error", "paused")]
)
def test_the_monitor_says_what_the_guest_does(word: str, state: str) -> None:
    found = status.with_look(of(running()), Look(word, (DISK,)))
    assert (found.state, found.monitor, found.disks) == (state, word, (DISK,))


def test_a_monitor_that_does_not_answer_is_not_guessed_at() -> None:
    error = MonitorError("vm1: the monitor does not answer")
    found = status.with_look(of(running()), error)
    assert (found.state, found.monitor, found.error) == ("unknown", "", error)
    assert found.pid == 4821, "what the worker says of it stays"


def test_a_vm_that_the_inventory_lacks_is_told_from_its_command_line() -> None:
    found = status.of_unmanaged(WORKER, "vm1", running()._replace(traffic=TRAFFIC))
    assert (found.vm, found.state, found.pid, found.managed) == ("vm1", "running", 4821, False)
    assert found.vnc == "127.0.0.1:5901"
    assert [(nic.tap, nic.vlan_id, nic.plugged) for nic in found.interfaces] == [
        ("tap_1001_eth1", 101, True),
        ("tap_1001_eth2", 102, True),
    ]
    assert found.drift == ()


def item(name: str = "vm1", state: str = "running", **more: Any) -> VMStatus:
    return VMStatus(name, "w1", "192.0.2.1", state)._replace(**more)


@pytest.mark.parametrize(
    ("before", "now", "percent"),
    [
        pytest.param(None, item(pid=1, uptime_s=10, cpu_s=1), 10.0, id="whole life"),
        pytest.param(
            item(pid=1, uptime_s=10, cpu_s=1),
            item(pid=1, uptime_s=12, cpu_s=3),
            100.0,
            id="since the look before",
        ),
        pytest.param(
            item(pid=1, uptime_s=100, cpu_s=50),
            item(pid=2, uptime_s=10, cpu_s=1),
            10.0,
            id="another process by now",
        ),
        pytest.param(None, item(pid=1, uptime_s=0, cpu_s=1), 0.0, id="just started"),
    ],
)
def test_the_load_is_measured_between_two_looks(
    before: VMStatus | None, now: VMStatus, percent: float
) -> None:
    assert status.cpu_since(before, now) == percent


def test_a_vm_that_may_be_anywhere_is_said_where_it_may_be() -> None:
    error = MonitorError("w2 is down")
    surveys = [
        Survey((item(state="stopped"), item("other", "crashed", managed=False)), ("a note",)),
        Survey((item(state="unknown", worker="w2"),), (), (error,)),
        Survey((item(worker="w3"), item("other", worker="w3", managed=False))),
    ]
    found = merged(surveys)
    assert [(vm.vm, vm.worker, vm.state) for vm in found.vms] == [
        ("vm1", "w2", "unknown"),
        ("vm1", "w3", "running"),
        ("other", "w1", "crashed"),
        ("other", "w3", "running"),
    ]
    assert (found.notes, found.errors) == (("a note",), (error,))


def test_a_vm_that_is_pinned_nowhere_and_runs_nowhere_is_said_once() -> None:
    nowhere = [Survey((item(state="stopped", worker=worker),)) for worker in ("w1", "w2")]
    assert [vm.worker for vm in merged(nowhere).vms] == ["w1"]


def test_a_vm_that_is_pinned_nowhere_and_runs_twice_is_said_twice() -> None:
    both = [Survey((item(worker=worker),)) for worker in ("w1", "w2")]
    assert [vm.worker for vm in merged(both).vms] == ["w1", "w2"]


def gone(worker: str, peer: str) -> VMStatus:
    error = Gone(worker, "vm1", mark("left", peer, "t"))
    return item(state="unknown", worker=worker, error=error)


DOWN = WorkerUnreachable("no answer", worker="w2")


@pytest.mark.parametrize(
    ("rows", "unasked", "told"),
    [
        pytest.param([gone("w1", "w2"), item(worker="w2")], {}, [("w2", "running")], id="runs"),
        pytest.param(
            [gone("w1", "w2"), item(state="stopped", worker="w2")],
            {},
            [("w2", "stopped")],
            id="stopped",
        ),
        pytest.param(
            [gone("w1", "w2"), gone("w2", "w3"), item(state="stopped", worker="w3")],
            {},
            [("w3", "stopped")],
            id="twice",
        ),
        pytest.param([gone("w1", "w2")], {"w2": DOWN}, [("w2", "unknown")], id="down"),
        pytest.param(
            [gone("w1", "w2"), item(state="stopped", worker="w3")],
            {"w2": DOWN},
            [("w2", "unknown")],
            id="down-and-not-on-a-third",
        ),
        pytest.param([gone("w1", "w2")], {}, [("w1", "unknown")], id="not-asked"),
        pytest.param(
            [gone("w1", "w2"), item(), item(worker="w2")],
            {},
            [("w1", "running"), ("w2", "running")],
            id="both",
        ),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_one_that_has_left_is_never_stopped_for_that(
    rows: list[VMStatus], unasked: dict[str, VmopsError], told: list[tuple[str, str]], named: bool
) -> None:
    surveys = [
        Survey((row,), (), () if row.error is None else (row.error,), unasked) for row in rows
    ]
    found = merged(surveys, named=named)
    if told == [("w1", "unknown")] and not named:
        assert (found.vms, found.errors) == ((), ())
        assert found.notes[0].startswith("vm1: it was moved from w1 to w2; ")
        return
    assert [(row.worker, row.state) for row in found.vms] == told
    (row, *_) = found.vms
    assert row.home == ("w1" if row.error is DOWN else "")
    assert found.errors == ((row.error,) if isinstance(row.error, Gone) else ())


def test_one_that_was_followed_to_where_it_was_seen_is_told_once() -> None:
    stray = Survey((item(worker="w2", memory_mb=1), item("vm2", worker="w2")))
    followed = Survey((item(worker="w2", memory_mb=2),))
    assert [(one.vm, one.memory_mb) for one in merged([stray, followed]).vms] == [
        ("vm1", 2),
        ("vm2", 0),
    ]


@pytest.mark.parametrize(
    ("ages", "homes", "said"),
    [
        ((9.0, 5.0), ("", ""), ", and started later on w2; to end one: fab -H w2"),
        ((5.0, 9.0), ("", ""), ", and started later on w1; to end one: fab -H w1"),
        ((5.0, 9.0), ("", "w1"), ", and started later on w1; to end one: fab -H w2"),
        ((9.0, 5.0), ("w2", ""), ", and started later on w2; to end one: fab -H w1"),
        ((None, 5.0), ("", ""), "; to end one: fab -H w2"),
    ],
)
def test_one_that_runs_twice_is_ended_where_it_came_last_or_is_not_at_home(
    ages: tuple[float | None, float], homes: tuple[str, str], said: str
) -> None:
    seen = [
        Survey((item(worker=name, state="running", pid=7, uptime_s=age, home=home),))
        for name, age, home in zip(("w1", "w2"), ages, homes, strict=True)
    ]
    (note,) = merged(seen).notes
    assert note == f"vm1 runs on w1 and on w2{said} stop --vm vm1 --elsewhere"


SEVERAL = [
    status.with_look(of(running()), Look("running", (DISK,)))._replace(cpu_s=9.5),
    item("vm2", "paused", pid=7, uptime_s=3700, monitor="guest-panicked", managed=False),
    item("vm3", "stopped", image="/images/vm3.qcow2"),
]


def test_a_line_for_each_vm_in_a_pipe() -> None:
    headings, rows = plain(SEVERAL, detailed=True, before={})
    lines = [dict(zip(headings, row, strict=True)) for row in rows]
    assert lines[0] == {
        "VM": "vm1",
        "WORKER": "w1",
        "STATE": "running",
        "PID": "4821",
        "UPTIME": "15m 50s",
        "CPU": "1.0%",
        "MEMORY": "1 MiB",
        "DISK": "1.0M of 1.1G",
        "VNC": "127.0.0.1:5901",
        "READ": "2.0k",
        "WRITTEN": "1.5M",
        "IN": "3.0k",
        "OUT": "2.0k",
        "INTERFACES": "eth1:101, eth2:102",
        "IMAGE": "vm1.qcow2 <- base.qcow2",
        "DRIFT": "-",
    }
    assert lines[1]["STATE"] == "paused guest-panicked unmanaged"
    assert lines[2]["IMAGE"] == "vm3.qcow2"
    assert {lines[2][name] for name in ("PID", "UPTIME", "CPU", "MEMORY", "VNC", "READ")} == {"-"}


DIGEST = "0123456789ab" + "c" * 52


@pytest.mark.parametrize("suffix", ["qcow2", "raw"])
def test_an_image_is_called_as_image_list_does(suffix: str) -> None:
    path = f"/home/ubuntu/vm_images/.vmops/base-{DIGEST}.{suffix}"
    disk = DISK._replace(images=("/home/ubuntu/vm_images/.vmops/disk-vm1.qcow2", path))
    found = [status.with_look(of(running()), Look("running", (disk,)))]
    headings, (row,) = plain(found, detailed=True, before={})
    assert row[headings.index("IMAGE")] == "disk-vm1.qcow2 <- base-0123456789ab"
    written = io.StringIO()
    Console(file=written, width=80).print(drawn(found, detailed=True, before={}, width=80))
    assert "VM " in written.getvalue().splitlines()[1], "a table at 80 columns, and no paragraphs"
    assert DIGEST in str(found[0]._asdict()), "JSON has it whole"


@pytest.mark.parametrize("detailed", [True, False])
def test_room_that_snapshots_take_is_told_as_theirs(detailed: bool) -> None:
    disk = DISK._replace(virtual_size=16_800_000, used=71_300_000, has_snapshots=True)
    found = [status.with_look(of(running()), Look("running", (disk,)))]
    headings, (row,) = plain(found, detailed=detailed, before={})
    assert row[headings.index("DISK")] == "71.3M of 16.8M, with snapshots"
    written = io.StringIO()
    table = drawn(found, detailed=detailed, before={}, width=80)
    Console(file=written, width=80).print(table)
    assert "VM " in written.getvalue().splitlines()[1]
    assert "snapshots" in written.getvalue()


@pytest.mark.parametrize("width", [200, 80, 60, 40, 30])
@pytest.mark.parametrize("detailed", [True, False])
def test_the_drawn_table_cuts_no_word_however_narrow(width: int, detailed: bool) -> None:
    seen = with_port(running(), port(VM1, "tap_1001_eth1", 7))
    found = [*SEVERAL, status.with_look(of(seen), Look("running", (DISK,)))]
    written = io.StringIO()
    console = Console(file=written, width=width)
    console.print(drawn(found, detailed=detailed, before={}, width=width))
    text = written.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert "127.0.0.1:5901" in text
    assert "guest-panicked" in text
    assert "unmanaged" in text
    for pid in {item.pid for item in found if item.pid}:
        assert re.search(rf"\b{pid}\b", text)
    assert ("interfaces.eth1.vlan_id:" in text) is detailed
    is_table = "VM " in text.splitlines()[1]
    assert is_table is (width >= 80)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.0k"),
        (2048, "2.0k"),
        (1500000, "1.5M"),
        (3 * 10**12, "3.0T"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0s"), (59, "59s"), (184, "3m 4s"), (18360, "5h 6m"), (633600, "7d 8h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_every_request_of_a_look_is_a_question() -> None:
    assert all(request.command.startswith("query-") for request in qmp.LOOK)


@pytest.mark.parametrize(
    ("vm", "said"),
    [
        pytest.param(VM1, "vm_id: 1001 -> 7", id="its-taps-tell"),
        pytest.param(replace(VM1, interfaces=()), "vm_id: that of uuid ", id="without-taps"),
    ],
)
def test_another_vm_id_is_told_as_a_number(vm: VM, said: str) -> None:
    wanted = replace(vm, vm_id=7)
    (found,) = (d for d in drift(WORKER, wanted, running(vm)) if d.field == "vm_id")
    assert str(found).startswith(said)
