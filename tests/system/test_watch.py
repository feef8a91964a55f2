"""Looking again and again: the screen, the keys, and a terminal that is left as it was."""

from __future__ import annotations

import json
import signal
import subprocess
import time

import pytest

from .operator import FAB, ROOT, Operator, small_vm
from .seat import SHELL_PROMPT, guest, seated


def test_watch_refreshes_until_q_and_leaves_the_terminal_as_it_was(operator: Operator) -> None:
    guest(operator)
    with seated(operator) as seat:
        seat.begin("fab status --watch --interval 0.2")
        for _ in range(3):
            seat.wait_for("PID ")
        assert seat.modes() != seat.modes_at_first
        seat.type("q")
        assert seat.end() == 0
        assert seat.modes() == seat.modes_at_first


def test_ctrl_c_ends_watch_without_a_word(operator: Operator) -> None:
    guest(operator)
    with seated(operator) as seat:
        seat.begin("fab ps --watch --interval 30")
        seat.wait_for("running")
        seat.type("\x03")
        assert seat.end() == 0
        assert "Traceback" not in seat.said
        assert seat.modes() == seat.modes_at_first


LEFT = "\x1b[?1049l"
TAKEN = "\x1b[?1049h"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name)
def test_a_watch_that_is_ended_leaves_the_terminal_as_it_was(
    operator: Operator, number: signal.Signals
) -> None:
    guest(operator)
    with seated(operator) as seat:
        seat.begin("fab status --watch")
        seat.wait_for("PID ")
        seat.send(number)
        assert seat.end() == 128 + number
        assert LEFT in seat.said
        assert "\x1b[?25h" in seat.said
        assert seat.modes() == seat.modes_at_first


def test_ctrl_z_gives_the_terminal_to_the_shell_and_fg_takes_it_back(operator: Operator) -> None:
    guest(operator)
    with seated(operator) as seat:
        seat.begin("fab status --watch --interval 30")
        seat.wait_for("PID ")
        seat.type("\x1a")
        seat.wait_for(LEFT)
        seat.wait_for(SHELL_PROMPT)
        assert seat.modes() == seat.modes_at_first
        seat.begin("fg")
        seat.wait_for(TAKEN)
        seat.wait_for("PID ")
        assert seat.modes() != seat.modes_at_first
        seat.type("q")
        assert seat.end() == 0
        assert LEFT in seat.said
        assert seat.modes() == seat.modes_at_first


def test_q_ends_a_watch_while_a_worker_hangs(operator: Operator) -> None:
    guest(operator)
    with seated(operator) as seat:
        seat.begin("fab status --watch --interval 0.2")
        seat.wait_for("PID ")
        operator.lab.fault("worker1", "freeze")
        try:
            time.sleep(1)
            began = time.monotonic()
            seat.type("q")
            assert seat.end() == 0
            assert time.monotonic() - began < 2
        finally:
            operator.lab.heal("worker1")
        assert seat.modes() == seat.modes_at_first


def test_a_small_window_shows_what_went_wrong_and_says_what_is_below(operator: Operator) -> None:
    for number in range(1, 9):
        operator.add(small_vm(f"vm{number}", number), image=False)
    operator.add(small_vm("far", 99), "worker2", image=False)
    operator.lab.fault("worker2", "reset")
    try:
        with seated(operator) as seat:
            seat.shell.setwinsize(8, 100)
            seat.begin("fab ps --watch --interval 30")
            seat.wait_for("hung up before the login")
            seat.wait_for("vm1")
            seat.wait_for("more lines below")
            assert "vm8" not in seat.said
            seat.type("q")
            assert seat.end() == 0
    finally:
        operator.lab.heal("worker2")


def test_watch_in_a_pipe_gives_a_document_a_look_until_the_reader_leaves(
    operator: Operator,
) -> None:
    guest(operator)
    with subprocess.Popen(
        [FAB, "status", "--watch", "--interval", "0.1", "--format", "json"],
        cwd=ROOT,
        env=operator.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as watching:
        assert watching.stdout is not None
        assert watching.stderr is not None
        looks = [json.loads(watching.stdout.readline()) for _ in range(3)]
        watching.stdout.close()
        said = watching.stderr.read()
        assert watching.wait(30) == 0
    assert [look[0]["state"] for look in looks] == ["running"] * 3
    assert looks[0][0]["uptime_s"] < looks[1][0]["uptime_s"] < looks[2][0]["uptime_s"]
    assert b"Traceback" not in said
