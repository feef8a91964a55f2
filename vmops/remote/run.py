"""A command as the SSH user, as `ssh` would run it; when its time is up it ends on the worker too.

`timeout` does not end what `sudo` started: it may not signal root's processes, and sudo may give
them a session of their own. So the command's whole tree is then looked up and ended as root.
"""

from __future__ import annotations

import math
import re
import secrets
import shlex
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import fabric

from vmops.core.inventory.model import Worker
from vmops.errors import (
    CommandTimeout,
    ConnectionLost,
    UnexpectedOutput,
    VmopsError,
    WorkFailed,
)
from vmops.remote.exchange import exchange
from vmops.remote.session import Session, bounded, encoded
from vmops.remote.ssh.connection import connection

LONGEST_COMMAND = 95_000
"""Bytes. An argument of a Linux process holds 131,071, and it travels in one, or in base64."""

COLLECTED_BYTES = 64 * 2**20
"""What is kept here of a command's output. Who wants more streams it, or has it written there."""

_LINGER_S = 1.0
"""How long output may come from what a command left in the background, after its own end."""

_ENDING_LIMIT_S = 10.0
"""The ending of a command whose time is up, too, has its time."""

_START_UP = (
    "a start-up file there (~/.bashrc, ~/.profile, ~/.zshenv) reads input, shows a menu, exits or"
    " starts another shell"
)

_FOREWORD = (
    'echo "$1 $PPID" >&2; '
    '(timeout "$2" tail --pid=$PPID -f /dev/null; [ $? -eq 124 ] && trap "" TERM && '
    "kill -s TERM -- -$PPID && sleep 2 && kill -s KILL -- -$PPID) </dev/null >/dev/null 2>&1 &"
)
"""Says which process the login shell is, the leader of the command's session, and watches it.

The watch is for the operator who vanished: it ends the command when nobody has by then, and ends
itself within a second of it. It stands before the command, so that this is read by the one login
shell that `ssh` would give it to: a second one would run its start-up files again, and would need
the command quoted for a shell that nobody knows.

This and the next are one line each, without a single quote, a backslash or an exclamation mark, so
that every login shell passes them on as they are.
"""

_HELD_BACK = 2**16
"""How much of standard error may wait for the line of the foreword."""

_WHOLE_SCRIPT = 'script=$(cat) || exit; exec </dev/null; eval "$script"'
"""bash has it all before its first line runs: no line can eat those after it. It is started with
--norc, as under sshd a bash with -c would read the start-up files again."""

_READ_BY_SH = 'line=$(printf %s "$1" | base64 -d) && eval "exec $line"'

_END_SESSION = """
tree() {
  ps -e -o pid= -o ppid= -o sid= -o stat= | awk -v seeds="LEADER $1" '
    BEGIN { n = split(seeds, seed, " "); for (i = 1; i <= n; i++) mine[seed[i]] }
    $4 !~ /^Z/ { parent[$1] = $2; session[$1] = $3 }
    END {
      do {
        more = 0
        for (p in parent)
          if (!(p in mine) && (parent[p] in mine || session[p] in mine)) { mine[p]; more = 1 }
      } while (more)
      for (p in mine) if (p in parent) printf "%s ", p
    }'
}
round=0 left=
while round=$((round + 1)) && [ $round -le 40 ]; do
  left=$(tree "$left")
  [ -n "$left" ] || exit 0
  [ $round -gt 1 ] || kill -TERM $left 2>/dev/null
  [ $round -lt 20 ] || kill -KILL $left 2>/dev/null
  sleep 0.1
done
exit 1
"""
"""SIGTERM to all that came from the command, wherever it went, and after 2 s SIGKILL.

Who was found once is followed on, also when its parent has ended since.
"""


Stream = Literal["stdout", "stderr"]

Sink = Callable[[Stream, bytes], None]
"""Takes a piece of output as it comes. What it raises ends the command's streams, and goes on."""


class CommandLine(NamedTuple):
    """What is to run, and its standard input, empty unless given.

    A `posix` line is read as a POSIX shell reads it, whatever the user's login shell is.
    """

    text: str
    stdin: bytes = b""
    posix: bool = False


