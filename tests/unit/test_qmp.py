"""What vmops says to a monitor, and what it understands of the answers of QEMU 7.2."""

from __future__ import annotations

from typing import Any

import pytest

from vmops.core.tools import qmp
from vmops.core.tools.qmp import Drive, Look, Request

RUNNING = {"status": "running", "singlestep": False, "running": True}

OVERLAY = {
    "device": "ide0-hd0",
    "qdev": "/machine/unattached/device[22]",
    "inserted": {
        "image": {
            "filename": "/images/vm1.qcow2",
            "virtual-size": 1048576,
            "actual-size": 200704,
            "backing-image": {
                "filename": "/images/web.qcow2",
                "virtual-size": 1048576,
                "backing-image": {"filename": "/images/base.qcow2", "virtual-size": 1048576},
            },
        }
    },
}
EMPTY_CD = {"device": "ide1-cd0", "qdev": "/machine/unattached/device[23]", "tray_open": False}
UNNAMED: dict[str, Any] = {
    "device": "",
    "qdev": "/machine/peripheral/data/virtio-backend",
    "inserted": {"image": {"filename": "/dev/vg/data", "virtual-size": 7}},
}


def counted(drive: dict[str, Any], read: int, written: int) -> dict[str, Any]:
    stats = {"rd_bytes": read, "wr_bytes": written}
    return {"device": drive["device"], "qdev": drive["qdev"], "stats": stats}


@pytest.mark.parametrize(
    ("drives", "counters", "disks"),
    [
        pytest.param([], [], (), id="no drive"),
        pytest.param([EMPTY_CD], [counted(EMPTY_CD, 0, 0)], (), id="no medium"),
        pytest.param(
            [EMPTY_CD, OVERLAY],
            [counted(OVERLAY, 2048, 512), counted(EMPTY_CD, 0, 0)],
            (
                Drive(
                    "ide0-hd0",
                    ("/images/vm1.qcow2", "/images/web.qcow2", "/images/base.qcow2"),
                    virtual_size=1048576,
                    used=200704,
                    read_bytes=2048,
                    written_bytes=512,
                ),
            ),
            id="an overlay, its backing files in order, and its own counters",
        ),
        pytest.param(
            [
                {
                    **UNNAMED,
                    "inserted": {"image": {**UNNAMED["inserted"]["image"], "snapshots": [{}]}},
                }
            ],
            [counted(UNNAMED, 1, 2)],
            (Drive(UNNAMED["qdev"], ("/dev/vg/data",), 7, 0, 1, 2, has_snapshots=True),),
            id="one with a snapshot",
        ),
        pytest.param(
            [UNNAMED],
            [counted(UNNAMED, 1, 2)],
            (Drive(UNNAMED["qdev"], ("/dev/vg/data",), 7, 0, 1, 2),),
            id="a drive that has a place only",
        ),
    ],
)
def test_a_look_is_the_status_and_the_disks(
    drives: list[Any], counters: list[Any], disks: tuple[Drive, ...]
) -> None:
    assert qmp.read_look([RUNNING, drives, counters, [], []]) == Look("running", disks)


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param([RUNNING, []], id="an answer is missing"),
        pytest.param([{}, [], []], id="no status"),
        pytest.param([None, [], []], id="no object"),
        pytest.param([RUNNING, [OVERLAY], []], id="a drive without counters"),
        pytest.param([RUNNING, [{"inserted": {}}], [{}]], id="counters of nothing"),
        pytest.param([RUNNING, "drives", []], id="a word for a list"),
        pytest.param([RUNNING, [{**OVERLAY, "inserted": {"image": 5}}], []], id="a number"),
    ],
)
def test_what_is_no_look_is_a_value_error(answers: list[Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        qmp.read_look(answers)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("running", "running"),
        ("paused", "paused"),
        ("prelaunch", "paused"),
        ("suspended", "paused"),
        ("io-error", "paused"),
        ("guest-panicked", "paused"),
        ("internal-error", "paused"),
        ("a word of tomorrow", "paused"),
    ],
)
def test_only_running_is_running(status: str, state: str) -> None:
    assert qmp.state_of(status) == state


@pytest.mark.parametrize(
    ("status", "request_"),
    [
        ("paused", qmp.RESUME),
        ("io-error", qmp.RESUME),
        ("suspended", qmp.WAKE_UP),
        ("running", None),
        ("guest-panicked", None),
        ("internal-error", None),
        ("prelaunch", None),
    ],
)
def test_what_makes_a_guest_run_on(status: str, request_: Request | None) -> None:
    assert qmp.awakening(status) == request_


@pytest.mark.parametrize(
    ("farewell", "how"),
    [
        ({"guest": True, "reason": "guest-shutdown"}, "guest"),
        ({"guest": False, "reason": "host-qmp-quit"}, "quit"),
        ({"guest": False, "reason": "host-signal"}, "SIGTERM"),
        ({"guest": True, "reason": "guest-panic"}, "guest-panic"),
        ({}, ""),
    ],
)
def test_who_ended_qemu(farewell: dict[str, Any], how: str) -> None:
    assert qmp.ended_by(farewell) == how


def test_a_request_is_written_as_the_monitor_reads_it() -> None:
    assert str(qmp.QUIT) == '{"execute": "quit"}'
    asked = Request("screendump", {"filename": 'a "b"'})
    assert str(asked) == '{"execute": "screendump", "arguments": {"filename": "a \\"b\\""}}'


@pytest.mark.parametrize(
    ("ports", "agent"),
    [
        ([], None),
        ([{"label": "console", "frontend-open": True}], None),
        ([{"label": "agent", "frontend-open": True}], True),
        ([{"label": "agent", "frontend-open": False}], False),
    ],
)
def test_a_look_tells_whether_a_guest_agent_listens(ports: list[Any], agent: bool | None) -> None:
    assert qmp.read_look([RUNNING, [], [], ports, []]).agent is agent


@pytest.mark.parametrize(
    ("device", "name"),
    [
        ("/machine/peripheral/disk-root/virtio-backend", "root"),
        ("/machine/peripheral/disk-data/virtio-backend", "data"),
        ("/machine/peripheral/data/virtio-backend", "data"),
        ("ide0-hd0", "ide0-hd0"),
    ],
)
def test_a_disk_is_called_as_hosts_toml_has_it(device: str, name: str) -> None:
    assert qmp.Drive(device, (), 0, 0, 0, 0).name == name
