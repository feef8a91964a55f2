"""One command on a worker over a channel of its own: bytes in, bytes out, no polling."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

from vmops.errors import WorkFailed
from vmops.remote.ssh.bridge import FAILURES
from vmops.remote.ssh.translate import lost, working
from vmops.remote.ssh.transport import WorkerTransport

_CHUNK = 2**20
"""What one `read` takes of each stream at most, so that a worker which prints for ever is met here
piece by piece, and sshd holds back what we have not taken yet."""

_PACKET = 2**15
"""What fits one message: `sendall` would copy all that is left for each."""

LONGEST_LIMIT_S = 2_000_000.0
"""23 days: a program that waits may count milliseconds in 32 bits."""


def bounded(time_limit: float | None) -> float:
    """A time limit in seconds that every way of waiting can take; None is the longest one."""
    if time_limit is None or not time_limit < LONGEST_LIMIT_S:
        return LONGEST_LIMIT_S
    return max(0.0, time_limit)


def encoded(text: str, worker: str) -> bytes:
    """As bytes for a worker, those of undecodable file names included.

    Raises WorkFailed for what no process there can be given.
    """
    try:
        data = text.encode(errors="surrogateescape")
    except UnicodeEncodeError as error:
        raise WorkFailed(f"{text[:40]!r} cannot be encoded: {error}", worker=worker) from error
    if b"\0" in data:
        raise WorkFailed("a command or a script cannot hold a NUL byte", worker=worker)
    return data


class Session:
    """A command and its three streams. `stdout` and `stderr` grow as `read` is called.

    For one thread at a time. `close` it in any case; that ends the streams, not the command.
    """

    def __init__(
        self, transport: WorkerTransport, worker: str, time_limit: float, *, users: bool = False
    ) -> None:
        """Open the channel within `time_limit` seconds, a bounded one.

        A command of the user's own gets what ssh_config sends along: variables, the agent.
        Raises CommandTimeout, ConnectionLost or WorkFailed.
        """
        self.worker = worker
        self.stdout = bytearray()
        self.stderr = bytearray()
        self._transport = transport
        with working(worker):
            opening = transport.open_users_command if users else transport.open_command
            self._channel = opening(time_limit)
        self._news = threading.Event()
        for stream in (self._channel.in_buffer, self._channel.in_stderr_buffer):
            stream.set_event(self._news)

    @property
    def is_open(self) -> bool:
        """False once the command ended, or the connection."""
        return not (self._channel.closed or self._channel.eof_received)

    def start(self, command: str, stdin: bytes = b"", *, last: bool = False) -> None:
        """Start the command and send its first input in the same round trip."""
        line = encoded(command, self.worker)
        with working(self.worker):
            self._transport.start_command(self._channel, line)
        self.write(stdin, last=last)

    def write(self, data: bytes, *, last: bool = False) -> None:
        """Send input; `last` says that no more comes. More than a window's worth goes by itself."""
        if len(data) <= self._channel.out_window_size:
            self._write(data, last)
        else:
            writer = threading.Thread(target=self._write, args=(data, last), daemon=True)
            writer.start()

    def _write(self, data: bytes, last: bool) -> None:
        """A command that does not want its input is no failure: what it answers decides."""
        with suppress(*FAILURES):
            rest = memoryview(data)
            while rest:
                rest = rest[self._channel.send(bytes(rest[:_PACKET])) :]
            if last:
                self._channel.shutdown_write()

    def read(self, deadline: float) -> bool:
        """Wait for more output; False at its end.

        `deadline` is a reading of `time.monotonic`; TimeoutError after it. Raises ConnectionLost.
        """
        while True:
            if self._drain():
                return True
            if not self.is_open:
                self._check_transport()
                return self._drain()
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._news.wait(left)

    def _drain(self) -> bool:
        """Take what is there. A stream that is emptied clears the event of both, so only a drain
        that found nothing in either may be followed by waiting."""
        before = len(self.stdout) + len(self.stderr)
        with working(self.worker):
            if self._channel.recv_ready():
                self.stdout += self._channel.recv(_CHUNK)
            if self._channel.recv_stderr_ready():
                self.stderr += self._channel.recv_stderr(_CHUNK)
        return len(self.stdout) + len(self.stderr) > before

    def take(self) -> tuple[bytes, bytes]:
        """What has come on both streams since the last time, and forget it."""
        taken = bytes(self.stdout), bytes(self.stderr)
        self.stdout.clear()
        self.stderr.clear()
        return taken

    def exit_code(self, deadline: float) -> int | None:
        """The command's exit code, -1 when a signal ended it; None when it is not known in time."""
        if not self._channel.status_event.wait(max(0.0, deadline - time.monotonic())):
            return None
        self._check_transport()
        return self._channel.exit_status

    @property
    def has_ended(self) -> bool:
        """True when the exit code is known already."""
        return self._channel.status_event.is_set()

    def _check_transport(self) -> None:
        if not self._transport.is_active():
            raise lost(self.worker, self._transport.get_exception())

    def kill(self) -> None:
        """Have sshd end the command, so far as it is still the user's own.

        A login shell that hangs in a start-up file would stay there after the channel is closed.
        """
        with suppress(*FAILURES):
            self._transport.kill_command(self._channel)

    def close(self) -> None:
        """Close the channel."""
        with suppress(*FAILURES):
            self._channel.close()