def script_line(script: bytes, args: Sequence[str]) -> CommandLine:
    """bash, which reads the whole script and then runs it, with positional arguments.

    Commands of the script have an empty input, and its exit code is bash's.
    """
    words = ["bash", "--norc", "-c", _WHOLE_SCRIPT, "bash", *args]
    return CommandLine(shlex.join(words), script, posix=True)


class Finished(NamedTuple):
    """How a command ended and what it printed, byte for byte. `exit_code` -1: by a signal."""

    exit_code: int
    stdout: bytes
    stderr: bytes


class Collected:
    """A sink that keeps what it is given, up to 64 MiB; UnexpectedOutput beyond them."""

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._kept: dict[Stream, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}

    def __call__(self, stream: Stream, data: bytes) -> None:
        """One more piece."""
        kept = self._kept[stream]
        kept += data[: COLLECTED_BYTES - len(kept)]
        if len(kept) == COLLECTED_BYTES:
            raise UnexpectedOutput(
                f"the command printed more than {COLLECTED_BYTES // 2**20} MiB",
                worker=self._worker,
                cure="have it write a file there, or use the task run, which keeps nothing",
            )

    @property
    def stdout(self) -> bytes:
        """All of it so far."""
        return bytes(self._kept["stdout"])

    @property
    def stderr(self) -> bytes:
        """All of it so far."""
        return bytes(self._kept["stderr"])


def run(
    worker: Worker,
    command: CommandLine | str,
    *,
    time_limit: float | None,
    config: fabric.Config | None = None,
) -> Finished:
    """As `stream`, for output that is wanted in one piece, 64 MiB at most."""
    kept = Collected(worker.name)
    code = stream(worker, command, kept, time_limit=time_limit, config=config)
    return Finished(code, kept.stdout, kept.stderr)


def stream(
    worker: Worker,
    command: CommandLine | str,
    sink: Sink,
    *,
    time_limit: float | None,
    config: fabric.Config | None = None,
) -> int:
    """Run a command in the user's login shell, hand its output on as it comes, give its exit code.

    After `time_limit` seconds, 23 days at most, the command and all it started are ended, as root
    where sudo lets us, in 3 s at most, and CommandTimeout says whether that worked. Raises what
    `connection` raises, ConnectionLost, and WorkFailed for more than 95,000 bytes and for a login
    shell that ends without coming to the command. One that does so with another code than 0 may
    say its own word on the command, a syntax error say, and that code is given. What came before
    any of these has been handed on.
    """
    if isinstance(command, str):
        command = CommandLine(command)
    time_limit = bounded(time_limit)
    if len(encoded(command.text, worker.name)) > LONGEST_COMMAND:
        raise WorkFailed(
            f"the command is longer than {LONGEST_COMMAND} bytes",
            worker=worker.name,
            cure="put it, or the arguments of a script, into a script",
        )
    opened = connection(worker, config=config)
    session = Session(opened.live_transport, worker.name, time_limit, users=True)
    running = _Running(session, sink)
    try:
        code = running.finish(command, time_limit)
        if code is None and running.leader is None:
            running.kill()
    finally:
        running.close()
    user = opened.endpoint.user
    if code is None and running.leader is not None:
        ending = _end(worker, running.leader, config)
        what = f"the command took longer than {time_limit:g} s; {ending}"
        raise CommandTimeout(what, worker=worker.name)
    if code is None:
        raise CommandTimeout(
            f"the login shell of {user} did not get to the command within {time_limit:g} s, and"
            " was told to end",
            worker=worker.name,
            cure=f"{_START_UP}; or the worker is overloaded",
        )
    if code == 0 and running.leader is None:
        raise WorkFailed(
            f"the login shell of {user} ended, with exit code 0, before it got to the command",
            worker=worker.name,
            cure=f"{_START_UP}; or a forced command took its place (authorized_keys, sshd_config)",
        )
    return code


