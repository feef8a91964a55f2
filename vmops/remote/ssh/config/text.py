"""The text of ssh_config files, taken apart as OpenSSH 8.7 and newer do: words, quotes, comments.

Nothing is decided here; `reader` does that where there is no ssh to ask.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

DEPTH = 16
"""How deep files may include each other: what OpenSSH allows."""

MOST_BLOCKS = 20_000
"""More than anybody writes; files that include each other many times over end here."""

_KEYWORD = re.compile(r'[ \t]*(?:"([^"]*)"|([^ \t="]+))[ \t]*=?[ \t]*')
_BLANKS = " \t"


class Unreadable(Exception):
    """An ssh_config that ssh would refuse, or that only ssh can read."""


class Line(NamedTuple):
    """One setting: the keyword in small letters, and what stands behind it."""

    file: str
    number: int
    keyword: str
    rest: str

    @property
    def words(self) -> list[str]:
        """The rest as words. Raises Unreadable."""
        try:
            return split(self.rest)
        except ValueError as error:
            raise self.fault(str(error)) from error

    def fault(self, why: str) -> Unreadable:
        """The error that names this line."""
        return Unreadable(f"{self.file} line {self.number}: {why}")


class Block(NamedTuple):
    """Settings under one Host or Match line; None for those above the first of a file.

    `inside` is the block whose Include brought this one in.
    """

    header: Line | None
    settings: list[Line]
    inside: Block | None = None


def split(text: str) -> list[str]:
    """The words of a line: quotes and backslashes as ssh takes them; # before a word ends it.

    Raises ValueError for a quote that is not closed.
    """
    words: list[str] = []
    at, end = 0, len(text)
    while at < end:
        if text[at] in _BLANKS:
            at += 1
            continue
        if text[at] == "#":
            break
        word, quote = [], ""
        while at < end and (quote or text[at] not in _BLANKS):
            here, following = text[at], text[at + 1 : at + 2]
            if here == "\\" and following and (following in "'\"\\" or (following == " " > quote)):
                word.append(following)
                at += 1
            elif not quote and here in "'\"":
                quote = here
            elif here == quote:
                quote = ""
            else:
                word.append(here)
            at += 1
        if quote:
            raise ValueError("a quote is not closed")
        words.append("".join(word))
    return words


def lines_of(file: str) -> list[Line]:
    """The settings of one file. Raises OSError, and Unreadable for a keyword without a value."""
    return list(_lines_of(file, Path(file).read_bytes().decode(errors="surrogateescape")))


def _lines_of(file: str, text: str) -> Iterator[Line]:
    for number, line in enumerate(text.split("\n"), start=1):
        bare = line.strip(" \t\r\f")
        found = _KEYWORD.match(bare)
        if not bare or bare.startswith("#") or found is None:
            continue
        keyword, rest = (found[1] or found[2] or "").lower(), bare[found.end() :]
        if not rest:
            raise Unreadable(f"{file} line {number}: nothing stands behind {keyword}")
        yield Line(file, number, keyword, rest)


class Files(NamedTuple):
    """Where ssh_config is: the files in their order, and the home that ~ means in them.

    `changed` tells files that were written since from those that were read.
    """

    paths: tuple[str, ...]
    home: str
    changed: tuple[int, ...] = ()
    system: str = "/etc/ssh/ssh_config"

    def included(self, line: Line) -> list[str]:
        """The files that an Include line means: relative ones in ~/.ssh, as ssh takes them."""
        beside = "/etc/ssh" if line.file == self.system else f"{self.home}/.ssh"
        found: list[str] = []
        for word in line.words:
            pattern = self.home + word[1:] if word.startswith("~/") else word
            folder = "" if pattern.startswith("/") else beside
            found += sorted(filter(os.path.isfile, glob.glob(f"{folder}/{pattern}")))  # noqa: PTH207
        return found

    def present(self) -> list[str]:
        """Those of the files that are there."""
        return [path for path in self.paths if Path(path).is_file()]


@cache
def blocks_of(files: Files) -> tuple[Block, ...]:
    """All blocks of the files, those of included files in their place. Once for a process.

    Raises Unreadable and OSError.
    """
    found: list[Block] = []
    for path in files.present():
        is_users = path == f"{files.home}/.ssh/config"
        _read(path, None, _Reading(files, found, is_users), DEPTH)
    return tuple(found)


class _Reading(NamedTuple):
    """The blocks found so far, and whether files that others might have written are refused."""

    files: Files
    found: list[Block]
    check: bool


def _read(path: str, inside: Block | None, reading: _Reading, depth: int) -> None:
    if not depth:
        raise Unreadable(f"{path}: files include each other more than {DEPTH} times")
    if len(reading.found) > MOST_BLOCKS:
        raise Unreadable(f"{path}: more than {MOST_BLOCKS} blocks, with what it includes")
    if reading.check:
        _refuse_foreign(path)
    block = Block(None, [], inside)
    reading.found.append(block)
    for line in lines_of(path):
        if line.keyword in ("host", "match"):
            block = Block(line, [], inside)
            reading.found.append(block)
        elif line.keyword == "include":
            for file in reading.files.included(line):
                _read(file, block, reading, depth - 1)
            block = Block(block.header, [], inside)
            reading.found.append(block)
        else:
            block.settings.append(line)


def _refuse_foreign(path: str) -> None:
    """ssh does not read a file of ~/.ssh/config that somebody else could have written."""
    status = Path(path).stat()
    if status.st_uid not in (0, os.getuid()) or stat.S_IMODE(status.st_mode) & 0o022:
        raise Unreadable(f"bad owner or permissions on {path}: others may write it")
