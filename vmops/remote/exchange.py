"""A script to a worker's root shell, and its answer: one round trip once the shell is there.

The shell is a small loop that one `sudo` starts. It reads a header line and that many bytes of
script from its standard input, runs them under `timeout`, which ends the script's process group as
root when its time is up, and frames the output of both streams by a nonce. A script goes on when
the operator vanishes; the loop then ends by itself.
"""

from __future__ import annotations

import logging
import math
import os
import secrets
import threading
import time
from contextlib import suppress
from typing import NamedTuple

import fabric

from vmops.core.inventory.complaints import typed
from vmops.core.inventory.model import Worker
from vmops.core.script.render import PRIVATE
from vmops.errors import CommandTimeout, UnexpectedOutput, WorkFailed
from vmops.remote.clock import HELD_UP_S, WorkerClock
from vmops.remote.counters import count
from vmops.remote.framing import FramedStream
from vmops.remote.refusals import (
    AT_LOOP,
    AT_START_UP,
    AT_SUDO,
    Stage,
    no_answer,
    not_ours,
    waiting_text,
)
from vmops.remote.root_access import FIRST_MESSAGE_BYTES, HELLO, READY, UNDO_S, RootAccess
from vmops.remote.session import Session, bounded, encoded
from vmops.remote.ssh.connection import WorkerConnection, connection
from vmops.remote.ssh.endpoint import Endpoint
from vmops.remote.ssh.translate import ChannelRefused
from vmops.remote.ssh.transport import WorkerTransport

SHELLS = 6
"""Shells of one worker: sshd allows ten sessions of a connection, and others want some."""

ANSWER_BYTES = 16 * 2**20
"""What a worker may answer on each stream, and print before it. More is somebody else's doing."""

START_LIMIT_S = 30.0
"""A root shell that has not answered by then does not come. sudo may wait for a name server."""

SAY_AFTER_S = 5.0
"""How long we wait for a root shell before we say what for."""

waiting = logging.getLogger("vmops.waiting")
"""Warns whoever sits and waits of what takes long."""

_SLACK_S = 5.0
"""How much later than the worker itself we give up."""

_UNDER_WAY_S = 2
"""How much earlier than we the worker does not begin any more: its word has to come here."""

_TRIES = 3
"""How often a script is sent that comes too late each time."""

_JITTER_S = 0.5
"""By how much more the beginning of an answer may be held up than its end."""

_TIMED_OUT = (124, 125, 137)
"""How `timeout` ends when the SIGTERM sufficed, GNU's and that of rust-coreutils, and when it took
the SIGKILL."""


class Reply(NamedTuple):
    """What a script printed, byte for byte, and its exit code."""

    stdout: bytes
    stderr: bytes
    exit_code: int


def exchange(
    worker: Worker,
    script: str,
    *,
    time_limit: float,
    most_bytes: int = ANSWER_BYTES,
    config: fabric.Config | None = None,
) -> Reply:
    """Run `script` as root on the worker, and give its answer, whatever its exit code.

    In the script $VMOPS_HOME is the SSH user's home and $VMOPS_USER that user. Its standard input
    is empty. After `time_limit` seconds it gets SIGTERM and 5 s later SIGKILL, with all processes
    of its group, and CommandTimeout is raised. Exchanges of several threads with one worker use
    several shells. Raises what `connection` raises, ConnectionLost, WorkFailed where no root shell
    is to be had, CommandTimeout where none answers within 30 s, and UnexpectedOutput for more than
    `most_bytes` on a stream, or an answer that is none.
    """
    time_limit = bounded(time_limit)
    opened = connection(worker, config=config)
    pool = _pool(opened.endpoint)
    while True:
        shell = pool.take(opened, time_limit)
        try:
            return shell.run(script, time_limit, most_bytes)
        except _EndedIdle:
            continue
        finally:
            pool.give_back(shell)


class _EndedIdle(Exception):
    """A shell that was kept had ended before it began with this script: another one may take it."""


class _TooLate(Exception):
    """The script came later than it was to come. It was not run, and may be sent again."""


