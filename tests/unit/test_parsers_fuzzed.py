"""Whatever a worker answers, a parser gives a value or the one error that it documents, soon.

Samples of true answers are taken apart and mixed with what hurts parsers; and answers of some
hundred kB, made of one hurtful piece again and again, cost about what their length costs.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmops.core import facts
from vmops.core.devices import machine
from vmops.core.facts import callers, host, logs, vms
from vmops.core.facts.question import Answers, Question, Unanswered
from vmops.core.script import parse as script
from vmops.core.script.command import Block, BlockResult, Step, StepResult, command
from vmops.core.tools import agent, image_chain, ip, monitor, ovs, process, qmp, sockets
from vmops.core.tools.lines import tc

from .worlds import VM1

NONCE = "0123456789abcdef" * 2
MARK = "7a0c"
PATH = "/run/vmops/vm1/console.sock"
BIG = 300_000
MOST_CPU_S = 3.0
MOST_BYTES = 150
"""For each byte of an answer: Python's strings, lists and tuples take what they take."""


QUEUES = (
    '[{"kind":"noqueue","handle":"0:","dev":"lo","root":true,"refcnt":2,"options":{}},'
    '{"kind":"netem","handle":"766d:","dev":"tap_1_eth1","root":true,"refcnt":2,"options":'
    '{"limit":104,"delay":{"delay":0.02,"jitter":0.005,"correlation":0},"loss-random":{"loss":0.01,'
    '"correlation":0},"rate":{"rate":1250000,"packetoverhead":0},"ecn":false,"gap":0}},'
    '{"kind":"clsact","handle":"ffff:","dev":"tap_1_eth1","parent":"ffff:fff1","options":{}},'
    '{"kind":"tbf","handle":"766d:","dev":"ifb_1_eth1","root":true,"refcnt":2,"options":'
    '{"rate":1250000,"burst":16384,"lat":100000}}]'
)


class Parser(NamedTuple):
    """A parser of bytes, a true answer, and what it may raise."""

    read: Callable[[bytes], object]
    sample: bytes
    raises: tuple[type[Exception], ...] = ()


