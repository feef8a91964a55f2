"""Logging in: identity files (parsed once for a process), the agent, ~/.ssh, a password.

In that order, which is paramiko's and so what users of fab expect. An identity file that cannot be
used here may still say which of the agent's keys is meant. Every offer is remembered, so a refusal
can say what was offered.
"""

from __future__ import annotations

import binascii
import threading
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import paramiko

from vmops.remote.ssh.endpoint import Endpoint

_USUAL_NAMES = ("id_ed25519", "id_ecdsa", "id_rsa")
_LOCKED = (paramiko.PasswordRequiredException, TypeError)
"""What paramiko and the library below it raise for a key that needs a passphrase."""

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

    `offered` lists, for people, each key and password that was tried or why it could not be.
    """

    def __init__(self, endpoint: Endpoint, secrets: Secrets) -> None:
        self._endpoint = endpoint
        self._secrets = secrets
        self._agent: paramiko.Agent | None = None
        self._offered_of_agent: set[bytes] = set()
        self.offered: list[str] = []

    def authenticate(self, transport: paramiko.Transport) -> None:
        """Offer one key after the other, then the password; AuthenticationException if none does.

        A worker that wants a password on top of a key gets both.
        """
        last: Exception | None = None
        for key in self._keys():
            try:
                wants_more = transport.auth_publickey(self._endpoint.user, key)
            except paramiko.SSHException as error:
                last = error
                if not transport.is_active():
                    break
                continue
            if not wants_more:
                return
            if _INTERACTIVE & set(wants_more):
                break
        if self._secrets.password is not None and transport.is_active():
            self.offered.append("the password")
            transport.auth_password(self._endpoint.user, self._secrets.password)
            return
        raise last or paramiko.AuthenticationException("nothing to offer")

    def close(self) -> None:
        """Leave the agent."""
        if self._agent is not None:
            self._agent.close()

    def _keys(self) -> Iterator[paramiko.PKey]:
        """IdentitiesOnly leaves the identity files, or the usual ones where none is named."""
        named = self._endpoint.identity_files
        if self._secrets.key is not None:
            yield self._offer(self._secrets.key, "a key in memory")
        for path in named:
            yield from self._from_file(path)
        if not self._endpoint.only_these_identities:
            for key in self._agents_keys():
                if key.asbytes() not in self._offered_of_agent:
                    yield self._offer(key, "the agent")
        elif named:
            return
        if self._secrets.look_for_keys:
            home = Path("~/.ssh").expanduser()
            for path in (str(home / name) for name in _USUAL_NAMES):
                if path not in named and Path(path).is_file():
                    yield from self._from_file(path)

    def _from_file(self, path: str) -> Iterator[paramiko.PKey]:
        try:
            key = load_key(path, self._secrets.passphrase)
        except FileNotFoundError:
            reason = "no such file"
        except _LOCKED:
            reason = "locked: use --prompt-for-passphrase"
        except Exception as error:
            reason = f"cannot be read: {error}"
        else:
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
        self._agent = self._agent or paramiko.Agent()
        return self._agent.get_keys()

    def _offer(self, key: paramiko.PKey, source: str) -> paramiko.PKey:
        self.offered.append(f"{source} ({key.fingerprint})")
        return key


_keys: dict[tuple[str, int, str | None], paramiko.PKey] = {}
_keys_lock = threading.Lock()


def load_key(path: str, passphrase: str | None) -> paramiko.PKey:
    """The private key in a file, with its certificate when one lies beside it.

    Parsed once for a process, whoever asks: checking an RSA key takes 160 ms of CPU. A file that
    changed is read again.
    """
    with _keys_lock:
        wanted = (path, Path(path).stat().st_mtime_ns, passphrase)
        if wanted not in _keys:
            _keys[wanted] = _parsed(path, passphrase)
        return _keys[wanted]


def _parsed(path: str, passphrase: str | None) -> paramiko.PKey:
    """A passphrase is for the keys that need one; others would be refused with it."""
    try:
        return paramiko.PKey.from_path(path)
    except _LOCKED:
        if passphrase is None:
            raise
    try:
        return paramiko.PKey.from_path(path, cast(str, passphrase.encode()))
    except ValueError as error:
        raise paramiko.SSHException("the passphrase does not open it") from error


_PRIVATE = b"openssh-key-v1\0"


def public_parts(path: str) -> set[bytes]:
    """The public keys, as an agent tells them, that an identity file is known by; locked or not.

    They stand in the file itself, where it is in OpenSSH's format or a public key, and in `.pub`
    and `-cert.pub` beside it. What cannot be read has none.
    """
    found = set()
    for file in (path, f"{path}.pub", f"{path}-cert.pub"):
        try:
            found.add(_public_part(Path(file).read_bytes()))
        except (OSError, IndexError, binascii.Error):
            continue
    return found


def _public_part(text: bytes) -> bytes:
    if not text.startswith(b"-----BEGIN "):
        return b64decode(text.split()[1], validate=True)
    fields = b64decode(b"".join(text.strip().splitlines()[1:-1]), validate=True)
    if not fields.startswith(_PRIVATE):
        raise IndexError
    message = paramiko.Message(fields.removeprefix(_PRIVATE))
    for _ in ("cipher", "key derivation", "its options"):
        message.get_binary()
    message.get_int()
    return message.get_binary()
