"""What a task is called with: a connection that fab made for -H, or Invoke's plain context."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeGuard


class RunSettings(Protocol):
    """The part of the configuration that fab's own options set."""

    @property
    def dry(self) -> bool:
        """`--dry`: print what would run, contact nothing."""

    @property
    def echo(self) -> bool:
        """`-e`: say each command before it runs."""


class Config(Protocol):
    """Invoke's configuration, and Fabric's."""

    @property
    def run(self) -> RunSettings:
        """The settings for running commands."""


class Context(Protocol):
    """Where a task finds the configuration that it runs under."""

    @property
    def config(self) -> Config:
        """The configuration of the program that runs."""


class FabricConfig(Config, Protocol):
    """Fabric's configuration has defaults for user and port besides."""

    @property
    def user(self) -> str:
        """The user where nothing names one."""

    @property
    def port(self) -> int:
        """The port where nothing names one."""


class Host(Context, Protocol):
    """A Fabric connection: what -H named, with what ssh_config and the defaults make of it."""

    @property
    def config(self) -> FabricConfig:
        """The configuration of the program that runs."""

    original_host: str
    user: str
    port: int
    ssh_config: Mapping[str, Any]

    def derive_shorthand(self, host_string: str) -> Mapping[str, Any]:
        """`user@host:port` taken apart."""


def is_host(c: Context) -> TypeGuard[Host]:
    """True for a call with -H."""
    return bool(getattr(c, "original_host", ""))


def is_dry(c: Context) -> bool:
    """True under `--dry`."""
    return bool(c.config.run.dry)
