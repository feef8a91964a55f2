"""A host certificate, as PROTOCOL.certkeys has it: who signed it, for which names, until when.

paramiko takes one for the key that is in it, and looks at nothing else.
"""

from __future__ import annotations

from typing import NamedTuple

import paramiko

SUFFIX = "-cert-v01@openssh.com"
_HOST = 2
_FIELDS = {"ssh-ed25519": 1, "ssh-rsa": 2, "ecdsa-sha2-nistp256": 2}
_FIELDS |= {"ecdsa-sha2-nistp384": 2, "ecdsa-sha2-nistp521": 2}
"""How many fields a public key of each type has."""

_TYPES = {"ssh-ed25519": paramiko.Ed25519Key, "ssh-rsa": paramiko.RSAKey}
_WEAK_SIGNATURE = b"ssh-rsa"
"""With SHA-1: ssh takes no certificate that was signed so."""


class _Certificate(NamedTuple):
    kind: int
    principals: tuple[str, ...]
    valid_after: int
    valid_before: int
    critical: bytes
    authority: bytes
    signed: bytes
    signature: bytes


def authority_of(key: paramiko.PKey) -> bytes:
    """The public key of who signed the certificate that this key was shown in; empty for none."""
    read = _read(key)
    return read.authority if read else b""


def holds(key: paramiko.PKey, name: str, now: float) -> bool:
    """Is the certificate one for a host of that name, valid now, and signed by its authority?

    `now` is in seconds since 1970.
    """
    read = _read(key)
    return (
        read is not None
        and read.kind == _HOST
        and not read.critical
        and read.valid_after <= now < read.valid_before
        and (not read.principals or name in read.principals)
        and _is_signed(read)
    )


def _read(key: paramiko.PKey) -> _Certificate | None:
    """The certificate's fields; none where there is none, or one that cannot be read."""
    blob = key.public_blob
    if blob is None or not blob.key_type.endswith(SUFFIX):
        return None
    try:
        return _parsed(paramiko.Message(blob.key_blob))
    except Exception:  # whatever a worker sends that lies
        return None


def _parsed(message: paramiko.Message) -> _Certificate:
    base = message.get_text().removesuffix(SUFFIX)
    message.get_binary()
    for _ in range(_FIELDS.get(base, 0)):
        message.get_binary()
    message.get_int64()
    kind = message.get_int()
    message.get_binary()
    names = paramiko.Message(message.get_binary())
    principals = []
    while names.get_remainder():
        principals.append(names.get_binary().decode(errors="replace"))
    after, before = message.get_int64(), message.get_int64()
    critical = message.get_binary()
    message.get_binary()
    message.get_binary()
    authority = message.get_binary()
    signed = message.get_so_far()
    signature = message.get_binary()
    return _Certificate(
        kind, tuple(principals), after, before, critical, authority, signed, signature
    )


def _is_signed(read: _Certificate) -> bool:
    base = paramiko.Message(read.authority).get_string().decode(errors="replace")
    signer = _TYPES.get(base, paramiko.ECDSAKey if base.startswith("ecdsa-") else None)
    if signer is None or paramiko.Message(read.signature).get_string() == _WEAK_SIGNATURE:
        return False
    try:
        key = signer(data=read.authority)
        return bool(key.verify_ssh_sig(read.signed, paramiko.Message(read.signature)))
    except Exception:  # as above
        return False
