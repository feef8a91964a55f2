"""Blocks of steps in the words of a dry run: what a person would type, a comment for each step."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

from vmops.core.names import RunDirectory
from vmops.core.script import functions
from vmops.core.script.command import Batch, Block, Command

_PLACE = re.compile(r"\{(\d+)(\.\.\.|:)?\}")
"""In a function's words: `{1}` its first argument, `{3...}` the words from the third on, and `{1:}`
these as a command of their own."""

_READS = (" -", ">/dev/null")
"""How words end whose command reads its input, which is shown behind them: `nft -f -`."""

_DATA = re.compile(r'"(buf-b64|input-data)": "([A-Za-z0-9+/=]*)"')
"""What a file of a guest is to hold: who looks at a dry run or a log has no part in that."""

_EACH = re.compile(r"\{(\d+)\*\}")
"""A line with `{2*}` is there once for each word from the second on."""


def shown(blocks: Sequence[Block]) -> str:
    """The commands as a person would type them, for `--dry`: a comment for each step."""
    lines: list[str] = []
    for block in blocks:
        for entry in (*block.before, *block.steps):
            step = entry.together if isinstance(entry, Batch) else entry
            lines.append(f"# {block.subject}: {step.label}" if block.subject else f"# {step.label}")
            lines.extend(_shown(entry.words(), entry) for entry in step.commands)
    return "\n".join(lines)


def _shown(words: Sequence[str], entry: Command) -> str:
    def in_place(found: re.Match[str]) -> str:
        first, how = int(found[1]), found[2]
        if how == ":":
            return _shown(words[first:], entry)
        return shlex.join(words[first:]) if how else words[first]

    if words[0] == functions.TALK:
        return _talk(_text(entry.stdin or b""))
    if words[0] == functions.TALK_TO_AGENTS:
        return _talk_to_agents(_text(entry.stdin or b""))
    if said := functions.words_of(words[0]):
        text = _PLACE.sub(in_place, "\n".join(_for_each(said.split("\n"), words))).rstrip(" ")
        return f"{text}{_input(entry.stdin)}" if said.endswith(_READS) else text
    return f"sudo {shlex.join(words)}{_input(entry.stdin)}"


def _for_each(lines: Sequence[str], words: Sequence[str]) -> Iterator[str]:
    for line in lines:
        each = _EACH.search(line)
        for word in words[int(each[1]) :] if each else ("",):
            yield _EACH.sub(shlex.quote(word), line)


def _input(stdin: bytes | None) -> str:
    if not stdin:
        return ""
    text = _text(stdin)
    if not text.endswith("\n"):
        return f"  # with {len(stdin)} bytes of input"
    return f" <<'.'\n{text}."


def _text(stdin: bytes) -> str:
    """The input as text that ends with a newline; empty for bytes that are none."""
    try:
        text = stdin.decode()
    except UnicodeDecodeError:
        return ""
    return text if "\0" not in text else ""


def _talk(stdin: str) -> str:
    """Talks with monitors line by line, from the input of their command."""
    said: list[str] = []
    vm = ""
    for line in stdin.split("\n")[:-1]:
        what, _, rest = line.partition(" ")
        if what == "vm":
            vm = rest.split(" ")[0]
        elif what == "say":
            said.append(f"# to the monitor of {vm} ({RunDirectory(vm).monitor}): {rest}")
        elif what in ("need", "lack"):
            said.append(_needed(what, rest))
        elif what == "tap":
            said.append(f"# to the same: getfd {rest}, with /dev/net/tun opened as that TAP")
        elif what == "file":
            _, path, request = rest.split(" ", 2)
            opened = f"with {bytes.fromhex(path).decode()} opened as the SSH user"
            said.append(f"# to the same: {request}, {opened}")
        else:
            seconds, _, event, *_ = rest.split(" ")
            ending = "until QEMU has ended" if event == "-" else f"for {event}"
            said.append(f"# wait up to {seconds} s {ending}")
    return "\n".join(said)


def _needed(what: str, text: str) -> str:
    how = "holds" if what == "need" else "does not hold"
    return f"# go on if the answer {how} {bytes.fromhex(text).decode()}"


def _talk_to_agents(stdin: str) -> str:
    """Talks with guest agents line by line, without the content of files."""
    said: list[str] = []
    vm = ""
    for line in stdin.split("\n")[:-1]:
        what, _, rest = line.partition(" ")
        if what == "vm":
            vm = rest.split(" ")[0]
            continue
        if what in ("need", "lack"):
            said.append(_needed(what, rest))
            continue
        again = ""
        if what == "poll":
            seconds, key, rest = rest.split(" ", 2)
            again = f", again for up to {seconds} s until it is {key}"
        rest = _DATA.sub(
            lambda found: f'"{found[1]}": {len(found[2]) // 4 * 3} bytes at most', rest
        )
        said.append(f"# to the guest agent of {vm} ({RunDirectory(vm).agent}): {rest}{again}")
    return "\n".join(said)


def _size_only(found: re.Match[str]) -> str:
    return f'"{found[1]}": {len(found[2]) // 4 * 3} bytes at most'
