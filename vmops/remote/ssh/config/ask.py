"""`ssh -G NAME`: what OpenSSH's own client makes of its configuration, asked once for a name.

ssh takes ~ from the passwd entry and not from HOME, and an Include from there too. So the files go
to it by a file of ours: what includes others is copied with the names written out, and at the end
stand the user and the port for where nobody says any.
"""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from vmops.core.inventory.complaints import typed
from vmops.remote.ssh.config.reader import Answers, Query
from vmops.remote.ssh.config.text import DEPTH, Block, Files, Unreadable, blocks_of, lines_of

LIMIT_S = 30.0
"""A `Match exec` may take its time."""

_HARMLESS = frozenset(
    [
        "sendenv",
        "hashknownhosts",
        "gssapiauthentication",
        "gssapidelegatecredentials",
        "forwardx11",
        "forwardx11trusted",
    ]
)
"""What distributions write into /etc/ssh/ssh_config: there is nothing to ask about."""


class Asked:
    """One question to ssh; `begin` starts it, `answer` waits for what it says."""

    def __init__(self, query: Query, files: Files) -> None:
        self._query = query
        self._lock = threading.Lock()
        self._result: Answers | Unreadable | None = None
        self._staged = _staged(files, query.default_user, query.default_port)
        words = ["ssh", "-F", str(self._staged.root), "-G"]
        if query.user is not None:
            words += ["-l", query.user]
        if query.port is not None:
            words += ["-p", str(query.port)]
        self._process = subprocess.Popen(
            [*words, "--", query.name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def answer(self) -> Answers:
        """What ssh said. Raises Unreadable with its own words, or after 30 s."""
        with self._lock:
            if self._result is None:
                self._result = self._read()
        if isinstance(self._result, Unreadable):
            raise self._result
        return self._result

    def _read(self) -> Answers | Unreadable:
        try:
            out, err = self._process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            with suppress(OSError):
                os.killpg(self._process.pid, 9)
            self._process.communicate()
            return Unreadable(
                f"{typed('ssh', '-G', self._query.name)} took longer than {LIMIT_S:g} s"
            )
        if self._process.returncode != 0:
            said = self._staged.original(err.decode(errors="replace")).strip()
            return Unreadable(said.splitlines()[0] if said else "ssh cannot read it")
        return _parsed(out.decode(errors="surrogateescape"))


def _parsed(text: str) -> Answers:
    found: dict[str, list[str]] = {}
    for line in text.split("\n"):
        keyword, _, value = line.partition(" ")
        found.setdefault(keyword.lower(), []).append(value)
    return {keyword: tuple(values) for keyword, values in found.items()}


_questions: dict[tuple[Query, Files], Asked] = {}
_questions_lock = threading.Lock()


def begin(query: Query, files: Files) -> Asked:
    """Ask, unless this was asked in this process already; does not wait."""
    with _questions_lock:
        if (query, files) not in _questions:
            _questions[query, files] = Asked(query, files)
        return _questions[query, files]


def is_needed(files: Files) -> bool:
    """Is there a configuration to read, and somebody to ask?

    ssh itself refuses to work for a number without a passwd entry. Raises OSError.
    """
    if not _has_ssh():
        return False
    try:
        return not all(map(_says_nothing, blocks_of(files)))
    except Unreadable:
        return True


def _says_nothing(block: Block) -> bool:
    header = block.header
    if header is not None and (header.keyword, header.rest) != ("host", "*"):
        return not block.settings and header.keyword == "host"
    return all(line.keyword in _HARMLESS for line in block.settings)


@cache
def _has_ssh() -> bool:
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        return False
    return shutil.which("ssh") is not None


class _Staged:
    """The files as ssh is given them; all is gone at the end of the process."""

    def __init__(self, files: Files, default_user: str, default_port: int) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="vmops-ssh-"))
        self._owner = os.getpid()
        atexit.register(self._remove)
        self._files = files
        self._staged: dict[str, Path] = {}
        lines = [f"Include {self._stage(path, ())}\n" for path in files.present()]
        user = default_user.replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'Host *\n  User "{user}"\n  Port {default_port}\n')
        self.root = self._folder / "config"
        self.root.write_text("".join(lines))

    def _stage(self, path: str, within: tuple[str, ...]) -> Path:
        """A file of ours that is or copies the one at `path`; its name has no odd character."""
        if path in within or len(within) > DEPTH:
            raise Unreadable(f"{path}: files include each other without an end")
        if path in self._staged:
            return self._staged[path]
        staged = self._folder / str(len(self._staged))
        self._staged[path] = staged
        includes = [line for line in lines_of(path) if line.keyword == "include"]
        if not includes:
            staged.symlink_to(Path(path).absolute())
            return staged
        text = Path(path).read_bytes().split(b"\n")
        for line in includes:
            files = self._files.included(line)
            names = [str(self._stage(file, (*within, path))) for file in files]
            text[line.number - 1] = " ".join(["Include", *names]).encode() if names else b""
        staged.write_bytes(b"\n".join(text))
        return staged

    def _remove(self) -> None:
        """A forked child ends too, and leaves its parent's files alone."""
        if os.getpid() == self._owner:
            shutil.rmtree(self._folder, ignore_errors=True)

    def original(self, text: str) -> str:
        """`text` with the operator's own names of the files in it."""
        for path, staged in reversed(self._staged.items()):
            text = text.replace(str(staged), path)
        return text


@cache
def _staged(files: Files, default_user: str, default_port: int) -> _Staged:
    return _Staged(files, default_user, default_port)


def raw_words(files: Files, keyword: str) -> Iterator[list[str]]:
    """What the files say behind a keyword, wherever: `ssh -G` does not quote what it prints."""
    with suppress(Unreadable):
        for block in blocks_of(files):
            for line in block.settings:
                if line.keyword == keyword:
                    yield line.words
