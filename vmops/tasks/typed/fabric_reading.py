"""What Fabric does with ssh_config and -H before a task of ours begins.

fab reads the files as paramiko does, and ends in a traceback for what paramiko does not know; for
each -H it looks up the name, and runs every `Match exec` with our standard input. None of it is
for our tasks, which ask ssh. Fabric has no setting for that, so these two methods are wrapped.
"""

from __future__ import annotations

import re
from functools import wraps
from typing import Any

import fabric.connection
from fabric import Config
from fabric.tasks import ConnectionCall
from invoke.exceptions import Exit

_BRACKETED = re.compile(r"(?:(?P<user>.*)@)?\[(?P<host>[^]]*:[^]]*)\](?::(?P<port>\d+))?")

_failed: list[Exception] = []
"""Why Fabric could not read the files: for tasks that are not ours, when they come to run."""


def leave_to_us() -> None:
    """Wrap them, once for a process. Tasks that are not ours find everything as Fabric has it."""
    if hasattr(Config._load_ssh_files, "__wrapped__"):
        return
    Config._load_ssh_files = _patient(Config._load_ssh_files)
    ConnectionCall.make_context = _without_rules(ConnectionCall.make_context)
    fabric.connection.derive_shorthand = _with_brackets(fabric.connection.derive_shorthand)


def _patient(load: Any) -> Any:
    @wraps(load)
    def loaded(config: Config) -> None:
        try:
            load(config)
        except Exception as error:  # paramiko raises whatever its parser stumbles over
            _failed[:] = [error]
            config.base_ssh_config._config.clear()

    return loaded


class _NoRules:
    """What Fabric asks about a name; paramiko's own wants to know who runs this even so."""

    def __init__(self) -> None:
        self._config: list[Any] = []

    def parse(self, file: Any) -> None:
        """Fabric reads the files once more for each copy of its configuration."""

    def lookup(self, hostname: str) -> dict[str, Any]:
        """Nothing."""
        return {}


def _without_rules(make_context: Any) -> Any:
    @wraps(make_context)
    def made(call: ConnectionCall, config: Config) -> Any:
        if call.task.body.__module__.startswith("vmops."):
            config._set(base_ssh_config=_NoRules())
        elif _failed:
            raise Exit(f"Fabric cannot read ssh_config: {_failed[0]}", 2)
        return make_context(call, config)

    return made


def _with_brackets(derive: Any) -> Any:
    @wraps(derive)
    def derived(host_string: str) -> dict[str, Any]:
        """[ADDRESS]:PORT, which everybody writes for IPv6, besides what Fabric reads."""
        found = _BRACKETED.fullmatch(host_string)
        if found is None:
            return dict(derive(host_string))
        port = int(found["port"]) if found["port"] else None
        return {"user": found["user"] or None, "host": found["host"], "port": port}

    return derived