class _Running:
    """A command on its way, wrapped so that it says which process it is."""

    def __init__(self, session: Session, sink: Sink) -> None:
        self._session = session
        self._sink = sink
        self._foreword = ""
        self._nonce = secrets.token_hex(16)
        self._leader_line = re.compile(rb"%s ([0-9]{1,10})\n" % self._nonce.encode())
        self._held = b""
        self.leader: int | None = None
        """The process that leads the command's session, when it has said so."""

    def finish(self, command: CommandLine, time_limit: float) -> int | None:
        """The exit code, or None when the time is up."""
        session = self._session
        deadline = time.monotonic() + time_limit
        backstop = str(math.ceil(time_limit + _ENDING_LIMIT_S))
        words = ["sh", "-c", _FOREWORD, "vmops", self._nonce, backstop]
        self._foreword = f"{shlex.join(words)}; "
        session.start(self._foreword + self._for_any_shell(command), command.stdin, last=True)
        try:
            return session.exit_code(deadline) if self._read(deadline) else None
        finally:
            self._hand_on(last=True)

    def _for_any_shell(self, command: CommandLine) -> str:
        if not command.posix:
            return command.text
        line = b64encode(encoded(command.text, self._session.worker)).decode()
        return shlex.join(["sh", "-c", _READ_BY_SH, "vmops", line])

    def _read(self, deadline: float) -> bool:
        """Read to the end of output; a process left behind may hold it open. False when late."""
        session = self._session
        quiet_until = deadline
        while True:
            try:
                if not session.read(min(deadline, quiet_until)):
                    return True
                self._hand_on()
            except TimeoutError:
                if session.has_ended:
                    return True
            if time.monotonic() >= deadline:
                return False
            quiet_until = time.monotonic() + _LINGER_S

    def _hand_on(self, *, last: bool = False) -> None:
        """What has come, without what the foreword said. That is the first thing on standard error,
        but for what start-up files say."""
        stdout, stderr = self._session.take()
        if self.leader is None:
            self._held += stderr
            stderr = self._after_foreword(last)
        if stderr:
            self._sink("stderr", stderr)
        if stdout:
            self._sink("stdout", stdout)

    def _after_foreword(self, last: bool) -> bytes:
        found = self._leader_line.search(self._held)
        if found:
            self.leader = int(found[1])
            self._held = self._held[: found.start()] + self._held[found.end() :]
        elif not last and len(self._held) <= _HELD_BACK:
            return b""
        keep = 0 if found or last else len(self._foreword) + len(self._nonce)
        ready = self._held[: len(self._held) - keep].replace(self._foreword.encode(), b"")
        self._held = self._held[len(self._held) - keep :]
        return ready

    def kill(self) -> None:
        """End the login shell, where that has not come to the command."""
        self._session.kill()

    def close(self) -> None:
        """Close the channel."""
        self._session.close()


def _end(worker: Worker, leader: int, config: fabric.Config | None) -> str:
    """End the session and all that came from it; in words, whether that worked."""
    script = _END_SESSION.replace("LEADER", str(leader))
    try:
        ended = _end_as_root(worker, script, config) or _end_as_user(worker, script, config)
    except VmopsError as error:
        return f"whether it ended there is not known: {error.what}"
    return "it was ended there" if ended else f"process {leader} still runs there"


def _end_as_root(worker: Worker, script: str, config: fabric.Config | None) -> bool:
    try:
        reply = exchange(worker, script, time_limit=_ENDING_LIMIT_S, config=config)
    except ConnectionLost:
        raise
    except WorkFailed:
        return False
    return reply.exit_code == 0


def _end_as_user(worker: Worker, script: str, config: fabric.Config | None) -> bool:
    """Where sudo does not let us, end what belongs to the user; True when nothing else is left."""
    session = Session(
        connection(worker, config=config).live_transport, worker.name, _ENDING_LIMIT_S
    )
    deadline = time.monotonic() + _ENDING_LIMIT_S
    try:
        session.start("exec sh -s", script.encode(), last=True)
        return session.exit_code(deadline) == 0
    finally:
        session.close()
