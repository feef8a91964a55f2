"""Talks with the agents of guests: one command for any number of them, and what came of it.

The worker carries lines (core/script/shell/agent.pl); requests are built and answers are read here.
A guest says what it likes: whatever it says or keeps back costs its own VM's talk only.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from vmops.core.script.command import Command
from vmops.core.script.functions import AGENT_BYTES, TALK_TO_AGENTS
from vmops.core.tools.monitor import Need, Refused
from vmops.core.tools.qmp import Request

HELLO_LIMIT_S = 5.0
"""Until it is known that there is an agent: one that listens answers in milliseconds."""

ANSWER_LIMIT_S = 10.0

Ending = Literal[
    "whole",
    "no vm",
    "no port",
    "no agent",
    "busy",
    "silent",
    "hung up",
    "too much",
    "not qga",
    "other",
]
"""How a talk ended.

`no port`: its QEMU has no port for one; `no agent`: nobody in the guest said a word; `busy`:
somebody else was talking with it all the time; `silent`: it did not answer in time; `too much`: it
said more than is read; `not qga`: what it said is no agent's answer; `other`: an answer was not the
one that was needed.
"""

_ENDINGS: Final[Mapping[str, Ending]] = {
    "whole": "whole",
    "no-vm": "no vm",
    "no-port": "no port",
    "no-agent": "no agent",
    "busy": "busy",
    "silent": "silent",
    "hung-up": "hung up",
    "too-much": "too much",
    "not-qga": "not qga",
    "other": "other",
}

_IN_WORDS: Final[Mapping[Ending, str]] = {
    "no vm": "it is not there any more",
    "no port": "its QEMU was started without a port for a guest agent",
    "no agent": "no guest agent answers in it",
    "busy": "somebody else is talking with its guest agent",
    "silent": "its guest agent does not answer in time",
    "hung up": "QEMU ended, or hung up",
    "too much": "its guest agent says too much",
    "not qga": "what its guest agent says is no answer",
    "other": "its guest agent says something else than was needed",
}

_LONGEST_QUOTE = 200


class Poll(NamedTuple):
    """A request that is made again for up to `seconds`, until the answer has no `key` that is
    false any more."""

    request: Request
    key: str
    seconds: float


Line = Request | Poll | Need
"""What a talk consists of."""


class AgentTalk(NamedTuple):
    """What is said to one VM's agent, one after the other. `hello_s` is for a sign of life,
    `limit_s` for each answer."""

    vm: str
    lines: tuple[Line, ...]
    limit_s: float = ANSWER_LIMIT_S
    hello_s: float = HELLO_LIMIT_S


class AgentHeard(NamedTuple):
    """What came of a talk: an answer to each of its lines in order, as far as they came."""

    vm: str
    answers: tuple[Any | Refused, ...] = ()
    ended: Ending = "whole"
    said: str = ""


def talk(talks: Sequence[AgentTalk]) -> Command:
    """All these talks at once, by one process. What it prints is for `read_talk`.

    It bounds itself. It ends with 0 when every line was answered, granted or not, and no answer
    lacked what was needed. Raises ValueError for what cannot be the name of a run directory.
    """
    for entry in talks:
        if not entry.vm or entry.vm.startswith(".") or set(entry.vm) & set("/ \t\r\n\0"):
            raise ValueError(f"{entry.vm!r} is not the name of a VM")
    lines: list[str] = []
    for entry in talks:
        lines.append(f"vm {entry.vm} {entry.hello_s:g} {entry.limit_s:g}")
        for line in entry.lines:
            if isinstance(line, Poll):
                lines.append(f"poll {line.seconds:g} {line.key} {line.request}")
            elif isinstance(line, Need):
                lines.append(f"{'lack' if line.absent else 'need'} {line.text.encode().hex()}")
            else:
                lines.append(f"say {line}")
    stdin = "".join(f"{line}\n" for line in lines).encode()
    return Command((TALK_TO_AGENTS,), stdin, most_bytes=AGENT_BYTES + 65536)


def is_refused(heard: AgentHeard) -> bool:
    """True when the agent refused one of the requests."""
    return any(isinstance(answer, Refused) for answer in heard.answers)


def why(heard: AgentHeard) -> str:
    """In words, why a talk did not come to its end; empty where it did."""
    refused = next((answer for answer in heard.answers if isinstance(answer, Refused)), None)
    if refused is not None:
        return f"its guest agent refuses: {refused.text}"
    words = _IN_WORDS.get(heard.ended, "")
    return f"{words}: {heard.said}" if words and heard.said else words


def read_talk(raw: bytes) -> Mapping[str, AgentHeard]:
    """What came of each talk, by VM. Raises ValueError where the frame around them is broken."""
    found: dict[str, AgentHeard] = {}
    at = 0
    while at < len(raw):
        end = raw.find(b"\n", at)
        try:
            vm, ending, size = raw[at:end].decode("ascii").split(" ")
            length, ended = int(size), _ENDINGS[ending]
        except (ValueError, KeyError) as broken:
            raise ValueError("the talk with the guest agents cannot be read") from broken
        at = end + 1
        if end < 0 or length < 0 or len(raw) - at < length:
            raise ValueError("the talk with the guest agents is cut short")
        found[vm] = _heard(AgentHeard(vm, ended=ended), raw[at : at + length])
        at += length
    return found


def _heard(found: AgentHeard, lines: bytes) -> AgentHeard:
    answers: list[Any] = []
    for line in lines.split(b"\n")[:-1]:
        try:
            answers.append(_answer(line))
        except ValueError:
            quote = line[:_LONGEST_QUOTE].decode(errors="replace")
            return found._replace(answers=tuple(answers), ended="not qga", said=quote)
    return found._replace(answers=tuple(answers))


def _answer(line: bytes) -> Any:
    try:
        message = json.loads(line)
    except RecursionError as deep:
        raise ValueError("nested too deep") from deep
    if not isinstance(message, dict) or not ("return" in message or "error" in message):
        raise ValueError("neither an answer nor a refusal")
    if "error" not in message:
        return message["return"]
    error = message["error"]
    text = error.get("desc") if isinstance(error, dict) else None
    return Refused(str(text or "it does not say why")[:1000])


# What is asked


def execute(argv: Sequence[str], *, stdin: bytes | None = None) -> Request:
    """Start a program in the guest: no shell takes the words apart. The answer has its `pid`."""
    arguments: dict[str, Any] = {"path": argv[0], "arg": list(argv[1:]), "capture-output": True}
    if stdin is not None:
        arguments["input-data"] = _packed(stdin)
    return Request("guest-exec", arguments)


def await_end(pid: int, *, seconds: float) -> Poll:
    """What became of a program, when it has ended or the time is up."""
    return Poll(Request("guest-exec-status", {"pid": pid}), "exited", seconds)


def open_file(path: str, mode: Literal["r", "w"]) -> Request:
    """Open a file of the guest; the answer is its handle."""
    return Request("guest-file-open", {"path": path, "mode": mode + "b"})


def read_file(handle: int, count: int) -> Request:
    """The next bytes of it."""
    return Request("guest-file-read", {"handle": handle, "count": count})


def write_file(handle: int, data: bytes) -> Request:
    """More bytes for it. The agent takes all of them, or refuses."""
    return Request("guest-file-write", {"handle": handle, "buf-b64": _packed(data)})


def close_file(handle: int) -> Request:
    """The end of it."""
    return Request("guest-file-close", {"handle": handle})


INTERFACES = Request("guest-network-get-interfaces")

GRANTED = Need('"error"', absent=True)
"""Go on only where the request before was not refused."""

FREEZE = Request("guest-fsfreeze-freeze")
THAW = Request("guest-fsfreeze-thaw")
IS_FROZEN = Request("guest-fsfreeze-status")
FROZEN, THAWED = Need('"frozen"'), Need('"thawed"')
"""What a guest's file systems are by that."""


