"""Talks with the monitors of a worker's VMs: one command for all of them, and what came of it.

The worker carries lines (core/script/shell/qmp.pl); requests are built and answers are read here.
Who sits behind a monitor may be a QEMU that its guest rules: whatever it says or keeps back costs
its own VM's talk only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any, Final, Literal, NamedTuple, cast

from vmops.core.script.command import Command
from vmops.core.script.functions import MONITOR_BYTES, TALK, WITH_FILES
from vmops.core.tools.qmp import Request

ANSWER_LIMIT_S = 5.0

_LONGEST_QUOTE = 200

Ending = Literal[
    "whole",
    "no socket",
    "held",
    "busy",
    "silent",
    "hung up",
    "too much",
    "not qmp",
    "no tap",
    "no file",
    "other",
]
"""How a talk ended.

`whole`: every line was done, or the talk was over by an event, or after a request that was refused,
and QEMU is still there; `hung up`: QEMU closed the session, which it does when it ends, awaited or
not; `no socket`: nobody listens; `held`: a signal holds QEMU (SIGSTOP); `busy`: nobody greeted, as
others have its turn or QEMU stands still; `silent`: an answer, or an event that had to come, did
not come in time; `no tap`, `no file`: it could not be opened, or not be handed over;
`other`: an answer was not the one that was needed.
"""

_ENDINGS: Final[Mapping[str, Ending]] = {
    "whole": "whole",
    "no-socket": "no socket",
    "held": "held",
    "busy": "busy",
    "silent": "silent",
    "hung-up": "hung up",
    "too-much": "too much",
    "not-qmp": "not qmp",
    "no-tap": "no tap",
    "no-file": "no file",
    "other": "other",
}


class Await(NamedTuple):
    """Wait up to `seconds` for an event whose line holds the text `holding`, or one of several.

    Without a name it is the end of the session that is waited for. An event that has come before
    counts. `stop`: when it comes the talk is over, and when it does not come in time the next lines
    are tried. `go on`: when it comes the next lines follow, and when it does not the talk is over.
    """

    event: str
    seconds: float
    holding: str | tuple[str, ...] = ""
    then: Literal["stop", "go on"] = "stop"


class WithTap(NamedTuple):
    """Open that TAP, as root, and give it to QEMU under its own name (`getfd`)."""

    tap: str


class WithFile(NamedTuple):
    """Open that file, with the rights of the SSH user, and give it to QEMU (`add-fd`).

    QEMU then opens it as /dev/fdset/`set`, and calls it `path`, which has no `~`.
    """

    path: str
    set: int
    writable: bool = False


class Need(NamedTuple):
    """Go on only where the answer before holds this text, or where it is `absent` there."""

    text: str
    absent: bool = False


Line = Request | Await | WithTap | WithFile | Need
"""What a talk consists of."""

EVERY_VM = "*"
"""In place of a VM's name: the same talk with each VM that has a run directory."""


_MOST_VMS = 8
"""How many VMs may say all that one may, where every VM is asked."""


class Talk(NamedTuple):
    """What is said to one VM's monitor. `limit_s` is for its greeting, and for each answer.

    Requests between two waits are sent together. When one of them is refused, nothing follows.
    """

    vm: str
    lines: tuple[Line, ...]
    limit_s: float = ANSWER_LIMIT_S


class Refused(NamedTuple):
    """QEMU's reason for refusing a request."""

    text: str


Answer = Any | Refused
"""What a request returned, or why it was refused."""


class Heard(NamedTuple):
    """What came of a talk: answers in the order of the requests, as far as they came, and events.

    `said` has the reason where no session came about, or the first words of what is no QMP.
    """

    vm: str
    answers: tuple[Answer, ...] = ()
    events: tuple[Mapping[str, Any], ...] = ()
    ended: Ending = "whole"
    said: str = ""


def talk(talks: Sequence[Talk]) -> Command:
    """All these talks at once, by one process. What it prints is for `read_talk`.

    It bounds itself. It ends with 0 when every request was granted, and the last event that was
    awaited, or the end of QEMU in its place, has come. The requests travel on its standard input:
    one may hold a password. Raises ValueError for what cannot be the name of a run directory.
    """
    for entry in talks:
        if not entry.vm or entry.vm.startswith(".") or set(entry.vm) & set("/ \t\r\n\0"):
            raise ValueError(f"{entry.vm!r} is not the name of a VM")
    lines = [line for entry in talks for line in _lines(entry)]
    stdin = "".join(f"{line}\n" for line in lines).encode()
    most = sum(_MOST_VMS if entry.vm == EVERY_VM else 1 for entry in talks)
    opens = any(isinstance(line, WithFile) for entry in talks for line in entry.lines)
    words = (WITH_FILES, TALK) if opens else (TALK,)
    return Command(words, stdin, most_bytes=most * 2 * MONITOR_BYTES)


