"""The console command `vmops`: the same tasks for people who have no fabfile."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from fabric import Config, Executor
from fabric.connection import derive_shorthand
from fabric.main import Fab
from invoke.exceptions import ParseError

from vmops import __version__
from vmops.errors import InventoryError
from vmops.tasks import ns


class _Program(Fab):  # type: ignore[misc]
    """fab with a fixed set of tasks; words that cannot be parsed are bad input: exit code 2."""

    def parse_core(self, argv: list[str] | None) -> None:
        with _refusing():
            super().parse_core(argv)

    def parse_core_args(self) -> None:
        """Invoke's own completion knows no names of hosts.toml; ours takes its option."""
        super().parse_core_args()
        shell = self.args["print-completion-script"].value
        if shell:
            from vmops.tasks.frame.completion import script, words_of

            try:
                print(script(shell, words_of(ns, self.core_args() + self.task_args())), end="")
            except InventoryError as error:
                _refuse(str(error))
            sys.exit(0)

    def parse_tasks(self) -> None:
        with _refusing():
            super().parse_tasks()

    def execute(self) -> None:
        hosts = self.args.hosts.value
        for host in hosts.split(",") if hosts else ():
            _check_host(host)
        super().execute()


@contextmanager
def _refusing() -> Iterator[None]:
    """Invoke lets the ValueError through of what is no number where an option takes one."""
    try:
        yield
    except ParseError as error:
        _refuse(str(error))
    except ValueError as error:
        value = str(error).rpartition(": ")[2]
        _refuse(f"{value} is no number, and the option takes one\n  vmops --help TASK")


def _check_host(host: str) -> None:
    """Fabric takes a host apart before a task begins, and fails at what it cannot."""
    try:
        found = derive_shorthand(host)["host"]
    except ValueError:
        _refuse(f"-H {host!r}: the port must be a number")
    if not found:
        _refuse(
            f"-H {host!r}: no worker is named\n  -H takes names or addresses, USER@HOST:PORT too"
        )


def _refuse(why: str) -> NoReturn:
    print(f"error: {why}", file=sys.stderr)
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
