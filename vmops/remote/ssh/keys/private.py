"""Key files: the private keys, their certificates, and what they are known by to an agent."""

from __future__ import annotations

import binascii
import copy
import os
import stat
import threading
from base64 import b64decode
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import paramiko
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from vmops.core.inventory.complaints import typed

LOCKED = (paramiko.PasswordRequiredException, TypeError)
"""What paramiko and the library below it raise for a key that needs a passphrase."""

_LARGEST_FILE = 2**20
"""Bytes: what ssh reads of a key file."""

_CERTIFICATE = "-cert.pub"


class OpenToOthers(Exception):
    """A private key that others can read: ssh does not use it, and neither do we."""


_keys: dict[tuple[str, int, str | None], paramiko.PKey] = {}
_keys_lock = threading.Lock()


def load_key(path: str, passphrase: str | None) -> paramiko.PKey:
    """The private key in a file.

    Parsed once for a process, whoever asks: checking an RSA key takes 160 ms of CPU. A file that
    changed is read again. Raises OpenToOthers, OSError, one of LOCKED, and what else the
    libraries raise for what is no key.
    """
    with _keys_lock:
        status = Path(path).stat()
        if status.st_uid == os.getuid() and stat.S_IMODE(status.st_mode) & 0o077:
            mode = stat.S_IMODE(status.st_mode)
            raise OpenToOthers(f"others can read it, mode {mode:04o}: {typed('chmod', 600, path)}")
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST_FILE:
            raise paramiko.SSHException("it is no key file")
        wanted = (path, status.st_mtime_ns, passphrase)
        if wanted not in _keys:
            _keys[wanted] = _parsed(path, passphrase)
        return _keys[wanted]


def _parsed(path: str, passphrase: str | None) -> paramiko.PKey:
    """A passphrase is for the keys that need one; others would be refused with it."""
    try:
        return _from_file(path, None)
    except LOCKED:
        if passphrase is None:
            raise
    try:
        return _from_file(path, passphrase)
    except ValueError as error:
        raise paramiko.SSHException("the passphrase does not open it") from error


def _from_file(path: str, passphrase: str | None) -> paramiko.PKey:
    """paramiko's `PKey.from_path` fails for a key beside a certificate of no use, and for one in
    eight that have no comment; it also parses each twice."""
    data = Path(path).read_bytes()
    password = None if passphrase is None else passphrase.encode()
    try:
        loaded: object = serialization.load_ssh_private_key(data, password)
    except ValueError:
        loaded = serialization.load_pem_private_key(data, password)
    if isinstance(loaded, rsa.RSAPrivateKey):
        return paramiko.RSAKey(key=loaded)
    if isinstance(loaded, ec.EllipticCurvePrivateKey):
        return paramiko.ECDSAKey(vals=(loaded, loaded.public_key()))
    if isinstance(loaded, ed25519.Ed25519PrivateKey):
        return paramiko.Ed25519Key.from_private_key_file(path, passphrase)
    raise paramiko.SSHException("a key of a type that is not known here")


def certified(
    key: paramiko.PKey, path: str, certificate_files: Iterable[str]
) -> Iterator[tuple[paramiko.PKey, str]]:
    """The key with each certificate that is for it, and the file of that one.

    Those are the file beside it, and those that CertificateFile names. A certificate may still be
    expired, or of an authority that the worker does not know; the key alone is worth a try then.
    """
    for file in dict.fromkeys((path + _CERTIFICATE, *certificate_files)):
        with suppress(OSError, ValueError, IndexError, paramiko.SSHException):
            blob = _certificate_in(file)
            if public_part(blob) == key.asbytes():
                with_certificate = copy.copy(key)
                with_certificate.load_certificate(paramiko.Message(blob))
                yield with_certificate, file


def _certificate_in(file: str) -> bytes:
    """Raises OSError, and ValueError or IndexError for what is none."""
    if Path(file).stat().st_size > _LARGEST_FILE:
        raise ValueError
    kind, text, *_ = Path(file).read_bytes().split()
    if b"-cert-" not in kind:
        raise ValueError
    return b64decode(text, validate=True)


def public_part(certificate: bytes) -> bytes:
    """The public key that a certificate is for."""
    message = paramiko.Message(certificate)
    kind = message.get_text().partition("-cert-")[0]
    message.get_binary()
    public = paramiko.Message()
    public.add_string(kind)
    for _ in range(1 if kind == "ssh-ed25519" else 2):
        public.add_string(message.get_binary())
    return public.asbytes()


_PRIVATE = b"openssh-key-v1\0"


def public_parts(path: str) -> set[bytes]:
    """The public keys, as an agent tells them, that an identity file is known by; locked or not.

    They stand in the file itself, where it is in OpenSSH's format or a public key, and in `.pub`
    and `-cert.pub` beside it. What cannot be read has none.
    """
    found = set()
    for file in (path, f"{path}.pub", f"{path}{_CERTIFICATE}"):
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
