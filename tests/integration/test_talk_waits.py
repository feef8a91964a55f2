"""What a talk waits for, and what has to be so before it goes on."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from vmops.core.script import script
from vmops.core.script.command import Block, Step, command
from vmops.core.tools import qmp
from vmops.core.tools.monitor import (
    Await,
    Heard,
    Need,
    Refused,
    Talk,
    talk,
    why,
)
from vmops.core.tools.qmp import Request

from ..component.fake_qemu import GREETING, Client
from ..system.lab_helpers import wait_until
from .talks import (
    LIMIT_S,
    NONCE,
    Start,
    after_the_greeting,
    healthy,
    hold,
    root,
    start,
    status,
    text_of,
)

__all__ = ["root", "start"]


DELETED = {"event": "DEVICE_DELETED", "data": {"device": "net1", "path": "/p"}}


EARLY = {"event": "DEVICE_DELETED", "data": {"path": "/machine/peripheral/net1/virtio-backend"}}


def line(message: object) -> bytes:
    return json.dumps(message).encode() + b"\n"


@pytest.mark.parametrize("before", [True, False], ids=["before-the-answer", "after-it"])
def test_an_event_is_awaited_with_what_it_must_hold(start: Start, before: bool) -> None:
    asked: list[str] = []

    def serve(client: Client) -> None:
        client.say(GREETING)
        client.answer()
        client.say(EARLY)
        if before:
            client.say(DELETED)
        asked.append(client.answer())
        if not before:
            client.say(DELETED)
        asked.append(client.answer())
        client.wait_for_leave()

    start("vm1", serve)
    awaited = Await("DEVICE_DELETED", 5, holding='"device": "net1"', then="go on")
    lines = (Request("device_del", {"id": "net1"}), awaited, Request("netdev_del", {"id": "n"}))
    heard = hold(Talk("vm1", lines, LIMIT_S))["vm1"]
    # The fake notes a request when it has answered it.
    wait_until(lambda: asked == ["device_del", "netdev_del"])
    assert (heard.ended, len(heard.answers)) == ("whole", 2)
    assert heard.events == (EARLY, DELETED)


def test_what_nobody_hears_any_more_is_done_all_the_same(start: Start, root: Path) -> None:
    """As when the operator is killed: the block has no undo, so all its steps are done."""
    start("vm1", healthy)
    then = Step("then", (command("touch", str(root / "then")),))
    block = Block("vm", (Step("talk", (talk([status("vm1")]),)), then))
    text = script.render([block], nonce=NONCE)
    reading, writing = os.pipe()
    os.close(reading)
    words = ["dash", "-c", text]
    subprocess.run(words, stdout=writing, stderr=writing, timeout=60, check=False)
    os.close(writing)
    assert (root / "then").exists()


def test_without_the_event_that_had_to_come_nothing_follows(start: Start) -> None:
    start(
        "vm1", after_the_greeting(b'{"id": "vmops-2", "return": {}}\n', json.dumps(EARLY).encode())
    )
    awaited = Await("DEVICE_DELETED", 0.3, holding='"device": "net1"', then="go on")
    lines = (Request("device_del"), awaited, Request("netdev_del"))
    heard = hold(Talk("vm1", lines, LIMIT_S))["vm1"]
    assert (heard.ended, heard.answers) == ("silent", ({},))


def test_an_event_counts_for_one_wait(start: Start) -> None:
    start("vm1", after_the_greeting(line(DELETED), b'{"id": "vmops-2", "return": {}}\n'))
    await_one = Await("DEVICE_DELETED", 0.2, then="go on")
    began = time.monotonic()
    heard = hold(Talk("vm1", (qmp.STATUS, await_one, await_one), LIMIT_S))["vm1"]
    assert time.monotonic() - began > 0.2
    assert heard.ended == "silent"


def test_a_refusal_ends_the_talk_before_the_next_wait(start: Start) -> None:
    def serve(client: Client) -> None:
        client.say(GREETING)
        client.answer()
        client.refuse("there is no net1")
        client.answer()
        client.wait_for_leave()

    start("vm1", serve)
    lines = (Request("device_del"), qmp.STATUS, Await("DEVICE_DELETED", 30), Request("netdev_del"))
    began = time.monotonic()
    heard = hold(Talk("vm1", lines, LIMIT_S))["vm1"]
    assert time.monotonic() - began < 5
    assert heard == Heard("vm1", (Refused("there is no net1"), {}))


def test_a_talk_ends_when_its_time_is_up(start: Start) -> None:
    """`timeout` sends SIGTERM to the whole group: what waits for a guest ends at once."""
    start("vm1", after_the_greeting(b'{"id": "vmops-2", "return": {}}\n'))
    _, text = text_of(Talk("vm1", (qmp.POWER_DOWN, Await("", 60)), LIMIT_S))
    words = ["timeout", "-k", "10", "1", "dash", "-c", text]
    began = time.monotonic()
    done = subprocess.run(words, capture_output=True, timeout=30, check=False)
    assert done.returncode in (124, 125)
    assert time.monotonic() - began < 4


def test_a_talk_goes_on_only_where_an_answer_is_the_one_that_is_needed(start: Start) -> None:
    def serve(client: Client) -> None:
        client.say(GREETING)
        client.answer()
        client.answer({"qom-get": "52:54:00:00:00:01"})
        client.answer()
        client.wait_for_leave()

    for vm in ("vm1", "vm2"):
        start(vm, serve)
    asked = Request("qom-get", {"path": "/machine/x", "property": "mac"})
    heard = hold(
        Talk("vm1", (asked, Need("52:54:00:00:00:01"), qmp.STATUS), LIMIT_S),
        Talk("vm2", (asked, Need("52:54:00:00:00:02"), qmp.STATUS), LIMIT_S),
    )
    assert (heard["vm1"].ended, len(heard["vm1"].answers)) == ("whole", 2)
    assert (heard["vm2"].ended, len(heard["vm2"].answers)) == ("other", 1)
    assert "52:54:00:00:00:01" in why(heard["vm2"])


def test_one_of_several_texts_ends_a_wait(start: Start) -> None:
    def serve(client: Client) -> None:
        client.say(GREETING)
        client.answer()
        client.say({"event": "MIGRATION", "data": {"status": "active"}})
        client.say({"event": "MIGRATION", "data": {"status": "failed"}})
        client.answer()
        client.wait_for_leave()

    start("vm1", serve)
    either = ('"status": "completed"', '"status": "failed"')
    wait = Await("MIGRATION", 10, holding=either, then="go on")
    heard = hold(Talk("vm1", (wait, qmp.STATUS), LIMIT_S))["vm1"]
    assert (heard.ended, len(heard.answers)) == ("whole", 1)
