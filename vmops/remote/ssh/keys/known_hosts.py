"""known_hosts, read line by line for the one host that is wanted.

paramiko's own reader stops at @revoked and @cert-authority lines, and takes seconds for thousands
of lines.
"""

from __future__ import annotations

import base64
import binascii
import errno
import fnmatch
import hashlib
import hmac
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

LARGEST_FILE = 2**26
"""Bytes of a known_hosts file: more is no list of keys."""


class KnownKey(NamedTuple):
    """One line of a known_hosts file that is about the host wanted."""

    type: str
    blob: bytes
    file: str
    line: int
    revoked: bool = False
    authority: bool = False

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
    patterns or be hashed. Raises OSError.
    """
    try:
        lines = _content(file).splitlines()
    except FileNotFoundError:
        return
    wanted = name.encode()
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words or words[0].startswith(b"#"):
            continue
        marker = words.pop(0) if words[0].startswith(b"@") else b""
        if len(words) < 3 or marker not in _MARKERS or not _names(words[0], wanted):
            continue
        try:
            blob = base64.b64decode(words[2], validate=True)
        except binascii.Error:
            continue
        kind = words[1].decode(errors="replace")
        yield KnownKey(
            kind, blob, file, number, marker == b"@revoked", marker == b"@cert-authority"
        )


_MARKERS = (b"", b"@revoked", b"@cert-authority")


def _content(file: str) -> bytes:
    """All of a file. A pipe that nobody writes to is no reason to wait."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as opened:
        content = opened.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), file)
    return content


def revoked_keys(file: str) -> set[bytes]:
    """The keys of a RevokedHostKeys file, a line each. Raises OSError, and ValueError for a KRL."""
    content = _content(file)
    if content.startswith(b"SSHKRL"):
        raise ValueError("a binary revocation list (KRL)")
    found = set()
    for line in content.splitlines():
        for word in line.partition(b"#")[0].split():
            with suppress(binascii.Error):
                blob = base64.b64decode(word, validate=True)
                if blob.startswith(b"\0\0\0"):
                    found.add(blob)
    return found


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


def hashed(name: str, salt: bytes) -> str:
    """A host's name as HashKnownHosts writes it."""
    digest = hmac.digest(salt, name.encode(), "sha1")
    return "|1|" + "|".join(base64.b64encode(part).decode() for part in (salt, digest))


def _matches(wanted: bytes, pattern: bytes) -> bool:
    if b"*" not in pattern and b"?" not in pattern:
        return wanted == pattern
    literal = pattern.replace(b"[", b"[[]")
    return fnmatch.fnmatchcase(wanted.decode(errors="replace"), literal.decode(errors="replace"))