def text(read: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda raw: read(raw.decode(errors="replace"))


def asked(question: Question[Any]) -> Callable[[bytes], object]:
    """An answer to a question, its parts those of the VMs that it names."""

    def read(raw: bytes) -> object:
        head, *rest = raw.split(b"@@PART ")
        named = [part.partition(b"\n") for part in rest]
        parts = tuple((name.decode(errors="replace"), said) for name, _, said in named)
        step = Step(question.name, question.commands)
        result = StepResult(step, 0, stdout=head, stderr=raw, parts=parts)
        return Answers(BlockResult("", "done", (result,)))[question]

    return read


def questions() -> Iterator[Question[Any]]:
    """Every question of core/facts, those too that are made to measure."""
    there: dict[int, Question[Any]] = {}
    for found in pkgutil.iter_modules(facts.__path__, f"{facts.__name__}."):
        module = importlib.import_module(found.name)
        there |= {id(v): v for v in vars(module).values() if isinstance(v, Question)}
    yield from there.values()
    yield host.free_disk_mb("~")
    yield vms.images([VM1])
    yield callers.socket_of("vm1")
    yield callers.callers_of("vm1")
    yield callers.holders_of("vm1")
    yield from logs.Reader("vm1", logs.Marks(5, 5)).questions


def whole_script(raw: bytes) -> object:
    step = Step("a", (command("true"),), undo=(command("true"),))
    blocks = [Block("vm1", (step, step)), Block("vm2", (step,))]
    return script.parse(blocks, nonce=NONCE, stdout=raw, stderr=raw)


def look(raw: bytes) -> object:
    """What QEMU answered; that it is JSON has been seen by then."""
    try:
        answers = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return qmp.read_look(answers if isinstance(answers, list) else [answers])


QEMU = "qemu-system-x86_64\0-name\0vm1\0-pidfile\0/run/vmops/vm1/pid\0-m\000512M\0-vnc\0:1\0"
NETDEV = "-netdev\0tap,id=net0,ifname=tap_1_a\0-device\0e1000,netdev=net0,mac=52:54:00:0:0:1\0"
STAT = "4821 (qemu) S " + " ".join(map(str, range(4, 24))) + "\n"
STATUS = "Name:\tqemu\nUid:\t7\t7\t7\t7\nVmRSS:\t 99 kB\nnonvoluntary_ctxt_switches:\t3\n"
PROCESS = (STAT + STATUS + QEMU + NETDEV).encode()
TABLES = (
    '{"headings":["name","datapath_type","ports"],"data":[["br-int","",["uuid","p1"]]]}\n'
    '{"headings":["_uuid","name","tag","trunks","vlan_mode","interfaces","fake_bridge","protected"],"data":[[["uuid","p1"],'
    '"tap1",101,["set",[]],["set",[]],["uuid","i1"],false,false]]}\n'
    '{"headings":["_uuid","name","external_ids","ofport","error","type","options"],"data":[[["uuid","i1"],"tap1",'
    '["map",[["vmops-vm","vm1"]]],3,["set",[]],"",["map",[]]]]}\n'
)
UNIX = (
    f'u_str ESTAB  0 0 {PATH} 938710 * 940000 users:(("qemu",pid=58,fd=18))\n'
    'u_str ESTAB  0 0 * 940000 * 938710 users:(("sshd",pid=97,fd=7))\n'
    'ESTAB 0 0 10.0.0.1:22 10.0.0.2:4711 users:(("sshd",pid=97,fd=4))\n'
)
GREETED = b'{"QMP": {}}\n{"return": {}, "id": "vmops-1"}\n'
STATUS_SAID = b'{"return": {"status": "running"}, "id": "vmops-2"}\n{"event": "SHUTDOWN"}\n'
HEARD = GREETED + STATUS_SAID
TALK = b"vm1 whole 2 0 %d\n%s" % (len(HEARD), HEARD)
DRIVES = json.dumps(
    [
        {"status": "running"},
        [{"device": "d", "inserted": {"image": {"filename": "/a", "virtual-size": 5}}}],
        [{"device": "d", "stats": {"rd_bytes": 1, "wr_bytes": 2}}],
        [{"label": "agent", "frontend-open": True}],
        [{"fdset-id": 7, "fds": [{"fd": 9, "opaque": "/a"}]}],
    ]
).encode()
CHAIN = f"name {b'/a'.hex()} as {b'qcow2'.hex()} looks qcow2 mode 0644 owner 7 size 9\n"
HOST = (
    "home /home/ubuntu\nuser ubuntu\nuptime 5.5\nMemTotal: 99\nMemAvailable: 98\ncpus 0-3,6\n"
    "uids 4294967295\nkvm usable\ntun there\nqemu /usr/bin/qemu\n"
)
FRAMES = (
    f"@@{NONCE} {MARK}\n@@{MARK} b 0 0\nsaid\n@@{MARK} p vm1\nmore\n@@{MARK} e 0 0 0\n"
    f"@@{MARK} u 0 1 7\n@@{MARK} x 0 done\n@@{MARK} x 1 lost\n"
)
SAID = (
    "@@PART vm1\ndirectory 7\nrecord 4821 22 7\npid 4821\n" + STAT + STATUS + QEMU + NETDEV
).encode()

ENDED = b'{"exited": true, "exitcode": 3, "out-data": "YQ==", "err-data": "YWI="}'
AGENTS = b"vm1 whole %d\n" % (len(ENDED) + 13) + b'{"return": ' + ENDED + b"}\n"
ADDRESSES = (
    b'[{"name": "eth0", "hardware-address": "52:54:00:00:00:01",'
    b' "ip-addresses": [{"ip-address": "10.0.0.5", "prefix": 24}]}]'
)


def answer(raw: bytes) -> Any:
    """What an agent answered; that it is JSON has been seen by then."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


PARSERS = {
    "script": Parser(whole_script, FRAMES.encode()),
    "ovs": Parser(text(ovs.parse), TABLES.encode(), (ValueError,)),
    "taps": Parser(text(ip.parse_taps), b"tap1 up 1 1500 vmops:vm1\ntap2 down 0 9000 \n"),
    "queues": Parser(text(tc.parse), QUEUES.encode(), (ValueError,)),
    "traffic": Parser(text(ip.parse_traffic), b"h\n tap1: 1 2 3 4 5 6 7 8 9 10\n"),
    "process": Parser(process.parse, PROCESS, (ValueError,)),
    "command line": Parser(
        lambda raw: machine.parse(raw.decode(errors="replace").split("\0")),
        (QEMU + NETDEV).encode(),
    ),
    "connected": Parser(text(lambda said: sockets.read_who(said, PATH)), UNIX.encode()),
    "counted": Parser(
        text(lambda said: sockets.read_count(said, PATH)),
        f"0: 00000003 00000000 00000000 0001 03 926 {PATH}\n".encode(),
    ),
    "talk": Parser(monitor.read_talk, TALK, (ValueError,)),
    "talk with agents": Parser(agent.read_talk, AGENTS, (ValueError,)),
    "end of a program": Parser(lambda raw: agent.read_end(answer(raw)), ENDED, (ValueError,)),
    "addresses": Parser(lambda raw: agent.read_addresses(answer(raw)), ADDRESSES),
    "look": Parser(look, DRIVES, (ValueError,)),
    "chain": Parser(text(image_chain.parse), f"{CHAIN}\n".encode(), (ValueError,)),
    "chains": Parser(
        text(image_chain.parse_several), (CHAIN + "\n7 1:2\n").encode(), (ValueError,)
    ),
    "holders": Parser(text(image_chain.parse_holders), b"17\n18\n", (ValueError,)),
    **{
        f"question {n}: {question.name}": Parser(asked(question), SAID, (Unanswered,))
        for n, question in enumerate(questions())
    },
}
"""Every parser of what comes from a worker."""

SAMPLES = [parser.sample for parser in PARSERS.values()] + [HOST.encode(), TABLES.encode(), TALK]

HURTFUL = [
    b"", b" ", b"\n", b"\0", b"\r", b"\x1b[2J", "\u2028".encode(), "²".encode(), "٣".encode(),
    b"\xff", b"-1", b"9" * 5000, b"0x7", b"1e999", b"Infinity", b"NaN", b"null", b"true", b'"',
    b"[" * 3000, b'{"a":' * 3000, b"[]", b"{}", b'["set",[]]', b'["uuid"]', b",", b"=", b",,",
    b"-", b"--", b"/", b":", b")", b") ", b'("', b"@@", f"@@{MARK} ".encode(), b"@@PART x\n",
    b"odd", b"adopted", b"directory", b"whole 0 0 0\n", b"vm1 whole 1 1 1\n",
]  # fmt: skip


@st.composite
def answers(draw: st.DrawFn, sample: bytes) -> bytes:
    """A true answer, this parser's as a rule, with pieces put in place of others."""
    raw = draw(st.sampled_from([sample, sample, *SAMPLES]))
    pieces = st.one_of(st.sampled_from(HURTFUL), st.binary(max_size=8))
    words = [found.span() for found in re.finditer(rb"[\w./+]+", raw)]
    for begin, end in draw(st.lists(st.sampled_from(words or [(0, 0)]), max_size=1)):
        raw = raw[:begin] + draw(pieces) + raw[end:]
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(raw)))
        raw = raw[:at] + draw(pieces) + raw[at + draw(st.sampled_from([0, 0, 1, 3, 20])) :]
    return raw


