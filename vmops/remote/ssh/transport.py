"""The SSH transport: fast ciphers, a peer that is watched, and what paramiko has no call for.

With packets.py it is the only module that reaches into paramiko below its public calls. paramiko
waits a round trip before it asks for the login and another before it sends a command its input,
knows no UNIX sockets, and notices neither a dead link nor a peer that is stuck.
"""

from __future__ import annotations

import logging
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import paramiko
from paramiko.auth_handler import AuthOnlyHandler
from paramiko.common import (
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_EOF,
    MSG_CHANNEL_EXTENDED_DATA,
    MSG_CHANNEL_REQUEST,
    cMSG_CHANNEL_CLOSE,
    cMSG_CHANNEL_REQUEST,
    cMSG_GLOBAL_REQUEST,
    cMSG_SERVICE_REQUEST,
    cMSG_USERAUTH_REQUEST,
)

from vmops.remote.counters import count
from vmops.remote.ssh.bridge import Bridge
from vmops.remote.ssh.keys.host_certificate import SUFFIX
from vmops.remote.ssh.packets import Packets, Together, together
from vmops.remote.ssh.parting import Parting
from vmops.remote.ssh.stream import Stream
from vmops.remote.ssh.watched import WatchedStream

WINDOW_BYTES = 8 * 2**20
"""What a worker may send ahead: 80 MB/s at a round trip of 100 ms."""

AGENT_LIMIT_S = 1.0
"""For the connection to a socket of this machine; all others of the worker wait meanwhile."""

_HERE = "127.0.0.1"
_STREAMLOCAL = "direct-streamlocal@openssh.com"
_ABOUT_A_CHANNEL = frozenset(
    (MSG_CHANNEL_DATA, MSG_CHANNEL_EXTENDED_DATA, MSG_CHANNEL_EOF, MSG_CHANNEL_REQUEST)
)
_FAST_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")


class _Login(AuthOnlyHandler):
    """paramiko's own, which could miss an answer that comes before it begins to wait for one."""

    def send_auth_request(
        self,
        username: str,
        method: str,
        finish_message: Callable[[paramiko.Message], None] | None = None,
    ) -> list[str]:
        """Ask for one login and wait for the answer."""
        self.auth_method = method
        self.username = username
        message = paramiko.Message()
        message.add_byte(cMSG_USERAUTH_REQUEST)
        for text in (username, "ssh-connection", method):
            message.add_string(text)
        if finish_message is not None:
            finish_message(message)
        self.auth_event = threading.Event()
        transport = cast(WorkerTransport, self.transport)
        with transport.lock:
            transport._send_message(message)
        return self.wait_for_response(self.auth_event)


MOST_AGENT_CALLS = 16
"""Of one worker at once: each costs a socket and two threads here."""


class OpeningTimeout(paramiko.SSHException):
    """A channel did not open in its time, over a connection that lives."""


class NoBanner(paramiko.SSHException):
    """The peer is no SSH server, or one that turns us away.

    `said` is its last line, or empty; `hung_up` is False for one that then stayed silent.
    """

    def __init__(self, reason: str, said: str, *, hung_up: bool) -> None:
        super().__init__(reason)
        self.said = said
        self.hung_up = hung_up


