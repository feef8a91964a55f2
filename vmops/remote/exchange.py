"""A script to a worker's root shell, and its answer: one round trip once the shell is there.

The shell is a small loop that one `sudo` starts. It reads a header line and that many bytes of
script from its standard input, runs them under `timeout`, which ends the script's process group as
root when its time is up, and frames the output of both streams by a nonce. A script goes on when
the operator vanishes; the loop then ends by itself.
"""

from __future__ import annotations

import math
import secrets
import threading
import time
from typing import NamedTuple

import fabric

from vmops.core.inventory.model import Worker
from vmops.errors import CommandTimeout, WorkFailed
from vmops.remote.counters import count
from vmops.remote.framing import FramedStream
from vmops.remote.root_access import UNDO_S, RootAccess
from vmops.remote.session import Session, bounded, encoded
from vmops.remote.ssh.connection import WorkerConnection, connection
from vmops.remote.ssh.endpoint import Endpoint
from vmops.remote.ssh.translate import ChannelRefused
from vmops.remote.ssh.transport import WorkerTransport

SHELLS = 6
"""Shells of one worker: sshd allows ten sessions of a connection, and others want some."""

FIRST_SCRIPT_BYTES = 60_000
"""What goes with the command: in base64 it has to stay below the 131,071 bytes of an argument."""

_SLACK_S = 5.0
"""How much later than the worker itself we give up."""

_TIMED_OUT = (124, 137)
"""How `timeout` ends when the SIGTERM sufficed, and when it took the SIGKILL."""


class Reply(NamedTuple):
    """What a script printed, byte for byte, and its exit code."""

    stdout: bytes
    stderr: bytes
    exit_code: int


def exchange(
    worker: Worker, script: str, *, time_limit: float, config: fabric.Config | None = None
) -> Reply:
    """Run `script` as root on the worker, and give its answer, whatever its exit code.

    In the script $VMOPS_HOME is the SSH user's home and $VMOPS_USER that user. Its standard input
    is empty. After `time_limit` seconds it gets SIGTERM and 5 s later SIGKILL, with all processes
    of its group, and CommandTimeout is raised. Exchanges of several threads with one worker use
    several shells. Raises what `connection` raises, ConnectionLost, and WorkFailed where sudo does
    not let us.
    """
    time_limit = bounded(time_limit)
    opened = connection(worker, config=config)
    pool = _pool(opened.endpoint)
    while True:
        shell = pool.take(opened, time_limit)
        try:
            return shell.run(script, time_limit)
        except _EndedIdle:
            continue
        finally:
            pool.give_back(shell)


class _EndedIdle(Exception):
    """A shell that was kept had ended before it began with this script: another one may take it."""


class RootShell:
    """The loop on the worker, for one script at a time. Any failure closes it."""

    def __init__(self, opened: WorkerConnection, time_limit: float) -> None:
        """Open a channel within `time_limit` seconds; the loop starts with the first script."""
        self._transport = opened.live_transport
        self._session = Session(self._transport, opened.endpoint.label, time_limit)
        self._root = RootAccess(opened.endpoint, opened.config.sudo.password)
        self._started = False
        self._answered = False

    @property
    def is_usable(self) -> bool:
        """False when it was closed or has ended, or when its connection has."""
        return self._session.is_open and bool(self._transport.is_active())

    def belongs_to(self, opened: WorkerConnection) -> bool:
        """False for a shell of a connection that was replaced."""
        return self._transport is opened.transport

    def run(self, script: str, time_limit: float) -> Reply:
        """One exchange; see `exchange`."""
        try:
            return self._run(encoded(script, self._session.worker), time_limit)
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
        sent_at = time.monotonic()
        deadline = sent_at + whole_seconds + UNDO_S + _SLACK_S
        try:
            self._send(nonce, script, whole_seconds, deadline)
            while not (out.is_complete() and err.is_complete()):
                if not self._session.read(deadline):
                    raise self._ended(out, deadline)
        except TimeoutError:
            raise self._timeout(time_limit, "whether it ended there is not known") from None
        count("exchanges")
        self._answered = True
        if out.code in _TIMED_OUT and time.monotonic() >= sent_at + whole_seconds:
            raise self._timeout(time_limit, "it was ended there")
        return Reply(out.content(), err.content(), out.code)

    def _send(self, nonce: str, script: bytes, limit_s: int, deadline: float) -> None:
        """The first script goes with the command that starts the loop, where it fits there and sudo
        does not ask first."""
        header = f"{self._root.keyword} {nonce} {len(script)} {limit_s}\n".encode()
        message = header + script
        if self._started:
            self._session.write(message)
            return
        self._started = True
        if self._root.password is None and len(script) <= FIRST_SCRIPT_BYTES:
            self._session.start(self._root.command_with(nonce, script, limit_s))
            return
        if self._root.password is None:
            self._session.start(self._root.command, message)
            return
        self._session.start(self._root.command, self._root.password)
        while self._root.is_asking(self._session.stdout, self._session.stderr):
            if not self._session.read(deadline):
                raise self._refusal(deadline)
        self._session.write(message)

    def _ended(self, out: FramedStream, deadline: float) -> WorkFailed | _EndedIdle:
        """The loop ended before the script's answer was complete."""
        if not out.has_begun():
            return _EndedIdle() if self._answered else self._refusal(deadline)
        return WorkFailed(
            "its root shell was ended by somebody else; the work may be done or not",
            worker=self._session.worker,
            cure="look with status, then do it again",
        )

    def _refusal(self, deadline: float) -> WorkFailed:
        code = self._session.exit_code(deadline)
        return self._root.refusal(bytes(self._session.stderr), code)

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