def _packed(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


# What is answered


class Ended(NamedTuple):
    """What became of a program: its exit code, None while it runs; both streams, and whether the
    agent kept less than all of them."""

    exit_code: int | None
    stdout: bytes = b""
    stderr: bytes = b""
    is_cut: bool = False


def read_number(answer: Any, key: str = "") -> int:
    """A PID under its key, or a handle. Raises ValueError."""
    number = answer.get(key) if key and isinstance(answer, dict) else answer
    if isinstance(number, bool) or not isinstance(number, int):
        raise ValueError(f"there is no number in {str(answer)[:_LONGEST_QUOTE]!r}")
    return number


def read_end(answer: Any) -> Ended:
    """From guest-exec-status. A program that a signal has ended has 128 and its number, as in a
    shell. Raises ValueError."""
    if not isinstance(answer, dict) or not isinstance(answer.get("exited"), bool):
        raise ValueError("it does not say whether the program has ended")
    if not answer["exited"]:
        return Ended(None)
    signal = answer.get("signal")
    code = read_number(answer.get("exitcode", 0)) if signal is None else 128 + read_number(signal)
    is_cut = answer.get("out-truncated") is True or answer.get("err-truncated") is True
    return Ended(code & 255, unpacked(answer, "out-data"), unpacked(answer, "err-data"), is_cut)


def unpacked(answer: Any, key: str) -> bytes:
    """Bytes under that key; none where it is not there. Raises ValueError."""
    text = answer.get(key, "") if isinstance(answer, dict) else None
    if not isinstance(text, str):
        raise ValueError(f"its {key} is no text")
    return base64.b64decode(text, validate=True)


class Address(NamedTuple):
    """An address of the guest, with its prefix, and the MAC of the card that has it."""

    interface: str
    address: str
    mac: str


MOST_ADDRESSES = 64
_ADDRESS = re.compile(r"[0-9A-Fa-f:.]{2,45}")
_MAC = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")
_INTERFACE = re.compile(r"[!-~]{1,64}")


def read_addresses(answer: Any) -> tuple[Address, ...]:
    """From guest-network-get-interfaces, without those that a host has for itself. What is no
    address is left out; never raises."""
    found: list[Address] = []
    for card in answer if isinstance(answer, list) else ():
        if not isinstance(card, dict):
            continue
        name, mac = card.get("name"), card.get("hardware-address", "")
        listed = card.get("ip-addresses")
        if not isinstance(name, str) or not _INTERFACE.fullmatch(name):
            continue
        mac = mac.lower() if isinstance(mac, str) and _MAC.fullmatch(mac) else ""
        for entry in listed if isinstance(listed, list) else ():
            address, prefix = (
                (entry.get("ip-address"), entry.get("prefix"))
                if isinstance(entry, dict)
                else ("", 0)
            )
            if not isinstance(address, str) or not _ADDRESS.fullmatch(address):
                continue
            if not isinstance(prefix, int) or not 0 <= prefix <= 128:
                continue
            if not address.lower().startswith(("127.", "::1", "fe80:")):
                found.append(Address(name, f"{address}/{prefix}", mac))
    return tuple(found[:MOST_ADDRESSES])
