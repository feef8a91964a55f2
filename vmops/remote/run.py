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
from collections.abc import Sequence
from typing import NamedTuple

import fabric

from vmops.core.inventory.model import Worker
from vmops.errors import CommandTimeout, ConnectionLost, VmopsError, WorkFailed
from vmops.remote.exchange import exchange
from vmops.remote.session import Session, bounded, encoded
from vmops.remote.ssh.connection import connection

LONGEST_COMMAND = 95_000
"""Bytes. An argument of a Linux process holds 131,071, and it travels in one, or in base64."""

_LINGER_S = 1.0
"""How long output may come from what a command left in the background, after its own end."""

_ENDING_LIMIT_S = 10.0
"""The ending of a command whose time is up, too, has its time."""

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


class Finished(NamedTuple):
    """How a command ended and what it printed, byte for byte. `exit_code` -1: by a signal."""

    exit_code: int
    stdout: bytes
    stderr: bytes


def run(
    worker: Worker,
    command: str,
    *,
    time_limit: float | None,
    stdin: bytes | None = None,
    config: fabric.Config | None = None,
) -> Finished:
    """Run a command line in the user's login shell, feed it `stdin`, and give its result.

    `sh` runs a PosixLine instead. Without `stdin` the input is empty. After `time_limit` seconds,
    23 days at most, the command and all it started are ended, as root where sudo lets us, in 3 s at
    most, and CommandTimeout says whether that worked. Raises what `connection` raises,
    ConnectionLost, and WorkFailed for more than 95,000 bytes.
    """
    time_limit = bounded(time_limit)
    if len(encoded(command, worker.name)) > LONGEST_COMMAND:
        raise WorkFailed(
            f"the command is longer than {LONGEST_COMMAND} bytes",
            worker=worker.name,
            cure="put it, or the arguments of a script, into a script",
        )
    opened = connection(worker, config=config)
    running = _Running(
        Session(opened.live_transport, worker.name, time_limit, users=True), time_limit
    )
    try:
        finished = running.finish(command, stdin or b"")
    finally:
        running.close()
    if finished is None:
        ending = _end(worker, running.leader(), config)
        raise CommandTimeout(
            f"the command took longer than {time_limit:g} s; {ending}", worker=worker.name
        )
    return finished


class PosixLine(str):
    """One simple command as a POSIX shell reads it, whatever the user's login shell is."""

    __slots__ = ()


def script_command(args: Sequence[str]) -> PosixLine:
    """The command line of a shell that reads a script from its input, with positional arguments."""
    return PosixLine(shlex.join(["bash", "-s", "--", *args]))


class _Running:
    """A command on its way, wrapped so that it says which process it is."""

    def __init__(self, session: Session, time_limit: float) -> None:
        self._session = session
        self._time_limit = time_limit
        self._nonce = secrets.token_hex(16)
        self._said_leader_line = re.compile(rb"%s (\d+)\n" % self._nonce.encode())

    def finish(self, command: str, stdin: bytes) -> Finished | None:
        """The result, or None when the time is up."""
        session = self._session
        deadline = time.monotonic() + self._time_limit
        backstop = str(math.ceil(self._time_limit + _ENDING_LIMIT_S))
        words = ["sh", "-c", _FOREWORD, "vmops", self._nonce, backstop]
        foreword = f"{shlex.join(words)}; "
        session.start(foreword + self._for_any_shell(command), stdin, last=True)
        code = session.exit_code(deadline) if self._read(deadline) else None
        if code is None:
            return None
        stderr = self._said_leader_line.sub(b"", session.stderr, count=1)
        stderr = stderr.replace(foreword.encode(), b"")
        return Finished(code, bytes(session.stdout), bytes(stderr))

    def _for_any_shell(self, command: str) -> str:
        if not isinstance(command, PosixLine):
            return command
        line = b64encode(encoded(command, self._session.worker)).decode()
        return shlex.join(["sh", "-c", _READ_BY_SH, "vmops", line])

    def _read(self, deadline: float) -> bool:
        """Read to the end of output; a process left behind may hold it open. False when late."""
        session = self._session
        quiet_until = deadline
        while True:
            try:
                if not session.read(min(deadline, quiet_until)):
                    return True
            except TimeoutError:
                if session.has_ended:
                    return True
                if time.monotonic() >= deadline:
                    return False
            quiet_until = time.monotonic() + _LINGER_S

    def leader(self) -> int | None:
        """The process that leads the command's session, when it said so."""
        found = self._said_leader_line.search(self._session.stderr)
        return int(found[1]) if found else None

    def close(self) -> None:
        """Close the channel."""
        self._session.close()


def _end(worker: Worker, leader: int | None, config: fabric.Config | None) -> str:
    """End the session and all that came from it; in words, whether that worked."""
    if leader is None:
        return "whether it ended there is not known"
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
