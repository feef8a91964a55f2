"""The console command `vmops`: the same tasks for people who have no fabfile."""

from __future__ import annotations

import sys
from typing import Any

from fabric import Config, Executor
from fabric.main import Fab
from invoke.exceptions import ParseError

from vmops import __version__
from vmops.tasks import ns


class _Program(Fab):  # type: ignore[misc]
    """fab with a fixed set of tasks; words that cannot be parsed are bad input: exit code 2."""

    def parse_core(self, argv: list[str] | None) -> None:
        try:
            super().parse_core(argv)
        except ParseError as error:
            _refuse(error)

    def parse_tasks(self) -> None:
        try:
            super().parse_tasks()
        except ParseError as error:
            _refuse(error)


def _refuse(error: ParseError) -> Any:
    print(error, file=sys.stderr)
    sys.exit(2)


program = _Program(
    name="vmops",
    version=__version__,
    namespace=ns,
    executor_class=Executor,
    config_class=Config,
)


def main() -> None:
    """The entry point of `vmops`."""
    program.run()
