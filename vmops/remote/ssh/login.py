"""Logging in: identity files (parsed once for a process), the agent, ~/.ssh, a password.

In that order, which is paramiko's and so what users of fab expect. An identity file that cannot be
used here may still say which of the agent's keys is meant. Every offer is remembered, so a refusal
can say what was offered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paramiko

from vmops.remote.ssh.config.tokens import at_home
from vmops.remote.ssh.endpoint import Endpoint
from vmops.remote.ssh.keys.agent import Agent
from vmops.remote.ssh.keys.private import (
    LOCKED,
    OpenToOthers,
    certified,
    load_key,
    public_parts,
)
from vmops.remote.ssh.translate import Tried

_USUAL_NAMES = ("id_ed25519", "id_ecdsa", "id_rsa")
_INTERACTIVE = {"password", "keyboard-interactive"}


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the operator gave for logging in, from fab's prompts or its configuration."""

    password: str | None = field(default=None, repr=False)
    passphrase: str | None = field(default=None, repr=False)
    key: paramiko.PKey | None = None
    use_agent: bool = True
    look_for_keys: bool = True

    @classmethod
    def of(cls, connect_kwargs: Any) -> Secrets:
        """From the `connect_kwargs` of a fab configuration. A password also opens keys."""
        password = connect_kwargs.get("password")
        return cls(
            password=password,
            passphrase=connect_kwargs.get("passphrase") or password,
            key=connect_kwargs.get("pkey"),
            use_agent=bool(connect_kwargs.get("allow_agent", True)),
            look_for_keys=bool(connect_kwargs.get("look_for_keys", True)),
        )


class Login:
    """One login at one endpoint; what `SSHClient.connect` takes as its `auth_strategy`.

    `offered` lists, for people, each key and password that was tried or why it could not be;
    `wanted_more` what the worker asked for on top of a key that it took, and `accepted` the ways
    to log in that it named when it would not have a key at all.
    """

    def __init__(self, endpoint: Endpoint, secrets: Secrets) -> None:
        self._endpoint = endpoint
        self._secrets = secrets
        self._agent: Agent | None = None
        self._offered_of_agent: set[bytes] = set()
        self.offered: list[str] = []
        self.wanted_more: tuple[str, ...] = ()
        self.accepted: tuple[str, ...] = ()

    def authenticate(self, transport: paramiko.Transport) -> None:
        """Offer one key after the other, then the password; AuthenticationException if none does.

        A worker that wants a password on top of a key gets both.
        """
        last: Exception | None = None
        for key in self._keys():
            try:
                wants_more = transport.auth_publickey(self._endpoint.user, key)
            except (paramiko.SSHException, OSError) as error:  # of the worker, or of the agent
                last = error
                self.accepted = tuple(getattr(error, "allowed_types", self.accepted))
                if not transport.is_active():
                    break
                continue
            if not wants_more:
                return
            if _INTERACTIVE & set(wants_more):
                self.wanted_more = tuple(wants_more)
                break
        if self._secrets.password is not None and transport.is_active():
            self.offered.append("the password")
            transport.auth_password(self._endpoint.user, self._secrets.password)
            return
        raise last or paramiko.AuthenticationException("nothing to offer")

    def tried(self) -> Tried:
        """What there is to say of it when it fails."""
        return Tried(self.offered, self.wanted_more, self.accepted)

    def close(self) -> None:
        """Leave the agent."""
        if self._agent is not None:
            self._agent.close()

    def _keys(self) -> Iterator[paramiko.PKey]:
        """IdentitiesOnly leaves the identity files, or the usual ones where none is named."""
        if not self._endpoint.use_keys:
            return
        named = [file for file in self._endpoint.identity_files if file != "none"]
        if self._secrets.key is not None:
            yield self._offer(self._secrets.key, "a key in memory")
        for path in named:
            yield from self._from_file(path)
        if not self._endpoint.only_these_identities:
            for key in self._agents_keys():
                if key.asbytes() not in self._offered_of_agent:
                    yield self._offer(key, "the agent")
        elif self._endpoint.identity_files:
            return
        if self._secrets.look_for_keys:
            for path in (at_home(f"~/.ssh/{name}") for name in _USUAL_NAMES):
                if path not in named and Path(path).is_file():
                    yield from self._from_file(path)

    def _from_file(self, path: str) -> Iterator[paramiko.PKey]:
        """The key with its certificates, then alone: a worker may not know who signed them."""
        try:
            key = load_key(path, self._secrets.passphrase)
        except FileNotFoundError:
            reason = "no such file"
        except LOCKED:
            reason = "locked: use --prompt-for-passphrase"
        except OpenToOthers as error:
            reason = str(error)
        except Exception as error:
            reason = f"cannot be read: {error}"
        else:
            for with_certificate, file in certified(key, path, self._endpoint.certificate_files):
                yield self._offer(with_certificate, f"{path} with {Path(file).name}")
            yield self._offer(key, path)
            return
        meant = public_parts(path)
        held = [key for key in self._agents_keys() if key.asbytes() in meant]
        for key in held:
            self._offered_of_agent.add(key.asbytes())
            yield self._offer(key, f"{path} by the agent")
        if not held:
            self.offered.append(f"{path} ({reason})")

    def _agents_keys(self) -> tuple[paramiko.PKey, ...]:
        if not self._secrets.use_agent:
            return ()
        if self._agent is None:
            self._agent = Agent(self._endpoint.agent, self._endpoint.connect_limit)
            self.offered += [self._agent.trouble] if self._agent.trouble else []
        return tuple(self._agent.get_keys())

    def _offer(self, key: paramiko.PKey, source: str) -> paramiko.PKey:
        self.offered.append(f"{source} ({key.fingerprint})")
        return key
