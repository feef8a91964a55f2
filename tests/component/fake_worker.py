"""A worker inside this process: a paramiko server whose commands run here, as whoever tests.

It counts what it is asked, and fails on request in the ways in which real workers do.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import paramiko
from paramiko.common import (
    AUTH_FAILED,
    AUTH_PARTIALLY_SUCCESSFUL,
    AUTH_SUCCESSFUL,
    OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED,
    OPEN_FAILED_CONNECT_FAILED,
    OPEN_SUCCEEDED,
    cMSG_DISCONNECT,
)

from vmops.core.inventory.model import Worker

HERE = "127.0.0.1"


@dataclass
class FakeWorker:
    """A worker that listens on a port of 127.0.0.1 between `start` and `stop`."""

    host_key: paramiko.PKey
    home: Path
    shell: str = "/bin/sh"
    second_host_key: paramiko.PKey | None = None
    password: str | None = None
    needs_both: bool = False
    drop_first: int = 0
    login_after_s: float = 0
    most_sessions: int = 10
    refuses_after_s: float = 0
    opens_after_s: float = 0
    keys: list[paramiko.PKey] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    offers: int = 0
    connections: int = 0
    forwards: list[tuple[str, int]] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    transports: list[paramiko.Transport] = field(default_factory=list)

    def start(self) -> None:
        self._listener = socket.create_server((HERE, 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()

    def hang_up(self) -> None:
        """Lose every connection."""
        for transport in self.transports:
            transport.close()

    def part(self, said: str) -> None:
        """End every connection with these words, as sshd does."""
        for transport in self.transports:
            message = paramiko.Message()
            message.add_byte(cMSG_DISCONNECT)
            message.add_int(11)
            message.add_string(said)
            message.add_string("")
            transport._send_message(message)  # type: ignore[attr-defined]

    def worker(self, name: str = "w1", **settings: Any) -> Worker:
        """How an inventory would say it."""
        settings = {"user": "root", "known_hosts": str(self.home / "known_hosts"), **settings}
        return Worker(name, address=HERE, port=self.port, **settings)

    def _accept(self) -> None:
        while True:
            try:
                stream, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            if self.connections <= self.drop_first:
                stream.close()
                continue
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            transport = _Transport(stream)
            for key in filter(None, (self.host_key, self.second_host_key)):
                transport.add_server_key(key)
            self.transports.append(transport)
            transport.start_server(event=threading.Event(), server=_Server(self))


class _Transport(paramiko.Transport):
    """One that starts a command when it has said so, as sshd does: a command that was quicker would
    close its channel without an answer."""

    begins: threading.Thread | None = None

    def _send_user_message(self, data: paramiko.Message) -> None:
        super()._send_user_message(data)  # type: ignore[misc]
        if threading.current_thread() is self and self.begins:
            self.begins.start()
            self.begins = None


class _Server(paramiko.ServerInterface):
    """One connection."""

    def __init__(self, fake: FakeWorker) -> None:
        self.fake = fake
        self.user = ""
        self.sessions = 0

    def get_allowed_auths(self, username: str) -> str:
        return "publickey,password"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        self.fake.offers += 1
        time.sleep(self.fake.login_after_s)
        if key not in self.fake.keys:
            return AUTH_FAILED
        return AUTH_PARTIALLY_SUCCESSFUL if self.fake.needs_both else self._let_in(username)

    def check_auth_password(self, username: str, password: str) -> int:
        self.fake.offers += 1
        return self._let_in(username) if password == self.fake.password else AUTH_FAILED

    def _let_in(self, username: str) -> int:
        self.user = username
        self.fake.logins.append(username)
        return AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:
        if kind != "session":
            return OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED
        if self.sessions >= self.fake.most_sessions:
            time.sleep(self.fake.refuses_after_s)
            return OPEN_FAILED_CONNECT_FAILED
        time.sleep(self.fake.opens_after_s)
        self.sessions += 1
        return OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self.fake.commands.append(os.fsdecode(command))
        run = threading.Thread(target=self._run, args=(channel, command), daemon=True)
        cast(_Transport, channel.get_transport()).begins = run
        return True

    def check_channel_direct_tcpip_request(
        self, chanid: int, origin: tuple[str, int], destination: tuple[str, int]
    ) -> int:
        self.fake.forwards.append(destination)
        try:
            there = socket.create_connection(destination, 5)
            there.settimeout(None)
        except OSError:
            return OPEN_FAILED_CONNECT_FAILED
        threading.Thread(target=self._forward, args=(chanid, there), daemon=True).start()
        return OPEN_SUCCEEDED

    def _run(self, channel: paramiko.Channel, command: bytes) -> None:
        """As sshd does: a login shell in a session of its own, with pipes."""
        path = f"{self.fake.home}/bin:{os.environ['PATH']}"
        shell = self.fake.shell
        env = {"HOME": str(self.fake.home), "USER": self.user, "SHELL": shell, "PATH": path}
        process = subprocess.Popen(
            [Path(shell).name, "-c", command],
            executable=shell,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**env, "SSH_CLIENT": f"{HERE} 1 22"},
            bufsize=0,
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        pumps = [
            threading.Thread(target=_pump, args=(process.stdout.fileno(), channel.sendall)),
            threading.Thread(target=_pump, args=(process.stderr.fileno(), channel.sendall_stderr)),
        ]
        threading.Thread(target=_feed, args=(channel, process), daemon=True).start()
        for pump in pumps:
            pump.daemon = True
            pump.start()
        code = process.wait()
        if code >= 0:
            _send(channel.send_exit_status, code)
        for pump in pumps:
            pump.join()
        process.stdout.close()
        process.stderr.close()
        _send(channel.close)
        self.sessions -= 1

    def _forward(self, chanid: int, there: socket.socket) -> None:
        transport = next(t for t in self.fake.transports if t.server_object is self)
        channel = None
        while channel is None or channel.get_id() != chanid:
            channel = transport.accept(5)
        back = threading.Thread(target=_pump, args=(there.fileno(), channel.sendall), daemon=True)
        back.start()
        _copy(channel, there.sendall)
        with suppress(OSError):
            there.shutdown(socket.SHUT_WR)
        back.join()
        there.close()
        _send(channel.close)


def _pump(source: int, send: Any) -> None:
    while data := os.read(source, 65536):
        if not _send(send, data):
            return


def _send(send: Any, *data: object) -> bool:
    """False when the connection is gone: what a command still has to say is lost then."""
    try:
        send(*data)
    except (OSError, EOFError):
        return False
    return True


def _copy(channel: paramiko.Channel, send: Any) -> None:
    """To the end of what the operator sends, or of the connection: to read answers as well (it
    makes the window wider), so it fails with EOFError where the operator is gone."""
    with suppress(OSError, EOFError):
        while data := channel.recv(65536):
            send(data)


def _feed(channel: paramiko.Channel, process: subprocess.Popen[bytes]) -> None:
    stdin = process.stdin
    assert stdin is not None

    def write(data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[stdin.write(view) :]

    _copy(channel, write)
    stdin.close()
