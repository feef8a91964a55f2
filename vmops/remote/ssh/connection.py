"""One live connection for each worker in this process, whatever task or thread asks."""

from __future__ import annotations

import atexit
import os
import threading
from contextlib import suppress
from functools import cache
from typing import Any, cast

import fabric
import paramiko

from vmops.core.inventory.model import Worker
from vmops.errors import WorkerUnreachable
from vmops.nameless import tell_fabric
from vmops.remote.counters import count
from vmops.remote.ssh.bridge import FAILURES
from vmops.remote.ssh.dial import dial
from vmops.remote.ssh.endpoint import Endpoint, endpoint_of
from vmops.remote.ssh.host_keys import HostKeys
from vmops.remote.ssh.login import Login, Secrets
from vmops.remote.ssh.stream import Stream
from vmops.remote.ssh.translate import lost, unreachable, was_dropped
from vmops.remote.ssh.transport import WorkerTransport, silence_paramiko
from vmops.wait import check_answers, growing_pauses, note_silence, wait_for

DIAL_TRIES = 6
"""sshd hangs up on some callers when more than MaxStartups of them are logging in."""

RETRY_LIMIT_S = 20.0

_LOGIN_OPTIONS = {"password", "passphrase", "pkey", "key_filename", "allow_agent", "look_for_keys"}
_HANDLED_HERE = _LOGIN_OPTIONS | {"timeout", "sock", "transport_factory", "auth_strategy"}


class WorkerConnection(fabric.Connection):  # type: ignore[misc]
    """Fabric's Connection, opened our way: tuned socket, checked host key, own chain of gateways.

    `open` raises WorkerUnreachable, HostKeyRefused or LoginRefused. It is safe from any thread and
    does nothing on a connection that lives; one that died is dialled again, but within a command
    none that could not be dialled before (wait.py).
    """

    endpoint: Endpoint
    transport: WorkerTransport | None

    def __init__(self, endpoint: Endpoint, config: fabric.Config) -> None:
        super().__init__(
            endpoint.alias,
            user=endpoint.user,
            port=endpoint.port,
            gateway=False,
            forward_agent=endpoint.forward_agent,
            config=config,
        )
        self._set(endpoint=endpoint, _opening=threading.RLock(), _failed_early=None)

    @property
    def is_connected(self) -> bool:
        """True while the connection lives and the login stands."""
        return self.transport is not None and bool(self.transport.is_authenticated())

    @property
    def live_transport(self) -> WorkerTransport:
        """The transport of an open connection; ConnectionLost when there is none any more."""
        if self.transport is None:
            raise lost(self.endpoint.label)
        return self.transport

    def open(self) -> None:
        """Connect and log in, unless that is done."""
        with self._opening:
            failure = self._failed_early
            if failure is not None:
                self._set(_failed_early=None)
                raise failure
            if not self.is_connected:
                check_answers(self.endpoint)
                try:
                    gateway = _gateway(self.endpoint, self.config)
                    self._close_client()
                    self._connect(gateway)
                except WorkerUnreachable as error:
                    note_silence(self.endpoint, error)
                    raise

    def open_early(self) -> None:
        """Begin to open it in the background.

        The next `open` waits for that, and raises what it would have raised.
        """
        begun = threading.Event()

        def work() -> None:
            with self._opening:
                begun.set()
                try:
                    self.open()
                except Exception as error:
                    self._set(_failed_early=error)

        threading.Thread(target=work, name=f"connect {self.endpoint.label}", daemon=True).start()
        begun.wait()

    def close(self) -> None:
        """Hang up."""
        with self._opening:
            self._close_client()

    def _close_client(self) -> None:
        with suppress(*FAILURES):
            self.client.close()
        self.transport = None

    def _connect(self, gateway: WorkerTransport | None) -> None:
        """Dial again as long as sshd hangs up before it let us say who we are."""
        host_keys = HostKeys(self.endpoint)
        dropped: list[Exception] = []

        def logged_in() -> bool | None:
            login = Login(self.endpoint, Secrets.of(self.config.connect_kwargs))
            try:
                self._log_in(dial(self.endpoint, gateway), host_keys, login)
            except FAILURES as error:
                if login.offered or not was_dropped(error):
                    raise unreachable(self.endpoint, error, login.tried()) from error
                dropped.append(error)
                self._close_client()
                return None
            finally:
                login.close()
            return True

        try:
            if not wait_for(logged_in, RETRY_LIMIT_S, pauses=growing_pauses(DIAL_TRIES)):
                raise unreachable(self.endpoint, dropped[-1]) from dropped[-1]
        except BaseException:
            self._close_client()
            raise

    def _log_in(self, stream: Stream, host_keys: HostKeys, login: Login) -> None:
        def made_for(sock: Any, disabled_algorithms: Any = None) -> WorkerTransport:
            made = WorkerTransport(sock, disabled_algorithms)
            made.ask_for(host_keys.preferred_types(), certificates=host_keys.has_authorities())
            return made

        others = {k: v for k, v in self.config.connect_kwargs.items() if k not in _HANDLED_HERE}
        others.setdefault("auth_timeout", self.endpoint.login_limit)
        strategy = self.config.authentication.strategy_class
        self.client.set_missing_host_key_policy(host_keys)
        self.client.connect(
            self.endpoint.host,
            port=self.endpoint.port,
            username=self.endpoint.user,
            sock=stream,
            timeout=self.endpoint.connect_limit,
            transport_factory=made_for,
            auth_strategy=login if strategy is None else self._login_of(strategy),
            **others,
        )
        transport = cast(WorkerTransport, self.client.get_transport())
        transport.user_environment = self.endpoint.environment
        transport.agent_path = self.endpoint.forward_agent
        transport.watch()
        self.transport = transport
        count("connections")

    def _login_of(self, strategy: Any) -> Any:
        """An `authentication.strategy_class` of the user's, as Fabric makes it."""
        return strategy(
            ssh_config=self.ssh_config, fabric_config=self.config, username=self.endpoint.user
        )


