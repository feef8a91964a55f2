"""From a worker, ssh_config and fab's options to one value: where to, as whom, through what."""

from __future__ import annotations

import getpass
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import fabric
import paramiko

from vmops.core.inventory.model import Worker
from vmops.errors import InventoryError
from vmops.remote.ssh.ssh_config import with_includes

DEFAULT_USER = "ubuntu"
CONNECT_LIMIT_S = 10.0

_HOP = re.compile(
    r"(?:ssh://)?(?:(?P<user>[^@\s]+)@)?(?:\[(?P<v6>[^]\s]+)\]|(?P<host>[^:@\s]+))(?::(?P<port>\d+))?"
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One SSH server and all that decides how it is reached. Equal ones share a connection.

    `alias` is what ssh_config was asked for and `host` what it answered; `via` is the endpoint to
    go through, or a ProxyCommand; `connect_limit` is in seconds. `label` says in messages who is
    meant: the worker, also for a gateway on the way to it.
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
    forward_agent: bool
    connect_limit: float
    via: Endpoint | str | None
    label: str = field(compare=False)


def endpoint_of(worker: Worker, config: fabric.Config) -> Endpoint:
    """What the worker itself says wins, then ssh_config, then fab's configuration.

    Raises InventoryError for an ssh_config or a gateway that cannot be read.
    """
    wanted = _Wanted(worker.address, worker.port, worker.user, worker.identity_file)
    try:
        resolver = _Resolver(worker, config)
        return resolver.endpoint(wanted, gateway=worker.gateway, through=())
    except (ValueError, OSError, paramiko.SSHException) as error:
        raise InventoryError(f"{worker.name}: how to reach it cannot be read: {error}") from error


_Place = tuple[str, int]
"""Host and port."""


class _Wanted(NamedTuple):
    """What somebody asked for: None where ssh_config decides."""

    alias: str
    port: int | None = None
    user: str | None = None
    identity_file: str | None = None


class _Resolver:
    """The answers of ssh_config and of fab's configuration, for one worker and its gateways."""

    def __init__(self, worker: Worker, config: fabric.Config) -> None:
        self._worker = worker
        self._config = config
        self._ssh_config = with_includes(config)

    def endpoint(
        self, wanted: _Wanted, *, gateway: str | None, through: tuple[_Place, ...]
    ) -> Endpoint:
        said = self._ssh_config.lookup(wanted.alias)
        host, port = place = self._place(wanted, said)
        user = wanted.user or said.get("user") or self._default_user()
        name = said.get("hostkeyalias") or (host if port == 22 else f"[{host}]:{port}")
        via = self._via(said, gateway, (*through, place))
        if isinstance(via, str):
            via = _expanded(via, {"%": "%", "n": wanted.alias, "h": host, "p": port, "r": user})
        return Endpoint(
            alias=wanted.alias,
            host=host,
            port=port,
            user=user,
            identity_files=self._identities(wanted, said),
            only_these_identities=said.get("identitiesonly", "no").lower() == "yes",
            host_keys=self._worker.host_keys,
            host_key_name=name.lower(),
            known_hosts=self._known_hosts(said),
            forward_agent=self._forward_agent(said),
            connect_limit=self._connect_limit(said),
            via=via,
            label=self._worker.name,
        )

    def _place(self, wanted: _Wanted, said: dict[str, Any]) -> _Place:
        port = wanted.port or int(said.get("port", self._config.port))
        return said.get("hostname", wanted.alias), port

    def _default_user(self) -> str:
        """`user` in fab's own configuration, unless that is just who runs this."""
        configured = self._config.user
        return configured if configured and configured != _local_user() else DEFAULT_USER

    def _identities(self, wanted: _Wanted, said: dict[str, Any]) -> tuple[str, ...]:
        given = self._config.connect_kwargs.get("key_filename") or []
        files = [given] if isinstance(given, str) else list(given)
        if wanted.identity_file is not None:
            files.append(wanted.identity_file)
        files.extend(said.get("identityfile", []))
        return tuple(dict.fromkeys(str(Path(file).expanduser()) for file in files))

    def _known_hosts(self, said: dict[str, Any]) -> tuple[str, ...]:
        if self._worker.known_hosts is not None:
            files = [self._worker.known_hosts]
        else:
            files = said.get("userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2").split()
        return tuple(str(Path(file).expanduser()) for file in files if file.lower() != "none")

    def _forward_agent(self, said: dict[str, Any]) -> bool:
        if "forwardagent" in said:
            return bool(said["forwardagent"].lower() == "yes")
        return bool(self._config.forward_agent)

    def _connect_limit(self, said: dict[str, Any]) -> float:
        for value in (
            self._config.connect_kwargs.get("timeout"),
            said.get("connecttimeout"),
            self._config.timeouts.connect,
        ):
            if value is not None:
                return float(value)
        return CONNECT_LIMIT_S

    def _via(
        self, said: dict[str, Any], gateway: str | None, through: tuple[_Place, ...]
    ) -> Endpoint | str | None:
        hops = gateway or said.get("proxyjump")
        if hops is not None:
            return None if hops.lower() == "none" else self._chain(hops.split(","), through)
        command = said.get("proxycommand")
        return command or self._config.gateway or None

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
        if self._place(wanted, self._ssh_config.lookup(alias)) in through:
            return None
        return self.endpoint(wanted, gateway=",".join(before) or None, through=through)


def _expanded(command: str, values: dict[str, object]) -> str:
    """A ProxyCommand with its %h, %p, %r and %n filled in; another letter stays as it is."""
    return re.sub(r"%(.)", lambda found: str(values.get(found[1], found[0])), command)


def _local_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
