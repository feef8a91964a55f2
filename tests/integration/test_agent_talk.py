"""Talks with guest agents as a script holds them, with agents that misbehave.

Whatever one says or keeps back is bounded in size and time, and costs its own VM's talk only.
"""

from __future__ import annotations

import fcntl
import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from vmops.core.script import functions, script
from vmops.core.script.command import Block, Step
from vmops.core.tools import agent
from vmops.core.tools.agent import AgentHeard, AgentTalk
from vmops.core.tools.monitor import Refused
from vmops.core.tools.qmp import Request

from ..component.fake_qemu import Client, FakeQemu, Serve

NONCE = "0123456789abcdef" * 2
LIMIT_S = 0.5
PING = Request("guest-ping")
HELLO = b'{"return": {}}\n'

Start = Callable[[str, Serve], FakeQemu]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of run directories of our own."""
    monkeypatch.setattr(functions, "RUN_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture
def start(root: Path) -> Iterator[Start]:
    """Starts a fake agent of a VM."""
    started: list[FakeQemu] = []

    def start_one(vm: str, serve: Serve) -> FakeQemu:
        (root / vm).mkdir(exist_ok=True)
        (root / vm / "process").touch()
        started.append(FakeQemu(root / vm / "agent.sock", serve))
        return started[-1]

    yield start_one
    for fake in started:
        fake.close()


def hold(*talks: AgentTalk, shell: str = "dash") -> Mapping[str, AgentHeard]:
    block = Block("vm", (Step("talk", (agent.talk(talks),), may_fail=True),))
    text = script.render([block], nonce=NONCE)
    done = subprocess.run([shell, "-c", text], capture_output=True, timeout=60, check=True)
    (result,) = script.parse([block], nonce=NONCE, stdout=done.stdout, stderr=done.stderr)
    (said,) = result.steps
    assert (result.outcome, said.stderr) == ("done", b""), result
    found = agent.read_talk(said.stdout)
    assert set(found) == {each.vm for each in talks}
    worker_knows = [each for each in found.values() if each.ended not in ("whole", "not qga")]
    assert said.ok == (not worker_knows)
    return found


def ping(vm: str) -> AgentTalk:
    return AgentTalk(vm, (PING,), LIMIT_S, LIMIT_S)


def synced(client: Client) -> None:
    """Answer the first request as an agent does, after some rubbish of an earlier talk."""
    data = b""
    while not data.endswith(b"\n"):
        data += client._stream.recv(65536)
    assert data.startswith(b"\xff")
    number = json.loads(data[1:])["arguments"]["id"]
    client.say(
        b'half an old ans{"return": 1}\n\xff' + json.dumps({"return": number}).encode() + b"\n"
    )


def saying(*lines: bytes, stay: bool = True) -> Serve:
    def serve(client: Client) -> None:
        synced(client)
        client.heard()
        for line in lines:
            client.say(line)
        if stay:
            client.wait_for_leave()

    return serve


def healthy(client: Client) -> None:
    synced(client)
    while True:
        client.heard()
        client.say(HELLO)


def mute(client: Client) -> None:
    while client._stream.recv(65536):
        pass


def endless_rubbish(client: Client) -> None:
    while True:
        client.say(b"x" * 65536)


def endless_lines(client: Client) -> None:
    while True:
        client.say(b'\xff{"return": 5}\n' * 4000)


def endless_answer(client: Client) -> None:
    synced(client)
    while True:
        client.say(b"9" * 65536)


def trickle(client: Client) -> None:
    synced(client)
    client.heard()
    while True:
        client.say(b"9")
        time.sleep(0.05)


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_a_healthy_agent_is_heard_after_what_was_meant_for_others(start: Start, shell: str) -> None:
    start("web1", healthy)
    found = hold(AgentTalk("web1", (PING, PING), LIMIT_S, LIMIT_S), shell=shell)
    assert found["web1"] == AgentHeard("web1", ({}, {}))


@pytest.mark.parametrize(
    ("serve", "ended"),
    [
        (mute, "no agent"),
        (endless_rubbish, "too much"),
        (endless_lines, "too much, no agent"),
        (endless_answer, "too much"),
        (trickle, "silent"),
        (saying(), "silent"),
        (saying(stay=False), "hung up"),
        (saying(b"rubbish\n"), "not qga"),
        (saying(b"[]\n"), "not qga"),
        (saying(b'{"event": "x"}\n'), "not qga"),
        (saying(b"[" * 100_000 + b"\n"), "not qga"),
        (saying(b'{"return": ' + b"9" * 5000 + b"}\n"), "not qga"),
        (saying(b"\xfe\xff\n"), "not qga"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_one_that_misbehaves_costs_its_own_talk_in_a_short_time(
    start: Start, serve: Serve, ended: str
) -> None:
    start("bad", serve)
    start("good", healthy)
    since = time.monotonic()
    found = hold(ping("bad"), ping("good"))
    assert time.monotonic() - since < 10
    # How much one gets to say in so short a time is a matter of the load.
    assert found["bad"].ended in ended.split(", ")
    assert agent.why(found["bad"])
    assert found["good"] == AgentHeard("good", ({},))


def test_without_a_port_or_a_vm_nobody_is_waited_for(root: Path, start: Start) -> None:
    (root / "none").mkdir()
    (root / "none" / "process").touch()
    (root / "file").mkdir()
    (root / "file" / "process").touch()
    (root / "file" / "agent.sock").touch()
    start("other", healthy)
    (root / "link").mkdir()
    (root / "link" / "process").touch()
    (root / "link" / "agent.sock").symlink_to(root / "other" / "agent.sock")
    since = time.monotonic()
    found = hold(*map(ping, ("gone", "none", "file", "link")))
    assert time.monotonic() - since < LIMIT_S
    assert {vm: heard.ended for vm, heard in found.items()} == {
        "gone": "no vm",
        "none": "no port",
        "file": "no port",
        "link": "no port",
    }


def test_two_operators_take_turns(root: Path, start: Start) -> None:
    start("web1", healthy)
    with (root / "web1" / "process").open() as record:
        fcntl.flock(record, fcntl.LOCK_EX)
        assert hold(ping("web1"))["web1"].ended == "busy"
    assert hold(ping("web1"))["web1"].ended == "whole"


def test_a_program_is_asked_after_until_it_has_ended(start: Start) -> None:
    asked: list[dict[str, Any]] = []

    def serve(client: Client) -> None:
        synced(client)
        while True:
            asked.append(client.heard())
            ends = len(asked) > 2
            client.say(json.dumps({"return": {"exited": ends, "exitcode": 3}}).encode() + b"\n")

    start("web1", serve)
    found = hold(AgentTalk("web1", (agent.await_end(7, seconds=20),), LIMIT_S, LIMIT_S))["web1"]
    assert agent.read_end(found.answers[0]).exit_code == 3
    assert len(asked) == 3
    asked.clear()
    asked.extend([{}] * -1000)
    late = hold(AgentTalk("web1", (agent.await_end(7, seconds=0.1),), LIMIT_S, LIMIT_S))["web1"]
    assert late.ended == "whole"


def test_an_agent_that_refuses_is_told_in_its_words(start: Start) -> None:
    start("web1", saying(b'{"error": {"class": "GenericError", "desc": "no such\\u001b[31m"}}\n'))
    found = hold(ping("web1"))["web1"]
    assert found.answers == (Refused("no such\x1b[31m"),)
    assert "refuses: no such" in agent.why(found)
