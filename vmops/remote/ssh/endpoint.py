"""From a worker, ssh_config and fab's options to one value: where to, as whom, through what."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import fabric

from vmops.core.inventory.complaints import typed
from vmops.core.inventory.model import Worker
from vmops.errors import InventoryError
from vmops.nameless import local_user
from vmops.remote.ssh.config.reader import Query
from vmops.remote.ssh.config.settings import Said, begin, said, sources_of
from vmops.remote.ssh.config.text import Unreadable
from vmops.remote.ssh.config.tokens import at_home

DEFAULT_USER = "ubuntu"
CONNECT_LIMIT_S = 10.0
LOGIN_LIMIT_S = 30.0

_HOP = re.compile(
    r"(?:ssh://)?(?:(?P<user>[^@\s]+)@)?(?:\[(?P<v6>[^]\s]+)\]|(?P<host>[^:@\s]+))(?::(?P<port>\d+))?"
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One SSH server and all that decides how it is reached. Equal ones share a connection.

    `alias` is what ssh_config was asked for and `host` what it answered; `via` is the endpoint to
    go through, or a ProxyCommand; `connect_limit` is in seconds. `agent` and `forward_agent` are
    sockets, empty for none. `label` says in messages who is meant: the worker, also for a gateway
    on the way to it.
    """

    alias: str
    host: str
    port: int
    user: str
    identity_files: tuple[str, ...]
    only_these_identities: bool
    host_keys: str
    host_key_name: str
    known_hosts: tuple[str, ...]
    forward_agent: str
    connect_limit: float
    via: Endpoint | str | None
    label: str = field(compare=False)
    certificate_files: tuple[str, ...] = ()
    use_keys: bool = True
    agent: str = ""
    system_known_hosts: tuple[str, ...] = ()
    revoked_host_keys: str = ""
    hash_names: bool = False
    check_address: bool = False
    family: str = "any"
    bind_address: str = ""
    environment: tuple[tuple[str, str], ...] = ()

    @property
    def login_limit(self) -> float:
        """Seconds for each answer to a login: sshd may have to ask others first."""
        return max(LOGIN_LIMIT_S, self.connect_limit)


def endpoint_of(worker: Worker, config: fabric.Config) -> Endpoint:
    """What the worker itself says wins, then ssh_config, then fab's configuration.

    Raises InventoryError for an ssh_config or a gateway that cannot be read.
    """
    try:
        resolver = _Resolver(worker, config)
        return resolver.endpoint(_wanted(worker), gateway=worker.gateway, through=())
    except (ValueError, OSError, Unreadable) as error:
        raise InventoryError(
            f"{worker.name}: how to reach it cannot be read: {error}",
            cure=f"see what ssh says: {typed('ssh', '-G', worker.address)}",
        ) from error


def begin_endpoint(worker: Worker, config: fabric.Config) -> None:
    """Start to ask ssh about the worker, and do not wait; what goes wrong, `endpoint_of` says."""
    with suppress(ValueError, OSError, Unreadable):
        begin(_query(_wanted(worker), config), sources_of(config))


def _wanted(worker: Worker) -> _Wanted:
    return _Wanted(worker.address, worker.port, worker.user)


def _query(wanted: _Wanted, config: fabric.Config) -> Query:
    return Query(wanted.alias, wanted.user, wanted.port, _default_user(config), int(config.port))


def _default_user(config: fabric.Config) -> str:
    """`user` in fab's own configuration, unless that is just who runs this."""
    configured = str(config.user or "")
    return configured if configured and configured != local_user() else DEFAULT_USER


_Place = tuple[str, int]
"""Host and port."""


class _Wanted(NamedTuple):
    """What somebody asked for: None where ssh_config decides."""

    alias: str
    port: int | None = None
    user: str | None = None


class _Resolver:
    """The answers of ssh_config and of fab's configuration, for one worker and its gateways."""

    def __init__(self, worker: Worker, config: fabric.Config) -> None:
        self._worker = worker
        self._config = config
        self._sources = sources_of(config)

    def endpoint(
        self, wanted: _Wanted, *, gateway: str | None, through: tuple[_Place, ...]
    ) -> Endpoint:
        answer = self._asked(wanted)
        host, port = place = answer.host, answer.port
        name = answer.host_key_alias or (host if port == 22 else f"[{host}]:{port}")
        via = self._via(answer, gateway, (*through, place))
        return Endpoint(
            alias=wanted.alias,
            host=host,
            port=port,
            user=answer.user,
            identity_files=self._identities(answer),
            only_these_identities=answer.only_these_identities,
            host_keys=self._policy(answer),
            host_key_name=name.lower(),
            known_hosts=self._known_hosts(answer),
            forward_agent=self._forward_agent(answer),
            connect_limit=self._connect_limit(answer),
            via=via,
            label=self._worker.name,
            certificate_files=answer.certificate_files,
            use_keys=answer.use_keys,
            agent=answer.agent,
            system_known_hosts=answer.system_known_hosts,
            revoked_host_keys=answer.revoked,
            hash_names=answer.hash_names,
            check_address=answer.check_address and via is None,
            family=answer.family,
            bind_address=answer.bind_address,
            environment=answer.environment,
        )

    def _asked(self, wanted: _Wanted) -> Said:
        return said(_query(wanted, self._config), self._sources)

    def _policy(self, answer: Said) -> str:
        """The stricter one of both, but for a worker whose keys the inventory does not check."""
        if answer.strict == "yes" and self._worker.host_keys == "accept-new":
            return "strict"
        return self._worker.host_keys

    def _identities(self, answer: Said) -> tuple[str, ...]:
        given = self._config.connect_kwargs.get("key_filename") or []
        files = [given] if isinstance(given, str) else [str(file) for file in given]
        if self._worker.identity_file is not None:
            files.append(self._worker.identity_file)
        files.extend(answer.identity_files)
        return tuple(dict.fromkeys(map(at_home, files)))

    def _known_hosts(self, answer: Said) -> tuple[str, ...]:
        if self._worker.known_hosts is not None:
            return (at_home(self._worker.known_hosts),)
        return answer.known_hosts

    def _forward_agent(self, answer: Said) -> str:
        """What ssh_config says of it wins over fab's own configuration."""
        return answer.forward_agent or (answer.agent if self._config.forward_agent else "")

    def _connect_limit(self, answer: Said) -> float:
        for value in (
            self._config.connect_kwargs.get("timeout"),
            answer.connect_limit,
            self._config.timeouts.connect,
        ):
            if value is not None:
                return float(value)
        return CONNECT_LIMIT_S

    def _via(
        self, answer: Said, gateway: str | None, through: tuple[_Place, ...]
    ) -> Endpoint | str | None:
        hops = gateway or answer.jump
        if hops:
            return None if hops.lower() == "none" else self._chain(hops.split(","), through)
        return answer.command or self._config.gateway or None

    def _chain(self, hops: Sequence[str], through: tuple[_Place, ...]) -> Endpoint | None:
        """The last hop, reached through the one before it; the first is dialled directly.

        The first may need a gateway of its own. A wildcard in ssh_config gives it itself: none.
        """
        *before, last = (hop.strip() for hop in hops)
        match = _HOP.fullmatch(last)
        if match is None:
            raise ValueError(f"gateway {last!r} is not host, user@host or user@host:port")
        alias, port = match["v6"] or match["host"], match["port"]
        wanted = _Wanted(alias, int(port) if port else None, match["user"])
        answer = self._asked(wanted)
        if (answer.host, answer.port) in through:
            return None
        return self.endpoint(wanted, gateway=",".join(before) or None, through=through)
