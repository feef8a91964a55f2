"""The check of a worker's host key: the three policies, certificates, revoked keys.

paramiko's own writer would rewrite a whole known_hosts file for a new key.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from pathlib import Path
from typing import cast

import paramiko

from vmops.core.inventory.complaints import typed
from vmops.errors import HostKeyRefused
from vmops.remote.ssh.endpoint import Endpoint
from vmops.remote.ssh.keys.host_certificate import authority_of, holds
from vmops.remote.ssh.keys.known_hosts import (
    KnownKey,
    fingerprint,
    hashed,
    known_keys,
    revoked_keys,
)

_log = logging.getLogger("vmops")


class HostKeys(paramiko.MissingHostKeyPolicy):
    """The whole check of an endpoint's key; paramiko asks it as it knows of no keys itself."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Read what is known. Raises HostKeyRefused when a file cannot be read."""
        self._endpoint = endpoint
        self._known = [] if endpoint.host_keys == "off" else self._read()

    def preferred_types(self) -> tuple[str, ...]:
        """The types of the keys that are known, which the worker is asked for first."""
        types = [key.type for key in self._trusted()]
        rsa = ("rsa-sha2-512", "rsa-sha2-256") if "ssh-rsa" in types else ()
        return tuple(dict.fromkeys((*types, *rsa)))

    def has_authorities(self) -> bool:
        """Is a worker that shows a certificate known by who signed it?"""
        return any(key.authority for key in self._known)

    def missing_host_key(
        self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey
    ) -> None:
        """Let the key pass, add it, or raise HostKeyRefused."""
        if self._endpoint.host_keys == "off":
            return
        self._refuse_revoked(key)
        if self._is_signed(key) or self._is_known(key):
            self._check_address(client, key)
            return
        self._check_address(client, key)
        if self._endpoint.host_keys == "strict":
            raise self._refusal(
                f"its host key {fingerprint(key.asbytes())} ({key.get_name()}) is not known, and"
                ' host_keys is "strict"',
                cure=f"compare that fingerprint on the worker, then: {self._keyscan()}",
            )
        self._add(key)

    def _read(self) -> list[KnownKey]:
        return self._keys_of(self._endpoint.host_key_name)

    def _keys_of(self, name: str) -> list[KnownKey]:
        known: list[KnownKey] = []
        for file in (*self._endpoint.known_hosts, *self._endpoint.system_known_hosts):
            try:
                known.extend(known_keys(name, file))
            except OSError as error:
                raise self._refusal(f"{file} cannot be read: {error.strerror}") from error
        return known

    def _trusted(self) -> list[KnownKey]:
        return [key for key in self._known if not (key.revoked or key.authority)]

    def _refuse_revoked(self, key: paramiko.PKey) -> None:
        """As ssh: no key passes while the list of the revoked ones cannot be read."""
        file = self._endpoint.revoked_host_keys
        if not file:
            return
        try:
            revoked = revoked_keys(file)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise self._refusal(
                f"RevokedHostKeys {file} cannot be read: {why}",
                cure="list the keys in it, one a line, or take the option out of ssh_config",
            ) from error
        if revoked & {key.asbytes(), authority_of(key)}:
            raise self._refusal(
                f"its host key {fingerprint(key.asbytes())} is revoked in {file}",
                cure="do not log in there before that is explained",
            )

    def _is_signed(self, key: paramiko.PKey) -> bool:
        """Does it show a certificate that one of the known authorities gave it, and for its name?

        One that does not hold is as good as none: the plain key in it has to be known then.
        """
        signer = authority_of(key)
        known = [each for each in self._known if each.authority and each.blob == signer]
        revoked = {each.blob for each in self._known if each.revoked}
        if not known or revoked & {signer, key.asbytes()}:
            return False
        name = self._endpoint.host_key_name.removeprefix("[").split("]")[0]
        return holds(key, name, time.time())

    def _check_address(self, client: paramiko.SSHClient, key: paramiko.PKey) -> None:
        """CheckHostIP: another key that is known for the worker's address is a change, too."""
        if not self._endpoint.check_address:
            return
        address = cast(paramiko.Transport, client.get_transport()).getpeername()[0]
        port = self._endpoint.port
        known = self._keys_of(address if port == 22 else f"[{address}]:{port}")
        others = [each for each in known if not (each.revoked or each.authority)]
        if others and key.asbytes() not in {each.blob for each in others}:
            raise self._refusal(
                f"{others[0].place} has another key for its address {address} (CheckHostIP)",
                cure="do not log in there before that is explained",
            )

    def _is_known(self, key: paramiko.PKey) -> bool:
        """True when known, False when nothing is known; refuses what is revoked or changed."""
        blob = key.asbytes()
        same = [known for known in self._known if known.blob == blob and not known.authority]
        for known in same:
            if known.revoked:
                raise self._refusal(
                    f"its host key {fingerprint(blob)} is revoked in {known.place}",
                    cure="do not log in there before that is explained",
                )
        if same:
            return True
        trusted = self._trusted()
        if not trusted:
            return False
        before = next((known for known in trusted if known.type == key.get_name()), trusted[0])
        raise self._refusal(
            f"its host key has changed: {before.place} has {fingerprint(before.blob)}"
            f" ({before.type}), the worker shows {fingerprint(blob)} ({key.get_name()})",
            cure="if the worker was installed anew: "
            + typed("ssh-keygen", "-f", before.file, "-R", self._endpoint.host_key_name)
            + "; if not, somebody may be between",
        )

    def _add(self, key: paramiko.PKey) -> None:
        """Append one line under a lock, unless another process or thread was first."""
        if not self._endpoint.known_hosts:
            return
        file = Path(self._endpoint.known_hosts[0])
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            _log.warning("%s: host key not kept: %s", self._endpoint.label, error)
            return
        with os.fdopen(descriptor, "rb+", buffering=0) as known_hosts:
            fcntl.flock(known_hosts, fcntl.LOCK_EX)
            self._known = self._read()
            if self._is_known(key):
                return
            size = known_hosts.seek(0, os.SEEK_END)
            open_line = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            name = self._endpoint.host_key_name
            name = hashed(name, os.urandom(20)) if self._endpoint.hash_names else name
            line = f"{name} {key.get_name()} {key.get_base64()}\n"
            known_hosts.write((("\n" if open_line else "") + line).encode())

    def _keyscan(self) -> str:
        scan = typed("ssh-keyscan", "-p", self._endpoint.port, self._endpoint.host)
        return f"{scan} >> {typed((*self._endpoint.known_hosts, '~/.ssh/known_hosts')[0])}"

    def _refusal(self, what: str, *, cure: str = "") -> HostKeyRefused:
        return HostKeyRefused(what, worker=self._endpoint.label, cure=cure)
