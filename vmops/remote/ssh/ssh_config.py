"""ssh_config as fab loaded it, with `Include`, which paramiko skips, followed."""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import fabric
import paramiko

_DEPTH = 16
"""How deep files may include each other: what OpenSSH allows."""

_SETTING = re.compile(r"\s*(\w+)(?:\s*=\s*|\s+)(.*)")


class SSHConfig(paramiko.SSHConfig):
    """paramiko's, but %h, %p and %r of a ProxyCommand are left to whoever knows port and user."""

    TOKENS_BY_CONFIG_KEY: dict[str, list[str]] = {  # noqa: RUF012
        **paramiko.SSHConfig.TOKENS_BY_CONFIG_KEY,
        "proxycommand": ["~"],
    }
    _config: list[dict[str, Any]]


def with_includes(config: fabric.Config) -> SSHConfig:
    """The rules that fab loaded; read again from their files when one of these includes others.

    An included file's settings apply inside the Host or Match that includes it; its own Host
    blocks apply by themselves. Raises OSError or paramiko's ConfigParseError.
    """
    runtime = getattr(config, "_runtime_ssh_path", None)
    paths = (runtime,) if runtime else (config._user_ssh_path, config._system_ssh_path)
    return _followed(config.base_ssh_config, paths)


@lru_cache(maxsize=8)
def _followed(loaded: Any, paths: tuple[str, ...]) -> SSHConfig:
    """For all workers once; `loaded` is told from others by its identity."""
    followed = SSHConfig()
    if not any("include" in rule["config"] for rule in loaded._config):
        followed._config = loaded._config
        return followed
    for path in paths:
        file = Path(path).expanduser()
        if file.is_file():
            followed.parse(io.StringIO("\n".join(_lines(file, _DEPTH))))
    return followed


def _lines(file: Path, depth: int) -> Iterator[str]:
    """The file's lines, each Include replaced by its files and by the header it stood under."""
    header = "Host *"
    for line in file.read_text(errors="replace").splitlines():
        setting = _SETTING.match(line)
        word = setting[1].lower() if setting else ""
        if word in ("host", "match"):
            header = line
        if setting is None or word != "include":
            yield line
        elif depth:
            for included in _included(setting[2], file):
                yield from _lines(included, depth - 1)
                yield header


def _included(patterns: str, file: Path) -> Iterator[Path]:
    """The files that match, in order; a relative pattern in ~/.ssh, then beside the file itself."""
    for pattern in shlex.split(patterns):
        path = Path(pattern).expanduser()
        roots = [Path("/")] if path.is_absolute() else [Path("~/.ssh").expanduser(), file.parent]
        for root in dict.fromkeys(roots):
            relative = path.relative_to("/") if path.is_absolute() else path
            yield from sorted(match for match in root.glob(str(relative)) if match.is_file())
