"""What a guest agent is asked, and what its answers are taken for, whatever they hold."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.core.devices import agent as port
from vmops.core.plan.starting import launch
from vmops.core.script import script
from vmops.core.script.command import Block, Step
from vmops.core.tools import agent, qemu
from vmops.core.tools.agent import Address, AgentHeard, AgentTalk, Ended, Poll

from .test_disk import WEB, world
from .worlds import EMPTY, VM1, WORKER, commands

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner),
    max_leaves=20,
)


def test_a_vm_with_an_image_has_a_port_and_the_documented_one_has_none() -> None:
    words = port.words(WEB)
    assert port.is_there(qemu.options(["qemu", *words]))
    assert "path=/run/vmops/vm1/agent.sock" in words[1]
    assert port.words(VM1) == ()
    (started, *_) = commands(launch(WORKER, WEB, world()), "QEMU")
    assert port.PORT in started
    (started, *_) = commands(launch(WORKER, replace(VM1, interfaces=()), EMPTY), "QEMU")
    assert port.PORT not in started


def test_words_are_carried_as_they_are() -> None:
    argv = ["/bin/echo", "a b", "$(id)", "'\n\"", "--", "ü"]
    entry = agent.talk([AgentTalk("web1", (agent.execute(argv), agent.await_end(7, seconds=2)))])
    vm, say, poll, rest = (entry.stdin or b"").decode().split("\n")
    assert (vm, rest) == ("vm web1 5 10", "")
    asked = json.loads(say.removeprefix("say "))
    assert asked["arguments"]["path"] == "/bin/echo"
    assert asked["arguments"]["arg"] == argv[1:]
    assert poll.startswith('poll 2 exited {"execute": "guest-exec-status"')
    for name in ("", ".lock", "a/b", "a b", "a\nsay {}"):
        with pytest.raises(ValueError, match="is not the name"):
            agent.talk([AgentTalk(name, ())])


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ({"exited": False}, Ended(None)),
        ({"exited": True, "exitcode": 3, "out-data": "YQ=="}, Ended(3, b"a")),
        ({"exited": True, "signal": 9, "err-data": "YQ=="}, Ended(137, b"", b"a")),
        ({"exited": True, "exitcode": 0, "out-truncated": True}, Ended(0, is_cut=True)),
        ({"exited": True, "exitcode": 256 * 7 + 2}, Ended(2)),
    ],
)
def test_how_a_program_ended_is_read(answer: Any, found: Ended) -> None:
    assert agent.read_end(answer) == found


@given(JSON)
def test_what_is_no_answer_is_a_value_error_and_no_other(answer: Any) -> None:
    for read in (agent.read_end, agent.read_number, lambda said: agent.unpacked(said, "buf-b64")):
        with suppress(ValueError):
            read(answer)
    assert isinstance(agent.read_addresses(answer), tuple)


@given(st.binary(max_size=300))
def test_a_talk_is_read_or_refused_whatever_came(raw: bytes) -> None:
    with suppress(ValueError):
        agent.read_talk(raw)
    framed = b"web1 whole %d\n" % len(raw) + raw
    assert set(agent.read_talk(framed)) == {"web1"}


def test_only_addresses_are_taken_for_addresses() -> None:
    mac = "52:54:00:03:e9:01"

    def card(name: Any, *addresses: Any, mac: Any = mac) -> dict[str, Any]:
        listed = [{"ip-address": a, "prefix": 24, "ip-address-type": "ipv4"} for a in addresses]
        return {"name": name, "hardware-address": mac, "ip-addresses": listed}

    found = agent.read_addresses(
        [
            card("lo", "127.0.0.1", "::1"),
            card("eth0", "10.0.0.5", "fe80::1", "2001:db8::5"),
            card("eth1\x1b[31m", "10.0.0.6"),
            card("eth2", "10.0.0.7\x1b]0;x\x07", 7, None),
            card("eth3", "10.0.0.8", mac="\x1b"),
            card(7, "10.0.0.9"),
            "rubbish",
        ]
    )
    assert found == (
        Address("eth0", "10.0.0.5/24", mac),
        Address("eth0", "2001:db8::5/24", mac),
        Address("eth3", "10.0.0.8/24", ""),
    )
    many = agent.read_addresses([card("eth0", *(["10.0.0.1"] * 5000))])
    assert len(many) == agent.MOST_ADDRESSES


def test_a_dry_run_shows_what_is_asked_and_not_what_a_file_holds() -> None:
    lines = (agent.write_file(3, b"secret" * 9), agent.await_end(7, seconds=2))
    block = Block("", (Step("copy", (agent.talk([AgentTalk("web1", lines)]),)),))
    shown = script.shown([block]).split("\n")
    to = "# to the guest agent of web1 (/run/vmops/web1/agent.sock): "
    assert shown[1].startswith(f'{to}{{"execute": "guest-file-write"')
    assert '"buf-b64": 54 bytes at most' in shown[1]
    assert base64.b64encode(b"secret").decode()[:6] not in shown[1]
    assert shown[2].startswith(f'{to}{{"execute": "guest-exec-status"')
    assert shown[2].endswith(", again for up to 2 s until it is exited")


def test_a_poll_is_a_request_of_its_own() -> None:
    poll = agent.await_end(7, seconds=2)
    assert isinstance(poll, Poll)
    assert agent.why(AgentHeard("web1")) == ""
    assert (
        base64.b64decode(json.loads(str(agent.write_file(3, b"\0a")))["arguments"]["buf-b64"])
        == b"\0a"
    )