_connections: dict[Endpoint, WorkerConnection] = {}
_lock = threading.Lock()


def connection(worker: Worker, *, config: fabric.Config | None = None) -> WorkerConnection:
    """The worker's connection, open. Everyone who asks for that worker gets the same one.

    `config` is fab's, with its options; without one, ssh_config and Fabric's own files decide.
    Raises InventoryError, WorkerUnreachable, HostKeyRefused or LoginRefused.
    """
    config = _default_config() if config is None else config
    found = _known(endpoint_of(worker, config), config)
    found.open()
    return found


def connect_early(worker: Worker, *, config: fabric.Config | None = None) -> None:
    """Begin to connect in the background, while the caller imports what the work needs.

    Raises InventoryError. Whatever else goes wrong, the next `connection` raises.
    """
    config = _default_config() if config is None else config
    _known(endpoint_of(worker, config), config).open_early()


@cache
def _default_config() -> fabric.Config:
    tell_fabric()
    return fabric.Config()


def close_all() -> None:
    """Hang up on every worker, then on the gateways; the next `connection` dials again."""
    with _lock:
        ended = list(_connections.values())
        _connections.clear()
    for each in reversed(ended):
        each.close()


def _hang_up() -> None:
    """At the end of the process, and without waiting for who is still dialling.

    A channel that is thrown away after that would try to close itself, and wait for ever for a lock
    that one of our threads, frozen by then, had taken.
    """
    for each in list(_connections.values()):
        transport = each.client.get_transport()
        if transport is not None:
            with suppress(*FAILURES):
                transport.close()


atexit.register(_hang_up)


def _forget_in_child() -> None:
    """After a fork the connections are the parent's: the child dials anew, and its end is not
    theirs. A lock may be held by a thread that does not exist here."""
    global _lock
    _lock = threading.Lock()
    for each in list(_connections.values()):
        transport = each.client.get_transport()
        if transport is not None:
            transport.forget()
    _connections.clear()


os.register_at_fork(after_in_child=_forget_in_child)


def _known(endpoint: Endpoint, config: fabric.Config) -> WorkerConnection:
    """The one connection to the endpoint, open or not."""
    with _lock:
        if endpoint not in _connections:
            silence_paramiko()
            _connections[endpoint] = WorkerConnection(endpoint, _without_rules(config))
        return _connections[endpoint]


def _without_rules(config: fabric.Config) -> fabric.Config:
    """A copy in which Fabric finds no ssh_config: it would look up the name its own way, and run
    every `Match exec` on our input."""
    copy = config.clone()
    copy._set(base_ssh_config=_NoRules())
    return copy


class _NoRules(paramiko.SSHConfig):
    def lookup(self, hostname: str) -> paramiko.SSHConfigDict:
        """Nothing; paramiko would need the name of who runs this even so."""
        return paramiko.SSHConfigDict()


def _gateway(endpoint: Endpoint, config: fabric.Config) -> WorkerTransport | None:
    if not isinstance(endpoint.via, Endpoint):
        return None
    gateway = _known(endpoint.via, config)
    gateway.open()
    return gateway.transport