def named(raw: bytes) -> str:
    return repr(raw[:60])


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_parser_raises_nothing_but_what_it_documents(name: str, data: st.DataObject) -> None:
    parser = PARSERS[name]
    raw = data.draw(answers(parser.sample))
    with suppress(*parser.raises):
        parser.read(raw)


@pytest.mark.parametrize("name", PARSERS)
def test_a_true_answer_is_read(name: str) -> None:
    """A sample that no parser takes would be no test of it."""
    if not name.startswith("question"):
        PARSERS[name].read(PARSERS[name].sample)


PIECES = [*(p for p in HURTFUL if p), b"a", b"1", b"a b ", b"1 ", b"(", b'("a",pid=1,fd=1)',
          b"tap1 up 1 1500 \n", b"0-1,", f"@@{MARK} p vm1\n".encode(),
          f"@@{MARK} e 0 0 0\n".encode(), f"@@{MARK} b 0 0\n".encode(), b"v whole 0 0 0\n",
          b"v: 1 2 3 4 5 6 7 8 9\n",
          CHAIN.encode(), b"7 1:2\n", b"-netdev\0tap,id=a\0", b"-device\0a,netdev=a\0",
          b"u_str ESTAB 0 0 " + PATH.encode() + b' 1 * 1 ("a",pid=1,fd=1)\n',
          b'ESTAB 0 0 a:1 b:1 ("a",pid=1,fd=1)\n', b"a=1,", b"users:((", b'{"event": "a"}\n',
          b"@@PART vm1\ndirectory 7\n"]  # fmt: skip


@pytest.mark.parametrize("name", PARSERS)
def test_what_is_long_costs_what_is_long(name: str) -> None:
    """A true answer's beginning, then one piece again and again, then its end."""
    parser = PARSERS[name]
    middle = len(parser.sample) // 2
    for piece in PIECES:
        many = piece * (BIG // len(piece))
        for raw in (
            many,
            parser.sample[:middle] + many + parser.sample[middle:],
            parser.sample + many,
        ):
            begun = time.process_time()
            with suppress(*parser.raises):
                parser.read(raw)
            assert time.process_time() - begun < MOST_CPU_S, f"{named(piece)} takes too long"


@pytest.mark.parametrize("name", PARSERS)
def test_what_is_long_takes_no_more_memory_than_that(name: str) -> None:
    parser = PARSERS[name]
    for piece in (b"\n", b"1 ", b",", b"[],", b"@@PART x\n", parser.sample):
        raw = parser.sample + piece * (BIG // 3 // len(piece))
        tracemalloc.start()
        with suppress(*parser.raises):
            parser.read(raw)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < MOST_BYTES * len(raw), f"{named(piece)} takes {most} bytes"