def _lines(entry: Talk) -> Iterator[str]:
    yield f"vm {entry.vm} {entry.limit_s:g}"
    for line in entry.lines:
        if isinstance(line, Request):
            yield f"say {line}"
        elif isinstance(line, WithTap):
            yield f"tap {line.tap}"
        elif isinstance(line, WithFile):
            request = Request("add-fd", {"fdset-id": line.set, "opaque": line.path})
            how = "rw" if line.writable else "ro"
            yield f"file {how} {line.path.encode().hex()} {request}"
        elif isinstance(line, Need):
            yield f"{'lack' if line.absent else 'need'} {line.text.encode().hex()}"
        else:
            then = line.then.partition(" ")[0]
            holding = ",".join(text.encode().hex() for text in _either(line.holding))
            yield f"wait {line.seconds:g} {then} {line.event or '-'} {holding}"


def _either(holding: str | tuple[str, ...]) -> tuple[str, ...]:
    return (holding,) if isinstance(holding, str) else holding


def only(heard: Heard, lines: Sequence[Line]) -> Heard:
    """What was answered to the first requests of a talk, which were these."""
    requests = sum(isinstance(line, Request | WithTap | WithFile) for line in lines)
    return heard._replace(answers=heard.answers[:requests])


def is_refused(heard: Heard) -> bool:
    """True when QEMU refused one of the requests."""
    return any(isinstance(answer, Refused) for answer in heard.answers)


def why(heard: Heard) -> str:
    """In words, why a talk did not come to its end; empty where it did."""
    refused = next((answer for answer in heard.answers if isinstance(answer, Refused)), None)
    if refused is not None:
        return f"QEMU refuses it: {refused.text}"
    words: dict[str, str] = {
        "no socket": "the monitor takes no client",
        "held": "its QEMU is held by a signal (SIGSTOP)",
        "busy": "the monitor is busy or does not answer",
        "silent": "the monitor does not answer in time",
        "hung up": "QEMU ended, or hung up",
        "too much": "its monitor says too much",
        "not qmp": "what its monitor says is no QMP",
        "no tap": "its TAP cannot be handed over",
        "no file": "its file cannot be handed over",
        "other": "QEMU has something else in that place",
    }
    if heard.ended not in words:
        return ""
    return f"{words[heard.ended]}: {heard.said}" if heard.said else words[heard.ended]


def read_talk(raw: bytes) -> Mapping[str, Heard]:
    """What came of each talk, by VM. Raises ValueError where the frame around them is broken."""
    found: dict[str, Heard] = {}
    at = 0
    while at < len(raw):
        end = raw.find(b"\n", at)
        header = raw[at:end] if end >= 0 else raw[at:]
        try:
            vm, ending, *sizes = header.decode("ascii").split(" ")
            requests, said, heard = map(int, sizes)
            ended = _ENDINGS[ending]
        except (ValueError, KeyError) as broken:
            raise ValueError("the talk with the monitors cannot be read") from broken
        at = end + 1
        if not at or min(requests, said, heard) < 0 or len(raw) - at < said + heard:
            raise ValueError("the talk with the monitors is cut short")
        words = raw[at : at + said].decode(errors="replace")
        lines = raw[at + said : at + said + heard]
        found[vm] = _heard(Heard(vm, ended=ended, said=words), requests, lines)
        at += said + heard
    return found


def _heard(talk: Heard, requests: int, lines: bytes) -> Heard:
    """The answers and events among the whole lines that a monitor sent to that many requests.

    The first line is the greeting, and the request with id vmops-1 asked for the capabilities. What
    follows a line that is no QMP is left out.
    """
    answers: dict[int, Answer] = {}
    events: list[Mapping[str, Any]] = []
    for line in lines.split(b"\n")[1:-1]:
        try:
            message = _message(line)
        except ValueError:
            quote = line[:_LONGEST_QUOTE].decode(errors="replace")
            talk = talk._replace(ended="not qmp", said=quote)
            break
        if isinstance(message.get("event"), str):
            events.append(message)
        elif (number := _number(message.get("id"))) is not None:
            answers.setdefault(number, _answer(message))
    if isinstance(refused := answers.get(1), Refused):
        talk = talk._replace(said=refused.text)
    came = takewhile(answers.__contains__, range(2, requests + 1))
    return talk._replace(answers=tuple(answers[n] for n in came), events=tuple(events))


def _message(line: bytes) -> Mapping[str, Any]:
    try:
        message = json.loads(line)
    except RecursionError as deep:
        raise ValueError("nested too deep") from deep
    if not isinstance(message, dict):
        raise ValueError("not an object")
    return cast("Mapping[str, Any]", message)


def _number(identity: Any) -> int | None:
    """Which of our requests an answer belongs to."""
    if not isinstance(identity, str) or not identity.startswith("vmops-"):
        return None
    number = identity.removeprefix("vmops-")
    return int(number) if number.isascii() and number.isdigit() and len(number) < 6 else None


def _answer(message: Mapping[str, Any]) -> Answer:
    if "error" not in message:
        return message.get("return")
    error = message["error"]
    text = error.get("desc") if isinstance(error, dict) else None
    return Refused(str(text or "QEMU does not say why"))
