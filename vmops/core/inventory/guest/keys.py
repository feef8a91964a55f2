"""Public keys of SSH, one a line, as a guest's authorized_keys takes them."""

from __future__ import annotations

import re

_KIND = (
    r"(?:ssh-(?:ed25519|rsa|dss)|ecdsa-sha2-nistp(?:256|384|521)"
    r"|sk-(?:ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com)"
)
_BEGINNING = re.compile(_KIND + r"(?: |\Z)")
_KEY = re.compile(_KIND + r" AAAA[A-Za-z0-9+/]{8,}={0,3}(?: [^\n]*)?")
_LONGEST = 20_000


def is_key(text: str) -> bool:
    """True for what is a key, or was meant to be one; anything else names a file."""
    return _BEGINNING.match(text) is not None


def key(text: str) -> str | None:
    """The key without blanks around it; None for what is none."""
    text = text.strip(" \t\r")
    good = len(text) <= _LONGEST and text.isprintable() and _KEY.fullmatch(text)
    return text if good else None
