"""%h, ${HOME} and ~ in the values of ssh_config, as ssh fills them in."""

from __future__ import annotations

import os
import pwd
import re
import socket
from collections.abc import Mapping
from contextlib import suppress

from vmops.nameless import local_user
from vmops.remote.ssh.config.text import Unreadable

_TOKEN = re.compile(r"%(.?)")
_VARIABLE = re.compile(r"\$\{([^}]*)\}")

PROXY_TOKENS = "%hnpr"
"""The ones that ssh knows in a ProxyCommand."""


def home() -> str:
    """The operator's home: HOME, else what the system says; / for who has neither."""
    return os.environ.get("HOME") or _passwd_home()


def _passwd_home() -> str:
    with suppress(KeyError):
        return pwd.getpwuid(os.getuid()).pw_dir
    return "/"


def local_tokens() -> dict[str, str]:
    """Those that depend on this machine alone."""
    host = socket.gethostname()
    return {
        "%": "%",
        "d": home(),
        "i": str(os.getuid()),
        "L": host.split(".")[0],
        "l": host,
        "u": local_user(),
    }


def at_home(path: str) -> str:
    """`path` with its leading ~ or ~user filled in. Raises Unreadable for a user that is not."""
    if path == "~" or path.startswith("~/"):
        return home() + path[1:]
    if not path.startswith("~"):
        return path
    name, slash, rest = path[1:].partition("/")
    try:
        return pwd.getpwnam(name).pw_dir + slash + rest
    except KeyError:
        raise Unreadable(f"{path}: there is no user {name}") from None


def expanded(text: str, values: Mapping[str, str], *, letters: str | None = None) -> str:
    """`text` with its % tokens filled in. Raises Unreadable for one that is not known there."""

    def value(found: re.Match[str]) -> str:
        letter = found[1]
        if letter not in values or (letters is not None and letter not in letters):
            raise Unreadable(f"{text!r}: {found[0]} is no token that can be filled in here")
        return values[letter]

    return _TOKEN.sub(value, text)


def with_variables(text: str) -> str:
    """`text` with its ${NAME} filled in. Raises Unreadable for one that is not set."""

    def value(found: re.Match[str]) -> str:
        try:
            return os.environ[found[1]]
        except KeyError:
            raise Unreadable(f"{text!r}: {found[1]} is not set in the environment") from None

    return _VARIABLE.sub(value, text)


def file_name(text: str, values: Mapping[str, str]) -> str:
    """The name of a file, with everything filled in that ssh fills in. Raises Unreadable."""
    return expanded(with_variables(at_home(text)), values)
