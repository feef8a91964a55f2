"""The console command `vmops`: the same tasks for people who have no fabfile."""

from __future__ import annotations

from fabric import Config, Executor
from fabric.main import Fab
from invoke.exceptions import Exit, ParseError

from vmops import __version__
from vmops.errors import InventoryError
from vmops.nameless import tell_fabric
from vmops.tasks import ns
from vmops.tasks.typed.begin import no_number, refusal
from vmops.tasks.typed.words import plain

PROGRAM = "vmops"


class _Program(Fab):  # type: ignore[misc]
    """fab with a fixed set of tasks. Its own options are as strict as theirs: exit code 2."""

    def create_config(self) -> None:
        """A number without a name is a user too."""
        tell_fabric()
        super().create_config()

    def parse_core(self, argv: list[str] | None) -> None:
        try:
            super().parse_core(argv)
        except ParseError as error:
            raise refusal(f"{plain(str(error))}\n  {PROGRAM} --help") from None
        except ValueError as error:
            raise no_number(error, PROGRAM) from None

    def parse_core_args(self) -> None:
        """Invoke's own completion knows no names of hosts.toml; ours takes its option."""
        super().parse_core_args()
        shell = self.args["print-completion-script"].value
        if shell:
            from vmops.tasks.typed.completion import script, words_of

            try:
                print(script(shell, words_of(ns, self.core_args() + self.task_args())), end="")
            except InventoryError as error:
                raise refusal(str(error)) from None
            raise Exit


program = _Program(
    name=PROGRAM,
    version=__version__,
    namespace=ns,
    executor_class=Executor,
    config_class=Config,
)


def main() -> None:
    """Run the tasks that the command line names."""
    program.run()