class RootShell:
    """The loop on the worker, for one script at a time. Any failure closes it."""

    def __init__(self, opened: WorkerConnection, time_limit: float) -> None:
        """Open a channel within `time_limit` seconds; the loop starts with the first script."""
        self._transport = opened.live_transport
        self._endpoint = opened.endpoint
        self._session = Session(self._transport, opened.endpoint.label, time_limit)
        self._root = RootAccess(opened.endpoint, opened.config.sudo.password)
        self._clock = WorkerClock()
        self._started = False
        self._answered = False
        self._most_bytes = ANSWER_BYTES
        self._is_private = False

    @property
    def is_usable(self) -> bool:
        """False when it was closed or has ended, or when its connection has."""
        return self._session.is_open and bool(self._transport.is_active())

    def belongs_to(self, opened: WorkerConnection) -> bool:
        """False for a shell of a connection that was replaced."""
        return self._transport is opened.transport

    def run(self, script: str, time_limit: float, most_bytes: int) -> Reply:
        """One exchange; see `exchange`."""
        self._most_bytes = most_bytes
        self._is_private = script.startswith(PRIVATE)
        try:
            for _ in range(_TRIES):
                with suppress(_TooLate):
                    return self._run(encoded(script, self._session.worker), time_limit)
            raise WorkFailed(
                f"its connection is too slow: what is sent there takes over {HELD_UP_S} s to come",
                worker=self._session.worker,
            )
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the channel; a script that runs goes on."""
        self._session.close()

    def _run(self, script: bytes, time_limit: float) -> Reply:
        nonce = secrets.token_hex(16)
        whole_seconds = max(1, math.ceil(time_limit))
        out, err = (FramedStream(s, nonce) for s in (self._session.stdout, self._session.stderr))
        header = f"{self._root.keyword} {nonce} {len(script)} {whole_seconds}"
        sent_at = time.monotonic()
        try:
            self._begin(header, script, out, whole_seconds)
            begun_at = time.monotonic()
            self._finish(out, err, begun_at + whole_seconds + UNDO_S + _SLACK_S)
        except ValueError as error:
            raise UnexpectedOutput(
                f"the answer of its root shell cannot be read: {error}",
                worker=self._session.worker,
                cure="what was under way may or may not be done: check with status",
            ) from error
        except TimeoutError:
            raise self._timeout(time_limit, "whether it ended there is not known") from None
        count("exchanges")
        self._answered = True
        earliest = max(sent_at, begun_at - _JITTER_S) + whole_seconds
        if out.code in _TIMED_OUT and time.monotonic() >= earliest:
            raise self._timeout(time_limit, "it was ended there")
        return Reply(out.content(), err.content(), out.code)

    def _finish(self, out: FramedStream, err: FramedStream, deadline: float) -> None:
        while not (out.is_complete() and err.is_complete()):
            if not self._read(deadline):
                raise WorkFailed(
                    "its root shell was ended by somebody else; the work may or may not be done",
                    worker=self._session.worker,
                    cure="check with status, then try again",
                )

    def _begin(self, header: str, script: bytes, out: FramedStream, limit_s: int) -> None:
        """Send the script, and wait until the worker has started on it."""
        sent_at = time.monotonic()
        within_s = min(START_LIMIT_S, limit_s + UNDO_S + _SLACK_S)
        deadline = sent_at + within_s
        notice_at = sent_at + SAY_AFTER_S
        sent = self._send(self._message(header, script), within_s)
        while True:
            if not sent and not self._root.is_asking(self._session.stdout, self._session.stderr):
                self._hear()
                self._session.write(self._message(header, script))
                sent = True
            if out.has_begun():
                self._hear()
                return
            if (uptime := out.late_at()) is not None:
                self._clock.heard(uptime)
                raise _TooLate
            try:
                if not self._read(min(notice_at, deadline)):
                    raise self._ended(deadline)
            except TimeoutError:
                now = time.monotonic()
                if now >= deadline:
                    self._session.kill()
                    stdout, stderr = bytes(self._session.stdout), bytes(self._session.stderr)
                    raise no_answer(
                        self._endpoint, self._stage(), now - sent_at, stdout, stderr
                    ) from None
                waiting.warning("%s", waiting_text(self._endpoint, self._stage(), now - sent_at))
                notice_at = deadline

    def _message(self, header: str, script: bytes) -> bytes:
        return f"{header} {self._clock.latest()}\n".encode() + script

    def _hear(self) -> None:
        """Set the clock by what a loop says before its first script."""
        if not self._answered and (uptime := self._root.uptime(self._session.stdout)) is not None:
            self._clock.heard(uptime)

    def _send(self, message: bytes, within_s: float) -> bool:
        """Start the loop, where there is none; True when the script is on its way too.

        The first one goes with the command, where it fits there, may be seen in a list of
        processes, and sudo does not ask first.
        """
        if self._started:
            self._session.write(message)
            return True
        self._started = True
        if self._root.password is not None:
            self._session.start(self._root.command(), self._root.password)
            return False
        fits = len(message) <= FIRST_MESSAGE_BYTES and not self._is_private
        first, rest = (message, b"") if fits else (b"", message)
        self._session.start(self._root.command_with(first, int(within_s) - _UNDER_WAY_S), rest)
        return True

    def _read(self, deadline: float) -> bool:
        """As the session's, with what has come in bounds: neither drop by drop for ever nor more
        than can be kept."""
        more = self._session.read(deadline)
        if time.monotonic() >= deadline:
            raise TimeoutError
        if max(len(self._session.stdout), len(self._session.stderr)) > self._most_bytes:
            raise UnexpectedOutput(
                f"it printed more than {self._most_bytes // 2**20} MiB where its root shell should"
                " answer",
                worker=self._session.worker,
                cure="a start-up file, sudo or a tool there prints without end:"
                f" see what {self._by_hand()} prints",
            )
        return more

    def _by_hand(self) -> str:
        where = f"{self._endpoint.user}@{self._endpoint.host}"
        return typed("ssh", where, "sudo", "-n", "true")

    def _stage(self) -> Stage:
        """How far the way to a root shell has come."""
        if self._answered or READY in self._session.stdout:
            return AT_LOOP
        return AT_SUDO if HELLO in self._session.stdout else AT_START_UP

    def _ended(self, deadline: float) -> WorkFailed | _EndedIdle:
        """The loop ended before the script began."""
        if self._answered:
            return _EndedIdle()
        code = self._session.exit_code(deadline)
        _, hello, said = bytes(self._session.stdout).rpartition(HELLO)
        stderr = bytes(self._session.stderr)
        return (
            self._root.refused(said, stderr, code)
            if hello
            else not_ours(self._endpoint, said, stderr, code)
        )

    def _timeout(self, time_limit: float, ending: str) -> CommandTimeout:
        return CommandTimeout(
            f"the work took longer than {time_limit:g} s; {ending}", worker=self._session.worker
        )


class _Pool:
    """The shells of one worker: idle ones are used again, and no more than sshd allows exist.

    Once sshd has refused one, no further one is asked for over the same connection.
    """

    def __init__(self) -> None:
        self._idle: list[RootShell] = []
        self._taken = 0
        self._most = SHELLS
        self._refused_by: WorkerTransport | None = None
        self._changed = threading.Condition()

    def take(self, opened: WorkerConnection, time_limit: float) -> RootShell:
        """A shell for the caller alone. WorkFailed when none gets free within `time_limit`."""
        deadline = time.monotonic() + time_limit
        while True:
            shell = self._idle_or_turn(opened, deadline)
            if shell is not None:
                return shell
            try:
                return RootShell(opened, max(1.0, deadline - time.monotonic()))
            except BaseException as error:
                with self._changed:
                    self._taken -= 1
                    self._changed.notify()
                    others = self._taken + len(self._idle)
                    if not (isinstance(error, ChannelRefused) and others):
                        raise
                    self._most, self._refused_by = others, opened.transport

    def _idle_or_turn(self, opened: WorkerConnection, deadline: float) -> RootShell | None:
        """An idle shell, or None for the right to open one; either counts as taken."""
        with self._changed:
            if self._refused_by is not opened.transport:
                self._most = SHELLS
            while True:
                while self._idle:
                    shell = self._idle.pop()
                    if shell.is_usable and shell.belongs_to(opened):
                        self._taken += 1
                        return shell
                    shell.close()
                if self._taken < self._most:
                    self._taken += 1
                    return None
                if not self._changed.wait(deadline - time.monotonic()):
                    raise WorkFailed(
                        f"{self._taken} scripts at once are running there, and none ended in time",
                        worker=opened.endpoint.label,
                    )

    def give_back(self, shell: RootShell) -> None:
        """The caller is done with it."""
        with self._changed:
            self._taken -= 1
            if shell.is_usable:
                self._idle.append(shell)
            self._changed.notify()


_pools: dict[Endpoint, _Pool] = {}
_pools_lock = threading.Lock()


def _pool(endpoint: Endpoint) -> _Pool:
    with _pools_lock:
        return _pools.setdefault(endpoint, _Pool())


def _forget_in_child() -> None:
    """The shells are the parent's, and a thread that held a lock may not exist here."""
    global _pools_lock
    _pools_lock = threading.Lock()
    _pools.clear()


os.register_at_fork(after_in_child=_forget_in_child)
