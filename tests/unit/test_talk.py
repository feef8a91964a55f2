"""What a talk with monitors is as a command, in words, and what is read out of its answer."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.core.script import script
from vmops.core.script.command import Block, Step
from vmops.core.tools import qmp
from vmops.core.tools.monitor import Await, Heard, Refused, Talk, read_talk, talk
from vmops.core.tools.qmp import Request

GREETING = b'{"QMP": {}}\r\n'


def framed(
    vm: str, requests: int, *lines: bytes, ending: str = "whole", said: bytes = b""
) -> bytes:
    heard = GREETING + b"".join(line + b"\r\n" for line in lines)
    return f"{vm} {ending} {requests} {len(said)} {len(heard)}\n".encode() + said + heard


def answer(number: int, **what: object) -> bytes:
    return json.dumps({"id": f"vmops-{number}", **what}).encode()


def test_a_talk_in_the_words_of_a_dry_run() -> None:
    lines = (
        qmp.POWER_DOWN,
        Await("", 15),
        Request("device_del", {"id": "net1"}),
        Await("DEVICE_DELETED", 10, holding='"device": "net1"', then="go on"),
    )
    block = Block("vm1", (Step("ask", (talk([Talk("vm1", lines)]),)),))
    assert script.shown([block]).split("\n") == [
        "# vm1: ask",
        '# to the monitor of vm1 (/run/vmops/vm1/qmp.sock): {"execute": "system_powerdown"}',
        "# wait up to 15 s until QEMU has ended",
        "# to the monitor of vm1 (/run/vmops/vm1/qmp.sock): "
        '{"execute": "device_del", "arguments": {"id": "net1"}}',
        "# wait up to 10 s for DEVICE_DELETED",
    ]


@pytest.mark.parametrize("name", ["", "a b", "../vm1", ".lock", "a\nb", "a\tb"])
def test_what_cannot_be_a_run_directory_is_not_talked_to(name: str) -> None:
    with pytest.raises(ValueError, match="is not the name of a VM"):
        talk([Talk(name, (qmp.STATUS,))])


def test_a_script_that_talks_to_no_monitor_carries_no_program() -> None:
    silent, talks = Block("", ()), Block("", (Step("s", (talk([]),)),))
    assert "perl" not in script.render([silent], nonce="0" * 32)
    assert script.render([silent, talks], nonce="0" * 32).count("perl") == 1


def test_answers_stand_in_the_order_of_the_requests() -> None:
    raw = framed(
        "vm1",
        4,
        answer(1, **{"return": {}}),
        answer(4, **{"return": 3}),
        b'{"event": "RESUME"}',
        answer(3, error={"class": "GenericError", "desc": "no"}),
        answer(2, **{"return": None}),
        answer(2, **{"return": "again"}),
        answer(5, **{"return": "unasked"}),
    )
    assert read_talk(raw + framed("vm2", 1)) == {
        "vm1": Heard("vm1", (None, Refused("no"), 3), ({"event": "RESUME"},)),
        "vm2": Heard("vm2"),
    }


def test_answers_end_where_one_is_missing() -> None:
    raw = framed("vm1", 4, answer(2, **{"return": 1}), answer(4, **{"return": 3}), ending="silent")
    assert read_talk(raw)["vm1"] == Heard("vm1", (1,), ended="silent")


def test_a_monitor_that_refuses_its_capabilities_says_why() -> None:
    raw = framed("vm1", 2, answer(1, error={"desc": "no"}))
    assert read_talk(raw)["vm1"] == Heard("vm1", said="no")


@pytest.mark.parametrize(
    "error", [None, 3, [], {}, {"desc": None}, {"desc": 3}, {"desc": ["x"]}], ids=str
)
def test_an_error_of_any_shape_is_a_refusal(error: object) -> None:
    (refused,) = read_talk(framed("vm1", 2, answer(2, error=error)))["vm1"].answers
    assert isinstance(refused, Refused)
    assert isinstance(refused.text, str)


@pytest.mark.parametrize(
    "raw",
    [
        b"vm1",
        b"vm1 whole 1 0 9\n",
        b"vm1 whole 1 0 -1\n",
        b"vm1 whole 1 0\n",
        b"vm1 else 1 0 0\n",
        b"vm1 whole x 0 0\n",
        b"\xff whole 1 0 0\n",
        framed("vm1", 1) + b"\n",
    ],
)
def test_a_broken_frame_is_one_kind_of_error(raw: bytes) -> None:
    with pytest.raises(ValueError, match="the talk with the monitors"):
        read_talk(raw)


@given(st.lists(st.binary(max_size=60) | st.builds(answer, st.integers(0, 4)), max_size=8))
def test_whatever_a_monitor_says_is_read_or_called_no_qmp(lines: list[bytes]) -> None:
    heard = read_talk(framed("vm1", 3, *lines) + framed("vm2", 2, answer(2, **{"return": 1})))
    assert heard["vm1"].ended in ("whole", "not qmp")
    assert len(heard["vm1"].answers) <= 2
    assert heard["vm2"] == Heard("vm2", (1,))


@pytest.mark.parametrize(
    "line", [b"[" * 100_000, b'{"a":' * 50_000, b'{"id": 1e999, "a": ' + b"9" * 9999]
)
def test_depth_and_size_are_no_qmp(line: bytes) -> None:
    assert read_talk(framed("vm1", 2, line))["vm1"].ended == "not qmp"
