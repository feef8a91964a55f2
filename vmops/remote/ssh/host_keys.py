"""Host keys: known_hosts read line by line for the one host wanted, and the three policies.

paramiko's own reader stops at @revoked and @cert-authority lines, takes seconds for thousands of
lines, and its writer rewrites the file.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import fnmatch
import hashlib
import hmac
import logging
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import paramiko

from vmops.errors import HostKeyRefused
from vmops.remote.ssh.endpoint import Endpoint

SYSTEM_FILE = "/etc/ssh/ssh_known_hosts"

_log = logging.getLogger("vmops")


class KnownKey(NamedTuple):
    """One line of a known_hosts file that is about the host wanted."""

    type: str
    blob: bytes
    file: str
    line: int
    revoked: bool = False

    @property
    def place(self) -> str:
        """Where a person finds it."""
        return f"{self.file}:{self.line}"


def fingerprint(blob: bytes) -> str:
    """As OpenSSH shows it: `SHA256:` and unpadded base64."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def known_keys(name: str, file: str) -> Iterator[KnownKey]:
    """The keys that `file` holds for `name`; none when there is no such file.

    `name` is a host, or `[host]:port` for another port than 22. Host names may be listed, be
    patterns or be hashed. Certificate authorities are passed over. Raises OSError.
    """
    try:
        lines = Path(file).read_bytes().splitlines()
    except FileNotFoundError:
        return
    wanted = name.encode()
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words or words[0].startswith(b"#"):
            continue
        marker = words.pop(0) if words[0].startswith(b"@") else b""
        if len(words) < 3 or marker not in (b"", b"@revoked") or not _names(words[0], wanted):
            continue
        try:
            blob = base64.b64decode(words[2], validate=True)
        except binascii.Error:
            continue
        yield KnownKey(words[1].decode(errors="replace"), blob, file, number, bool(marker))


def _names(field: bytes, wanted: bytes) -> bool:
    """Does the first field of a line mean this host?"""
    if field.startswith(b"|1|"):
        try:
            salt, digest = (base64.b64decode(part) for part in field[3:].split(b"|"))
        except (ValueError, binascii.Error):
            return False
        return hmac.compare_digest(hmac.digest(salt, wanted, "sha1"), digest)
    if wanted == field:
        return True
    found = False
    for pattern in field.lower().split(b","):
        negated = pattern.startswith(b"!")
        if _matches(wanted, pattern[1:] if negated else pattern):
            if negated:
                return False
            found = True
    return found


def _matches(wanted: bytes, pattern: bytes) -> bool:
    if b"*" not in pattern and b"?" not in pattern:
        return wanted == pattern
    literal = pattern.replace(b"[", b"[[]")
    return fnmatch.fnmatchcase(wanted.decode(errors="replace"), literal.decode(errors="replace"))


class HostKeys(paramiko.MissingHostKeyPolicy):
    """The whole check of an endpoint's key; paramiko asks it as it knows of no keys itself."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Read what is known. Raises HostKeyRefused when a file cannot be read."""
        self._endpoint = endpoint
        self._known = [] if endpoint.host_keys == "off" else self._read()

    def preferred_types(self) -> tuple[str, ...]:
        """The types of the keys that are known, which the worker is asked for first."""
        types = [key.type for key in self._known if not key.revoked]
        rsa = ("rsa-sha2-512", "rsa-sha2-256") if "ssh-rsa" in types else ()
        return tuple(dict.fromkeys((*types, *rsa)))

    def missing_host_key(
        self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey
    ) -> None:
        """Let the key pass, add it, or raise HostKeyRefused."""
        if self._endpoint.host_keys == "off" or self._is_known(key):
            return
        if self._endpoint.host_keys == "strict":
            raise self._refusal(
                f"its host key {fingerprint(key.asbytes())} ({key.get_name()}) is not known, and"
                ' host_keys is "strict"',
                cure=f"compare that fingerprint on the worker, then: {self._keyscan()}",
            )
        self._add(key)

    def _read(self) -> list[KnownKey]:
        known: list[KnownKey] = []
        for file in (*self._endpoint.known_hosts, SYSTEM_FILE):
            try:
                known.extend(known_keys(self._endpoint.host_key_name, file))
            except OSError as error:
                raise self._refusal(f"{file} cannot be read: {error.strerror}") from error
        return known

    def _is_known(self, key: paramiko.PKey) -> bool:
        """True when known, False when nothing is known; refuses what is revoked or changed."""
        blob = key.asbytes()
        same = [known for known in self._known if known.blob == blob]
        for known in same:
            if known.revoked:
                raise self._refusal(
                    f"its host key {fingerprint(blob)} is revoked in {known.place}",
                    cure="do not log in there before that is explained",
                )
        if same:
            return True
        trusted = [known for known in self._known if not known.revoked]
        if not trusted:
            return False
        before = next((known for known in trusted if known.type == key.get_name()), trusted[0])
        raise self._refusal(
            f"its host key has changed: {before.place} has {fingerprint(before.blob)}"
            f" ({before.type}), the worker shows {fingerprint(blob)} ({key.get_name()})",
            cure="if the worker was installed anew: "
            + shlex.join(["ssh-keygen", "-f", before.file, "-R", self._endpoint.host_key_name])
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
            line = f"{self._endpoint.host_key_name} {key.get_name()} {key.get_base64()}\n"
            known_hosts.write((("\n" if open_line else "") + line).encode())

    def _keyscan(self) -> str:
        return (
            f"ssh-keyscan -p {self._endpoint.port} {self._endpoint.host}"
            f" >> {(*self._endpoint.known_hosts, '~/.ssh/known_hosts')[0]}"
        )

    def _refusal(self, what: str, *, cure: str = "") -> HostKeyRefused:
        return HostKeyRefused(what, worker=self._endpoint.label, cure=cure)