class WorkerTransport(Parting):
    """A transport that asks for the login in the round trip in which it asks to ask for it.

    What opens a channel raises paramiko's ChannelException when it is refused, OpeningTimeout, or
    that with which the connection ended.
    """

    _channels: Any
    _preferred_ciphers: tuple[str, ...]
    _preferred_keys: tuple[str, ...]
    if TYPE_CHECKING:

        def _send_message(self, message: paramiko.Message) -> None: ...

    def __init__(self, stream: Stream, disabled_algorithms: Any = None) -> None:
        self.stream = WatchedStream(stream)
        self._named = threading.local()
        self._forgetting = threading.Lock()
        self._sending = threading.Lock()
        super().__init__(
            cast(socket.socket, self.stream),
            disabled_algorithms=disabled_algorithms,
            packetizer_class=Packets,
        )
        self._preferred_ciphers = _first(_FAST_CIPHERS, self._preferred_ciphers)
        self._service_requested = False
        self._wants_certificates = False
        self.user_environment: tuple[tuple[str, str], ...] = ()
        self.agent_path = ""
        self._agent_calls: set[Bridge] = set()

    def _check_banner(self) -> None:
        try:
            super()._check_banner()  # type: ignore[misc]
        except paramiko.SSHException as error:
            cause = error.__context__
            if isinstance(cause, paramiko.SSHException):
                raise cause from None
            hung_up = isinstance(cause, (EOFError, OSError)) and not isinstance(cause, TimeoutError)
            said = cast(Packets, self.packetizer).last_line
            raise NoBanner(str(error), said, hung_up=hung_up) from error

    def ensure_session(self) -> None:
        """Ask for the login service, once, without waiting for the answer."""
        if not self.is_active() or not self.initial_kex_done:
            raise paramiko.SSHException("the connection ended before the login")
        if self._service_requested:
            return
        self._service_requested = True
        self.auth_handler = _Login(self)
        message = paramiko.Message()
        message.add_byte(cMSG_SERVICE_REQUEST)
        message.add_string("ssh-userauth")
        self._send_message(message)

    def ask_for(self, key_types: Sequence[str], *, certificates: bool) -> None:
        """Ask the worker for a host key of one of these types before any other; `certificates`
        before any plain key."""
        self._preferred_keys = _first(key_types, self._preferred_keys)
        self._wants_certificates = certificates

    @property
    def preferred_keys(self) -> tuple[str, ...]:
        """What paramiko offers, in this order: its own puts certificates last."""
        offered = tuple(super().preferred_keys)
        with_certificate = [name for name in offered if name.endswith(SUFFIX)]
        return _first(with_certificate if self._wants_certificates else (), offered)

    def watch(self) -> None:
        """Notice a peer that is silent for 10 s, and end the connection then."""
        self.stream.watch(self._ping)

    def open_command(self, time_limit: float) -> paramiko.Channel:
        """A new session channel with a wide window, within `time_limit` seconds."""
        with self._opening(time_limit):
            channel = self.open_session(window_size=WINDOW_BYTES, timeout=time_limit)
        count("channels")
        return channel

    def open_users_command(self, time_limit: float) -> paramiko.Channel:
        """The same for a command of the user's own, with what ssh would give it.

        That is what SendEnv and SetEnv say, and the agent, where ForwardAgent does. Nothing waits
        for the worker, which may refuse either.
        """
        channel = self.open_command(time_limit)
        if self.agent_path:
            channel.request_forward_agent(self._lead_to_agent)
        for name, value in self.user_environment:
            channel.set_environment_variable(name, value)
        return channel

    def _lead_to_agent(self, channel: paramiko.Channel) -> None:
        """Somebody there asks the agent here. Called by the thread that reads the connection."""
        near = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if len(self._agent_calls) >= MOST_AGENT_CALLS:
                raise OSError("too many at once")
            near.settimeout(AGENT_LIMIT_S)
            near.connect(self.agent_path)
            near.settimeout(None)
        except OSError:
            near.close()
            threading.Thread(target=channel.close, daemon=True).start()
            return
        call = Bridge(near, channel, self._agent_calls.discard)
        self._agent_calls.add(call)
        call.start()

    def open_port(self, there: tuple[str, int], time_limit: float) -> paramiko.Channel:
        """A channel to an address and port as the worker sees them."""
        with self._opening(time_limit):
            channel = self.open_channel("direct-tcpip", there, (_HERE, 0), timeout=time_limit)
        count("channels")
        return channel

    def open_unix_socket(self, path: str, time_limit: float) -> paramiko.Channel:
        """A channel to the worker's UNIX socket at `path`, which sshd opens as the SSH user."""
        with self._opening(time_limit), self._naming(path):
            channel = self.open_channel(_STREAMLOCAL, timeout=time_limit)
        count("channels")
        return channel

    @contextmanager
    def _opening(self, time_limit: float) -> Iterator[None]:
        """paramiko keeps one refusal for all threads, and the first that asks takes it away."""
        try:
            yield
        except paramiko.ChannelException:
            raise
        except paramiko.SSHException as error:
            if not self.is_active():
                raise
            if str(error) == "Timeout opening channel.":
                self._forget(self._named.channel)
                what = f"sshd opened no channel within {time_limit:g} s"
                raise OpeningTimeout(what) from error
            if str(error) == "Unable to open channel.":
                raise paramiko.ChannelException(2, "refused") from error
            raise

    def _next_channel(self) -> int:
        number: int = super()._next_channel()  # type: ignore[misc]
        self._named.channel = number
        return number

    def _forget(self, number: int) -> None:
        """Nobody waits for this channel any more: one that opens late is closed.

        It would hold one of the few sessions, or the only turn at a QEMU's monitor.
        """
        with self._forgetting:
            channel = self._channels.get(number)
            self._channels.delete(number)
            is_open = channel is not None and channel.active
        if is_open:
            channel.close()

    def _parse_channel_open_success(self, message: paramiko.Message) -> None:
        number, theirs = message.get_int(), message.get_int()
        message.rewind()
        with self._forgetting:
            super()._parse_channel_open_success(message)  # type: ignore[misc]
            is_wanted = self._channels.get(number) is not None
        if not is_wanted:
            closing = paramiko.Message()
            closing.add_byte(cMSG_CHANNEL_CLOSE)
            closing.add_int(theirs)
            self._send_message(closing)

    def send_input(self, channel: paramiko.Channel, data: memoryview) -> int:
        """Send a command the beginning of `data`, and give how many bytes that were.

        None where it takes no more. Raises TimeoutError by the channel's own limit, and OSError
        where that is closed.
        """
        messages = together(channel, data)
        if messages.length:
            self._send_user_message(messages)
        return messages.length

    def _send_user_message(self, data: paramiko.Message | Together) -> None:
        path = getattr(self._named, "path", None)
        if path is not None and isinstance(data, paramiko.Message):
            del self._named.path
            data.add_string(path)
            data.add_string("")
            data.add_int(0)
        with self._sending:
            first = data if isinstance(data, paramiko.Message) else data.messages[0]
            if not self._is_too_late(first):
                super()._send_user_message(data)  # type: ignore[misc]

    def _is_too_late(self, message: paramiko.Message) -> bool:
        """It is for a channel that another thread has closed since it was made.

        sshd ends the whole connection when it knows the channel no more.
        """
        kind, theirs = struct.unpack("!BI", message.packet.getbuffer()[:5])
        if kind not in _ABOUT_A_CHANNEL:
            return False
        return all(one.closed for one in self._channels.values() if one.remote_chanid == theirs)

    @contextmanager
    def _naming(self, path: str) -> Iterator[None]:
        """What this thread sends next is an open request; `path` goes at its end.

        paramiko knows the message's beginning, and keeps the books of channels, but not this kind.
        """
        self._named.path = path
        try:
            yield
        finally:
            self._named.__dict__.pop("path", None)

    def start_command(self, channel: paramiko.Channel, command: bytes) -> None:
        """Ask for `command` and do not wait for the answer, so that its input can follow at once.

        A worker that refuses closes the channel.
        """
        message = paramiko.Message()
        message.add_byte(cMSG_CHANNEL_REQUEST)
        message.add_int(channel.remote_chanid)
        message.add_string("exec")
        message.add_boolean(True)
        message.add_string(command)
        self._send_user_message(message)

    def kill_command(self, channel: paramiko.Channel) -> None:
        """Ask sshd to kill the process group of the channel's command, as the user. No answer."""
        message = paramiko.Message()
        message.add_byte(cMSG_CHANNEL_REQUEST)
        message.add_int(channel.remote_chanid)
        message.add_string("signal")
        message.add_boolean(False)
        message.add_string("KILL")
        self._send_user_message(message)

    def forget(self) -> None:
        """In a child after a fork: let go of the stream without a word to the worker.

        What still refers to this transport, or to a channel of it, closes nothing and waits for no
        lock that a thread of the parent holds.
        """
        self.active = False
        self._sending = threading.Lock()
        self.stream.let_go()
        for channel in list(self._channels._map.values()):
            channel.lock = threading.Lock()
            channel.closed = True

    def _ping(self) -> None:
        if self.in_kex or not self.clear_to_send.is_set():
            return
        message = paramiko.Message()
        message.add_byte(cMSG_GLOBAL_REQUEST)
        message.add_string("keepalive@openssh.com")
        message.add_boolean(True)
        self._send_message(message)


def _first(wanted: Sequence[str], usual: tuple[str, ...]) -> tuple[str, ...]:
    chosen = tuple(name for name in wanted if name in usual)
    return chosen + tuple(name for name in usual if name not in chosen)


def silence_paramiko() -> None:
    """Keep paramiko's own account of failures, tracebacks included, off the terminal.

    Whoever debugs, or has set a level for that logger, still gets it.
    """
    logger = logging.getLogger("paramiko")
    if logger.level == logging.NOTSET and not logger.isEnabledFor(logging.DEBUG):
        logger.setLevel(logging.CRITICAL)
